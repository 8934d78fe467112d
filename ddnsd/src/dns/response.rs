//! In: a message received for an UPDATE message. Out: what it means. Pure.

use super::error::{Dropped, Refusal};
use super::tsig::{Invalid, Signer};
use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::tsig::{TSIG, TsigError};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use std::sync::Arc;

/// The request, as far as a response must fit it.
pub(super) struct Expected<'a> {
    pub(super) id: u16,
    pub(super) zone: &'a Name,
    /// `None` if the request was not signed.
    pub(super) signature: Option<Signature<'a>>,
}

/// What a response's TSIG is checked with.
pub(super) struct Signature<'a> {
    pub(super) signer: &'a Signer,
    /// The key's name, for error messages.
    pub(super) key: &'a Arc<str>,
    /// The response's MAC covers it.
    pub(super) request_mac: &'a [u8],
    /// Seconds since 1970.
    pub(super) now: u64,
}

impl Signature<'_> {
    /// Why a response with this MAC is dropped, with the likely cause.
    pub(super) fn explain(&self, invalid: Invalid, mac: &[u8]) -> String {
        let key = self.key;
        match invalid {
            // Unbound and others turn the request around and leave its TSIG in it
            Invalid::Mac if mac == self.request_mac => {
                "it repeats the TSIG of the request (is it the primary, or a resolver that takes no \
                 updates?)"
                    .to_owned()
            }
            Invalid::Mac | Invalid::OtherKey => format!(
                "{invalid} (are algorithm and secret of TSIG key `{key}` the same on both sides?)"
            ),
            Invalid::Time => format!("{invalid} (do the clocks agree?)"),
            Invalid::Malformed | Invalid::TooShort => invalid.to_string(),
        }
    }
}

/// What a received message means.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum UpdateResponse {
    /// Every change of the message is in DNS.
    Applied,
    /// None of them is.
    Refused(Refusal),
    /// A response that is not signed though the request was: no success, and no proof of failure.
    Unverified(Refusal),
    /// The response did not fit: TCP has space for it.
    Truncated,
    /// Not a response to this message from this server, which may still come.
    Foreign(Dropped),
}

pub(super) fn judge(bytes: &[u8], expected: &Expected<'_>) -> UpdateResponse {
    let Ok(message) = Message::from_vec(bytes) else {
        return UpdateResponse::Foreign(Dropped::no_message());
    };
    if message.id != expected.id {
        return UpdateResponse::Foreign(Dropped::other_id(message.response_code));
    }
    if message.message_type != MessageType::Response || message.op_code != OpCode::Update {
        let why = "it is no response to an update";
        return UpdateResponse::Foreign(Dropped::with_id(message.response_code, why));
    }
    if !names_zone(&message, expected) {
        let why = "it does not name the zone of the update";
        return UpdateResponse::Foreign(Dropped::with_id(message.response_code, why));
    }
    match &expected.signature {
        None => accepted(&message, None),
        Some(signature) => signed(bytes, &message, signature),
    }
}

fn names_zone(message: &Message, expected: &Expected<'_>) -> bool {
    // RFC 2136, 3.8: the response copies the zone section or leaves all sections out. BIND, Knot
    // and PowerDNS copy it, so without a MAC it is required: an id alone is guessed in 65,536
    // datagrams
    let is_there = message.queries.len() == 1;
    let may_be_left_out = expected.signature.is_some() && message.queries.is_empty();
    let zone_fits = message.queries.iter().all(|zone| {
        zone.name().eq_ignore_root(expected.zone)
            && zone.query_type() == RecordType::SOA
            && zone.query_class() == DNSClass::IN
    });
    (is_there || may_be_left_out) && zone_fits
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
        Ok(()) => accepted(message, key),
        // RFC 8945, 5.4: what does not verify is discarded; the true response may still come
        Err(invalid) => {
            let why = signature.explain(invalid, &record.data.mac);
            UpdateResponse::Foreign(Dropped::with_id(message.response_code, why))
        }
    }
}

fn accepted(message: &Message, key: Option<&Arc<str>>) -> UpdateResponse {
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
    use super::super::tsig::server::ServerTsig;
    use super::*;
    use crate::config::{TsigAlgorithm, TsigKey};
    use crate::model::secret::SecretBytes;
    use hickory_proto::op::Query;

    const NOW: u64 = 1_795_000_000;

    struct Client {
        zone: Name,
        signer: Signer,
        key: Arc<str>,
    }

    impl Client {
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
            self.judge(&self.signer.answer(message, ServerTsig::well(b"mac", NOW)))
        }
    }

    fn response(rcode: ResponseCode) -> Message {
        let mut message = Message::error_msg(7, OpCode::Update, rcode);
        let mut zone = Query::query(Name::from_ascii("Example.ORG.").unwrap(), RecordType::SOA);
        zone.set_query_class(DNSClass::IN);
        message.add_query(zone);
        message
    }

    #[test]
    fn a_signed_response_is_accepted() {
        let client = Client::new();
        assert_eq!(client.signed(&response(ResponseCode::NoError)), UpdateResponse::Applied);
        let UpdateResponse::Refused(refusal) = client.signed(&response(ResponseCode::YXRRSet))
        else {
            panic!("not refused")
        };
        assert_eq!(refusal.rcode, ResponseCode::YXRRSet);
        // RFC 2136, 3.8: the sections may be left out
        let bare = Message::response(7, OpCode::Update);
        assert_eq!(client.signed(&bare), UpdateResponse::Applied);
    }

    #[test]
    fn an_unsigned_response_to_a_signed_request_is_neither_success_nor_refusal() {
        let client = Client::new();
        for rcode in [ResponseCode::NoError, ResponseCode::Refused, ResponseCode::NotAuth] {
            let UpdateResponse::Unverified(refusal) =
                client.judge(&response(rcode).to_vec().unwrap())
            else {
                panic!("{rcode} was accepted")
            };
            assert_eq!(refusal.rcode, rcode);
        }
    }

    #[test]
    fn badsig_and_badkey_come_without_a_mac_and_prove_nothing() {
        let client = Client::new();
        for error in [TsigError::BadSig, TsigError::BadKey] {
            let tsig =
                ServerTsig { error: Some(error), mac_bytes: 0, ..ServerTsig::well(b"mac", NOW) };
            let bytes = client.signer.answer(&response(ResponseCode::NotAuth), tsig);
            let UpdateResponse::Unverified(refusal) = client.judge(&bytes) else {
                panic!("accepted")
            };
            assert_eq!(refusal.tsig, Some(error));
        }
    }

    #[test]
    fn badtime_is_signed_and_carries_the_servers_clock() {
        let client = Client::new();
        let tsig = ServerTsig {
            error: Some(TsigError::BadTime),
            other: (NOW + 4000).to_be_bytes()[2..].to_vec(),
            ..ServerTsig::well(b"mac", NOW)
        };
        let bytes = client.signer.answer(&response(ResponseCode::NotAuth), tsig);
        let UpdateResponse::Refused(refusal) = client.judge(&bytes) else { panic!("not refused") };
        assert_eq!(refusal.tsig, Some(TsigError::BadTime));
        assert_eq!(refusal.server_time, Some(i64::try_from(NOW + 4000).unwrap()));
    }

    #[test]
    fn what_does_not_respond_to_this_message_is_foreign() {
        let client = Client::new();
        let mut other_id = response(ResponseCode::NoError);
        other_id.metadata.id = 8;
        let mut request = response(ResponseCode::NoError);
        request.metadata.message_type = MessageType::Query;
        let mut query = response(ResponseCode::NoError);
        query.metadata.op_code = OpCode::Query;
        let mut other_zone = Message::response(7, OpCode::Update);
        let name = Name::from_ascii("example.com.").unwrap();
        other_zone.add_query(Query::query(name, RecordType::SOA));
        for message in [other_id, request, query, other_zone] {
            assert!(matches!(client.signed(&message), UpdateResponse::Foreign(_)), "{message}");
            assert!(
                matches!(client.judge_unsigned(&message), UpdateResponse::Foreign(_)),
                "{message}"
            );
        }
        assert!(matches!(client.judge(b"no message"), UpdateResponse::Foreign(_)));
        let replayed = ServerTsig::well(b"another mac", NOW);
        let bytes = client.signer.answer(&response(ResponseCode::NoError), replayed);
        assert!(matches!(client.judge(&bytes), UpdateResponse::Foreign(_)));
    }

    #[test]
    fn without_a_key_a_fitting_response_is_accepted() {
        let client = Client::new();
        assert_eq!(
            client.judge_unsigned(&response(ResponseCode::NoError)),
            UpdateResponse::Applied
        );
        let refused = client.judge_unsigned(&response(ResponseCode::Refused));
        assert!(matches!(refused, UpdateResponse::Refused(_)));
    }

    #[test]
    fn without_a_key_a_response_that_does_not_name_the_zone_is_foreign() {
        let client = Client::new();
        let bare = Message::response(7, OpCode::Update);
        let mut of_another_kind = response(ResponseCode::NoError);
        of_another_kind.queries[0].set_query_type(RecordType::A);
        let mut twice = response(ResponseCode::NoError);
        twice.queries = [&twice.queries[..], &twice.queries[..]].concat();
        for message in [bare, of_another_kind, twice] {
            let judged = client.judge_unsigned(&message);
            assert!(matches!(judged, UpdateResponse::Foreign(_)), "{message}");
        }
    }

    #[test]
    fn a_truncated_response_calls_for_tcp() {
        let mut message = response(ResponseCode::NoError);
        message.metadata.truncation = true;
        assert_eq!(Client::new().signed(&message), UpdateResponse::Truncated);
    }
}
