//! What is mailed to the owner of a host: kept in the host's row from the moment a change is
//! wanted, queued when DNS holds it.

use super::family::{Families, PerFamily};
use super::name::HostNames;
use super::time::Millis;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::net::IpAddr;

/// Whether a client asks for a mail about a change (`notify_change=1`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Notify {
    #[default]
    No,
    Yes,
}

/// Which mails are sent at all: mail is enabled, and their template is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mails {
    /// About changes, to owners whose client asks for it.
    pub change: bool,
    /// About hosts that expired.
    pub expiry: bool,
}

/// What a mail is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    Change,
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

    /// The kind of that name in the outbox.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Change, Self::Expiry].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// What a mail says of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FamilyNotice {
    /// Whether the mail is about this one.
    pub included: bool,
    /// The new address, or the last one before it expired.
    pub address: Option<IpAddr>,
    /// When it was last updated.
    pub updated_at: Option<Millis>,
}

/// What a mail says. It does not change any more once the change is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    pub families: PerFamily<FamilyNotice>,
    /// The host's time to expire, seconds.
    pub expiry_ttl: u32,
}

impl Notice {
    /// The families that it is about.
    pub fn included(&self) -> Families {
        self.families.map(|family| family.included)
    }

    pub fn is_about_any(&self) -> bool {
        self.families.any(|family| family.included)
    }

    /// The template's variables, an object; times are milliseconds since 1970 UTC.
    pub fn variables(&self, kind: NoticeKind, names: &HostNames) -> Value {
        let PerFamily { v4, v6 } = &self.families;
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
            "hostname": names.label.to_unicode(),
            "zone": names.zone.to_unicode(),
            "fqdn": names.fqdn.to_unicode(),
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

/// The mails that are queued for the owner of a host once DNS holds what is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingNotices {
    /// About a change, if a client asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<Notice>,
    /// About what expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiry: Option<Notice>,
}

impl PendingNotices {
    /// Each mail.
    pub fn mails(&self) -> impl Iterator<Item = (NoticeKind, &Notice)> {
        let change = self.change.iter().map(|notice| (NoticeKind::Change, notice));
        change.chain(self.expiry.iter().map(|notice| (NoticeKind::Expiry, notice)))
    }

    /// `None` if there is no mail.
    pub fn if_any(self) -> Option<Self> {
        (self != Self::default()).then_some(self)
    }
}
