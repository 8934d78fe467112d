//! Between the model and what travels to `ddnsctl`; pure. Everything is cut to what fits a frame, so
//! that no reply ends the connection.

mod outcomes;

use super::connection::VERSION;
use crate::config::{Defaults, Difference, Differences};
use crate::model::host::{Host, HostDetails};
use crate::model::name::{Fqdn, Label, Zone};
use crate::model::user::{User, UserRecord};
use crate::stories::error::{AdminError, AdminErrorKind};
use crate::stories::hosts::modify::{Modified, Modify, NewTtl};
use crate::stories::hosts::{Added, HostFilter, NewHost, Shown};
use crate::stories::import::{Existing, ImportReport, StagedLine};
use crate::stories::status::{Snapshot, ZoneState};
use ddnsd_proto::error::{Refusal, RefusalKind};
use ddnsd_proto::host::{
    self as proto, AddHost, AddedHost, HostState, HostView, LastRequestView, ListHosts, ModifyHost,
    StoredHost,
};
use ddnsd_proto::reload::{ChangedKey, Reloaded};
use ddnsd_proto::status::{HostName, Named, StatusView, ZoneView};
use ddnsd_proto::transfer::{self, BeginImport, Confidential};
use ddnsd_proto::user::UserView;
use ddnsd_proto::{MAX_PAGE, Page};
use outcomes::host_name;
pub(super) use outcomes::{deleted, swept, synced};
use std::sync::Arc;

/// Characters of an error text that are sent.
const MAX_TEXT: usize = 500;

/// Keys and problems of a configuration that are sent.
const MAX_KEYS: usize = 100;

/// Zones that are sent.
const MAX_ZONES: usize = 500;

fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_TEXT) {
        text.truncate(end);
    }
    text
}

/// The page size that a client gets.
pub(super) fn limit(asked: u32) -> u32 {
    if asked == 0 { MAX_PAGE } else { asked.min(MAX_PAGE) }
}

/// A page of rows that were asked for with `limit`; a full one may have a next.
pub(super) fn page<T>(
    rows: impl Iterator<Item = T>,
    limit: u32,
    key: impl Fn(&T) -> &String,
) -> Page<T> {
    let rows: Vec<T> = rows.collect();
    let full = u32::try_from(rows.len()).is_ok_and(|count| count >= limit);
    let next = rows.last().filter(|_| full).map(|last| key(last).clone());
    Page { rows, next }
}

/// What a client asked to add.
pub(super) fn new_host(host: AddHost) -> NewHost {
    let AddHost { user, hostname: label, zone, dns_ttl, expiry_ttl } = host;
    NewHost { user, label, zone, dns_ttl, expiry_ttl }
}

/// What was added.
pub(super) fn added(host: &Added, defaults: Defaults) -> AddedHost {
    let Added { label, zone, fqdn, dns_ttl, expiry_ttl, .. } = host;
    let stored = stored((label, zone, fqdn), (*dns_ttl, *expiry_ttl), defaults);
    AddedHost { host: Some(stored), user: host.user.as_str().to_owned() }
}

fn stored(
    (label, zone, fqdn): (&Label, &Zone, &Fqdn),
    (dns_ttl, expiry_ttl): (Option<u32>, Option<u32>),
    defaults: Defaults,
) -> StoredHost {
    let HostName { fqdn, unicode } = host_name(fqdn);
    StoredHost {
        fqdn,
        unicode,
        hostname: label.as_str().to_owned(),
        zone: zone.as_str().to_owned(),
        dns_ttl: dns_ttl.unwrap_or(defaults.dns_ttl),
        dns_ttl_is_default: dns_ttl.is_none(),
        expiry_ttl: expiry_ttl.unwrap_or(defaults.expiry_ttl),
        expiry_ttl_is_default: expiry_ttl.is_none(),
    }
}

/// What a client asked to list.
pub(super) fn host_filter(query: ListHosts) -> HostFilter {
    let ListHosts { user, zone, after, limit: asked } = query;
    HostFilter { user, zone, after, limit: limit(asked) }
}

/// What a client asked to modify.
pub(super) fn modify(host: ModifyHost) -> Modify {
    let new = |ttl: Option<proto::NewTtl>| ttl.map_or(NewTtl::Keep, |ttl| NewTtl::Set(ttl.seconds));
    let ModifyHost { hostname: label, zone, dns_ttl, expiry_ttl } = host;
    Modify { label, zone, dns_ttl: new(dns_ttl), expiry_ttl: new(expiry_ttl) }
}

/// What became of it.
pub(super) fn modified(
    (host, modified): (Arc<Host>, Modified),
    defaults: Defaults,
) -> proto::Modified {
    let changed = modified != Modified::Nothing;
    let not_yet_published = match modified {
        Modified::NotYetPublished(why) => Some(cut(why)),
        Modified::Nothing | Modified::Done => None,
    };
    let names = (&host.label, &host.zone, &host.fqdn);
    let stored = stored(names, (host.dns_ttl, host.expiry_ttl), defaults);
    proto::Modified { changed, not_yet_published, host: Some(stored) }
}

/// A user for an export.
pub(super) fn record(user: &UserRecord) -> transfer::UserRecord {
    transfer::UserRecord {
        name: user.name.as_str().to_owned(),
        email: user.email.as_str().to_owned(),
        password_hash: Confidential(user.hash.0.to_string()),
        created_at: user.created_at.0,
    }
}

/// What an import does with what is there already.
pub(super) fn existing(import: &BeginImport) -> Existing {
    if import.skip_existing { Existing::Skip } else { Existing::Refuse }
}

/// A line of an import.
pub(super) fn line(line: transfer::Line) -> StagedLine {
    let transfer::Line { number, text, fault } = line;
    StagedLine { number, text: text.0, fault }
}

/// What an import did.
pub(super) fn imported(imported: ImportReport) -> transfer::Imported {
    let problem = |(line, problem)| transfer::Problem { line, problem: cut(problem) };
    transfer::Imported {
        users: imported.users,
        hosts: imported.hosts,
        existing_users: imported.existing_users,
        existing_hosts: imported.existing_hosts,
        problems: imported.problems.into_iter().map(problem).collect(),
        problems_total: imported.problems_total,
    }
}

/// Why a story refused.
pub(super) fn refusal(refused: AdminError) -> Refusal {
    let kind = match refused.kind {
        AdminErrorKind::NotFound => RefusalKind::NotFound,
        AdminErrorKind::Exists => RefusalKind::Exists,
        AdminErrorKind::InUse => RefusalKind::InUse,
        AdminErrorKind::Invalid => RefusalKind::Invalid,
        AdminErrorKind::Dns => RefusalKind::Dns,
        AdminErrorKind::Database => RefusalKind::Database,
        AdminErrorKind::Busy => RefusalKind::Busy,
    };
    Refusal { kind, message: cut(refused.message) }
}

/// A user.
pub(super) fn user(user: &User) -> UserView {
    UserView {
        name: user.name.as_str().to_owned(),
        email: user.email.as_str().to_owned(),
        hostnames: user.hosts,
        created_at: user.created_at.0,
    }
}

/// A host, its TTLs as they are in force.
pub(super) fn host(details: &HostDetails, defaults: Defaults) -> HostView {
    let host = &details.host;
    let wanted = host.wanted.addresses();
    HostView {
        fqdn: host.fqdn.as_str().to_owned(),
        unicode: host.fqdn.to_unicode(),
        hostname: host.label.as_str().to_owned(),
        zone: host.zone.as_str().to_owned(),
        user: details.owner.as_str().to_owned(),
        state: state(details),
        ipv4: wanted.v4,
        ipv6: wanted.v6,
        last_ipv4: details.last_addresses.v4,
        last_ipv6: details.last_addresses.v6,
        ipv4_updated_at: details.seen.v4.map(|at| at.0),
        ipv6_updated_at: details.seen.v6.map(|at| at.0),
        dns_ttl: host.dns_ttl.unwrap_or(defaults.dns_ttl),
        dns_ttl_is_default: host.dns_ttl.is_none(),
        expiry_ttl: host.expiry_ttl.unwrap_or(defaults.expiry_ttl),
        expiry_ttl_is_default: host.expiry_ttl.is_none(),
        pending_since: host.unpublished_since.map(|at| at.0),
        attempts: details.attempts,
        last_error: details.last_error.clone().map(cut),
        created_at: details.created_at.0,
        last_request: None,
    }
}

/// A host with the last request for it.
pub(super) fn shown(shown: Shown, defaults: Defaults) -> HostView {
    let last = shown.last_request.map(|last| LastRequestView {
        at: last.at.0,
        client: last.client.to_string(),
        user_agent: last.user_agent.map(|agent| agent.as_ref().to_owned()),
        word: last.return_code.into_owned(),
        reason: last.reason.map(|reason| cut(reason.into())),
    });
    HostView { last_request: last, ..host(&shown.details, defaults) }
}

fn state(details: &HostDetails) -> HostState {
    let host = &details.host;
    if host.wanted.is_untouched() {
        HostState::NeverUpdated
    } else if host.unpublished_since.is_some() {
        HostState::Pending
    } else if host.wanted.addresses().is_empty() {
        HostState::Absent
    } else {
        HostState::Published
    }
}

/// What a reload did, or why it did nothing.
pub(super) fn reloaded(outcome: Result<Differences, Vec<String>>) -> Reloaded {
    let key = |Difference { key, values }| {
        let (old, new) = values.map_or((None, None), |(old, new)| (Some(cut(old)), Some(cut(new))));
        ChangedKey { key: cut(key), old, new }
    };
    let keys = |keys: Vec<Difference>| keys.into_iter().take(MAX_KEYS).map(key).collect();
    match outcome {
        Ok(Differences { changed, needs_restart }) => Reloaded {
            changed_total: changed.len() as u64,
            changed: keys(changed),
            needs_restart: keys(needs_restart),
            ..Reloaded::default()
        },
        Err(problems) => Reloaded {
            problems_total: problems.len() as u64,
            problems: problems.into_iter().take(MAX_KEYS).map(cut).collect(),
            ..Reloaded::default()
        },
    }
}

/// The daemon's state.
pub(super) fn status(snapshot: Snapshot) -> StatusView {
    let named = |(name, value)| Named { name, value };
    let zone = |zone: ZoneState| ZoneView {
        zone: zone.zone,
        down: zone.down,
        pending: zone.pending,
        last_error: zone.last_error.map(cut),
    };
    StatusView {
        version: VERSION.to_owned(),
        uptime_ms: snapshot.uptime_ms,
        database_error: snapshot.database.map(cut),
        database_write_error: snapshot.writing.map(cut),
        users: snapshot.users,
        hosts: snapshot.hosts,
        pending: snapshot.pending,
        zones: snapshot.zones.into_iter().take(MAX_ZONES).map(zone).collect(),
        queues: snapshot.queues.into_iter().map(named).collect(),
        counters: snapshot.counters.into_iter().map(named).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::address::{Addresses, Family, PerFamily};
    use crate::model::host::{Acked, HostId, Seen};
    use crate::model::name::UserName;
    use crate::model::record::Wanted;
    use crate::model::time::Millis;
    use crate::model::user::UserId;
    use crate::rules::drift::InDns;
    use crate::stories::expire::Swept;
    use crate::stories::hosts::sync::{Drift, Repair, SyncPage};
    use ddnsd_proto::transport::MAX_FRAME;
    use std::net::Ipv4Addr;

    const DEFAULTS: Defaults = Defaults { dns_ttl: 60, expiry_ttl: 3600 };
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    fn details(change: impl FnOnce(&mut Host)) -> HostDetails {
        let mut host = Host {
            id: HostId(1),
            user: UserId(1),
            label: Label::parse("pc").unwrap(),
            zone: Zone::parse("example.org").unwrap(),
            fqdn: Fqdn::parse("pc.example.org").unwrap(),
            dns_ttl: None,
            expiry_ttl: Some(0),
            wanted: PerFamily::default(),
            acked: Acked::default(),
            unpublished_since: None,
            notices: None,
            version: 1,
        };
        change(&mut host);
        HostDetails {
            seen: Seen { v4: Some(Millis(7)), v6: None },
            host: Arc::new(host),
            owner: UserName::parse("alice").unwrap(),
            created_at: Millis(1),
            last_addresses: Addresses { v4: Some(ADDRESS), v6: None },
            attempts: 3,
            last_error: Some("x".repeat(1000)),
        }
    }

    #[test]
    fn a_host_shows_the_ttls_in_force_and_which_of_them_are_defaults() {
        let view = host(&details(|_| ()), DEFAULTS);
        assert_eq!((view.dns_ttl, view.dns_ttl_is_default), (60, true));
        assert_eq!((view.expiry_ttl, view.expiry_ttl_is_default), (0, false));
        assert_eq!((view.ipv4, view.last_ipv4), (None, Some(ADDRESS)));
        assert_eq!((view.ipv4_updated_at, view.ipv6_updated_at), (Some(7), None));
        assert_eq!(view.last_error.unwrap().len(), MAX_TEXT);
    }

    #[test]
    fn the_state_of_a_host_follows_what_is_wanted_and_what_is_known() {
        let state_of = |v4, unpublished_since| {
            let details = details(|host| {
                host.wanted.v4 = v4;
                host.unpublished_since = unpublished_since;
            });
            host(&details, DEFAULTS).state
        };
        assert_eq!(state_of(Wanted::Untouched, None), HostState::NeverUpdated);
        assert_eq!(state_of(Wanted::Present(ADDRESS), None), HostState::Published);
        assert_eq!(state_of(Wanted::Present(ADDRESS), Some(Millis(9))), HostState::Pending);
        assert_eq!(state_of(Wanted::Absent, None), HostState::Absent);
        assert_eq!(state_of(Wanted::Absent, Some(Millis(9))), HostState::Pending);
    }

    #[test]
    fn a_ttl_that_is_not_given_stays_and_one_without_seconds_is_the_default() {
        let new = |seconds| Some(proto::NewTtl { seconds });
        let host = ModifyHost { dns_ttl: new(None), ..ModifyHost::default() };
        assert_eq!(
            (modify(host.clone()).dns_ttl, modify(host).expiry_ttl),
            (NewTtl::Set(None), NewTtl::Keep)
        );
        let host = ModifyHost { expiry_ttl: new(Some(0)), ..ModifyHost::default() };
        assert_eq!(modify(host).expiry_ttl, NewTtl::Set(Some(0)));
        let modified = |what| modified((details(|_| ()).host, what), DEFAULTS);
        let late = modified(Modified::NotYetPublished("down".to_owned()));
        assert_eq!((late.changed, late.not_yet_published.as_deref()), (true, Some("down")));
        let nothing = modified(Modified::Nothing);
        assert_eq!((nothing.changed, nothing.not_yet_published), (false, None));
        let host = nothing.host.unwrap();
        assert_eq!((host.dns_ttl, host.dns_ttl_is_default), (60, true));
        assert_eq!((host.expiry_ttl, host.expiry_ttl_is_default), (0, false));
    }

    #[test]
    fn a_full_page_names_its_next_and_a_short_one_ends_the_list() {
        let rows = || ["a", "b"].into_iter().map(str::to_owned);
        assert_eq!(page(rows(), 2, |row| row).next.as_deref(), Some("b"));
        assert_eq!(page(rows(), 3, |row| row).next, None);
        assert_eq!((limit(0), limit(7), limit(u32::MAX)), (MAX_PAGE, 7, MAX_PAGE));
    }

    /// As long as a name can be in U-labels: four octets for each of an A-label's characters.
    fn long_name() -> Fqdn {
        let label = "\u{20000}".repeat(54);
        Fqdn::parse(&[label.as_str(); 4].join(".")).unwrap()
    }

    #[test]
    fn the_longest_replies_fit_a_frame() {
        // 63 octets of A-label are at most 59 characters; a control character takes 6 bytes in JSON
        let longest = HostView {
            fqdn: "a".repeat(253),
            unicode: "\u{10ffff}".repeat(4 * 59),
            hostname: "a".repeat(253),
            zone: "a".repeat(253),
            user: "\u{10ffff}".repeat(64),
            last_error: Some(cut("\u{1}".repeat(9999))),
            ..HostView::default()
        };
        let rows = vec![longest; MAX_PAGE as usize];
        assert!(serde_json::to_vec(&Page { rows, next: None }).unwrap().len() < MAX_FRAME);
        let longest = transfer::UserRecord {
            name: "\u{10ffff}".repeat(64),
            email: "\"".repeat(254),
            password_hash: Confidential("\u{1}".repeat(512)),
            created_at: i64::MIN,
        };
        let rows = vec![longest; MAX_PAGE as usize];
        assert!(serde_json::to_vec(&Page { rows, next: None }).unwrap().len() < MAX_FRAME);
        let most = swept(Swept {
            expired: vec![long_name(); 100_000],
            failed: vec![(long_name(), "\u{1}".repeat(9999)); 100_000],
            pending: u64::MAX,
        });
        assert_eq!((most.expired_total, most.failed_total), (100_000, 100_000));
        let some = (most.expired.len(), most.expired_hosts.len(), most.failed.len());
        assert!(some.0 == some.1 && some.0 > 500 && some.2 > 100, "{some:?}");
        assert!(serde_json::to_vec(&most).unwrap().len() < MAX_FRAME);
        let longest = Drift {
            host: details(|host| host.fqdn = long_name()).host,
            family: Family::V6,
            found: InDns { records: vec!["x".repeat(40); 4000], is_alias: false, ttl: Some(1) },
            wanted: None,
            wanted_ttl: 1,
            repair: Repair::NotYet("\u{1}".repeat(9999)),
        };
        let page = synced(SyncPage { drift: vec![longest; 200], ..SyncPage::default() });
        assert!(serde_json::to_vec(&page).unwrap().len() < MAX_FRAME);
        let long = || "\u{1}".repeat(9999);
        let keys = vec![Difference { key: long(), values: Some((long(), long())) }; 1000];
        let most = reloaded(Ok(Differences { changed: keys.clone(), needs_restart: keys }));
        assert_eq!((most.changed_total, most.problems_total), (1000, 0));
        assert!(serde_json::to_vec(&most).unwrap().len() < MAX_FRAME);
        let most = reloaded(Err(vec![long(); 1000]));
        assert_eq!((most.changed_total, most.problems_total), (0, 1000));
        assert!(serde_json::to_vec(&most).unwrap().len() < MAX_FRAME);
    }
}
