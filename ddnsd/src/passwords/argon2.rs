//! Argon2 on reused memory. In: a PHC string, a password. Out: whether they belong together, or a new
//! PHC string. A stored string is not trusted: what it asks for is bounded before it is allocated.

use super::{PasswordError, phc};
use crate::model::secret::Secret;
use crate::model::user::PasswordHash;
use ::argon2::password_hash::phc::{Output, ParamsString, PasswordHash as Phc, Salt};
use ::argon2::{Algorithm, Argon2, Block, Params, Version};
use subtle::ConstantTimeEq;

/// Memory of one run, at most: 1 GiB.
const MAX_KIB: u32 = 1024 * 1024;
/// Memory written in all passes of a run, at most: 8 GiB take as long as any request may.
const MAX_WRITTEN_KIB: u64 = 8 * 1024 * 1024;
/// Lanes; they run one after the other here.
const MAX_LANES: u32 = 255;
/// Memory that a thread keeps for its next run. Larger hashes are rare, and remade at the next login.
const KEPT_BLOCKS: usize = 64 * 1024;

/// What new hashes cost: the OWASP minimum.
pub(super) const OURS: Cost = Cost {
    algorithm: Algorithm::Argon2id,
    version: Version::V0x13,
    kib: 19 * 1024,
    passes: 2,
    lanes: 1,
};

/// A thread's memory for Argon2, grown as needed and kept for the next run.
#[derive(Default)]
pub(super) struct HashMemory(Vec<Block>);

impl HashMemory {
    fn with<T>(&mut self, blocks: usize, run: impl FnOnce(&mut [Block]) -> T) -> T {
        if self.0.len() < blocks {
            // a new allocation, so that the old content is not copied
            self.0 = Vec::new();
            self.0.resize(blocks, Block::new());
        }
        let result = run(&mut self.0);
        if self.0.len() > KEPT_BLOCKS {
            self.release();
        }
        result
    }

    /// Gives everything back to the system.
    pub(super) fn release(&mut self) {
        self.0 = Vec::new();
    }

    /// Holds nothing.
    pub(super) fn is_released(&self) -> bool {
        self.0.is_empty()
    }

    #[cfg(test)]
    fn blocks(&self) -> usize {
        self.0.len()
    }
}

/// What a run of Argon2 costs, within our bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cost {
    algorithm: Algorithm,
    version: Version,
    kib: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    /// Memory, KiB.
    pub(super) fn kib(self) -> u32 {
        self.kib
    }

    fn checked(self) -> Result<Self, Unusable> {
        let written = u64::from(self.kib) * u64::from(self.passes);
        if self.kib > MAX_KIB || self.lanes > MAX_LANES || written > MAX_WRITTEN_KIB {
            return Err(Unusable::TooCostly);
        }
        let params = Params::new(self.kib, self.passes, self.lanes, None);
        params.map(|_| self).map_err(|_| Unusable::NoCost)
    }

    fn argon2(self, output: usize) -> Result<Argon2<'static>, ::argon2::Error> {
        let params = Params::new(self.kib, self.passes, self.lanes, Some(output))?;
        Ok(Argon2::new(self.algorithm, self.version, params))
    }
}

/// Why a stored string cannot be used. Says nothing of the string itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Another algorithm, or no PHC string at all.
    #[error("it is not an Argon2 PHC string with salt and hash")]
    NotArgon2,
    /// Longer than any that is stored.
    #[error("it is longer than 1024 characters")]
    TooLong,
    /// A version that does not exist.
    #[error("its version is neither 16 nor 19")]
    Version,
    /// Not the three of them.
    #[error("its parameters are not m, t and p, a number each and each once")]
    Parameters,
    /// Numbers that Argon2 does not take.
    #[error("t and p must be at least 1, and m at least 8 times p")]
    NoCost,
    /// Salt or output.
    #[error("its salt has less than 8 bytes, or its hash less than 4")]
    TooShort,
    /// Beyond our bounds.
    #[error("it asks for more than 1 GiB of memory, 255 lanes, or 8 GiB written in all passes")]
    TooCostly,
}

/// A stored hash, read and within bounds.
pub(super) struct StoredHash {
    cost: Cost,
    salt: Box<[u8]>,
    output: Box<[u8]>,
}

impl StoredHash {
    /// Reads a PHC string of argon2id, argon2i or argon2d.
    pub(super) fn parse(hash: &PasswordHash) -> Result<Self, Unusable> {
        let phc::Parts { algorithm, version, kib, passes, lanes, salt, output } =
            phc::read(&hash.0)?;
        let cost = Cost { algorithm, version, kib, passes, lanes };
        Ok(Self { cost: cost.checked()?, salt, output })
    }

    /// A hash of this cost that no password matches in practice.
    pub(super) fn of_nobody(cost: Cost, output: [u8; 32]) -> Self {
        Self { cost, salt: Box::new([0; 16]), output: Box::new(output) }
    }

    /// What checking a password against it costs.
    pub(super) fn cost(&self) -> Cost {
        self.cost
    }

    /// Made with other parameters than new hashes are.
    pub(super) fn is_outdated(&self) -> bool {
        self.cost != OURS
    }

    /// Runs Argon2.
    pub(super) fn matches(&self, password: &Secret, memory: &mut HashMemory) -> bool {
        let mut output = vec![0; self.output.len()];
        let run = fill(self.cost, password, &self.salt, &mut output, memory);
        run.is_ok() && bool::from(output.ct_eq(&self.output))
    }
}

/// Makes a new hash at [`OURS`] cost.
pub(super) fn make(
    password: &Secret,
    salt: [u8; 16],
    memory: &mut HashMemory,
) -> Result<PasswordHash, PasswordError> {
    let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
    let unhashable = |why: &dyn std::fmt::Display| PasswordError::Unhashable(why.to_string());
    fill(OURS, password, &salt, &mut output, memory).map_err(|e| unhashable(&e))?;
    let params = OURS.argon2(output.len()).map_err(|e| unhashable(&e))?;
    let phc = Phc {
        algorithm: OURS.algorithm.ident(),
        version: Some(OURS.version.into()),
        params: ParamsString::try_from(params.params()).map_err(|e| unhashable(&e))?,
        salt: Some(Salt::new(&salt).map_err(|e| unhashable(&e))?),
        hash: Some(Output::new(&output).map_err(|e| unhashable(&e))?),
    };
    Ok(PasswordHash(phc.to_string().into()))
}

fn fill(
    cost: Cost,
    password: &Secret,
    salt: &[u8],
    output: &mut [u8],
    memory: &mut HashMemory,
) -> Result<(), ::argon2::Error> {
    let argon2 = cost.argon2(output.len())?;
    memory.with(argon2.params().block_count(), |blocks| {
        argon2.hash_password_into_with_memory(password.expose().as_bytes(), salt, output, blocks)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD_NO_PAD;

    fn stored(phc: &str) -> Result<StoredHash, Unusable> {
        StoredHash::parse(&PasswordHash(phc.into()))
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    /// Made with argon2-cffi 25.1.
    const OF_CFFI: [(&str, &str); 5] = [
        (
            "$argon2id$v=19$m=65536,t=3,p=4$MDEyMzQ1Njc4OWFiY2RlZg$L1b1NjppUoj/KIEORq1pof4waLxklM0mqKZzt9nCsKI",
            "correct horse",
        ),
        (
            "$argon2i$v=19$m=1024,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$jZhab/11I2+caaKeWdIG1g",
            "correct horse",
        ),
        (
            "$argon2d$v=19$m=1024,t=2,p=2$MDEyMzQ1Njc4OWFiY2RlZg$Ip49LU+1KPMhxnua75o+f4iiJfwbptgIZEgKHaMzglc",
            "correct horse",
        ),
        (
            "$argon2i$v=16$m=256,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$P3uiFsP5PFT2YQ1p2Idtkw",
            "correct horse",
        ),
        (
            "$argon2id$v=19$m=256,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$mieBRntOhBTPRZBega3mGVheX+8ZLthYzzrqJWKnbC0",
            "pässwörd",
        ),
    ];

    #[test]
    fn hashes_of_argon2_cffi_verify_on_memory_that_others_used() {
        let mut memory = HashMemory::default();
        for (phc, password) in OF_CFFI {
            let stored = stored(phc).unwrap();
            assert!(stored.matches(&secret(password), &mut memory), "{phc}");
            assert!(!stored.matches(&secret("wrong"), &mut memory), "{phc}");
            assert!(stored.is_outdated(), "{phc}");
        }
        assert_eq!(memory.blocks(), KEPT_BLOCKS);
    }

    #[test]
    fn a_string_without_a_version_is_argon2_1_0() {
        let (phc, password) = OF_CFFI[3];
        let stored = stored(&phc.replace("$v=16", "")).unwrap();
        assert!(stored.matches(&secret(password), &mut HashMemory::default()));
    }

    #[test]
    fn a_new_hash_has_the_owasp_minimum_and_verifies() {
        let mut memory = HashMemory::default();
        let hash = make(&secret("hunter2"), [7; 16], &mut memory).unwrap();
        assert!(hash.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        let stored = StoredHash::parse(&hash).unwrap();
        assert!(stored.matches(&secret("hunter2"), &mut memory));
        assert!(!stored.is_outdated());
    }

    #[test]
    fn memory_beyond_what_is_kept_is_given_back() {
        let mut memory = HashMemory::default();
        memory.with(KEPT_BLOCKS + 1, |blocks| {
            assert!(blocks.len() > KEPT_BLOCKS);
        });
        assert_eq!(memory.blocks(), 0);
        memory.with(8, |_| ());
        assert_eq!(memory.blocks(), 8);
    }

    #[test]
    fn what_asks_for_too_much_is_refused_before_it_is_allocated() {
        let phc = |params| {
            format!("$argon2id$v=19${params}$MDEyMzQ1Njc4OWFiY2RlZg$jZhab/11I2+caaKeWdIG1g")
        };
        assert!(stored(&phc("m=1048576,t=3,p=4")).is_ok());
        for params in [
            "m=1048577,t=1,p=1",
            "m=4294967295,t=1,p=1",
            "m=1048576,t=9,p=1",
            "m=8,t=4294967295,p=1",
            "m=65536,t=1,p=256",
        ] {
            assert_eq!(stored(&phc(params)).err(), Some(Unusable::TooCostly), "{params}");
        }
    }

    #[test]
    fn garbage_is_not_a_hash() {
        for phc in [
            "",
            "secret",
            "$",
            "$2b$12$abcdefghijklmnopqrstuv",
            "$argon2id$v=19$m=1024,t=2,p=1",
            "$argon2id$v=19$m=1024,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg",
            "$argon2x$v=19$m=1024,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$jZhab/11I2+caaKeWdIG1g",
        ] {
            assert_eq!(stored(phc).err(), Some(Unusable::NotArgon2), "{phc}");
        }
    }

    #[test]
    fn each_fault_of_a_hash_has_its_reason() {
        let (salt, output) = ("MDEyMzQ1Njc4OWFiY2RlZg", "jZhab/11I2+caaKeWdIG1g");
        for (fields, reason) in [
            ("v=20$m=1024,t=2,p=1", Unusable::Version),
            ("v=99$m=1024,t=2,p=1", Unusable::Version),
            ("v=19$m=7,t=2,p=1", Unusable::NoCost),
            ("v=19$m=8,t=2,p=2", Unusable::NoCost),
            ("v=19$m=1024,t=0,p=1", Unusable::NoCost),
            ("v=19$m=1024,t=2,p=0", Unusable::NoCost),
            ("v=19$m=1024,t=2,p=4294967295", Unusable::TooCostly),
            ("v=19$m=1024,m=1024,t=2,p=1", Unusable::Parameters),
            ("v=19$m=1024,t=2", Unusable::Parameters),
            ("v=19$m=+1024,t=2,p=1", Unusable::Parameters),
            ("v=19$m=1024,t=2,p=1,keyid=MDEy", Unusable::Parameters),
            ("v=19$v=19$m=1024,t=2,p=1", Unusable::NotArgon2),
        ] {
            let phc = format!("$argon2id${fields}${salt}${output}");
            assert_eq!(stored(&phc).err(), Some(reason), "{phc}");
        }
        let phc = |salt, output| format!("$argon2id$v=19$m=1024,t=2,p=1${salt}${output}");
        assert_eq!(stored(&phc("MDEyMzQ1Ng", output)).err(), Some(Unusable::TooShort));
        assert_eq!(stored(&phc(salt, "jZha")).err(), Some(Unusable::TooShort));
        let long = "A".repeat(1024);
        assert_eq!(stored(&phc(salt, &long)).err(), Some(Unusable::TooLong));
    }

    #[test]
    fn every_length_of_salt_and_hash_that_argon2_cffi_makes_is_verified() {
        let mut memory = HashMemory::default();
        for (salt, output) in [(8, 4), (8, 8), (64, 65), (100, 128), (255, 400)] {
            let cost = Cost { kib: 64, ..OURS };
            let salt = vec![7; salt];
            let mut hash = vec![0; output];
            fill(cost, &secret("correct horse"), &salt, &mut hash, &mut memory).unwrap();
            let text = |bytes: &[u8]| STANDARD_NO_PAD.encode(bytes);
            let phc = format!("$argon2id$v=19$m=64,t=2,p=1${}${}", text(&salt), text(&hash));
            let stored = stored(&phc).unwrap();
            assert!(stored.matches(&secret("correct horse"), &mut memory), "{phc}");
            assert!(!stored.matches(&secret("wrong"), &mut memory), "{phc}");
        }
    }
}
