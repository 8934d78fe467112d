//! What acts: one file per story, each read downwards. A story lists the handles it uses.

pub mod authenticate;
pub mod deliver;
pub mod error;
pub mod expire;
pub mod export;
pub mod files;
pub mod host_locks;
pub mod hosts;
pub mod import;
pub mod large_hashes;
pub mod last_requests;
pub mod mail_queue;
pub mod notices;
pub mod publisher;
pub mod rehash;
pub mod republish;
pub mod served_zones;
pub mod status;
pub mod unsigned;
pub mod update;
pub mod users;
pub mod verify;
