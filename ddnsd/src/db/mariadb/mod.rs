//! The MariaDB driver: how the server is reached, the read pool, the lock that shows that a daemon
//! runs, and opening a database.

pub(super) mod daemon_lock;
pub(super) mod open;
pub(super) mod pool;
pub(super) mod server;
