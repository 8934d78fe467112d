//! PEM texts in, certificates and keys that fit each other out (RFC 7468). Pure.

use rustls::crypto::ring;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Which of the two files is at fault, and why. Never quotes the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TlsProblem {
    Certificate(&'static str),
    Key(&'static str),
}

/// The chain, the server's own certificate first, and its key.
///
/// # Errors
/// What is wrong with either, or that they do not belong together.
pub(super) fn certified(chain: &[u8], key: &[u8]) -> Result<CertifiedKey, TlsProblem> {
    let chain = certificates(chain).map_err(TlsProblem::Certificate)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| {
        TlsProblem::Key("holds no private key in PEM that could be read (encrypted ones cannot)")
    })?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| match error {
        Error::InvalidCertificate(_) => TlsProblem::Certificate("holds a malformed certificate"),
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            TlsProblem::Key("holds another key than that of the certificate in ssl_cert_file")
        }
        _ => TlsProblem::Key("holds no RSA, ECDSA or Ed25519 key that TLS could use"),
    })
}

/// All certificates of a PEM file, one at least.
///
/// # Errors
/// None there, or one that is not PEM.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if all.is_empty() => Err("holds no certificate in PEM"),
        Ok(all) => Ok(all),
        Err(_) => Err("is not valid PEM"),
    }
}

#[cfg(test)]
pub(super) mod samples {
    //! A certificate that was made for these tests, its key, and another key.

    pub(in crate::config) const CERT: &str = "\
-----BEGIN CERTIFICATE-----
MIIBjDCCATOgAwIBAgIUdnzAabL0ra/zBxdQScAJZuczBJMwCgYIKoZIzj0EAwIw
GzEZMBcGA1UEAwwQZGRucy5leGFtcGxlLm9yZzAgFw0yNjExMjMwOTQyNTNaGA8y
MTI2MTAzMDA5NDI1M1owGzEZMBcGA1UEAwwQZGRucy5leGFtcGxlLm9yZzBZMBMG
ByqGSM49AgEGCCqGSM49AwEHA0IABIb3uI82ASGWuFPaJn0se2EAuNpBAZvQ0Pfd
41YvqCFAH/+7b8YF+8lAi4D/2lD22NoJCLfoy01lEsSFo0Wg8RSjUzBRMB0GA1Ud
DgQWBBR6j8UkFDWpI2ME5FF5yK6nBo/mUjAfBgNVHSMEGDAWgBR6j8UkFDWpI2ME
5FF5yK6nBo/mUjAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0cAMEQCICsA
02P9zPaygDzheovxyJxrrhF28GijHPOKwS8kd3XsAiBMX7wUu07DNLg/Vaf2JP5J
odB5QPMEzEtFn+D5xFRjxQ==
-----END CERTIFICATE-----
";
    pub(in crate::config) const KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgkueEtS/b/rsLrRNF
xigcOZ9nL+d+Bl66K0Q2511Fu56hRANCAASG97iPNgEhlrhT2iZ9LHthALjaQQGb
0ND33eNWL6ghQB//u2/GBfvJQIuA/9pQ9tjaCQi36MtNZRLEhaNFoPEU
-----END PRIVATE KEY-----
";
    pub(in crate::config) const OTHER_KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgJOh9/jtuJk5TJi21
M+RJkW4FW5tBqm0H4e18SdPljcuhRANCAARX0Df42GtzArMA1Z9yYQiMkDtbDUg6
Bwu9zwA/kIyE4Qo4MnqyTbhfi3iSZeZpzt53s3bRfCa/2ZtTUElMx4/u
-----END PRIVATE KEY-----
";
}

#[cfg(test)]
mod tests {
    use super::samples::{CERT, KEY, OTHER_KEY};
    use super::*;

    fn refused(chain: &str, key: &str) -> TlsProblem {
        certified(chain.as_bytes(), key.as_bytes()).err().unwrap()
    }

    #[test]
    fn a_chain_and_its_key_are_read_in_order() {
        let chain = format!("some text\n{CERT}{CERT}");
        let certified = certified(chain.as_bytes(), KEY.as_bytes()).unwrap();
        assert_eq!(certified.cert.len(), 2);
        // a file with both, as some programs write it
        let both = format!("{KEY}{CERT}");
        assert!(super::certified(both.as_bytes(), both.as_bytes()).is_ok());
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let what = "holds another key than that of the certificate in ssl_cert_file";
        assert_eq!(refused(CERT, OTHER_KEY), TlsProblem::Key(what));
    }

    #[test]
    fn what_is_no_certificate_or_no_key_is_refused_without_a_quote() {
        let none = TlsProblem::Certificate("holds no certificate in PEM");
        assert_eq!(refused("", KEY), none);
        assert_eq!(refused(KEY, KEY), none);
        let cut = CERT.replace("-----END CERTIFICATE-----", "");
        assert_eq!(refused(&cut, KEY), TlsProblem::Certificate("is not valid PEM"));
        let malformed = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let malformed = refused(malformed, KEY);
        assert_eq!(malformed, TlsProblem::Certificate("holds a malformed certificate"));

        let no_key = TlsProblem::Key(
            "holds no private key in PEM that could be read (encrypted ones cannot)",
        );
        for key in ["", CERT, &KEY.replace(" PRIVATE", " ENCRYPTED PRIVATE")] {
            assert_eq!(refused(CERT, key), no_key);
        }
        let odd = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let useless = TlsProblem::Key("holds no RSA, ECDSA or Ed25519 key that TLS could use");
        assert_eq!(refused(CERT, odd), useless);
    }
}
