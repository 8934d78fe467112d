//! What the network and the server make of a message, drawn by chance: when copies of it arrive, what is
//! answered, and whether a copy went unanswered.

use ddnsd_tests::chance::Chance;

/// `dns_timeout`, milliseconds.
pub(super) const TIMEOUT: u64 = 5_000;
/// A copy of a message arrives before this much has passed since it was sent, or never.
pub(super) const LATENESS: u64 = 2 * TIMEOUT;

/// What becomes of a message.
#[derive(Clone, Debug)]
pub(super) struct Fate {
    /// When a copy arrives that is answered; `None` for none.
    pub(super) answered_copy: Option<u64>,
    /// When copies arrive that nobody hears of.
    pub(super) lost_copies: Vec<u64>,
    /// When the daemon hears of it, or gives it up.
    pub(super) heard: u64,
    /// The server refuses whatever comes.
    pub(super) refuses_all: bool,
    /// A copy went unanswered, as the daemon knows.
    pub(super) doubtful: bool,
}

impl Fate {
    /// Answered as soon as can be.
    pub(super) fn calm() -> Self {
        Self {
            answered_copy: Some(1),
            lost_copies: Vec::new(),
            heard: 2,
            refuses_all: false,
            doubtful: false,
        }
    }

    /// Neither the server nor the daemon hears of it.
    pub(super) fn down() -> Self {
        Self { answered_copy: None, heard: TIMEOUT, doubtful: true, ..Self::calm() }
    }

    pub(super) fn draw(chance: &mut Chance) -> Self {
        let calm = Self::calm();
        match chance.below(20) {
            0..=8 => calm,
            9..=11 => {
                let (arrives, travels) = (chance.below(TIMEOUT / 2), chance.below(TIMEOUT / 2));
                Self { answered_copy: Some(arrives), heard: arrives + travels, ..calm }
            }
            // the network made two of it
            12 => {
                let heard = 1 + chance.below(TIMEOUT - 1);
                let (one, other) = (chance.below(heard), chance.below(heard));
                // the daemon hears of the last
                let (first, last) = (one.min(other), one.max(other));
                Self { answered_copy: Some(last), lost_copies: vec![first], heard, ..calm }
            }
            13 => Self { refuses_all: true, ..calm },
            // UDP is lost or late, TCP is answered, perhaps with a refusal
            14 | 15 => {
                let arrives = TIMEOUT / 3 + chance.below(TIMEOUT / 3);
                Self {
                    answered_copy: Some(arrives),
                    lost_copies: Self::late(chance),
                    heard: arrives + chance.below(TIMEOUT / 3),
                    refuses_all: chance.once_in(4),
                    doubtful: true,
                }
            }
            _ => Self { lost_copies: Self::late(chance), ..Self::down() },
        }
    }

    fn late(chance: &mut Chance) -> Vec<u64> {
        let copies = [0, 1, 1, 2][usize::try_from(chance.below(4)).unwrap()];
        (0..copies).map(|_| chance.below(LATENESS)).collect()
    }
}
