//! Checked types without I/O, clock or randomness. All other modules may import them; they import
//! none.

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz_checks;

pub mod address;
pub mod certificate;
pub mod change;
pub mod client;
pub mod family;
pub mod host;
pub mod last_request;
pub mod lease;
pub mod mail;
pub mod name;
pub mod notice;
pub mod prefix;
pub mod record;
pub mod secret;
pub mod text;
pub mod time;
pub mod ttl;
pub mod user;
