//! The hash that an unknown user's password is checked against.

use super::argon2::{NEW_HASH_COST, StoredHash};

/// At the cost of new hashes, so that an unknown user takes as long as a wrong password. Callers
/// refuse whatever is checked against it.
pub(super) fn dummy_hash() -> StoredHash {
    StoredHash::new(NEW_HASH_COST, &[0; 16], &[0; 32])
}
