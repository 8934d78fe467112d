//! Waiting for something to become true: looked at again and again until a deadline, never slept
//! for and hoped. In: a look that answers what is missing. Out: what it found, or a panic that says
//! it.

use std::time::{Duration, Instant};

/// Between two looks; short beside everything that is waited for.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks until the answer is `Ok` and returns it.
///
/// # Panics
/// When `within` is over: with `what` was waited for and the last `Err`, which says what was seen.
#[track_caller]
pub fn eventually<T>(
    within: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<T, String>,
) -> T {
    let start = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) if start.elapsed() > within => {
                panic!("waited {within:?} for: {what}\nlast seen: {seen}")
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// Looks until the answer equals `expected`.
///
/// # Panics
/// When `within` is over: with `what` was waited for, what was expected and what was seen last.
#[track_caller]
pub fn eventually_equals<T, L>(within: Duration, what: &str, expected: &T, mut look: L)
where
    T: PartialEq + std::fmt::Debug,
    L: FnMut() -> T,
{
    eventually(within, what, || {
        let seen = look();
        if seen == *expected { Ok(()) } else { Err(format!("{seen:?}, not {expected:?}")) }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_becomes_true_later_is_waited_for() {
        let mut looks = 0;
        eventually_equals(Duration::from_secs(5), "three looks", &3, || {
            looks += 1;
            looks
        });
    }

    #[test]
    #[should_panic(expected = "waited 1ms for: pigs\nlast seen: \"grounded\", not \"flying\"")]
    fn a_condition_that_never_becomes_true_is_reported_with_the_last_value() {
        eventually_equals(Duration::from_millis(1), "pigs", &"flying", || "grounded");
    }
}
