//! In: a certificate in DER (X.690, RFC 5280). Out: when it is valid. Pure. Only the fields in
//! front of the validity are read; rustls parsed the whole before.

use crate::model::certificate::Validity;
use crate::model::time::Millis;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// `[0] EXPLICIT`, the version.
const VERSION: u8 = 0xa0;

/// `None` if it is no certificate.
pub(super) fn validity(der: &[u8]) -> Option<Validity> {
    let (certificate, _) = element(der, SEQUENCE)?;
    let (to_be_signed, _) = element(certificate, SEQUENCE)?;
    let after_version = element(to_be_signed, VERSION).map_or(to_be_signed, |(_, rest)| rest);
    let (_serial, rest) = element(after_version, INTEGER)?;
    let (_algorithm, rest) = element(rest, SEQUENCE)?;
    let (_issuer, rest) = element(rest, SEQUENCE)?;
    let (validity, _) = element(rest, SEQUENCE)?;
    let (from, rest) = time(validity)?;
    let (until, _) = time(rest)?;
    Some(Validity { from, until })
}

/// The content of the element of this tag at the start, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    if *found != tag {
        return None;
    }
    let (first, rest) = rest.split_first()?;
    let (length, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if octets.len() > 4 {
            return None;
        }
        (octets.iter().fold(0, |sum, octet| (sum << 8) | usize::from(*octet)), rest)
    };
    rest.split_at_checked(length)
}

/// A time at the start, and what follows it. RFC 5280, 4.1.2.5: with seconds, in UTC.
fn time(der: &[u8]) -> Option<(Millis, &[u8])> {
    let (text, rest, is_short) = match element(der, UTC_TIME) {
        Some((text, rest)) => (text, rest, true),
        None => element(der, GENERALIZED_TIME).map(|(text, rest)| (text, rest, false))?,
    };
    let digits = str::from_utf8(text).ok()?.strip_suffix('Z')?;
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let digits = match (is_short, digits.len()) {
        // RFC 5280, 4.1.2.5.1
        (true, 12) if digits < "5" => format!("20{digits}"),
        (true, 12) => format!("19{digits}"),
        (false, 14) => digits.to_owned(),
        _ => return None,
    };
    let at = DateTime::strptime("%Y%m%d%H%M%S", &digits).ok()?;
    // the end of the year 9999 stands for no end
    let at = TimeZone::UTC.to_timestamp(at).unwrap_or(Timestamp::MAX);
    Some((Millis(at.as_millisecond()), rest))
}

#[cfg(test)]
mod tests {
    use super::super::tls::{chain, samples::CERT};
    use super::*;

    #[test]
    fn the_times_of_a_certificate_are_read() {
        let chain = chain(CERT.as_bytes()).unwrap();
        // 2026-11-23 09:42:53, as UTCTime, to 2126-10-30 09:42:53, as GeneralizedTime
        let from = "2026-11-23T09:42:53Z".parse::<Timestamp>().unwrap().as_millisecond();
        let until = "2126-10-30T09:42:53Z".parse::<Timestamp>().unwrap().as_millisecond();
        let expected = Validity { from: Millis(from), until: Millis(until) };
        assert_eq!(validity(&chain[0]), Some(expected));
    }

    #[test]
    fn no_part_of_a_certificate_is_taken_for_one_unless_it_holds_the_times() {
        let chain = chain(CERT.as_bytes()).unwrap();
        for end in 0..chain[0].len() {
            assert_eq!(validity(&chain[0][..end]), None, "{end} octets");
        }
        assert_eq!(validity(&[0x30, 0x85, 1, 1, 1, 1, 1]), None);
    }

    #[test]
    fn two_digits_of_a_year_are_from_1950_to_2049_and_the_year_9999_is_no_end() {
        let utc = |text: &[u8]| {
            let der = [&[UTC_TIME, 13], text].concat();
            time(&der).map(|(at, _)| Timestamp::from_millisecond(at.0).unwrap().to_string())
        };
        assert_eq!(utc(b"500101000000Z").as_deref(), Some("1950-01-01T00:00:00Z"));
        assert_eq!(utc(b"491231235959Z").as_deref(), Some("2049-12-31T23:59:59Z"));
        assert_eq!(utc(b"491331235959Z"), None);
        assert_eq!(utc(b"4912312359+1Z"), None);
        let never = [&[GENERALIZED_TIME, 15][..], b"99991231235959Z"].concat();
        assert_eq!(time(&never).unwrap().0, Millis(Timestamp::MAX.as_millisecond()));
    }
}
