//! Counts the return codes of replies.

use crate::counters::Counter;
use crate::rules::reply::{Reply, ReturnCode};

/// Updates by return code; each host of a request counts.
#[derive(Debug, Default)]
pub struct UpdateCounters([Counter; ReturnCode::ALL.len()]);

impl UpdateCounters {
    pub(super) fn count(&self, reply: &Reply) {
        match reply {
            Reply::Whole { code, .. } => self.add_one(*code),
            Reply::Hosts { lines } => lines.iter().for_each(|line| self.add_one(line.code)),
        }
    }

    fn add_one(&self, code: ReturnCode) {
        if let Some((_, counter)) = self.by_code().find(|(of, _)| *of == code) {
            counter.add_one();
        }
    }

    /// In the order of [`ReturnCode::ALL`].
    pub fn by_code(&self) -> impl Iterator<Item = (ReturnCode, &Counter)> {
        ReturnCode::ALL.into_iter().zip(&self.0)
    }
}
