//! The zones that the daemon under test serves itself, in the place of a primary: asked with `dig`
//! as one. It runs when the daemon does.

use crate::named::free_port;
use crate::primary::Primary;
use std::path::PathBuf;

/// A port, and the zones that a daemon serves there.
pub struct OwnServer {
    port: u16,
    zones: Vec<String>,
}

impl OwnServer {
    /// These zones, on a port that is free now.
    pub fn of(zones: &[&str]) -> Self {
        Self { port: free_port(), zones: zones.iter().map(|zone| (*zone).to_owned()).collect() }
    }

    /// The records that `dig` shows for a question, sorted.
    ///
    /// # Panics
    /// When there is no answer.
    #[track_caller]
    pub fn dig(&self, question: &[&str]) -> String {
        crate::primary::full_dig(self.port, question)
    }

    /// The serial of a zone.
    ///
    /// # Panics
    /// When there is no SOA record.
    #[track_caller]
    pub fn serial(&self, zone: &str) -> u32 {
        let soa = self.data(zone, "SOA");
        soa.first().and_then(|soa| soa.split(' ').nth(2)?.parse().ok()).expect("a SOA record")
    }
}

impl Primary for OwnServer {
    fn port(&self) -> u16 {
        self.port
    }

    fn key_file(&self) -> PathBuf {
        PathBuf::new()
    }

    fn own_zones(&self) -> Option<&[String]> {
        Some(&self.zones)
    }

    fn stop(&mut self) {
        panic!("it stops with the daemon");
    }

    fn start_again(&mut self) {
        panic!("it starts with the daemon");
    }
}
