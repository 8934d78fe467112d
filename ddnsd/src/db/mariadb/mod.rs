//! The MariaDB driver: opening a server, the read pool, the lock that shows a daemon runs.

pub(super) mod daemon_lock;
pub(super) mod open;
pub(super) mod pool;
