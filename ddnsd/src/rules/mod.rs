//! What decides: same input, same answer. No clock, chance, I/O or log in here.

pub mod decide;
pub mod drift;
pub mod expiry;
pub mod import;
pub mod limit;
pub mod notice;
pub mod outcome;
pub mod removal;
pub mod request;
pub mod retry;
