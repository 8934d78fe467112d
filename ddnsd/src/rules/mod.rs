//! What decides: same input, same answer. No clock, chance, I/O or log in here.

pub mod certificate;
pub mod decide;
pub mod drift;
pub mod expiry;
pub mod import;
pub mod mail;
pub mod notice;
pub mod prefix;
pub mod reply;
pub mod request;
pub mod retry;
pub mod sliding_window;
pub mod verify;
