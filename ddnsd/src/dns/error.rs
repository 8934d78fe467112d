//! Why a change is not, or not known to be, in DNS. In: the name server's response. Out: one
//! sentence with the likely cause.

use crate::model::name::{Fqdn, Zone};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::tsig::TsigError;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Why publishing failed. Cheap to clone: the hosts of one message share it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DnsError {
    /// The server answered, authentically, that it did not apply the update.
    #[error("name server {server} refused the update of zone `{zone}`: {refusal}")]
    Refused { server: SocketAddr, zone: Zone, refusal: Refusal },
    /// A response whose sender did not prove that it knows the key.
    #[error(
        "name server {server} gave an unsigned answer to the update of zone `{zone}`: {refusal}"
    )]
    Unverified {
        server: SocketAddr,
        zone: Zone,
        /// A hint only.
        refusal: Refusal,
    },
    /// By UDP only a response whose sender did not prove that it knows the key; by TCP none.
    #[error(
        "name server {server} did not answer the update of zone `{zone}` by TCP (is it reachable \
         by that?), and by UDP without a signature: {refusal}"
    )]
    NoAnswerByTcp {
        server: SocketAddr,
        zone: Zone,
        /// The response by UDP, a hint only.
        refusal: Refusal,
    },
    /// A response came in time, but none that is believed.
    #[error(
        "name server {server} gave no answer that counts to the update of zone `{zone}` within {} \
         s: {dropped}", .timeout.as_secs_f32()
    )]
    Dropped { server: SocketAddr, zone: Zone, timeout: Duration, dropped: Dropped },
    /// No response in time at all.
    #[error(
        "name server {server} did not answer the update of zone `{zone}` within {} s (is it \
         running, reachable by UDP and TCP, and does it answer from this address?)", .timeout.as_secs_f32()
    )]
    NoAnswer { server: SocketAddr, zone: Zone, timeout: Duration },
    /// The server answers other hosts, and repeatedly did not answer a message of this host alone.
    #[error(
        "name server {server} answers other updates of zone `{zone}`, but repeatedly none of this \
         host (does its log show why?)"
    )]
    HostUnanswered { server: SocketAddr, zone: Zone },
    /// The connection was refused or broke.
    #[error("cannot reach name server {server} to update zone `{zone}` (is it running?)")]
    Unreachable { server: SocketAddr, zone: Zone, source: Arc<io::Error> },
    /// An earlier message had no answer, and the back-off is not over; nothing was sent.
    #[error("name server {server} is down for zone `{zone}`, so nothing was sent")]
    Down { server: SocketAddr, zone: Zone },
    /// Too many changes are queued for the zone; nothing was sent.
    #[error("too many changes wait for zone `{zone}`, so nothing was sent (try again later)")]
    Overloaded { zone: Zone },
    /// The key cannot be used; nothing was sent.
    #[error("cannot sign updates of zone `{zone}`: the key's name `{key}` is not a DNS name")]
    BadKeyName { zone: Zone, key: String },
    /// The built-in name server has no such zone.
    #[error(
        "ddnsd's own name server does not serve zone `{zone}` (add it to dns_service.builtin.zones \
         and reload)"
    )]
    NotServed { zone: Zone },
    /// The name belongs to the zone itself.
    #[error(
        "`{name}` is a name server of dns_service.builtin.nameserver_addresses, whose addresses \
         stand there (choose another hostname)"
    )]
    NameServerName { name: Fqdn },
    /// A query for the name is answered from another zone.
    #[error(
        "`{name}` lies in zone `{inner}`, which ddnsd serves too (add the hostname in that zone)"
    )]
    InInnerZone { name: Fqdn, inner: Zone },
    /// The zone's worker ended early: the daemon stops, or has a bug.
    #[error("publishing to zone `{zone}` was broken off (the change is sent again later)")]
    BrokenOff { zone: Zone },
}

impl DnsError {
    /// Whether the server gave no answer that counts, so that it is of no use to send another host
    /// now.
    pub fn is_unanswered(&self) -> bool {
        matches!(
            self,
            Self::NoAnswer { .. }
                | Self::Dropped { .. }
                | Self::NoAnswerByTcp { .. }
                | Self::Unreachable { .. }
                | Self::Down { .. }
        )
    }

    /// Whether the server may have answered so because it has another key by now.
    pub fn may_be_of_key(&self) -> bool {
        let (Self::Refused { refusal, .. }
        | Self::Unverified { refusal, .. }
        | Self::NoAnswerByTcp { refusal, .. }) = self
        else {
            return false;
        };
        let is_refused = matches!(refusal.rcode, ResponseCode::Refused | ResponseCode::NotAuth);
        refusal.key.is_some()
            && match refusal.tsig {
                Some(error) => matches!(error, TsigError::BadSig | TsigError::BadKey),
                None => is_refused,
            }
    }

    /// The RCODE's name, or what stands for it, as [`crate::counters::ZoneCounters`] counts it.
    pub(super) fn result(&self) -> &'static str {
        match self {
            Self::Refused { refusal, .. } => rcode_name(refusal.rcode).unwrap_or("other"),
            Self::Unverified { .. } | Self::NoAnswerByTcp { .. } => "unsigned",
            _ => "unanswered",
        }
    }

    /// The server's refusal, with or without a signature.
    pub(super) fn refusal(&self) -> Option<&Refusal> {
        match self {
            DnsError::Refused { refusal, .. } | DnsError::Unverified { refusal, .. } => {
                Some(refusal)
            }
            _ => None,
        }
    }
}

/// A message that came instead of the response, and why it is not believed. It proves nothing: it
/// may be forged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// `None` if it is no DNS message.
    rcode: Option<ResponseCode>,
    /// With the likely cause.
    why: String,
    /// Whether it has the id of the request: rarely a forged one.
    has_id: bool,
}

impl Dropped {
    pub(super) fn no_message() -> Self {
        Self { rcode: None, why: "it is no DNS message".to_owned(), has_id: false }
    }

    pub(super) fn other_id(rcode: ResponseCode) -> Self {
        let why = "its id is not that of the request".to_owned();
        Self { rcode: Some(rcode), why, has_id: false }
    }

    /// With the id of the request.
    pub(super) fn with_id(rcode: ResponseCode, why: impl Into<String>) -> Self {
        Self { rcode: Some(rcode), why: why.into(), has_id: true }
    }

    pub(super) fn truncated() -> Self {
        let why =
            "it was truncated, and nothing better came by TCP (is the server reachable by it?)";
        Self { rcode: None, why: why.to_owned(), has_id: true }
    }

    /// What to report of two that came one after the other.
    pub(super) fn or_later(self, later: Self) -> Self {
        if self.has_id && !later.has_id { self } else { later }
    }
}

impl fmt::Display for Dropped {
    /// `NOTIMP came and was dropped, because …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rcode {
            Some(rcode) => Rcode(rcode).fmt(f)?,
            None => f.write_str("a message")?,
        }
        write!(f, " came and was dropped, because {}", self.why)
    }
}

/// A response other than success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub(super) rcode: ResponseCode,
    /// The error in its TSIG record.
    pub(super) tsig: Option<TsigError>,
    /// The server's clock, seconds since 1970, which comes with BADTIME.
    pub(super) server_time: Option<i64>,
    /// The key that the request was signed with.
    pub(super) key: Option<Arc<str>>,
}

impl Refusal {
    /// Whether it says that a prerequisite does not hold (RFC 2136, 2.4).
    pub(super) fn is_of_prerequisite(&self) -> bool {
        use ResponseCode::{NXDomain, NXRRSet, YXDomain, YXRRSet};
        matches!(self.rcode, NXRRSet | YXRRSet | NXDomain | YXDomain)
    }

    /// Whether it would be the same for any other update of the zone: RFC 8945, 5.2 checks the
    /// signature before the rest of the message. Not so BADKEY: Knot answers it when a policy
    /// forbids one name.
    pub(super) fn concerns_every_host(&self) -> bool {
        matches!(self.tsig, Some(TsigError::BadSig | TsigError::BadTime | TsigError::BadTrunc))
    }

    fn hint(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(key) = &self.key else {
            return f.write_str(unsigned_hint(self.rcode));
        };
        match (self.rcode, self.tsig) {
            (_, Some(TsigError::BadSig)) => {
                write!(f, "is the secret of TSIG key `{key}` the same on both sides?")
            }
            (_, Some(TsigError::BadKey)) => write!(
                f,
                "does it know TSIG key `{key}` with this algorithm, and does its policy let the \
                 key update this name?"
            ),
            (_, Some(TsigError::BadTime)) => self.clock_hint(f),
            (_, Some(TsigError::BadTrunc)) => f.write_str("it demands a longer MAC than it got"),
            (ResponseCode::NoError, _) => {
                write!(f, "a success that is not signed with TSIG key `{key}` does not count")
            }
            (ResponseCode::NotAuth, _) => {
                write!(f, "is it primary for this zone, and does it know the TSIG key `{key}`?")
            }
            (ResponseCode::Refused, _) => write!(
                f,
                "does it know TSIG key `{key}` with the same secret and clock, does its policy let \
                 the key update this name, is it the primary, and is the zone frozen?"
            ),
            (rcode, _) => f.write_str(unsigned_hint(rcode)),
        }
    }

    fn clock_hint(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.server_time.and_then(|at| jiff::Timestamp::from_second(at).ok()) {
            Some(at) => write!(f, "the clocks differ by more than 300 s; the server's shows {at}"),
            None => f.write_str("the clocks differ by more than 300 s"),
        }
    }
}

impl fmt::Display for Refusal {
    /// `NOTAUTH/BADSIG (is the secret …?)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Rcode(self.rcode).fmt(f)?;
        match self.tsig {
            Some(TsigError::BadSig) => f.write_str("/BADSIG")?,
            Some(TsigError::BadKey) => f.write_str("/BADKEY")?,
            Some(TsigError::BadTime) => f.write_str("/BADTIME")?,
            Some(TsigError::BadTrunc) => f.write_str("/BADTRUNC")?,
            Some(TsigError::Unknown(code)) => write!(f, "/TSIG error {code}")?,
            None => {}
        }
        f.write_str(" (")?;
        self.hint(f)?;
        f.write_str(")")
    }
}

fn unsigned_hint(rcode: ResponseCode) -> &'static str {
    match rcode {
        ResponseCode::FormErr => "it did not understand the update",
        ResponseCode::ServFail => "see its log; often the zone's file or journal cannot be written",
        ResponseCode::NotImp => "it takes no dynamic updates",
        ResponseCode::Refused => {
            "does its policy let this address send unsigned updates, is it the primary, and is the \
             zone frozen?"
        }
        ResponseCode::YXRRSet => "a CNAME stands at the name; remove it from the zone",
        ResponseCode::NotAuth => "is it primary for this zone, and does it demand a TSIG key?",
        ResponseCode::NotZone => "the name does not lie in the zone",
        _ => "see its log",
    }
}

/// An RCODE by the name that RFCs and other programs give it.
pub(super) struct Rcode(pub(super) ResponseCode);

impl fmt::Display for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match rcode_name(self.0) {
            Some(name) => f.write_str(name),
            None => write!(f, "RCODE {}", u16::from(self.0)),
        }
    }
}

fn rcode_name(rcode: ResponseCode) -> Option<&'static str> {
    Some(match rcode {
        ResponseCode::NoError => "NOERROR",
        ResponseCode::FormErr => "FORMERR",
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::NotImp => "NOTIMP",
        ResponseCode::Refused => "REFUSED",
        ResponseCode::YXDomain => "YXDOMAIN",
        ResponseCode::YXRRSet => "YXRRSET",
        ResponseCode::NXRRSet => "NXRRSET",
        ResponseCode::NotAuth => "NOTAUTH",
        ResponseCode::NotZone => "NOTZONE",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(rcode: ResponseCode, tsig: Option<TsigError>, key: Option<&str>) -> String {
        let server_time = matches!(tsig, Some(TsigError::BadTime)).then_some(1_795_000_000);
        let refusal = Refusal { rcode, tsig, server_time, key: key.map(Into::into) };
        let server = "127.0.0.1:53".parse().unwrap();
        let zone = Zone::parse("example.org").unwrap();
        DnsError::Refused { server, zone, refusal }.to_string()
    }

    #[test]
    fn a_refusal_names_server_zone_code_and_likely_cause() {
        assert_eq!(
            sentence(ResponseCode::NotAuth, None, Some("k")),
            "name server 127.0.0.1:53 refused the update of zone `example.org`: NOTAUTH (is it \
             primary for this zone, and does it know the TSIG key `k`?)"
        );
        for key in [Some("k"), None] {
            let refused = sentence(ResponseCode::Refused, None, key);
            assert!(refused.ends_with("is it the primary, and is the zone frozen?)"), "{refused}");
        }
        assert_eq!(
            sentence(ResponseCode::YXRRSet, None, None),
            "name server 127.0.0.1:53 refused the update of zone `example.org`: YXRRSET (a CNAME \
             stands at the name; remove it from the zone)"
        );
    }

    #[test]
    fn a_tsig_error_is_named_and_badtime_comes_with_the_servers_clock() {
        let text = sentence(ResponseCode::NotAuth, Some(TsigError::BadTime), Some("k"));
        assert!(
            text.ends_with(
                "NOTAUTH/BADTIME (the clocks differ by more than 300 s; the server's shows \
             2026-11-18T11:06:40Z)"
            ),
            "{text}"
        );
        let text = sentence(ResponseCode::NotAuth, Some(TsigError::BadSig), Some("k"));
        assert!(text.contains("NOTAUTH/BADSIG (is the secret of TSIG key `k`"), "{text}");
    }

    #[test]
    fn only_errors_of_the_signature_itself_concern_every_host() {
        let with = |tsig| Refusal {
            rcode: ResponseCode::NotAuth,
            tsig,
            server_time: None,
            key: Some("k".into()),
        };
        assert!(with(Some(TsigError::BadSig)).concerns_every_host());
        assert!(!with(Some(TsigError::BadKey)).concerns_every_host());
        assert!(!with(None).concerns_every_host());
    }
}
