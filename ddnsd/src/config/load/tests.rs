//! The file and the files it names, on a real file system; the shipped example; and a file of the
//! original service.

use super::{Loaded, load};
use crate::config::check::check;
use crate::config::diff::Values;
use crate::config::tls::samples::{CERT, KEY, OTHER_KEY};
use crate::config::{Config, Database, DnsBackend, Rfc2136, TsigAlgorithm};
use crate::model::name::Zone;
use proptest::prelude::*;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const EXAMPLE: &str = include_str!("../../../../files/config.example.toml");
const TSIG: &str = "key \"ddns\" {\n\talgorithm hmac-sha256;\n\tsecret \"c2VjcmV0\";\n};\n";

/// A folder whose files only owner and group can read; `DIR` in a configuration is its path.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), content).unwrap();
        self.mode(name, 0o640);
        self.path(name)
    }

    fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), Permissions::from_mode(mode)).unwrap();
    }

    fn placed(&self, text: &str) -> String {
        text.replace("DIR", self.0.path().to_str().unwrap())
    }

    fn load(&self, text: &str) -> Result<Loaded, String> {
        let path = self.file("c.toml", self.placed(text));
        load(&path).map_err(|error| self.short(&error.to_string()))
    }

    fn refused(&self, text: &str) -> String {
        self.load(text).expect_err("a refusal")
    }

    /// The message with `DIR` for the folder.
    fn short(&self, message: &str) -> String {
        message.replace(self.0.path().to_str().unwrap(), "DIR")
    }
}

fn rfc2136(config: &Config) -> &Rfc2136 {
    let DnsBackend::Rfc2136(dns) = &config.dns.backend else { panic!("another backend") };
    dns
}

/// Every commented key of the example, in use.
fn uncommented() -> String {
    let is_key =
        |line: &str| line.starts_with(|c: char| c.is_ascii_lowercase() || "[\"".contains(c));
    let uncomment = |line: &'static str| line.strip_prefix('#').filter(|rest| is_key(rest));
    EXAMPLE.lines().flat_map(|line| [uncomment(line).unwrap_or(line), "\n"]).collect()
}

//----- Files -----

#[test]
fn a_file_of_the_original_service_loads_unchanged() {
    let folder = Folder::new();
    folder.file("ddns.key", TSIG);
    folder.file("other.key", TSIG.replace("ddns", "Other.").replace("256", "512"));
    folder.file("change.j2", "Subject: {{ fqdn }}\n\nIt changed.\n");
    let loaded = folder.load(include_str!("tests/ddns-service.toml"));
    let Loaded { config, warnings } = loaded.unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    let dns = rfc2136(&config);
    assert_eq!(dns.server, "[::1]:5353".parse().unwrap());
    let key = |zone: &str| dns.keys.of(&Zone::parse(zone).unwrap()).unwrap();
    assert_eq!(key("example.com").name, "ddns");
    let other = key("a.dyn.example.com");
    assert_eq!((other.name.as_str(), other.algorithm), ("other", TsigAlgorithm::Sha512));
    assert_eq!(config.endpoints.len(), 2);
}

#[test]
fn a_problem_of_a_key_file_is_reported_with_its_own_line() {
    let folder = Folder::new();
    folder.file("bad.key", "key k {\n  algorithm hmac-md5;\n");
    folder.file("open.key", TSIG);
    folder.mode("open.key", 0o644);
    folder.file("binary.key", b"key k\n{ \xff");
    folder.file("big.key", vec![b' '; 65_537]);
    let refused = folder.refused(
        "[database]\npath = \"d\"\n[dns_service]\nddns_default_key_file = \"DIR/bad.key\"\n\
         [dns_service.zone_keys]\na = \"DIR/open.key\"\nb = \"DIR/none.key\"\n\
         c = \"DIR/binary.key\"\nd = \"DIR/big.key\"\ne = \"DIR\"\n",
    );
    let expected = "\
DIR/c.toml:4: dns_service.ddns_default_key_file: DIR/bad.key:2: hmac-md5 is not supported, because MD5 is \
broken; use hmac-sha256
DIR/c.toml:6: dns_service.zone_keys.a: DIR/open.key is readable by everyone; chmod 640 DIR/open.key
DIR/c.toml:7: dns_service.zone_keys.b: DIR/none.key cannot be read: No such file or directory (os error 2)
DIR/c.toml:8: dns_service.zone_keys.c: DIR/binary.key:2: is not UTF-8 text
DIR/c.toml:9: dns_service.zone_keys.d: DIR/big.key is larger than 65536 bytes
DIR/c.toml:10: dns_service.zone_keys.e: DIR is not a regular file";
    assert_eq!(refused, expected);
}

#[test]
fn bad_keys_and_bad_files_are_reported_together_by_line() {
    let refused = Folder::new().refused(
        "[daemon]\nport = -1\nssl = true\nssl_cert_file = \"DIR/c\"\nssl_key_file = \"DIR/k\"\n\
         [database]\npaht = \"d\"\n",
    );
    let expected = "\
DIR/c.toml:2: daemon.port: must be at least 0, got -1
DIR/c.toml:4: daemon.ssl_cert_file: DIR/c cannot be read: No such file or directory (os error 2)
DIR/c.toml:5: daemon.ssl_key_file: DIR/k cannot be read: No such file or directory (os error 2)
DIR/c.toml:6: database.path: is required with the sqlite backend
DIR/c.toml:7: database.paht: unknown key, did you mean `path`?";
    assert_eq!(refused, expected);
}

#[test]
fn a_certificate_and_its_key_are_read_and_matched() {
    let folder = Folder::new();
    folder.file("cert.pem", CERT);
    folder.mode("cert.pem", 0o644);
    folder.file("key.pem", KEY);
    let text = "[daemon]\nssl = true\nssl_cert_file = \"DIR/cert.pem\"\nssl_key_file = \"DIR/key.pem\"\n\
                [database]\npath = \"d\"\n";
    let tls = folder.load(text).unwrap().config.http.tls.unwrap();
    assert_eq!(tls.cert.len(), 1);

    folder.mode("key.pem", 0o604);
    let open = "DIR/c.toml:4: daemon.ssl_key_file: DIR/key.pem is readable by everyone; chmod 640 DIR/key.pem";
    assert_eq!(folder.refused(text), open);
    folder.file("key.pem", OTHER_KEY);
    let other = "DIR/c.toml:4: daemon.ssl_key_file: DIR/key.pem does not hold the key of the \
                 certificate in ssl_cert_file";
    assert_eq!(folder.refused(text), other);
    folder.file("cert.pem", "");
    let empty = "DIR/c.toml:3: daemon.ssl_cert_file: DIR/cert.pem holds no certificate in PEM";
    assert_eq!(folder.refused(text), empty);
}

#[test]
fn a_certificate_file_that_holds_a_private_key_too_must_be_private() {
    let folder = Folder::new();
    let text = "[daemon]\nssl = true\nssl_cert_file = \"DIR/both.pem\"\nssl_key_file = \"DIR/key.pem\"\n\
                [database]\npath = \"d\"\n";
    folder.file("both.pem", format!("{CERT}{KEY}"));
    folder.file("key.pem", KEY);
    assert!(folder.load(text).is_ok());
    folder.mode("both.pem", 0o644);
    let open = "DIR/c.toml:3: daemon.ssl_cert_file: DIR/both.pem is readable by everyone; chmod 640 DIR/both.pem";
    assert_eq!(folder.refused(text), open);
    // one problem, if one file holds both
    let text = text.replace("key.pem", "both.pem");
    assert_eq!(folder.refused(&text), open);
    folder.mode("both.pem", 0o600);
    assert!(folder.load(&text).is_ok());
}

#[test]
fn problems_of_a_certificate_and_of_its_key_are_reported_together() {
    let folder = Folder::new();
    let text = "[daemon]\nssl = true\nssl_cert_file = \"DIR/cert.pem\"\nssl_key_file = \"DIR/key.pem\"\n\
                [database]\npath = \"d\"\n";
    let both = |cert: &str, key: &str| {
        format!(
            "DIR/c.toml:3: daemon.ssl_cert_file: DIR/cert.pem {cert}\n\
             DIR/c.toml:4: daemon.ssl_key_file: DIR/key.pem {key}"
        )
    };
    let no_cert = "holds no certificate in PEM";
    let no_key = "holds no readable private key in PEM (encrypted ones are not supported)";
    folder.file("cert.pem", "junk");
    folder.file("key.pem", "junk");
    assert_eq!(folder.refused(text), both(no_cert, no_key));
    // swapped files: another mode would not help
    folder.file("cert.pem", KEY);
    folder.file("key.pem", CERT);
    folder.mode("key.pem", 0o644);
    assert_eq!(folder.refused(text), both(no_cert, no_key));
    folder.file("cert.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    folder.file("key.pem", KEY);
    folder.mode("key.pem", 0o644);
    let open = "is readable by everyone; chmod 640 DIR/key.pem";
    assert_eq!(folder.refused(text), both("holds a malformed certificate", open));
}

#[test]
fn a_secret_in_the_configuration_makes_it_private() {
    let folder = Folder::new();
    for backend in ["mariadb", "sqlite"] {
        let text =
            format!("[database]\nbackend = \"{backend}\"\npath = \"d\"\npassword = \"s3cret\"\n");
        assert!(folder.load(&text).is_ok());
        let path = folder.file("c.toml", text);
        folder.mode("c.toml", 0o644);
        let refused = load(&path).unwrap_err().to_string();
        let expected = "DIR/c.toml:4: database.password: is a secret, but the file is readable by \
                        everyone; chmod 640 DIR/c.toml";
        assert_eq!(folder.short(&refused), expected);
    }
    let path = folder.file("c.toml", "[database]\npath = \"d\"\npassword = \"\"\n");
    folder.mode("c.toml", 0o644);
    assert!(load(&path).is_ok());
}

#[test]
fn a_password_file_loses_its_last_newline_and_must_be_private() {
    let folder = Folder::new();
    let text = "[database]\nbackend = \"mariadb\"\npassword_file = \"DIR/password\"\n";
    let password = || {
        let Database::Mariadb(mariadb) = folder.load(text)?.config.database else {
            panic!("another backend")
        };
        Ok::<_, String>(mariadb.password.expose().to_owned())
    };
    for (content, expected) in [("s3cret", "s3cret"), (" s3 \n", " s3 "), ("s3\r\n", "s3")] {
        folder.file("password", content);
        assert_eq!(password().as_deref(), Ok(expected));
    }
    let problem = |what| Err(format!("DIR/c.toml:3: database.password_file: DIR/password {what}"));
    folder.file("password", "\n");
    assert_eq!(password(), problem("is empty, it must hold the password"));
    for lines in ["s3cret\n\n", "s3cret\nold", "s3cret\rold", "\ns3cret"] {
        folder.file("password", lines);
        let what = "has more than one line, it must hold nothing but the password";
        assert_eq!(password(), problem(what), "{lines:?}");
    }
    folder.file("password", "s3cret");
    folder.mode("password", 0o646);
    assert_eq!(password(), problem("is readable by everyone; chmod 640 DIR/password"));
}

#[test]
fn mail_reads_its_password_its_authorities_and_its_templates() {
    let folder = Folder::new();
    let text = "[database]\npath = \"d\"\n[email]\nenabled = true\nsmtp_host = \"m\"\n\
                from_address = \"a@b.example\"\nsmtp_starttls = true\nsmtp_ca_file = \"DIR/ca.pem\"\n\
                smtp_username = \"u\"\nsmtp_password_file = \"DIR/password\"\n\
                change_notification_template = \"DIR/change.j2\"\n\
                expiry_notification_template = \"DIR/expiry.j2\"\n";
    folder.file("ca.pem", KEY);
    folder.file("expiry.j2", b"one\ntwo\n\xc3");
    let missing = "cannot be read: No such file or directory (os error 2)";
    let expected = format!(
        "DIR/c.toml:8: email.smtp_ca_file: DIR/ca.pem holds no certificate in PEM\n\
         DIR/c.toml:10: email.smtp_password_file: DIR/password {missing}\n\
         DIR/c.toml:11: email.change_notification_template: DIR/change.j2 {missing}\n\
         DIR/c.toml:12: email.expiry_notification_template: DIR/expiry.j2:3: is not UTF-8 text"
    );
    assert_eq!(folder.refused(text), expected);
    folder.file("expiry.j2", " \n\n");
    let empty = "expiry_notification_template: DIR/expiry.j2 is empty, it must hold the text";
    assert!(folder.refused(text).contains(empty));
    folder.file("ca.pem", CERT);
    folder.file("password", "s3cret\n");
    folder.file("change.j2", "It changed.");
    folder.file("expiry.j2", "It expired.");
    let email = folder.load(text).unwrap().config.email.unwrap();
    let (user, password) = email.login.unwrap();
    assert_eq!((user.as_str(), password.expose()), ("u", "s3cret"));
}

#[test]
fn an_unreadable_configuration_file_is_one_sentence() {
    let folder = Folder::new();
    let refused = |path: &Path| folder.short(&load(path).unwrap_err().to_string());
    let missing = "DIR/none.toml: cannot be read: No such file or directory (os error 2) \
         (files/config.example.toml explains every key; `ddnsd --demo` needs no file)";
    assert_eq!(refused(&folder.path("none.toml")), missing);
    assert_eq!(refused(folder.0.path()), "DIR: is not a regular file");
    let binary = folder.file("binary.toml", b"[daemon]\nhost = \"\xff\"");
    assert_eq!(refused(&binary), "DIR/binary.toml:2: is not UTF-8 text");
    let big = folder.file("big.toml", vec![b'\n'; (1 << 20) + 1]);
    assert_eq!(refused(&big), "DIR/big.toml: is larger than 1048576 bytes");
}

//----- The shipped example -----

#[test]
fn the_example_loads_as_it_is_and_with_every_key_in_use() {
    let folder = Folder::new();
    folder.file("ddns.key", TSIG);
    folder.file("dyn.example.com.key", TSIG);
    for (text, has_key) in [(EXAMPLE.to_owned(), false), (uncommented(), true)] {
        let loaded = folder.load(&text.replace("/etc/ddnsd/", "DIR/")).unwrap();
        assert_eq!(rfc2136(&loaded.config).keys.default.is_some(), has_key);
        // the example has no key yet, and says so
        assert_eq!(loaded.warnings.len(), usize::from(!has_key), "{:?}", loaded.warnings);
        assert!(loaded.warnings.iter().all(|line| line.contains("go unsigned")));
    }
}

#[test]
fn the_example_names_the_true_defaults() {
    let changed =
        |text: &str, from: &str, to: &str| text.replace(&format!("#{from}"), to).replace(from, to);
    let mail = "enabled = true\nsmtp_host = \"m\"\nfrom_address = \"a@b.example\"";
    for (from, to) in [
        ("backend = \"sqlite\"", "backend = \"mariadb\""),
        ("backend = \"rfc2136\"", "backend = \"builtin\""),
        ("log_target = \"stdout\"", "log_target = \"syslog\""),
        ("log_target = \"stdout\"", "log_target = \"file\""),
        ("enabled = false", mail),
        ("no such line", ""),
    ] {
        let config = |text: &str| {
            let text = changed(text, from, to)
                .lines()
                .filter(|line| !is_sample(line))
                .fold(String::new(), |text, line| text + line + "\n");
            let checked = check(&text).unwrap();
            assert_eq!(checked.problems, [], "{to}");
            // paths of unused files differ, because the example shows samples
            format!("{:#?}", Config { values: Values::default(), ..checked.config })
        };
        assert_eq!(config(&uncommented()), config(EXAMPLE), "{to}");
    }
}

/// Lines of the example that show no default, because there is none.
fn is_sample(line: &str) -> bool {
    let samples = [
        "ddns_default_key_file",
        "smtp_host = \"mail",
        "from_address = \"ddns@",
        "change_n",
        "expiry_n",
        "\"ns1",
    ];
    samples.iter().any(|sample| line.starts_with(sample))
}

/// The keys that a section may have: one that cannot exist makes the checker name them.
fn known(header: &str) -> Vec<String> {
    let problems = check(&format!("{header}\nzzzzzzzzzzzz = 1\n")).unwrap().problems;
    let mut lists = problems.iter().filter_map(|each| each.what.split_once("known here: "));
    let (_, list) = lists.next().unwrap();
    list.split(", ").map(str::to_owned).collect()
}

#[test]
fn the_example_explains_every_key() {
    let file: toml::Table = uncommented().parse().unwrap();
    let in_words = ["username", "database"].map(|alias| format!("`{alias}`"));
    assert!(in_words.iter().all(|alias| EXAMPLE.contains(alias)));
    let table = |value: &toml::Value| value.as_table().unwrap().clone();
    let endpoint = table(&file["endpoints"][0]);
    let mut sections = vec![
        (String::new(), file.clone()),
        ("[[endpoints]]".to_owned(), endpoint.clone()),
        ("[[endpoints]]\n[endpoints.params]".to_owned(), table(&endpoint["params"])),
        ("[dns_service.builtin]".to_owned(), table(&file["dns_service"]["builtin"])),
    ];
    let plain = file.iter().filter(|(_, value)| value.is_table());
    sections.extend(plain.map(|(name, value)| (format!("[{name}]"), table(value))));
    for (header, section) in sections {
        for key in known(&header) {
            let is_alias = header == "[database]" && in_words.contains(&format!("`{key}`"));
            assert!(section.contains_key(&key) || is_alias, "{header} {key}");
        }
    }
}

proptest! {
    #[test]
    fn no_mutation_of_the_example_panics_the_checker(
        at in 0..EXAMPLE.len(),
        cut in 0..40_usize,
        put in "[\\[\\]{}\"'=#.,\n a-z0-9é-]{0,6}|\\PC{0,3}",
    ) {
        let text = uncommented();
        let at = text.floor_char_boundary(at.min(text.len()));
        let end = text.floor_char_boundary((at + cut).min(text.len()));
        let mutant = format!("{}{put}{}", &text[..at], &text[end..]);
        match check(&mutant) {
            Ok(checked) => drop(checked),
            Err(problem) => prop_assert!(problem.location.line.is_some()),
        }
    }

    #[test]
    fn no_garbage_panics_the_checker(text in "(\\[{1,2}[a-z._]{0,9}\\]{1,2}\n|[a-z\"]{0,5} ?=? ?\\PC{0,9}\n){0,9}") {
        let _ = check(&text).is_ok();
    }
}
