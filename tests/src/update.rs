//! Dynamic updates as scripted name servers meet them. In: an UPDATE message. Out: an answer to it.

/// An unsigned answer to an UPDATE message, with its zone section only, as name servers send it.
///
/// # Panics
/// The request has no zone section.
#[must_use]
pub fn answer_to(request: &[u8], rcode: u8) -> Vec<u8> {
    let zone_ends = 12 + request[12..].iter().position(|octet| *octet == 0).expect("a zone") + 5;
    let mut answer = request[..zone_ends].to_vec();
    answer[2] |= 0x80;
    answer[3] = rcode;
    answer[6..12].fill(0);
    answer
}
