//! Configuration files: all problems at once, each with file, line and key; secrets must be
//! private.

use ddnsd_tests::daemon::Daemon;
use ddnsd_tests::named::{Named, write_private};
use ddnsd_tests::process::Finished;
use ddnsd_tests::setup::{Setup, source};
use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A key file as `tsig-keygen` writes it.
const KEY: &str = "key \"ddns-key\" {\n\talgorithm hmac-sha256;\n\tsecret \"c2VjcmV0IHNlY3JldCBzZWNyZXQ=\";\n};\n";

/// A folder with this configuration; `FOLDER` in it becomes the path of the folder.
fn written(text: &str) -> Setup {
    let setup = Setup::empty();
    write_private(&setup.file("ddns.key"), KEY);
    let folder = setup.config().parent().unwrap().to_str().unwrap().to_owned();
    write_private(&setup.config(), &text.replace("FOLDER", &folder));
    setup
}

/// The smallest valid configuration.
const LEAST: &str = "[database]\npath = \"FOLDER/ddnsd.sqlite\"\n\
                     [dns_service]\nddns_default_key_file = \"FOLDER/ddns.key\"\n";

/// One line of the output must name this line of the configuration and this key.
#[track_caller]
fn names(finished: &Finished, line: usize, key: &str) {
    let place = format!("config.toml:{line}:");
    let found = finished.stderr.lines().any(|l| l.contains(&place) && l.contains(key));
    assert!(found, "no line with {place} and {key} in {finished}");
}

#[test]
fn the_smallest_configuration_passes_and_creates_no_files() {
    let setup = written(LEAST);
    setup.run_as_written(&["--check-config"]).ok();
    let mut left: Vec<_> = std::fs::read_dir(setup.config().parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["config.toml", "ddns.key"]);
}

#[test]
fn all_problems_of_a_file_are_reported_together_with_line_and_key() {
    let setup = written(
        "[daemon]\n\
         prot = 8443\n\
         port = \"8443\"\n\
         log_level = \"LOUD\"\n\
         request_timeout = 0\n\
         \n\
         [database]\n\
         pool_size = 0\n\
         \n\
         [dns_service]\n\
         dns_server = \"ns.example\"\n\
         dns_port = 70000\n\
         ddns_default_key_file = \"FOLDER/missing.key\"\n\
         \n\
         [defaults]\n\
         dns_ttl = 2147483648\n\
         \n\
         [[endpoints]]\n\
         path = \"update\"\n",
    );
    let refused = setup.run_as_written(&["--check-config"]).exits(78);
    for (line, key) in [
        (2, "prot"),
        (3, "port"),
        (4, "log_level"),
        (5, "request_timeout"),
        (7, "path"),
        (8, "pool_size"),
        (11, "dns_server"),
        (12, "dns_port"),
        (13, "missing.key"),
        (16, "dns_ttl"),
        (19, "path"),
    ] {
        names(&refused, line, key);
    }
    assert!(!refused.stderr.contains("panicked"), "{refused}");
    setup.run_as_written(&[]).exits(78).prints(&["config.toml:2:", "config.toml:19:"]);
    assert!(!setup.sqlite_file().exists());
}

#[test]
fn each_kind_of_problem_is_found_alone() {
    for (text, line, key) in [
        ("[daemon]\nprot = 1\n", 2, "prot"),
        ("[deamon]\nport = 1\n", 1, "deamon"),
        ("[daemon]\nssl = \"yes\"\n", 2, "ssl"),
        ("[email]\nenabled = true\nsmtp_host = \"x\"\n", 1, "from_address"),
        ("[daemon]\ntrusted_proxies = [\"10.0.0.0/33\"]\n", 2, "trusted_proxies"),
        ("[admin]\nmode = \"rw\"\n", 2, "mode"),
        ("[metrics]\nlisten = \"here\"\n", 2, "listen"),
        ("[rate_limit]\nbad_max_requests = 0\n", 2, "bad_max_requests"),
        ("[daemon]\nport = 1\nport = 2\n", 3, "duplicate key"),
        ("[daemon\n", 1, ""),
        ("[[endpoints]]\npath = \"/a\"\n[[endpoints]]\npath = \"/a/\"\n", 4, "path"),
    ] {
        let setup = written(&format!("{text}{LEAST}"));
        let refused = setup.run_as_written(&["--check-config"]);
        assert_eq!(refused.code, Some(78), "for {text:?}: {refused}");
        let place = format!("config.toml:{line}:");
        let found = refused.stderr.lines().any(|l| l.contains(&place) && l.contains(key));
        assert!(found, "for {text:?}: no line with {place} and {key:?} in {refused}");
    }
}

#[test]
fn conflicting_keys_are_named_together() {
    let late = written(&format!("[daemon]\nrequest_timeout = 5\n{LEAST}"));
    let late = late.run_as_written(&["--check-config"]).exits(78);
    late.prints(&["config.toml:", "dns_timeout", "request_timeout"]);
    let bare = written(&format!("[daemon]\nssl = true\n{LEAST}"));
    let bare = bare.run_as_written(&["--check-config"]).exits(78);
    bare.prints(&["config.toml:", "ssl_cert_file", "ssl_key_file"]);
}

#[test]
fn a_missing_configuration_is_named() {
    let setup = Setup::empty();
    setup.run_as_written(&[]).exits(78).prints(&["config.toml"]).one_sentence();
    setup.run_as_written(&["--check-config"]).exits(78).prints(&["config.toml"]).one_sentence();
}

#[test]
fn missing_and_malformed_key_files_are_named_with_their_line() {
    for (key, words) in [
        ("", &["ddns.key"][..]),
        ("key \"k\" {\n  algorithm hmac-sha256;\n};\n", &["ddns.key", "secret"]),
        ("key \"k\" {\n  algorithm hmac-sha256;\n  secret \"!!!\";\n};\n", &["ddns.key:3"]),
        (
            "key \"k\" {\n  algorithm hmac-md5;\n  secret \"c2VjcmV0\";\n};\n",
            &["ddns.key:2", "md5"],
        ),
        (
            "key \"k\" {\n  algorithm rot13;\n  secret \"c2VjcmV0\";\n};\n",
            &["ddns.key:2", "unknown algorithm"],
        ),
        ("zone \"x\" { };\n", &["ddns.key:1"]),
    ] {
        let setup = written(LEAST);
        write_private(&setup.file("ddns.key"), key);
        for arguments in [&["--check-config"][..], &[]] {
            let refused = setup.run_as_written(arguments).exits(78).prints(words);
            assert!(!refused.stderr.contains("c2VjcmV0"), "the secret is shown: {refused}");
        }
    }
    let missing = written(LEAST);
    std::fs::remove_file(missing.file("ddns.key")).unwrap();
    missing.run_as_written(&["--check-config"]).exits(78).prints(&["ddns.key"]);
}

#[test]
fn secrets_that_others_can_read_are_refused_with_the_chmod_that_fixes_it() {
    let world_readable =
        |path: PathBuf| set_permissions(path, Permissions::from_mode(0o644)).unwrap();

    let key = written(LEAST);
    world_readable(key.file("ddns.key"));
    key.run_as_written(&["--check-config"]).exits(78).prints(&["ddns.key", "chmod"]);
    key.run_as_written(&[]).exits(78).prints(&["ddns.key", "chmod"]);
    set_permissions(key.file("ddns.key"), Permissions::from_mode(0o640)).unwrap();
    key.run_as_written(&["--check-config"]).ok();

    let holds_none = written(LEAST);
    world_readable(holds_none.config());
    holds_none.run_as_written(&["--check-config"]).ok();

    let holds_one = written(
        "[database]\nbackend = \"mariadb\"\npassword = \"hunter2\"\n\
         [dns_service]\nddns_default_key_file = \"FOLDER/ddns.key\"\n",
    );
    world_readable(holds_one.config());
    let refused = holds_one.run_as_written(&["--check-config"]).exits(78);
    let refused = refused.prints(&["config.toml", "chmod"]);
    assert!(!refused.output().contains("hunter2"), "the secret is shown: {refused}");
}

#[test]
fn files_that_a_disabled_feature_names_need_not_exist() {
    let setup = written(&format!(
        "[daemon]\nssl_cert_file = \"/no/such/cert\"\nssl_key_file = \"/no/such/key\"\n\
         [email]\nenabled = false\nchange_notification_template = \"/no/such/template\"\n{LEAST}"
    ));
    setup.run_as_written(&["--check-config"]).ok();
}

#[test]
fn the_shipped_example_passes_once_its_paths_exist() {
    let text = std::fs::read_to_string(source("files/config.example.toml")).expect("the example");
    let setup = Setup::empty();
    let folder = setup.config().parent().unwrap().to_str().unwrap().to_owned();
    let mut text = text;
    for place in ["/etc/ddnsd", "/etc/bind", "/var/lib/ddnsd", "/var/log/ddnsd", "/run/ddnsd"] {
        text = text.replace(place, &folder);
    }
    write_private(&setup.config(), &text);
    let parsed: toml::Table = text.parse().expect("TOML");
    let service = parsed["dns_service"].as_table().expect("[dns_service]");
    let default = service.get("ddns_default_key_file").into_iter();
    let zones = service.get("zone_keys").and_then(toml::Value::as_table).into_iter().flatten();
    for key in default.chain(zones.map(|(_, file)| file)) {
        write_private(Path::new(key.as_str().expect("a path")), KEY);
    }
    setup.run_as_written(&["--check-config"]).ok();
    assert!(!setup.sqlite_file().exists());
}

#[test]
fn check_config_needs_no_name_server_and_starts_nothing() {
    let mut named = Named::start();
    named.stop();
    let setup = Daemon::builder(&named);
    setup.run(&["--check-config"]).ok();
    assert!(!setup.sqlite_file().exists() && !setup.socket().exists());
}

#[test]
fn the_exit_code_is_right_when_the_output_cannot_be_written() {
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let code = |setup: &Setup, arguments: &[&str]| {
        let mut command = setup.command();
        command.args(arguments).stdout(full()).stderr(full());
        command.status().unwrap().code()
    };
    assert_eq!(code(&written(LEAST), &["--check-config"]), Some(0));
    assert_eq!(code(&written("[daemon]\nport = 1.5\n"), &["--check-config"]), Some(78));
    assert_eq!(code(&written("[daemon]\nport = 1.5\n"), &[]), Some(78));
    let no_folder = LEAST.replace("ddnsd.sqlite", "none/ddnsd.sqlite");
    assert_eq!(code(&written(&no_folder), &["--init-db"]), Some(1));
}
