//! Argon2 and its PHC strings. In: a stored PHC string and a password. Out: whether they match, or
//! a new PHC string. The costs in a stored string are bounded before any memory is allocated for
//! them.
//!
//! The crate `phc` is not used: it refuses salts over 48 bytes and hashes under 10 or over 64
//! bytes, which argon2-cffi makes.

use super::PasswordError;
use crate::model::secret::Secret;
use crate::model::user::PasswordHash;
use ::argon2::{Algorithm, Argon2, Block, MIN_SALT_LEN, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use std::collections::TryReserveError;
use subtle::ConstantTimeEq;

/// As long as the database column.
const MAX_PHC_CHARS: usize = 1024;
/// 1 GiB.
const MAX_KIB: u32 = 1024 * 1024;
/// Memory times passes: 8 GiB take as long as a request may.
const MAX_WRITTEN_KIB: u64 = 8 * 1024 * 1024;
const MAX_LANES: u32 = 255;
/// Memory that a thread keeps for its next job: 64 MiB, which is argon2-cffi's default cost.
const MAX_KEPT_BLOCKS: usize = 64 * 1024;

/// The cost of new hashes: the OWASP minimum.
pub(super) const NEW_HASH_COST: Cost = Cost {
    algorithm: Algorithm::Argon2id,
    version: Version::V0x13,
    kib: 19 * 1024,
    passes: 2,
    lanes: 1,
};

/// A thread's memory for Argon2, reused by its next job.
#[derive(Default)]
pub(super) struct HashMemory(Vec<Block>);

impl HashMemory {
    /// # Errors
    /// The system has no memory for so many blocks; a plain allocation would abort the daemon.
    fn with<T>(
        &mut self,
        blocks: usize,
        work: impl FnOnce(&mut [Block]) -> T,
    ) -> Result<T, TryReserveError> {
        if self.0.len() < blocks {
            // `resize` alone would copy the old content
            self.0 = Vec::new();
            self.0.try_reserve_exact(blocks)?;
            self.0.resize(blocks, Block::new());
        }
        let result = work(&mut self.0);
        if self.0.len() > MAX_KEPT_BLOCKS {
            self.release();
        }
        Ok(result)
    }

    pub(super) fn release(&mut self) {
        self.0 = Vec::new();
    }

    pub(super) fn is_released(&self) -> bool {
        self.0.is_empty()
    }

    #[cfg(test)]
    fn blocks(&self) -> usize {
        self.0.len()
    }
}

/// The parameters of a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cost {
    algorithm: Algorithm,
    version: Version,
    kib: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    pub(super) fn kib(self) -> u32 {
        self.kib
    }

    fn checked(self) -> Result<Self, UnusableHash> {
        let written = u64::from(self.kib) * u64::from(self.passes);
        if self.kib > MAX_KIB || self.lanes > MAX_LANES || written > MAX_WRITTEN_KIB {
            return Err(UnusableHash::TooCostly);
        }
        let params = Params::new(self.kib, self.passes, self.lanes, None);
        params.map(|_| self).map_err(|_| UnusableHash::TooCheap)
    }

    fn argon2(self, output: usize) -> Result<Argon2<'static>, ::argon2::Error> {
        let params = Params::new(self.kib, self.passes, self.lanes, Some(output))?;
        Ok(Argon2::new(self.algorithm, self.version, params))
    }
}

/// Why a stored PHC string cannot be used. Never contains the string itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableHash {
    /// Another algorithm, or no PHC string.
    #[error("it is not an Argon2 PHC string with salt and hash")]
    NotArgon2,
    /// Longer than the database column.
    #[error("it is longer than 1024 characters")]
    TooLong,
    /// Argon2 has versions 16 (1.0) and 19 (1.3).
    #[error("its version is neither 16 nor 19")]
    Version,
    /// A parameter is missing, repeated, unknown or not a number.
    #[error("its parameters are not m, t and p, a number each and each once")]
    Parameters,
    /// Numbers below Argon2's minimum.
    #[error("t and p must be at least 1, and m at least 8 times p")]
    TooCheap,
    /// Below Argon2's minimum.
    #[error("its salt has less than 8 bytes, or its hash less than 4")]
    TooShort,
    /// Beyond our bounds.
    #[error("it asks for more than 1 GiB of memory, 255 lanes, or 8 GiB written in all passes")]
    TooCostly,
}

/// A password cannot be verified now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there are no {mib} MiB of memory to verify a password (the hash is imported, and asks for so much)"
)]
pub(super) struct OutOfMemory {
    mib: u32,
}

/// A parsed PHC string whose cost is within bounds.
pub(super) struct StoredHash {
    cost: Cost,
    salt: Box<[u8]>,
    output: Box<[u8]>,
}

impl StoredHash {
    pub(super) fn new(cost: Cost, salt: &[u8], output: &[u8]) -> Self {
        Self { cost, salt: salt.into(), output: output.into() }
    }

    /// Reads `$argon2id$v=19$m=65536,t=3,p=4$SALT$HASH`, also of argon2i and argon2d.
    pub(super) fn parse(hash: &PasswordHash) -> Result<Self, UnusableHash> {
        if hash.0.len() > MAX_PHC_CHARS {
            return Err(UnusableHash::TooLong);
        }
        let rest = hash.0.strip_prefix('$').ok_or(UnusableHash::NotArgon2)?;
        let mut fields = rest.split('$').peekable();
        let algorithm = Algorithm::new(fields.next().unwrap_or_default());
        let algorithm = algorithm.map_err(|_| UnusableHash::NotArgon2)?;
        let version = match fields.next_if(|field| field.starts_with("v=")) {
            Some("v=19") => Version::V0x13,
            // the reference implementation reads a string without a version as 1.0
            Some("v=16") | None => Version::V0x10,
            Some(_) => return Err(UnusableHash::Version),
        };
        let (Some(parameters), Some(salt), Some(output), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(UnusableHash::NotArgon2);
        };
        let [kib, passes, lanes] = parse_parameters(parameters)?;
        let salt = decode(salt)?;
        let output = decode(output)?;
        if salt.len() < MIN_SALT_LEN || output.len() < Params::MIN_OUTPUT_LEN {
            return Err(UnusableHash::TooShort);
        }
        let cost = Cost { algorithm, version, kib, passes, lanes }.checked()?;
        Ok(Self { cost, salt, output })
    }

    pub(super) fn cost(&self) -> Cost {
        self.cost
    }

    /// Its parameters differ from those of new hashes.
    pub(super) fn is_outdated(&self) -> bool {
        self.cost != NEW_HASH_COST
    }

    /// Runs Argon2.
    ///
    /// # Errors
    /// There is no memory for it.
    pub(super) fn matches(
        &self,
        password: &Secret,
        memory: &mut HashMemory,
    ) -> Result<bool, OutOfMemory> {
        let mut output = vec![0; self.output.len()];
        match fill(self.cost, password, &self.salt, &mut output, memory) {
            Err(::argon2::Error::OutOfMemory) => Err(OutOfMemory { mib: self.cost.kib / 1024 }),
            filled => Ok(filled.is_ok() && bool::from(output.ct_eq(&self.output))),
        }
    }
}

/// Memory in KiB, passes and lanes: `m=65536,t=3,p=4`, in any order.
fn parse_parameters(field: &str) -> Result<[u32; 3], UnusableHash> {
    let mut numbers = [None; 3];
    for parameter in field.split(',') {
        let (name, text) = parameter.split_once('=').ok_or(UnusableHash::Parameters)?;
        let index = ["m", "t", "p"].iter().position(|known| *known == name);
        let slot = index.and_then(|index| numbers.get_mut(index));
        let slot = slot.ok_or(UnusableHash::Parameters)?;
        // `parse` would take a sign
        let has_digits_only = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| has_digits_only);
        if slot.replace(number.ok_or(UnusableHash::Parameters)?).is_some() {
            return Err(UnusableHash::Parameters);
        }
    }
    match numbers {
        [Some(kib), Some(passes), Some(lanes)] => Ok([kib, passes, lanes]),
        _ => Err(UnusableHash::Parameters),
    }
}

fn decode(text: &str) -> Result<Box<[u8]>, UnusableHash> {
    let bytes = STANDARD_NO_PAD.decode(text).map_err(|_| UnusableHash::NotArgon2)?;
    Ok(bytes.into_boxed_slice())
}

/// Makes a PHC string at [`NEW_HASH_COST`].
pub(super) fn make(
    password: &Secret,
    salt: [u8; 16],
    memory: &mut HashMemory,
) -> Result<PasswordHash, PasswordError> {
    let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
    let cost = NEW_HASH_COST;
    fill(cost, password, &salt, &mut output, memory).map_err(PasswordError::Argon2)?;
    let Cost { algorithm, kib, passes, lanes, .. } = cost;
    let version = u32::from(cost.version);
    let salt = STANDARD_NO_PAD.encode(salt);
    let output = STANDARD_NO_PAD.encode(output);
    let phc = format!("${algorithm}$v={version}$m={kib},t={passes},p={lanes}${salt}${output}");
    Ok(PasswordHash(phc.into()))
}

fn fill(
    cost: Cost,
    password: &Secret,
    salt: &[u8],
    output: &mut [u8],
    memory: &mut HashMemory,
) -> Result<(), ::argon2::Error> {
    let argon2 = cost.argon2(output.len())?;
    let filled = memory.with(argon2.params().block_count(), |blocks| {
        argon2.hash_password_into_with_memory(password.expose().as_bytes(), salt, output, blocks)
    });
    filled.map_err(|_| ::argon2::Error::OutOfMemory)?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(phc: &str) -> Result<StoredHash, UnusableHash> {
        StoredHash::parse(&PasswordHash(phc.into()))
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    /// Made with argon2-cffi 25.1.
    const CFFI_HASHES: [(&str, &str); 5] = [
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
    fn hashes_of_argon2_cffi_verify_on_reused_memory() {
        let mut memory = HashMemory::default();
        for (phc, password) in CFFI_HASHES {
            let stored = stored(phc).unwrap();
            assert_eq!(stored.matches(&secret(password), &mut memory), Ok(true), "{phc}");
            assert_eq!(stored.matches(&secret("wrong"), &mut memory), Ok(false), "{phc}");
            assert!(stored.is_outdated(), "{phc}");
        }
        assert_eq!(memory.blocks(), MAX_KEPT_BLOCKS);
    }

    #[test]
    fn a_string_without_a_version_is_argon2_1_0() {
        let (phc, password) = CFFI_HASHES[3];
        let stored = stored(&phc.replace("$v=16", "")).unwrap();
        assert_eq!(stored.matches(&secret(password), &mut HashMemory::default()), Ok(true));
    }

    #[test]
    fn a_new_hash_has_the_owasp_minimum_and_verifies() {
        let mut memory = HashMemory::default();
        let hash = make(&secret("hunter2"), [7; 16], &mut memory).unwrap();
        assert!(hash.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        let stored = StoredHash::parse(&hash).unwrap();
        assert_eq!(stored.matches(&secret("hunter2"), &mut memory), Ok(true));
        assert!(!stored.is_outdated());
    }

    #[test]
    fn memory_beyond_the_kept_size_is_released() {
        let mut memory = HashMemory::default();
        let blocks = memory.with(MAX_KEPT_BLOCKS + 1, |blocks| blocks.len()).unwrap();
        assert!(blocks > MAX_KEPT_BLOCKS);
        assert_eq!(memory.blocks(), 0);
        memory.with(8, |_| ()).unwrap();
        assert_eq!(memory.blocks(), 8);
    }

    #[test]
    fn memory_that_the_system_does_not_have_is_an_error() {
        let mut memory = HashMemory::default();
        assert!(memory.with(usize::MAX / size_of::<Block>(), |_| ()).is_err());
        memory.with(8, |_| ()).unwrap();
    }

    #[test]
    fn excessive_costs_are_refused() {
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
            assert_eq!(stored(&phc(params)).err(), Some(UnusableHash::TooCostly), "{params}");
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
            assert_eq!(stored(phc).err(), Some(UnusableHash::NotArgon2), "{phc}");
        }
    }

    #[test]
    fn each_fault_of_a_hash_has_its_reason() {
        let (salt, output) = ("MDEyMzQ1Njc4OWFiY2RlZg", "jZhab/11I2+caaKeWdIG1g");
        for (fields, reason) in [
            ("v=20$m=1024,t=2,p=1", UnusableHash::Version),
            ("v=99$m=1024,t=2,p=1", UnusableHash::Version),
            ("v=19$m=7,t=2,p=1", UnusableHash::TooCheap),
            ("v=19$m=8,t=2,p=2", UnusableHash::TooCheap),
            ("v=19$m=1024,t=0,p=1", UnusableHash::TooCheap),
            ("v=19$m=1024,t=2,p=0", UnusableHash::TooCheap),
            ("v=19$m=1024,t=2,p=4294967295", UnusableHash::TooCostly),
            ("v=19$m=1024,m=1024,t=2,p=1", UnusableHash::Parameters),
            ("v=19$m=1024,t=2", UnusableHash::Parameters),
            ("v=19$m=+1024,t=2,p=1", UnusableHash::Parameters),
            ("v=19$m=1024,t=2,p=1,keyid=MDEy", UnusableHash::Parameters),
            ("v=19$v=19$m=1024,t=2,p=1", UnusableHash::NotArgon2),
        ] {
            let phc = format!("$argon2id${fields}${salt}${output}");
            assert_eq!(stored(&phc).err(), Some(reason), "{phc}");
        }
        let phc = |salt, output| format!("$argon2id$v=19$m=1024,t=2,p=1${salt}${output}");
        assert_eq!(stored(&phc("MDEyMzQ1Ng", output)).err(), Some(UnusableHash::TooShort));
        assert_eq!(stored(&phc(salt, "jZha")).err(), Some(UnusableHash::TooShort));
        let long = "A".repeat(1024);
        assert_eq!(stored(&phc(salt, &long)).err(), Some(UnusableHash::TooLong));
    }

    #[test]
    fn every_length_of_salt_and_hash_that_argon2_cffi_makes_is_verified() {
        let mut memory = HashMemory::default();
        for (salt, output) in [(8, 4), (8, 8), (64, 65), (100, 128), (255, 400)] {
            let cost = Cost { kib: 64, ..NEW_HASH_COST };
            let salt = vec![7; salt];
            let mut hash = vec![0; output];
            fill(cost, &secret("correct horse"), &salt, &mut hash, &mut memory).unwrap();
            let text = |bytes: &[u8]| STANDARD_NO_PAD.encode(bytes);
            let phc = format!("$argon2id$v=19$m=64,t=2,p=1${}${}", text(&salt), text(&hash));
            let stored = stored(&phc).unwrap();
            assert_eq!(stored.matches(&secret("correct horse"), &mut memory), Ok(true), "{phc}");
            assert_eq!(stored.matches(&secret("wrong"), &mut memory), Ok(false), "{phc}");
        }
    }
}
