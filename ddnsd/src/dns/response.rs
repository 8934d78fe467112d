//! In: bytes that came back for an UPDATE message. Out: what they mean for it. Pure.

use super::error::Refusal;
use super::tsig::Signer;
use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::tsig::{TSIG, TsigError};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use std::sync::Arc;

/// What was asked, so far as an answer must fit it.
pub(super) struct Expected<'a> {
    /// The request's id.
    pub(super) id: u16,
    /// The zone that was to be updated.
    pub(super) zone: &'a Name,
    /// How the request was signed; `None` if it was not.
    pub(super) signature: Option<Signature<'a>>,
}

/// What an answer's TSIG is checked with.
pub(super) struct Signature<'a> {
    /// The key.
    pub(super) signer: &'a Signer,
    /// Its name, for messages to people.
    pub(super) key: &'a Arc<str>,
    /// The request's MAC, which the answer's covers.
    pub(super) request_mac: &'a [u8],
    /// Seconds since 1970.
    pub(super) now: u64,
}

/// What an answer means.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum UpdateResponse {
    /// Every change of the message is in DNS.
    Applied,
    /// None of them is.
    Refused(Refusal),
    /// An answer that the key should have signed and did not: no success, and no proof of failure.
    Unverified(Refusal),
    /// It did not fit; the way to ask is TCP.
    Truncated,
    /// Not an answer to this message from who was asked; the true one may still come.
    Foreign(String),
}

/// Judges an answer.
pub(super) fn judge(bytes: &[u8], expected: &Expected<'_>) -> UpdateResponse {
    let message = match Message::from_vec(bytes) {
        Ok(message) => message,
        Err(error) => return UpdateResponse::Foreign(format!("it is no DNS message: {error}")),
    };
    if !fits(&message, expected) {
        return UpdateResponse::Foreign("its id, kind or zone is not that of the update".into());
    }
    match &expected.signature {
        None => believed(&message, None),
        Some(signature) => signed(bytes, &message, signature),
    }
}

fn fits(message: &Message, expected: &Expected<'_>) -> bool {
    // RFC 2136, 3.8: the answer copies the zone section or leaves all sections out. BIND, Knot and PowerDNS
    // copy it, so without a MAC it is demanded: an id alone is guessed in 65,536 datagrams
    let is_there = message.queries.len() == 1;
    let may_be_left_out = expected.signature.is_some() && message.queries.is_empty();
    let zone_fits = message.queries.iter().all(|zone| {
        zone.name().eq_ignore_root(expected.zone)
            && zone.query_type() == RecordType::SOA
            && zone.query_class() == DNSClass::IN
    });
    message.id == expected.id
        && message.message_type == MessageType::Response
        && message.op_code == OpCode::Update
        && (is_there || may_be_left_out)
        && zone_fits
}

fn signed(bytes: &[u8], message: &Message, signature: &Signature<'_>) -> UpdateResponse {
    let key = Some(signature.key);
    let Some(record) = message.signature() else {
        return UpdateResponse::Unverified(refusal(message, key));
    };
    // RFC 8945, 5.3.2: BADKEY and BADSIG come without a MAC
    if record.data.mac.is_empty() && signature.signer.is_named(&record.name) {
        return UpdateResponse::Unverified(refusal(message, key));
    }
    match signature.signer.verify(bytes, signature.request_mac, signature.now) {
        Ok(()) => believed(message, key),
        // RFC 8945, 5.4: what does not verify is discarded, and the true answer waited for
        Err(invalid) => UpdateResponse::Foreign(invalid.to_string()),
    }
}

fn believed(message: &Message, key: Option<&Arc<str>>) -> UpdateResponse {
    let refusal = refusal(message, key);
    match (refusal.rcode, refusal.tsig) {
        _ if message.truncation => UpdateResponse::Truncated,
        (ResponseCode::NoError, None) => UpdateResponse::Applied,
        _ => UpdateResponse::Refused(refusal),
    }
}

fn refusal(message: &Message, key: Option<&Arc<str>>) -> Refusal {
    let tsig = message.signature().map(|record| &record.data);
    Refusal {
        rcode: message.response_code,
        tsig: tsig.and_then(|tsig| tsig.error),
        server_time: tsig.and_then(server_time),
        key: key.cloned(),
    }
}

/// RFC 8945, 5.2.3: BADTIME carries the server's clock in 48 bits.
fn server_time(tsig: &TSIG) -> Option<i64> {
    let octets = <[u8; 6]>::try_from(tsig.other.as_slice()).ok()?;
    let seconds = octets.iter().fold(0, |sum, octet| sum << 8 | i64::from(*octet));
    (tsig.error == Some(TsigError::BadTime)).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::super::tsig::server::Says;
    use super::*;
    use crate::config::{TsigAlgorithm, TsigKey};
    use crate::model::secret::SecretBytes;
    use hickory_proto::op::Query;

    const NOW: u64 = 1_795_000_000;

    struct Asked {
        zone: Name,
        signer: Signer,
        key: Arc<str>,
    }

    impl Asked {
        fn new() -> Self {
            let key = TsigKey {
                name: "k".into(),
                algorithm: TsigAlgorithm::Sha256,
                secret: SecretBytes::new(b"secret".to_vec()),
            };
            let zone = Name::from_ascii("example.org.").unwrap();
            Self { zone, signer: Signer::new(&key).unwrap(), key: "k".into() }
        }

        fn judge(&self, bytes: &[u8]) -> UpdateResponse {
            let signature =
                Signature { signer: &self.signer, key: &self.key, request_mac: b"mac", now: NOW };
            judge(bytes, &Expected { id: 7, zone: &self.zone, signature: Some(signature) })
        }

        fn judge_unsigned(&self, message: &Message) -> UpdateResponse {
            let bytes = message.to_vec().unwrap();
            judge(&bytes, &Expected { id: 7, zone: &self.zone, signature: None })
        }

        fn signed(&self, message: &Message) -> UpdateResponse {
            self.judge(&self.signer.answer(message, Says::well(b"mac", NOW)))
        }
    }

    fn says(rcode: ResponseCode) -> Message {
        let mut message = Message::error_msg(7, OpCode::Update, rcode);
        let mut zone = Query::query(Name::from_ascii("Example.ORG.").unwrap(), RecordType::SOA);
        zone.set_query_class(DNSClass::IN);
        message.add_query(zone);
        message
    }

    #[test]
    fn a_signed_answer_is_believed() {
        let asked = Asked::new();
        assert_eq!(asked.signed(&says(ResponseCode::NoError)), UpdateResponse::Applied);
        let UpdateResponse::Refused(refusal) = asked.signed(&says(ResponseCode::YXRRSet)) else {
            panic!("not refused")
        };
        assert_eq!(refusal.rcode, ResponseCode::YXRRSet);
        // RFC 2136, 3.8: the sections may be left out
        let bare = Message::response(7, OpCode::Update);
        assert_eq!(asked.signed(&bare), UpdateResponse::Applied);
    }

    #[test]
    fn an_unsigned_answer_to_a_signed_request_is_neither_success_nor_refusal() {
        let asked = Asked::new();
        for rcode in [ResponseCode::NoError, ResponseCode::Refused, ResponseCode::NotAuth] {
            let UpdateResponse::Unverified(refusal) = asked.judge(&says(rcode).to_vec().unwrap())
            else {
                panic!("{rcode} was believed")
            };
            assert_eq!(refusal.rcode, rcode);
        }
    }

    #[test]
    fn badsig_and_badkey_come_without_a_mac_and_prove_nothing() {
        let asked = Asked::new();
        for error in [TsigError::BadSig, TsigError::BadKey] {
            let tsig = Says { error: Some(error), mac_bytes: 0, ..Says::well(b"mac", NOW) };
            let bytes = asked.signer.answer(&says(ResponseCode::NotAuth), tsig);
            let UpdateResponse::Unverified(refusal) = asked.judge(&bytes) else {
                panic!("believed")
            };
            assert_eq!(refusal.tsig, Some(error));
        }
    }

    #[test]
    fn badtime_is_signed_and_tells_the_servers_clock() {
        let asked = Asked::new();
        let tsig = Says {
            error: Some(TsigError::BadTime),
            other: (NOW + 4000).to_be_bytes()[2..].to_vec(),
            ..Says::well(b"mac", NOW)
        };
        let bytes = asked.signer.answer(&says(ResponseCode::NotAuth), tsig);
        let UpdateResponse::Refused(refusal) = asked.judge(&bytes) else { panic!("not refused") };
        assert_eq!(refusal.tsig, Some(TsigError::BadTime));
        assert_eq!(refusal.server_time, Some(i64::try_from(NOW + 4000).unwrap()));
    }

    #[test]
    fn what_does_not_answer_this_message_is_foreign() {
        let asked = Asked::new();
        let mut other_id = says(ResponseCode::NoError);
        other_id.metadata.id = 8;
        let mut request = says(ResponseCode::NoError);
        request.metadata.message_type = MessageType::Query;
        let mut query = says(ResponseCode::NoError);
        query.metadata.op_code = OpCode::Query;
        let mut other_zone = Message::response(7, OpCode::Update);
        let name = Name::from_ascii("example.com.").unwrap();
        other_zone.add_query(Query::query(name, RecordType::SOA));
        for message in [other_id, request, query, other_zone] {
            assert!(matches!(asked.signed(&message), UpdateResponse::Foreign(_)), "{message}");
            assert!(
                matches!(asked.judge_unsigned(&message), UpdateResponse::Foreign(_)),
                "{message}"
            );
        }
        assert!(matches!(asked.judge(b"no message"), UpdateResponse::Foreign(_)));
        let replayed = Says::well(b"another mac", NOW);
        let bytes = asked.signer.answer(&says(ResponseCode::NoError), replayed);
        assert!(matches!(asked.judge(&bytes), UpdateResponse::Foreign(_)));
    }

    #[test]
    fn without_a_key_a_fitting_answer_is_believed() {
        let asked = Asked::new();
        assert_eq!(asked.judge_unsigned(&says(ResponseCode::NoError)), UpdateResponse::Applied);
        let refused = asked.judge_unsigned(&says(ResponseCode::Refused));
        assert!(matches!(refused, UpdateResponse::Refused(_)));
    }

    #[test]
    fn without_a_key_an_answer_that_does_not_name_the_zone_is_foreign() {
        let asked = Asked::new();
        let bare = Message::response(7, OpCode::Update);
        let mut of_another_kind = says(ResponseCode::NoError);
        of_another_kind.queries[0].set_query_type(RecordType::A);
        let mut twice = says(ResponseCode::NoError);
        twice.queries = [&twice.queries[..], &twice.queries[..]].concat();
        for message in [bare, of_another_kind, twice] {
            let judged = asked.judge_unsigned(&message);
            assert!(matches!(judged, UpdateResponse::Foreign(_)), "{message}");
        }
    }

    #[test]
    fn a_truncated_answer_asks_for_tcp() {
        let mut message = says(ResponseCode::NoError);
        message.metadata.truncation = true;
        assert_eq!(Asked::new().signed(&message), UpdateResponse::Truncated);
    }
}
