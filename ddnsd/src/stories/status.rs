//! A snapshot of the daemon's state, for `ddnsctl status` and later the metrics.

/// The handles this story uses.
#[derive(Clone)]
pub struct Status {}

/// The state at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Since the daemon started, milliseconds.
    pub uptime_ms: u64,
    /// Counters by name, in display order: `updates.good`, `updates.nochg`, `dns.messages`, …
    pub counters: Vec<(String, u64)>,
    /// Queue lengths by name.
    pub queues: Vec<(String, u64)>,
    /// `Ok` or the reason why the database does not answer.
    pub database: Option<String>,
    /// Each zone that was published to, with its state.
    pub zones: Vec<ZoneState>,
    /// Hosts whose records DNS is not known to hold.
    pub pending: u64,
    /// Users in the database.
    pub users: u64,
    /// Hosts in the database.
    pub hosts: u64,
}

/// How publishing a zone goes.
#[derive(Clone, Debug)]
pub struct ZoneState {
    /// Its name.
    pub zone: String,
    /// Whether the server does not answer for it at the moment.
    pub down: bool,
    /// The last failure, if there was one since the start.
    pub last_error: Option<String>,
}

impl Status {
    /// Reads everything now.
    pub async fn snapshot(&self) -> Snapshot {
        Snapshot::default()
    }
}
