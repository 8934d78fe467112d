//! In: a message and a key. Out: the message signed, or the verdict on a response's signature
//! (RFC 8945). Our own over hickory's pieces: hickory signs with three of the five algorithms and
//! does not distinguish the failures. Pure: the time is an argument.

use crate::config::{TsigAlgorithm as Algorithm, TsigKey};
use crate::model::secret::SecretBytes;
use hickory_proto::ProtoError;
use hickory_proto::rr::rdata::tsig::{
    TSIG, TsigAlgorithm, TsigError, make_tsig_record, signed_bitmessage_to_buf,
};
use hickory_proto::rr::{DNSClass, Name};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder};
use hmac::{Hmac, KeyInit, Mac};
use subtle::ConstantTimeEq;

/// Seconds by which the clocks may differ (RFC 8945, 10).
const FUDGE: u16 = 300;
/// RFC 8945, 5.2.2.1: no MAC shorter than this, nor than half of a whole one.
const MIN_MAC_BYTES: usize = 10;

/// Computes a MAC over parts that follow each other, with a secret.
type MacOf = fn(&[u8], &[&[u8]]) -> Vec<u8>;

/// A key, ready to sign and verify with.
pub(super) struct Signer {
    name: Name,
    algorithm: TsigAlgorithm,
    mac: MacOf,
    secret: SecretBytes,
}

/// Why a response's signature does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Invalid {
    #[error("its TSIG is malformed")]
    Malformed,
    #[error("it is signed with another key or algorithm")]
    OtherKey,
    /// It proves nothing.
    #[error("its MAC is too short")]
    TooShort,
    #[error("its MAC is wrong")]
    Mac,
    /// An old response, or clocks that differ.
    #[error("it was signed more than 300 s before or after now")]
    Time,
}

impl Signer {
    /// # Errors
    /// The key's name is no DNS name.
    pub(super) fn new(key: &TsigKey) -> Result<Self, ProtoError> {
        let mut name = Name::from_ascii(&key.name)?.to_lowercase();
        name.set_fqdn(true);
        let (algorithm, mac): (_, MacOf) = match key.algorithm {
            Algorithm::Sha1 => (TsigAlgorithm::HmacSha1, digest::<Hmac<sha1::Sha1>>),
            Algorithm::Sha224 => (TsigAlgorithm::HmacSha224, digest::<Hmac<sha2::Sha224>>),
            Algorithm::Sha256 => (TsigAlgorithm::HmacSha256, digest::<Hmac<sha2::Sha256>>),
            Algorithm::Sha384 => (TsigAlgorithm::HmacSha384, digest::<Hmac<sha2::Sha384>>),
            Algorithm::Sha512 => (TsigAlgorithm::HmacSha512, digest::<Hmac<sha2::Sha512>>),
        };
        Ok(Self { name, algorithm, mac, secret: key.secret.clone() })
    }

    /// Signs a whole message that has its id; `seconds` since 1970. Returns the MAC, because the
    /// response's MAC covers it.
    ///
    /// # Errors
    /// The TSIG record cannot be written, which a checked key never causes.
    pub(super) fn sign(&self, message: &mut Vec<u8>, seconds: u64) -> Result<Vec<u8>, ProtoError> {
        let id = be16(message, 0);
        let tsig =
            TSIG::new(self.algorithm.clone(), seconds, FUDGE, Vec::new(), id, None, Vec::new());
        let mut variables = Vec::new();
        tsig.emit_tsig_for_mac(&mut BinEncoder::new(&mut variables), &self.name)?;
        let mac = (self.mac)(self.secret.expose(), &[message, &variables]);
        let record = make_tsig_record(self.name.clone(), tsig.set_mac(mac.clone()));
        message.extend(record.to_bytes()?);
        let additional = be16(message, 10).saturating_add(1);
        if let Some(field) = message.get_mut(10..12) {
            field.copy_from_slice(&additional.to_be_bytes());
        }
        Ok(mac)
    }

    /// Whether a response was signed with our key for the request with this MAC. `answer` was
    /// parsed as a DNS message before: hickory's reader of signed messages adds up its counts
    /// unchecked.
    ///
    /// # Errors
    /// What is wrong about the signature.
    pub(super) fn verify(
        &self,
        answer: &[u8],
        request_mac: &[u8],
        now: u64,
    ) -> Result<(), Invalid> {
        let (signed, record) = signed_bitmessage_to_buf(answer, Some(request_mac), true)
            .map_err(|_| Invalid::Malformed)?;
        let tsig = &record.data;
        // RFC 8945, 4.2; the MAC does not cover these two
        if record.dns_class != DNSClass::ANY || record.ttl != 0 {
            return Err(Invalid::Malformed);
        }
        if !self.is_named(&record.name)
            || !same(&tsig.algorithm.to_name(), &self.algorithm.to_name())
        {
            return Err(Invalid::OtherKey);
        }
        let whole = (self.mac)(self.secret.expose(), &[&signed]);
        if tsig.mac.len() < MIN_MAC_BYTES.max(whole.len() / 2) {
            return Err(Invalid::TooShort);
        }
        let expected = whole.get(..tsig.mac.len()).ok_or(Invalid::Malformed)?;
        if !bool::from(expected.ct_eq(&tsig.mac)) {
            return Err(Invalid::Mac);
        }
        // RFC 8945, 5.2.3: BADTIME is signed with our own time, which then proves nothing new
        let on_time = now.abs_diff(tsig.time) <= u64::from(FUDGE);
        if on_time || tsig.error == Some(TsigError::BadTime) { Ok(()) } else { Err(Invalid::Time) }
    }

    /// Whether this is our key's name, in any case.
    pub(super) fn is_named(&self, name: &Name) -> bool {
        same(name, &self.name)
    }
}

fn same(a: &Name, b: &Name) -> bool {
    a.eq_ignore_root(b)
}

fn be16(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |two| u16::from_be_bytes(*two))
}

fn digest<M: Mac + KeyInit>(secret: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    // HMAC takes keys of any length, so there is always a state
    <M as KeyInit>::new_from_slice(secret).map_or_else(
        |_| Vec::new(),
        |mut state| {
            for part in parts {
                state.update(part);
            }
            state.finalize().into_bytes().to_vec()
        },
    )
}

/// The server's side, for tests of what answers mean.
#[cfg(test)]
pub(super) mod server {
    use super::{FUDGE, Signer, be16};
    use hickory_proto::op::Message;
    use hickory_proto::rr::rdata::tsig::{TSIG, TsigError, make_tsig_record};
    use hickory_proto::serialize::binary::BinEncoder;

    /// What a server puts into a response's TSIG.
    pub(in crate::dns) struct ServerTsig<'a> {
        pub(in crate::dns) request_mac: &'a [u8],
        pub(in crate::dns) time: u64,
        pub(in crate::dns) error: Option<TsigError>,
        pub(in crate::dns) other: Vec<u8>,
        /// How much of the MAC is sent.
        pub(in crate::dns) mac_bytes: usize,
    }

    impl<'a> ServerTsig<'a> {
        pub(in crate::dns) fn well(request_mac: &'a [u8], time: u64) -> Self {
            Self { request_mac, time, error: None, other: Vec::new(), mac_bytes: usize::MAX }
        }
    }

    impl Signer {
        /// Signs a response as RFC 8945, 5.3 requires.
        pub(in crate::dns) fn answer(&self, message: &Message, from: ServerTsig<'_>) -> Vec<u8> {
            let bytes = message.to_vec().unwrap();
            let id = be16(&bytes, 0);
            let algorithm = self.algorithm.clone();
            let tsig =
                TSIG::new(algorithm, from.time, FUDGE, Vec::new(), id, from.error, from.other);
            let mut variables = Vec::new();
            tsig.emit_tsig_for_mac(&mut BinEncoder::new(&mut variables), &self.name).unwrap();
            let length = u16::try_from(from.request_mac.len()).unwrap().to_be_bytes();
            let parts = [&length[..], from.request_mac, &bytes, &variables];
            let mut mac = (self.mac)(self.secret.expose(), &parts);
            mac.truncate(from.mac_bytes);
            let mut signed = Message::from_vec(&bytes).unwrap();
            signed.set_signature(Box::new(make_tsig_record(self.name.clone(), tsig.set_mac(mac))));
            signed.to_vec().unwrap()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::server::ServerTsig;
    use super::*;
    use hickory_proto::op::{Message, OpCode};

    const ALGORITHMS: [(Algorithm, usize); 5] = [
        (Algorithm::Sha1, 20),
        (Algorithm::Sha224, 28),
        (Algorithm::Sha256, 32),
        (Algorithm::Sha384, 48),
        (Algorithm::Sha512, 64),
    ];
    const NOW: u64 = 1_795_000_000;

    fn signer_of(algorithm: Algorithm, name: &str, secret: &[u8]) -> Signer {
        let secret = SecretBytes::new(secret.to_vec());
        Signer::new(&TsigKey { name: name.into(), algorithm, secret }).unwrap()
    }

    fn signer() -> Signer {
        signer_of(Algorithm::Sha256, "ddns-key", b"secret")
    }

    fn answer() -> Message {
        Message::response(7, OpCode::Update)
    }

    #[test]
    fn a_request_is_signed_with_every_algorithm_and_hickory_agrees_where_it_can() {
        for (algorithm, length) in ALGORITHMS {
            let signer = signer_of(algorithm, "Ddns-Key", b"secret");
            let mut bytes = Message::new(7, hickory_proto::op::MessageType::Query, OpCode::Update)
                .to_vec()
                .unwrap();
            let mac = signer.sign(&mut bytes, NOW).unwrap();
            let parsed = Message::from_vec(&bytes).unwrap();
            let record = parsed.signature().unwrap();
            assert_eq!(record.name.to_ascii(), "ddns-key.");
            assert_eq!((record.data.time, record.data.oid, record.data.fudge), (NOW, 7, 300));
            assert_eq!((record.data.mac.len(), &record.data.mac), (length, &mac));
            if record.data.algorithm.supported() {
                let (covered, _) = signed_bitmessage_to_buf(&bytes, None, true).unwrap();
                record.data.algorithm.verify_mac(b"secret", &covered, &mac).unwrap();
            }
        }
    }

    #[test]
    fn an_answer_verifies_with_every_algorithm() {
        for (algorithm, _) in ALGORITHMS {
            let signer = signer_of(algorithm, "k", b"secret");
            let bytes = signer.answer(&answer(), ServerTsig::well(b"request mac", NOW + 299));
            assert_eq!(signer.verify(&bytes, b"request mac", NOW), Ok(()), "{algorithm:?}");
        }
    }

    #[test]
    fn no_byte_of_an_answer_can_be_changed() {
        let signer = signer();
        let bytes = signer.answer(&answer(), ServerTsig::well(b"mac", NOW));
        for at in 0..bytes.len() {
            let mut tampered = bytes.clone();
            tampered[at] ^= 0x41;
            // the first two octets are the id, which the original id stands for (RFC 8945, 4.3.2)
            if at >= 2 && Message::from_vec(&tampered).is_ok() {
                assert!(signer.verify(&tampered, b"mac", NOW).is_err(), "octet {at}");
            }
        }
    }

    #[test]
    fn another_secret_key_name_algorithm_or_request_does_not_verify() {
        let bytes = signer().answer(&answer(), ServerTsig::well(b"mac", NOW));
        let verify = |signer: Signer, mac: &[u8]| signer.verify(&bytes, mac, NOW);
        assert_eq!(verify(signer(), b"replayed"), Err(Invalid::Mac));
        let other = |algorithm, name, secret| verify(signer_of(algorithm, name, secret), b"mac");
        assert_eq!(other(Algorithm::Sha256, "ddns-key", b"other"), Err(Invalid::Mac));
        assert_eq!(other(Algorithm::Sha256, "other", b"secret"), Err(Invalid::OtherKey));
        assert_eq!(other(Algorithm::Sha512, "ddns-key", b"secret"), Err(Invalid::OtherKey));
        assert_eq!(other(Algorithm::Sha256, "DDNS-KEY", b"secret"), Ok(()));
    }

    #[test]
    fn an_answer_signed_too_long_ago_or_ahead_does_not_verify() {
        let signer = signer();
        for time in [NOW - 301, NOW + 301] {
            let bytes = signer.answer(&answer(), ServerTsig::well(b"mac", time));
            assert_eq!(signer.verify(&bytes, b"mac", NOW), Err(Invalid::Time));
        }
    }

    #[test]
    fn a_mac_may_be_cut_to_half_but_not_further() {
        for (algorithm, length) in ALGORITHMS {
            let signer = signer_of(algorithm, "k", b"secret");
            let shortest = MIN_MAC_BYTES.max(length / 2);
            let cut = |mac_bytes| {
                let tsig = ServerTsig { mac_bytes, ..ServerTsig::well(b"mac", NOW) };
                signer.verify(&signer.answer(&answer(), tsig), b"mac", NOW)
            };
            assert_eq!(cut(shortest), Ok(()), "{algorithm:?}");
            assert_eq!(cut(shortest - 1), Err(Invalid::TooShort), "{algorithm:?}");
        }
    }

    #[test]
    fn an_answer_without_tsig_or_with_overflowing_counts_is_malformed() {
        let signer = signer();
        let bytes = answer().to_vec().unwrap();
        assert_eq!(signer.verify(&bytes, b"mac", NOW), Err(Invalid::Malformed));
        let mut crafted = signer.answer(&answer(), ServerTsig::well(b"mac", NOW));
        crafted[6..10].fill(0xff);
        assert!(Message::from_vec(&crafted).is_err(), "stopped before it gets here");
    }
}
