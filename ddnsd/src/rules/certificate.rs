//! Whether clients accept a certificate. In: when it is valid, and now. Out: its state, and the
//! warning.

use crate::model::certificate::{Certificate, Validity};
use crate::model::time::Millis;
use std::fmt;
use std::time::Duration;

/// Before its end.
const SOON: Duration = Duration::from_hours(14 * 24);

#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateState {
    Valid,
    /// It ends within 14 days.
    EndsSoon,
    NotYetValid,
    Expired,
}

impl CertificateState {
    /// Whether clients accept it.
    pub fn is_valid(self) -> bool {
        matches!(self, CertificateState::Valid | CertificateState::EndsSoon)
    }
}

pub fn state(validity: Validity, now: Millis) -> CertificateState {
    if now < validity.from {
        CertificateState::NotYetValid
    } else if validity.until < now {
        CertificateState::Expired
    } else if validity.until <= now.plus(SOON) {
        CertificateState::EndsSoon
    } else {
        CertificateState::Valid
    }
}

/// What its owner must know now, as a sentence.
pub fn warning(certificate: &Certificate, now: Millis) -> Option<String> {
    let Certificate { file, validity } = certificate;
    let file = file.display();
    match state(*validity, now) {
        CertificateState::Valid => None,
        CertificateState::EndsSoon => Some(format!(
            "the certificate {file} ends on {} (renew it, then reload)",
            Date(validity.until)
        )),
        CertificateState::NotYetValid => Some(format!(
            "the certificate {file} is not valid before {}, so clients refuse it (is the clock right?)",
            Date(validity.from)
        )),
        CertificateState::Expired => Some(format!(
            "the certificate {file} expired on {}, so clients refuse it (renew it, then reload)",
            Date(validity.until)
        )),
    }
}

struct Date(Millis);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.0.div_euclid(1000);
        match jiff::Timestamp::from_second(seconds) {
            Ok(at) => write!(f, "{at}"),
            Err(_) => f.write_str("an unknown date"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3_600_000;

    fn certificate(from: i64, until: i64) -> Certificate {
        let validity = Validity { from: Millis(from), until: Millis(until) };
        Certificate { file: "cert.pem".into(), validity }
    }

    #[test]
    fn a_certificate_is_valid_from_its_first_to_its_last_moment() {
        let state_at = |now| state(certificate(DAY, 90 * DAY).validity, Millis(now));
        assert_eq!(state_at(DAY - 1), CertificateState::NotYetValid);
        assert_eq!(state_at(DAY), CertificateState::Valid);
        assert_eq!(state_at(76 * DAY - 1), CertificateState::Valid);
        assert_eq!(state_at(76 * DAY), CertificateState::EndsSoon);
        assert_eq!(state_at(90 * DAY), CertificateState::EndsSoon);
        assert_eq!(state_at(90 * DAY + 1), CertificateState::Expired);
        assert!(state_at(90 * DAY).is_valid() && !state_at(90 * DAY + 1).is_valid());
    }

    #[test]
    fn a_warning_names_the_file_and_the_date() {
        let at = |now| warning(&certificate(DAY, 90 * DAY), Millis(now));
        assert_eq!(at(2 * DAY), None);
        for (now, words) in [
            (0, "cert.pem is not valid before 1970-01-02T00:00:00Z"),
            (89 * DAY, "cert.pem ends on 1970-04-01T00:00:00Z"),
            (91 * DAY, "cert.pem expired on 1970-04-01T00:00:00Z"),
        ] {
            let found = at(now).unwrap();
            assert!(found.contains(words), "{found}");
        }
    }
}
