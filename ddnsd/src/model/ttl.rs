//! The range of TTLs. RFC 2181, 8: a TTL has 31 bits. Times to expire have the same range.

const MAX_TTL: u32 = 0x7fff_ffff;

/// A number of seconds that is no TTL. Prints as the end of a sentence about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is 0 to {MAX_TTL} seconds, not {0}")]
pub struct NoTtl(i64);

/// Checks a number of seconds.
///
/// # Errors
/// It is out of range.
pub fn check(seconds: i64) -> Result<u32, NoTtl> {
    u32::try_from(seconds).ok().filter(|ttl| *ttl <= MAX_TTL).ok_or(NoTtl(seconds))
}
