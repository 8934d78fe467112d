//! A certificate authority of the test's own, made with the `openssl` command. In: names of
//! servers. Out: PEM files of its certificate, and of certificates and keys that it signed.

use crate::faketime::library;
use crate::named::write_private;
use crate::process::{program, run};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The true time.
pub const NOW: &str = "+0";

/// An authority and the folder of its files.
pub struct Authority {
    folder: TempDir,
}

/// What a server needs to prove its name.
pub struct Certificate {
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM, readable by its owner only.
    pub key: PathBuf,
}

impl Authority {
    /// Makes one.
    ///
    /// # Panics
    /// When openssl is not installed.
    pub fn new() -> Self {
        let authority =
            Self { folder: tempfile::Builder::new().prefix("ddnsd-ca-").tempdir().unwrap() };
        authority.openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=test-CA \
             -keyout ca.key -out ca.pem -addext keyUsage=critical,keyCertSign,cRLSign",
        );
        authority
    }

    /// The authority's own certificate, PEM.
    pub fn certificate(&self) -> PathBuf {
        self.file("ca.pem")
    }

    /// Signs a certificate for a server of this DNS name or address.
    #[track_caller]
    pub fn sign(&self, name: &str) -> Certificate {
        self.sign_at(name, NOW)
    }

    /// Signs one that is valid for 30 days from a time on, as libfaketime reads it.
    #[track_caller]
    pub fn sign_at(&self, name: &str, from: &str) -> Certificate {
        let kind = if name.parse::<IpAddr>().is_ok() { "IP" } else { "DNS" };
        write_private(
            &self.file("extensions"),
            &format!("subjectAltName={kind}:{name}\nextendedKeyUsage=serverAuth\n"),
        );
        self.openssl(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} \
             -keyout {name}.key -out {name}.csr"
        ));
        self.openssl_at(
            from,
            &format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 \
             -extfile extensions -out {name}.pem"
            ),
        );
        Certificate {
            certificate: self.file(&format!("{name}.pem")),
            key: self.file(&format!("{name}.key")),
        }
    }

    #[track_caller]
    fn openssl(&self, arguments: &str) {
        self.openssl_at(NOW, arguments);
    }

    #[track_caller]
    fn openssl_at(&self, time: &str, arguments: &str) {
        let mut openssl = Command::new(program("openssl"));
        if time != NOW {
            openssl.env("LD_PRELOAD", library()).env("FAKETIME", time);
        }
        openssl.current_dir(self.folder.path()).args(arguments.split_ascii_whitespace());
        run(&mut openssl, "").ok();
    }

    fn file(&self, name: &str) -> PathBuf {
        Path::new(self.folder.path()).join(name)
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signed_certificate_is_verified_by_its_authority_and_no_other() {
        let (ours, other) = (Authority::new(), Authority::new());
        let signed = ours.sign("db.example");
        let verify = |authority: &Authority| {
            let mut openssl = Command::new(program("openssl"));
            openssl.args(["verify", "-verify_hostname", "db.example", "-CAfile"]);
            openssl.arg(authority.certificate()).arg(&signed.certificate);
            run(&mut openssl, "").code
        };
        assert_eq!(verify(&ours), Some(0));
        assert_ne!(verify(&other), Some(0));
    }
}
