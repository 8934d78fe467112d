//! Reads an Argon2 PHC string: `$argon2id$v=19$m=65536,t=3,p=4$SALT$HASH`, as argon2-cffi writes it. In: the
//! text. Out: its parts, or why it cannot be one; what they cost is not looked at.

use super::argon2::Unusable;
use ::argon2::{Algorithm, MIN_SALT_LEN, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// What the database holds.
const LONGEST: usize = 1024;

/// The parts of a PHC string.
pub(super) struct Parts {
    pub(super) algorithm: Algorithm,
    pub(super) version: Version,
    pub(super) kib: u32,
    pub(super) passes: u32,
    pub(super) lanes: u32,
    pub(super) salt: Box<[u8]>,
    pub(super) output: Box<[u8]>,
}

/// Takes it apart.
pub(super) fn read(text: &str) -> Result<Parts, Unusable> {
    if text.len() > LONGEST {
        return Err(Unusable::TooLong);
    }
    let mut fields = text.split('$').peekable();
    if fields.next() != Some("") {
        return Err(Unusable::NotArgon2);
    }
    let algorithm = Algorithm::new(fields.next().unwrap_or_default());
    let algorithm = algorithm.map_err(|_| Unusable::NotArgon2)?;
    // the reference implementation reads a string without a version as 1.0
    let version = match fields.next_if(|field| field.starts_with("v=")) {
        Some(field) => version(field)?,
        None => Version::V0x10,
    };
    let (Some(parameters), Some(salt), Some(output), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(Unusable::NotArgon2);
    };
    let [kib, passes, lanes] = self::parameters(parameters)?;
    let (salt, output) = (decoded(salt)?, decoded(output)?);
    if salt.len() < MIN_SALT_LEN || output.len() < Params::MIN_OUTPUT_LEN {
        return Err(Unusable::TooShort);
    }
    Ok(Parts { algorithm, version, kib, passes, lanes, salt, output })
}

fn version(field: &str) -> Result<Version, Unusable> {
    match field {
        "v=16" => Ok(Version::V0x10),
        "v=19" => Ok(Version::V0x13),
        _ => Err(Unusable::Version),
    }
}

/// Memory, passes and lanes. Each counts once: of two of the same nobody knows which was meant.
fn parameters(field: &str) -> Result<[u32; 3], Unusable> {
    let (mut kib, mut passes, mut lanes) = (None, None, None);
    for parameter in field.split(',') {
        let (name, value) = parameter.split_once('=').ok_or(Unusable::Parameters)?;
        let place = match name {
            "m" => &mut kib,
            "t" => &mut passes,
            "p" => &mut lanes,
            _ => return Err(Unusable::Parameters),
        };
        if place.replace(number(value)?).is_some() {
            return Err(Unusable::Parameters);
        }
    }
    match (kib, passes, lanes) {
        (Some(kib), Some(passes), Some(lanes)) => Ok([kib, passes, lanes]),
        _ => Err(Unusable::Parameters),
    }
}

fn number(text: &str) -> Result<u32, Unusable> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| is_plain);
    number.ok_or(Unusable::Parameters)
}

fn decoded(text: &str) -> Result<Box<[u8]>, Unusable> {
    STANDARD_NO_PAD.decode(text).map(Vec::into_boxed_slice).map_err(|_| Unusable::NotArgon2)
}
