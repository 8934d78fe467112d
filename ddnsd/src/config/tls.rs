//! In: PEM texts (RFC 7468). Out: certificates and matching keys. Pure.

use rustls::crypto::ring;
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{Error, InconsistentKeys};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;

const UNUSABLE_KEY: &str = "holds a key that cannot be used here; wanted: RSA with 2048 to 8192 bits, ECDSA on P-256 or P-384, or Ed25519";

/// The end of every PEM label of a private key, encrypted ones included.
const PRIVATE_KEY: &[u8] = b"PRIVATE KEY-----";

pub(super) fn holds_private_key(pem: &[u8]) -> bool {
    pem.windows(PRIVATE_KEY.len()).any(|window| window == PRIVATE_KEY)
}

/// The chain, the server's own certificate first.
///
/// # Errors
/// The rest of a sentence that begins with the file's name; never quotes the file.
pub(super) fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let chain = certificates(pem)?;
    let own = chain.first().map(ParsedCertificate::try_from).transpose();
    own.map(|_| ()).map_err(|_| "holds a malformed certificate")?;
    Ok(chain)
}

/// # Errors
/// The rest of a sentence that begins with the file's name; never quotes the file.
pub(super) fn signing_key(pem: &[u8]) -> Result<Arc<dyn SigningKey>, &'static str> {
    let key = PrivateKeyDer::from_pem_slice(pem)
        .map_err(|_| "holds no readable private key in PEM (encrypted ones are not supported)")?;
    let key = ring::default_provider().key_provider.load_private_key(key);
    key.map_err(|_| UNUSABLE_KEY)
}

/// # Errors
/// The key does not belong to the certificate.
pub(super) fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: Arc<dyn SigningKey>,
) -> Result<CertifiedKey, &'static str> {
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        // some kinds of keys cannot be compared
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(_) => Err("does not hold the key of the certificate in ssl_cert_file"),
    }
}

/// All certificates of a PEM file.
///
/// # Errors
/// There is none, or the file is not valid PEM.
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
    //! A certificate made for these tests, its key, and another key.

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

    fn certified(chain: &str, key: &str) -> Result<CertifiedKey, &'static str> {
        super::certified(super::chain(chain.as_bytes())?, signing_key(key.as_bytes())?)
    }

    fn refused(chain: &str, key: &str) -> &'static str {
        certified(chain, key).err().unwrap()
    }

    #[test]
    fn a_chain_and_its_key_are_read_in_order() {
        let certified = certified(&format!("some text\n{CERT}{CERT}"), KEY).unwrap();
        assert_eq!(certified.cert.len(), 2);
        // a file with both, as some programs write it
        let both = format!("{KEY}{CERT}");
        assert!(super::tests::certified(&both, &both).is_ok());
    }

    #[test]
    fn a_private_key_is_found_at_any_position_and_in_any_format() {
        let encrypted = KEY.replace(" PRIVATE", " ENCRYPTED PRIVATE");
        let sec1 = KEY.replace(" PRIVATE", " EC PRIVATE");
        for key in [KEY, &encrypted, &sec1] {
            assert!(holds_private_key(format!("{CERT}{key}").as_bytes()), "{key}");
        }
        for none in ["", CERT, "PRIVATE KEY"] {
            assert!(!holds_private_key(none.as_bytes()), "{none}");
        }
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let what = "does not hold the key of the certificate in ssl_cert_file";
        assert_eq!(refused(CERT, OTHER_KEY), what);
    }

    #[test]
    fn a_file_without_certificate_or_key_is_refused_and_not_quoted() {
        let none = "holds no certificate in PEM";
        assert_eq!(refused("", KEY), none);
        assert_eq!(refused(KEY, KEY), none);
        let cut = CERT.replace("-----END CERTIFICATE-----", "");
        assert_eq!(refused(&cut, KEY), "is not valid PEM");
        let malformed = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(refused(malformed, KEY), "holds a malformed certificate");

        let no_key = "holds no readable private key in PEM (encrypted ones are not supported)";
        for key in ["", CERT, &KEY.replace(" PRIVATE", " ENCRYPTED PRIVATE")] {
            assert_eq!(refused(CERT, key), no_key);
        }
        let odd = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert_eq!(refused(CERT, odd), UNUSABLE_KEY);
    }
}
