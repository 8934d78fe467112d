//! The nouns: checked types without I/O, clock or chance. Everything else imports these; they import
//! nothing.

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz_checks;

pub mod address;
pub mod change;
pub mod client;
pub mod family;
pub mod host;
pub mod last_request;
pub mod name;
pub mod notice;
pub mod record;
pub mod secret;
pub mod time;
pub mod user;
