//! What the owner of a host is to be told, once DNS holds what it is about: kept in the host's row from
//! the moment a change is wanted, mailed when it is settled.

use super::host::Host;
use super::time::Millis;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Whether a client wants its user to hear of a change (`notify_change=1`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Notify {
    /// It did not ask for a mail.
    #[default]
    No,
    /// It did.
    Yes,
}

/// Which mails are sent at all: mail is enabled, and their template is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mails {
    /// About changes, to those who asked for it.
    pub change: bool,
    /// About hosts that expired.
    pub expiry: bool,
}

/// The two mails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// About a change.
    Change,
    /// About a host that expired.
    Expiry,
}

impl NoticeKind {
    /// As the outbox names it.
    pub fn as_str(self) -> &'static str {
        match self {
            NoticeKind::Change => "change",
            NoticeKind::Expiry => "expiry",
        }
    }
}

/// What a mail says of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FamilyNotice<A> {
    /// Whether the mail is about this one.
    pub included: bool,
    /// Its address: the new one, or the last one before it expired.
    pub address: Option<A>,
    /// When it was last updated.
    pub updated_at: Option<Millis>,
}

/// What a mail says; fixed once it is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Of the A record.
    pub v4: FamilyNotice<Ipv4Addr>,
    /// Of the AAAA record.
    pub v6: FamilyNotice<Ipv6Addr>,
    /// The host's time to expire, seconds.
    pub expiry_ttl: u32,
}

impl Notice {
    /// Whether it is about anything.
    pub fn is_about_any(&self) -> bool {
        self.v4.included || self.v6.included
    }

    /// The template's variables, as SPEC names them; times are milliseconds since 1970 UTC.
    pub fn variables(&self, kind: NoticeKind, host: &Host) -> Value {
        let (v4, v6) = (&self.v4, &self.v6);
        let mut variables = match kind {
            NoticeKind::Change => json!({
                "ipv4_changed": v4.included, "ipv4": v4.address,
                "ipv6_changed": v6.included, "ipv6": v6.address,
            }),
            NoticeKind::Expiry => json!({
                "ipv4_expired": v4.included, "last_ipv4": v4.address,
                "ipv6_expired": v6.included, "last_ipv6": v6.address,
            }),
        };
        let of_both = json!({
            "hostname": host.label.to_unicode(),
            "zone": host.zone.to_unicode(),
            "fqdn": host.fqdn.to_unicode(),
            "last_ipv4_update": v4.updated_at,
            "last_ipv6_update": v6.updated_at,
            "expiry_ttl": self.expiry_ttl,
        });
        if let (Value::Object(all), Value::Object(more)) = (&mut variables, of_both) {
            all.extend(more);
        }
        variables
    }
}

/// What is owed to the owner of a host that DNS does not hold yet as it is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingNotices {
    /// Of a change that somebody asked to hear of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<Notice>,
    /// Of what expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiry: Option<Notice>,
}

impl PendingNotices {
    /// Each mail that is owed.
    pub fn mails(&self) -> impl Iterator<Item = (NoticeKind, &Notice)> {
        let change = self.change.iter().map(|notice| (NoticeKind::Change, notice));
        change.chain(self.expiry.iter().map(|notice| (NoticeKind::Expiry, notice)))
    }

    /// Nothing, or this.
    pub fn if_any(self) -> Option<Self> {
        (self != Self::default()).then_some(self)
    }
}
