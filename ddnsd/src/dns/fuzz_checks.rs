//! What must hold for every message received for an update. Fuzzers (`tests/fuzz`) drive it, and
//! the property tests below with generated messages.

use super::response::{Expected, Signature, UpdateResponse, judge};
use super::tsig::Signer;
use crate::config::{TsigAlgorithm, TsigKey};
use crate::model::secret::SecretBytes;
use hickory_proto::rr::Name;
use std::sync::Arc;

/// Judges bytes as the response to a signed update: without the key nothing is a success, nor a
/// refusal that counts.
///
/// # Panics
/// When it does not hold.
pub fn answer(bytes: &[u8]) {
    let key = TsigKey {
        name: "k".into(),
        algorithm: TsigAlgorithm::Sha256,
        secret: SecretBytes::new(b"a secret that no fuzzer knows".to_vec()),
    };
    let (Ok(signer), Ok(zone)) = (Signer::new(&key), Name::from_ascii("dyn.example.")) else {
        return;
    };
    let name = Arc::from("k");
    let now = 1_800_000_000;
    let signature = Signature { signer: &signer, key: &name, request_mac: &[7; 32], now };
    let expected = |signature| Expected { id: 0x1234, zone: &zone, signature };
    let judged = judge(bytes, &expected(Some(signature)));
    assert!(!matches!(judged, UpdateResponse::Applied | UpdateResponse::Refused(_)), "{judged:?}");
    // unsigned, anything may come; only its id, kind and zone must fit
    if !matches!(judge(bytes, &expected(None)), UpdateResponse::Foreign(_)) {
        assert_eq!(bytes.get(..2), Some(&[0x12, 0x34][..]));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn arbitrary_bytes_are_never_a_success(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            super::answer(&bytes);
        }

        #[test]
        fn arbitrary_bytes_after_a_matching_head_are_never_a_success(
            flags in any::<[u8; 2]>(),
            counts in any::<[u8; 8]>(),
            rest in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut bytes = vec![0x12, 0x34, 0xa8 | flags[0] & 0x82, flags[1]];
            bytes.extend(counts.map(|count| count % 3));
            bytes.extend(b"\x03dyn\x07example\x00\x00\x06\x00\x01");
            bytes.extend(rest);
            super::answer(&bytes);
        }
    }
}
