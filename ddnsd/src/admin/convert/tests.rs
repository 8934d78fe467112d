//! The longest possible replies fit a frame.

use super::bounds::cut;
use super::samples::details;
use super::status::{reloaded, swept, synced};
use crate::config::{Difference, Differences};
use crate::model::family::Family;
use crate::model::mail::{MailId, QueuedMail};
use crate::model::name::Fqdn;
use crate::model::time::Millis;
use crate::reload::ReloadResult;
use crate::stories::expire::Swept;
use crate::stories::hosts::sync::{Drift, InDns, Repair, SyncPage};
use ddnsd_proto::host::HostView;
use ddnsd_proto::transfer::{self, Confidential};
use ddnsd_proto::transport::MAX_FRAME;
use ddnsd_proto::{MAX_PAGE, Page};
use std::net::Ipv6Addr;

/// The longest possible name in U-labels: four bytes for each character of an A-label.
fn long_name() -> Fqdn {
    let label = "\u{20000}".repeat(54);
    Fqdn::parse(&[label.as_str(); 4].join(".")).unwrap()
}

fn longest_host() -> HostView {
    // 63 octets of A-label are at most 59 characters; a control character takes 6 bytes in JSON
    HostView {
        fqdn: "a".repeat(253),
        unicode: "\u{10ffff}".repeat(4 * 59),
        hostname: "a".repeat(253),
        zone: "a".repeat(253),
        user: "\u{10ffff}".repeat(64),
        last_error: Some(cut("\u{1}".repeat(9999))),
        unserved: Some(cut("\u{1}".repeat(9999))),
        ipv6_suffix: Some(Ipv6Addr::from_bits(u128::MAX)),
        follows: Some("a".repeat(253)),
        ipv6_prefix: Some("f".repeat(43)),
        no_ipv6: Some("x".repeat(150)),
        ..HostView::default()
    }
}

#[test]
fn the_longest_replies_fit_a_frame() {
    let rows = vec![longest_host(); MAX_PAGE as usize];
    assert!(serde_json::to_vec(&Page { rows, next: None }).unwrap().len() < MAX_FRAME);
    let longest = transfer::UserRecord {
        name: "\u{10ffff}".repeat(64),
        email: "\"".repeat(254),
        password_hash: Confidential("\u{1}".repeat(512)),
        created_at: i64::MIN,
        suspended_at: Some(i64::MIN),
    };
    let rows = vec![longest; MAX_PAGE as usize];
    assert!(serde_json::to_vec(&Page { rows, next: None }).unwrap().len() < MAX_FRAME);
    let most = swept(Swept {
        expired: vec![long_name(); 100_000],
        failed: vec![(long_name(), "\u{1}".repeat(9999)); 100_000],
        pending: u64::MAX,
    });
    assert_eq!((most.expired_total, most.failed_total), (100_000, 100_000));
    assert!(most.expired.len() > 500 && most.failed.len() > 100, "{}", most.failed.len());
    assert!(serde_json::to_vec(&most).unwrap().len() < MAX_FRAME);
    let longest = Drift {
        host: details(|host| host.fqdn = long_name()).host,
        family: Family::V6,
        found: InDns { records: vec!["x".repeat(40); 4000], ttl: Some(1) },
        wanted: None,
        wanted_ttl: 1,
        repair: Repair::NotYet("\u{1}".repeat(9999)),
    };
    let page = synced(SyncPage { drift: vec![longest; 400], ..SyncPage::default() });
    assert!(serde_json::to_vec(&page).unwrap().len() < MAX_FRAME);
    let long = || "\u{1}".repeat(9999);
    let keys = vec![Difference { key: long(), values: Some((long(), long())) }; 1000];
    let reloaded = |configuration| {
        reloaded(ReloadResult { configuration, log_problem: Some("\u{1}".repeat(9999)) })
    };
    let most = reloaded(Ok(Differences { changed: keys.clone(), needs_restart: keys }));
    assert_eq!((most.changed_total, most.problems_total), (1000, 0));
    assert!(serde_json::to_vec(&most).unwrap().len() < MAX_FRAME);
    let most = reloaded(Err(vec![long(); 1000]));
    assert_eq!((most.changed_total, most.problems_total), (0, 1000));
    assert!(serde_json::to_vec(&most).unwrap().len() < MAX_FRAME);
}

#[test]
fn the_longest_page_of_mails_fits_a_frame() {
    let longest = QueuedMail {
        id: MailId(i64::MIN),
        kind: None,
        recipient: "\u{1}".repeat(9999),
        variables: serde_json::json!({ "fqdn": "\u{1}".repeat(9999) }).to_string(),
        message_id: String::new(),
        created_at: Millis(i64::MIN),
        next_at: Millis(i64::MIN),
        attempts: u32::MAX,
        last_error: Some("\u{1}".repeat(9999)),
        failed_at: Some(Millis(i64::MIN)),
    };
    let page = super::mail::page(vec![longest; MAX_PAGE as usize], MAX_PAGE);
    assert!(serde_json::to_vec(&page).unwrap().len() < MAX_FRAME);
}
