//! narrowgate (map to come)
pub mod api;
pub mod app;
pub mod audit;
pub mod caller;
pub mod cli;
pub mod config;
#[cfg(feature = "dev")]
pub mod dev;
pub mod exchange;
pub mod grant;
pub mod model;
pub mod oauth;
pub mod platform;
pub mod policy;
pub mod telemetry;
pub mod transaction;
