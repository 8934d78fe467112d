//! What acts: one file per story, each read downwards. A story lists the handles it uses.

pub mod error;
pub mod expire;
pub mod hosts;
pub mod login;
pub mod notices;
pub mod publisher;
pub mod rehash;
pub mod republish;
pub mod requests;
pub mod status;
pub mod transfer;
pub mod turns;
mod unsigned;
pub mod update;
pub mod users;
