//! What stands behind `narrowgate demo`: an embedded authorization server, APIs that take its tokens,
//! and a throw-away certificate authority.
//! Behind the cargo feature `dev`; packages are built without it.

pub mod authorization_server;
pub mod ca;
mod oauth_authorize;
mod oauth_http;
mod oauth_jwt;
mod oauth_proof;
mod oauth_state;
mod oauth_store;
mod oauth_token;
mod resource_server;
