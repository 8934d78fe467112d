//! The parts of the daemon. Entrances (http, admin, observe, timers) call stories. Stories ask pure
//! rules and act through exits (dns, db). Imports go one way; `tests/layers` holds the table.
pub mod admin;
pub mod app;
pub mod args;
pub mod clock;
pub mod config;
pub mod counters;
pub mod db;
pub mod demo;
pub mod dns;
pub mod http;
pub mod lifecycle;
pub mod limits;
pub mod log_budget;
pub mod logging;
pub mod mail;
pub mod model;
pub mod observe;
pub mod passwords;
pub mod reload;
pub mod rules;
pub mod serve;
pub mod stories;
pub mod template;
#[cfg(test)]
mod tests;
pub mod timers;
