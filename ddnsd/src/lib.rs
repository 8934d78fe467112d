//! The daemon's parts. `DESIGN`: entrances (http, admin, upkeep) call stories; stories ask pure rules
//! and act through exits (dns, db). Imports point one way; `tests/layers` holds the table.

pub mod admin;
pub mod clock;
pub mod config;
pub mod counters;
pub mod db;
pub mod dns;
pub mod http;
pub mod limits;
pub mod logging;
pub mod model;
pub mod passwords;
pub mod rules;
pub mod serve;
pub mod stories;
