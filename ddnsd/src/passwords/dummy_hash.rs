//! What unknown users are checked against: a hash that nothing matches, as costly as the stored ones.
//! In: the costs of real users' hashes. Out: a cost for a name, drawn from their mix by a keyed hash
//! of the name, so that asking again about a name gives the same one as long as the mix is the same.

use super::argon2::{Cost, OURS, StoredHash};
use super::verdict_cache::{ProcessKey, keyed};
use crate::model::name::UserName;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::sync::{Mutex, PoisonError};

/// Users whose cost is kept: enough to show the mix, few enough to sort beside an Argon2 run.
const SAMPLE: usize = 256;

/// What the draw is keyed by. It is kept with the users: were it another after each restart, a name whose
/// cost changes with it would be nobody's.
pub struct StandInKey(ProcessKey);

impl StandInKey {
    /// A new one.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// Reads what [`StandInKey::text`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        STANDARD.decode(text).ok()?.try_into().ok().map(Self)
    }

    /// As it is kept.
    pub fn text(&self) -> String {
        STANDARD.encode(self.0)
    }
}

pub(super) struct DummyHashes {
    key: Hmac<Sha256>,
    /// By a keyed hash of the user's name, so that a user who logs in often counts once.
    sample: Mutex<[Option<Cost>; SAMPLE]>,
}

impl DummyHashes {
    pub(super) fn new(key: &StandInKey) -> Self {
        Self { key: keyed(&key.0, b"stand-in"), sample: Mutex::new([None; SAMPLE]) }
    }

    /// A user's stored hash has this cost.
    pub(super) fn note(&self, user: &UserName, cost: Cost) {
        let [place, ..] = self.draw(user);
        let mut sample = self.sample.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = sample.get_mut(usize::from(place)) {
            *slot = Some(cost);
        }
    }

    /// The hash that this name is checked against.
    pub(super) fn of(&self, user: &UserName) -> StoredHash {
        let drawn = self.draw(user);
        StoredHash::of_nobody(self.cost(drawn), drawn)
    }

    /// Sorted, each kind of cost covers a stretch as wide as its share, and a name stays on its
    /// spot: when users move from one kind to another, only names at the border move with them.
    fn cost(&self, [_, a, b, ..]: [u8; 32]) -> Cost {
        let sample = *self.sample.lock().unwrap_or_else(PoisonError::into_inner);
        let mut costs: Vec<Cost> = sample.into_iter().flatten().collect();
        costs.sort_unstable();
        let spot = usize::from(u16::from_be_bytes([a, b])) * costs.len() / (1 << 16);
        costs.get(spot).copied().unwrap_or(OURS)
    }

    fn draw(&self, user: &UserName) -> [u8; 32] {
        let mut mac = self.key.clone();
        mac.update(user.as_str().as_bytes());
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::user::PasswordHash;

    fn user(number: usize) -> UserName {
        UserName::parse(&format!("user{number}")).unwrap()
    }

    fn cost(params: &str) -> Cost {
        let phc = format!("$argon2id$v=19${params}$MDEyMzQ1Njc4OWFiY2RlZg$jZhab/11I2+caaKeWdIG1g");
        StoredHash::parse(&PasswordHash(phc.into())).unwrap().cost()
    }

    #[test]
    fn with_nothing_known_unknown_users_cost_what_new_hashes_cost() {
        assert_eq!(DummyHashes::new(&StandInKey([1; 64])).of(&user(1)).cost(), OURS);
    }

    #[test]
    fn a_name_costs_the_same_after_a_restart() {
        let key = StandInKey::random();
        let draw = |key: &StandInKey| {
            let stand_ins = DummyHashes::new(key);
            for number in 0..400 {
                let cost = if number % 2 == 0 { cost("m=65536,t=3,p=4") } else { OURS };
                stand_ins.note(&user(number), cost);
            }
            (5000..5200).map(|number| stand_ins.of(&user(number)).cost()).collect::<Vec<_>>()
        };
        let kept = StandInKey::parse(&key.text()).unwrap();
        assert_eq!(draw(&key), draw(&kept));
        assert_ne!(draw(&key), draw(&StandInKey::random()));
        assert!(StandInKey::parse("short").is_none());
    }

    #[test]
    fn costs_are_drawn_in_the_proportion_of_the_stored_ones_and_stable_per_name() {
        let (stand_ins, cffi) = (DummyHashes::new(&StandInKey([1; 64])), cost("m=65536,t=3,p=4"));
        for number in 0..4000 {
            stand_ins.note(&user(number), if number % 4 == 0 { cffi } else { OURS });
        }
        let draw = |number| stand_ins.of(&user(number)).cost();
        let drawn: Vec<Cost> = (5000..9000).map(draw).collect();
        let share = drawn.iter().filter(|cost| **cost == cffi).count();
        assert!((600..1400).contains(&share), "{share} of 4000");
        assert_eq!(drawn, (5000..9000).map(draw).collect::<Vec<_>>());
    }

    #[test]
    fn when_one_user_changes_kind_hardly_any_name_does() {
        let (stand_ins, cffi) = (DummyHashes::new(&StandInKey([1; 64])), cost("m=65536,t=3,p=4"));
        for number in 0..4000 {
            stand_ins.note(&user(number), if number % 2 == 0 { cffi } else { OURS });
        }
        let draw = || (5000..6000).map(|number| stand_ins.of(&user(number)).cost());
        let before: Vec<Cost> = draw().collect();
        stand_ins.note(&user(0), OURS);
        stand_ins.note(&user(1), cffi);
        let moved = draw().zip(before).filter(|(now, before)| now != before).count();
        assert!(moved <= 20, "{moved} of 1000");
    }
}
