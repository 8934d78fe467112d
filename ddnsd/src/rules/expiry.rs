//! When a host's records expire. In: when it was last updated, and now, both on the service clock,
//! which is stopped while ddnsd does not run. Out: these families are due, or the next check.

use crate::model::family::Families;
use crate::model::host::{Age, Defaults, Host};
use crate::model::record::WantedRecords;
use crate::model::time::Uptime;
use std::time::Duration;

/// Longer than the interval at which a daemon writes keepalives.
const MAX_UNWRITTEN: Duration = Duration::from_secs(5);

/// What the sweep does with a host.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// It has no record, its TTL is 0, or it or its owner is suspended.
    Never,
    /// Nothing expires before then.
    CheckAt(Uptime),
    /// These families were not updated within the expiry TTL.
    Due(Families),
}

/// Decides which of `records` have expired: a host's own, or what a removal leaves of them.
pub fn evaluate(
    host: &Host,
    records: WantedRecords,
    age: Age,
    defaults: &Defaults,
    now: Uptime,
) -> Expiry {
    let ttl = expiry_ttl(host, defaults);
    if ttl == 0 || age.is_owner_suspended || host.suspended_at.is_some() {
        return Expiry::Never;
    }
    let expires_at = |present: bool, last: Option<Uptime>| {
        // After a crash the clock restarts up to 10 s behind stored updates. Such an update counts
        // as now, and so does an unknown one.
        present.then(|| expires_at(last.unwrap_or(now).min(now), ttl))
    };
    let addresses = records.addresses();
    let v4 = expires_at(addresses.v4.is_some(), age.updated.v4);
    let v6 = expires_at(addresses.v6.is_some(), age.updated.v6);
    let has_expired = |at: Option<Uptime>| at.is_some_and(|at| at <= now);
    if has_expired(v4) || has_expired(v6) {
        return Expiry::Due(Families { v4: has_expired(v4), v6: has_expired(v6) });
    }
    [v4, v6].into_iter().flatten().min().map_or(Expiry::Never, Expiry::CheckAt)
}

/// When the sweep must first check a host that is updated now; `None` for never.
pub fn first_check(
    host: &Host,
    records: WantedRecords,
    defaults: &Defaults,
    now: Uptime,
) -> Option<Uptime> {
    match expiry_ttl(host, defaults) {
        0 => None,
        _ if records.addresses().is_empty() => None,
        ttl => Some(expires_at(now, ttl)),
    }
}

/// The host's expiry TTL in seconds: its own or the default. 0 means never.
pub fn expiry_ttl(host: &Host, defaults: &Defaults) -> u32 {
    host.expiry_ttl.unwrap_or(defaults.expiry_ttl)
}

/// For how long another daemon may keep an update of the host in memory: 5 s, but no more than a
/// tenth of its TTL.
pub fn unwritten_for(host: &Host, defaults: &Defaults) -> Duration {
    MAX_UNWRITTEN.min(Duration::from_secs(expiry_ttl(host, defaults).into()) / 10)
}

fn expires_at(last: Uptime, ttl: u32) -> Uptime {
    last.plus(Duration::from_secs(ttl.into()))
}

#[cfg(test)]
mod tests {
    use super::super::decide::tests::{DEFAULTS, fresh_host};
    use super::*;
    use crate::model::host::Seen;
    use crate::model::record::Wanted;
    use crate::model::time::Millis;

    const HOUR: i64 = 3_600_000;

    fn host() -> Host {
        let mut host = fresh_host();
        host.wanted.v4 = Wanted::Present("192.0.2.1".parse().unwrap());
        host.wanted.v6 = Wanted::Present("2001:db8::1".parse().unwrap());
        host
    }

    fn evaluate_at(host: &Host, (v4, v6): (i64, i64), now: i64) -> Expiry {
        let updated = Seen { v4: Some(Uptime(v4)), v6: Some(Uptime(v6)) };
        let age = Age { updated, is_owner_suspended: false };
        evaluate(host, host.wanted, age, &DEFAULTS, Uptime(now))
    }

    #[test]
    fn a_family_expires_when_its_time_is_over_and_not_a_moment_earlier() {
        assert_eq!(evaluate_at(&host(), (0, 10), HOUR - 1), Expiry::CheckAt(Uptime(HOUR)));
        assert_eq!(
            evaluate_at(&host(), (0, 10), HOUR),
            Expiry::Due(Families { v4: true, v6: false })
        );
        assert_eq!(
            evaluate_at(&host(), (0, 10), HOUR + 10),
            Expiry::Due(Families { v4: true, v6: true })
        );
    }

    #[test]
    fn a_ttl_of_zero_never_expires_and_neither_does_an_offline_host() {
        let mut host = host();
        host.expiry_ttl = Some(0);
        assert_eq!(evaluate_at(&host, (0, 0), i64::MAX), Expiry::Never);
        assert_eq!(evaluate_at(&fresh_host(), (0, 0), HOUR), Expiry::Never);
    }

    #[test]
    fn a_suspended_host_and_a_host_of_a_suspended_user_never_expire() {
        let suspended = Host { suspended_at: Some(Millis(1)), ..host() };
        assert_eq!(evaluate_at(&suspended, (0, 0), HOUR), Expiry::Never);
        let age = Age { is_owner_suspended: true, ..Age::default() };
        let of_suspended_user = evaluate(&host(), host().wanted, age, &DEFAULTS, Uptime(HOUR));
        assert_eq!(of_suspended_user, Expiry::Never);
    }

    #[test]
    fn an_update_in_the_future_or_at_an_unknown_time_counts_as_now() {
        assert_eq!(evaluate_at(&host(), (9 * HOUR, 9 * HOUR), 0), Expiry::CheckAt(Uptime(HOUR)));
        let unknown = evaluate(&host(), host().wanted, Age::default(), &DEFAULTS, Uptime(0));
        assert_eq!(unknown, Expiry::CheckAt(Uptime(HOUR)));
    }

    #[test]
    fn a_host_is_first_checked_after_its_ttl_unless_nothing_of_it_can_expire() {
        let check = |host: &Host| first_check(host, host.wanted, &DEFAULTS, Uptime(5));
        let forever = Host { expiry_ttl: Some(0), ..host() };
        let found = (check(&host()), check(&forever), check(&fresh_host()));
        assert_eq!(found, (Some(Uptime(HOUR + 5)), None, None));
    }
}
