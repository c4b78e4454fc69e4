//! narrowgate (map to come)
pub mod api;
pub mod audit;
pub mod caller;
pub mod config;
pub mod exchange;
pub mod grant;
pub mod model;
pub mod oauth;
pub mod platform;
pub mod policy;
pub mod transaction;
