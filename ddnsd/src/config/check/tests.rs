//! Every key, its default and every way to get it wrong, with the message in full.

use super::{Checked, check};
use crate::config::error::ConfigError;
use crate::config::{Database, DatabaseTls, DnsBackend, DnsTransport, LogTarget, normal_path};
use crate::model::notice::NoticeKind;
use crate::model::secret::Secret;
use std::path::Path;
use std::time::Duration;

/// The least that every file needs.
const LEAST: &str = "[database]\npath = \"d.db\"\n[dns_service]\nddns_default_key_file = \"k\"\n";

fn complaints(text: &str) -> String {
    let problems = match check(text) {
        Ok(checked) => checked.problems,
        Err(problem) => vec![problem],
    };
    ConfigError::new(Path::new("c.toml"), problems).to_string()
}

fn sound(text: &str) -> Checked {
    let text = if text.contains("[database]") { text.to_owned() } else { format!("{LEAST}{text}") };
    let checked = check(&text).unwrap();
    assert_eq!(checked.problems, [], "{text}");
    checked
}

fn warnings(text: &str) -> Vec<String> {
    let checked = sound(text);
    checked.warnings.iter().map(|warning| warning.in_file(Path::new("c.toml"))).collect()
}

/// The message about one line in a section of a valid file, without the line number.
fn about(section: &str, line: &str) -> String {
    let with_line = format!("{section}\n{line}");
    let text = if LEAST.contains(section) {
        LEAST.replace(section, &with_line)
    } else {
        format!("{LEAST}{with_line}")
    };
    let complaints = complaints(&text);
    let (_, message) = complaints.split_once(": ").expect("a problem");
    message.to_owned()
}

#[test]
fn the_least_file_gives_the_defaults_of_the_contract() {
    let Checked { config, files, warnings, .. } = sound("");
    let http = &config.http;
    assert_eq!((http.host.as_str(), http.port), ("localhost", 8443));
    assert!(http.tls.is_none() && http.proxy_header.is_none() && !http.log_requests);
    assert!(http.trusted_proxies.is_empty());
    assert_eq!(http.request_timeout, Duration::from_secs(10));
    assert_eq!(config.log.level, tracing::Level::INFO);
    assert!(matches!(config.log.target, LogTarget::Stdout));
    assert!(matches!(&config.database, Database::Sqlite { path, pool_size: 5 }
        if path == Path::new("d.db")));
    assert_eq!(config.dns.cleanup_interval, Duration::from_mins(1));
    assert_eq!(config.dns.verify_interval, Duration::from_hours(1));
    let DnsBackend::Rfc2136(dns) = &config.dns.backend else { panic!("another backend") };
    assert_eq!(dns.server, "127.0.0.1:53".parse().unwrap());
    assert_eq!((dns.timeout, dns.transport), (Duration::from_secs(5), DnsTransport::Auto));
    assert_eq!((config.defaults.dns_ttl, config.defaults.expiry_ttl), (60, 3600));
    assert!(config.email.is_none() && config.metrics.is_none());
    assert_eq!(files.keys.default.unwrap().path, Path::new("k"));
    assert!(warnings.is_empty());
}

#[test]
fn the_least_file_gives_the_default_limits_and_endpoint() {
    let config = sound("").config;
    let limits = &config.limits;
    assert!(limits.enabled);
    assert_eq!((limits.good_window, limits.good_max), (Duration::from_mins(1), 5));
    assert_eq!((limits.bad_window, limits.bad_max), (Duration::from_mins(1), 3));
    assert_eq!(limits.cleanup_interval, Duration::from_mins(1));
    assert_eq!((config.auth.cache_ttl, config.auth.threads), (Duration::from_hours(24), 10));
    assert_eq!(config.admin.socket, Path::new("/run/ddnsd/admin.sock"));
    assert_eq!((config.admin.mode, &config.admin.group), (0o660, &None));
    let [endpoint] = &*config.endpoints else { panic!("not one endpoint") };
    assert_eq!(endpoint.path, "/update");
    assert_eq!(endpoint.params.hostname, ["hostname", "host"]);
    assert_eq!(endpoint.params.ipv4, ["myip", "ipv4", "ip4", "myipv4", "ip"]);
    assert_eq!(endpoint.params.ipv6, ["myip6", "ipv6", "ip6", "myipv6"]);
    assert_eq!(endpoint.params.username, ["username", "user"]);
    assert_eq!(endpoint.params.password, ["password", "pass", "token"]);
    assert_eq!(endpoint.params.notify_change, ["notify_change"]);
}

#[test]
fn the_log_goes_where_the_target_says() {
    let target = |text: &str| sound(&format!("[daemon]\n{text}")).config.log.target;
    assert!(matches!(target("log_target = \"journald\""), LogTarget::Journald));
    assert!(matches!(target("log_target = \"syslog\"\nsyslog_facility = \"local7\""),
        LogTarget::Syslog { socket, facility: 23 } if socket == Path::new("/dev/log")));
    assert!(matches!(target("log_target = \"file\"\nlog_versions = 0"),
        LogTarget::File { path, max_bytes: 52_428_800, versions: 0 }
        if path == Path::new("/var/log/ddnsd/ddnsd.log")));
    let debug = sound("[daemon]\nlog_level = \"debug\"").config.log.level;
    assert_eq!(debug, tracing::Level::DEBUG);
}

#[test]
fn mariadb_takes_both_names_of_its_keys() {
    let mariadb = |keys: &str| {
        let checked = sound(&format!("[database]\nbackend = \"mariadb\"\n{keys}"));
        let Database::Mariadb(mariadb) = checked.config.database else { panic!("not mariadb") };
        (mariadb, checked.files)
    };
    let (default, _) = mariadb("");
    assert_eq!((default.host.as_str(), default.port), ("localhost", 3306));
    assert_eq!((default.user.as_str(), default.name.as_str()), ("ddns", "ddns"));
    assert_eq!((default.tls, default.pool_size), (DatabaseTls::Preferred, 5));
    assert!(default.socket.is_none() && default.tls_ca_file.is_none());
    let (named, _) = mariadb("username = \"u\"\ndatabase = \"n\"\npassword = \"p\"");
    assert_eq!((named.user.as_str(), named.name.as_str()), ("u", "n"));
    assert!(named.password == Secret::new("p".into()));
    let (verified, files) =
        mariadb("user = \"u\"\ntls = \"verify\"\ntls_ca_file = \"ca\"\npassword_file = \"f\"");
    assert_eq!(verified.tls_ca_file.as_deref(), Some(Path::new("ca")));
    assert_eq!(files.authorities.len(), 1);
    assert_eq!(files.database_password.unwrap().path, Path::new("f"));
}

#[test]
fn keys_of_the_other_backend_are_ignored_but_keep_their_types() {
    let checked = sound(
        "[database]\npath = \"d\"\nhost = \"\"\nusername = \"\"\nport = 3307\ntls = \"verify\"\n\
         tls_ca_file = \"none\"\npassword_file = \"none\"\n",
    );
    assert!(checked.files.database_password.is_none() && checked.files.authorities.is_empty());
    sound("[database]\nbackend = \"mariadb\"\npath = \"\"");
    assert_eq!(
        about("[database]", "port = \"3306\""),
        "database.port: must be an integer, got a string"
    );
    let builtin = sound(
        "[database]\npath = \"d\"\n[dns_service]\nbackend = \"builtin\"\ndns_timeout = 99\n\
         ddns_default_key_file = \"none\"\nzone_keys = { \"a.example\" = \"none\" }",
    );
    assert!(builtin.files.keys.default.is_none() && builtin.files.keys.zones.is_empty());
}

#[test]
fn a_disabled_feature_names_no_files() {
    let checked = sound(
        "[daemon]\nssl_cert_file = \"c\"\nssl_key_file = \"k\"\n[email]\nsmtp_ca_file = \"c\"\n\
         smtp_password_file = \"p\"\nchange_notification_template = \"t\"\nfrom_address = \"?\"",
    );
    assert!(checked.files.tls.is_none() && checked.files.smtp_login.is_none());
    assert!(checked.files.smtp_authorities.is_none() && checked.files.templates.is_empty());
    assert!(checked.config.email.is_none());
}

#[test]
fn mail_is_configured_by_its_section() {
    let checked = sound(
        "[email]\nenabled = true\nsmtp_host = \"mail.example\"\nsmtp_starttls = true\n\
         from_address = \"Dynamic DNS <ddns@example.org>\"\nsmtp_ca_file = \"ca\"\n\
         smtp_username = \"u\"\nsmtp_password_file = \"p\"\n\
         change_notification_template = \"c.j2\"\nexpiry_notification_template = \"e.j2\"",
    );
    let email = checked.config.email.unwrap();
    assert_eq!((email.smtp_host.as_str(), email.smtp_port), ("mail.example", 25));
    assert_eq!(email.sender.name.as_deref(), Some("Dynamic DNS"));
    assert_eq!(email.sender.address.as_str(), "ddns@example.org");
    assert!(email.starttls);
    let templates = checked.files.templates.iter();
    let templates: Vec<_> = templates.map(|(kind, file)| (*kind, file.path.as_path())).collect();
    assert_eq!(
        templates,
        [(NoticeKind::Change, Path::new("c.j2")), (NoticeKind::Expiry, Path::new("e.j2"))]
    );
    assert!(checked.files.smtp_authorities.is_some());
    assert_eq!(checked.files.smtp_login.unwrap().0, "u");
    assert!(checked.warnings.is_empty());
}

#[test]
fn proxies_are_networks_and_single_addresses() {
    let checked = sound(
        "[daemon]\nproxy_header = \"X-Forwarded-For\"\n\
         trusted_proxies = [\"192.0.2.7\", \"10.1.2.3/8\", \"::1\", \"[2001:db8::1]\", \"::ffff:192.0.2.9\", \
         \"::ffff:172.16.5.0/108\", \"::/0\"]",
    );
    assert_eq!(checked.config.http.proxy_header.unwrap().as_str(), "x-forwarded-for");
    let networks: Vec<_> =
        checked.config.http.trusted_proxies.iter().map(ToString::to_string).collect();
    let mapped = ["192.0.2.9/32", "172.16.0.0/12"];
    let expected = ["192.0.2.7/32", "10.0.0.0/8", "::1/128", "2001:db8::1/128"];
    assert_eq!(networks, [&expected[..], &mapped, &["::/0"]].concat());
}

#[test]
fn endpoints_are_normalised_and_keep_the_default_names_of_what_they_leave_out() {
    let checked = sound(
        "[[endpoints]]\npath = \"//nic//update/\"\n[endpoints.params]\nhostname = [\"h\"]\n\
         ipv6 = []\n[[endpoints]]\npath = \"/\"\n",
    );
    let [one, two] = &*checked.config.endpoints else { panic!("not two endpoints") };
    assert_eq!((one.path.as_str(), two.path.as_str()), ("/nic/update", "/"));
    assert_eq!(one.params.hostname, ["h"]);
    assert!(one.params.ipv6.is_empty());
    assert_eq!(one.params.username, ["username", "user"]);
    // DuckDNS's `ip` holds either family
    let shared =
        "[[endpoints]]\npath = \"/u\"\nparams.ipv4 = [\"ip\"]\nparams.ipv6 = [\"ipv6\", \"ip\"]";
    assert_eq!(sound(shared).config.endpoints.first().unwrap().params.ipv6, ["ipv6", "ip"]);
    assert_eq!(normal_path(""), "/");
    assert_eq!(normal_path("nic/update"), "/nic/update");
}

#[test]
fn the_built_in_name_server_has_its_section() {
    let checked = sound(
        "[database]\npath = \"d\"\n[dns_service]\nbackend = \"builtin\"\n[dns_service.builtin]\n\
         listen = [\"[::1]:5353\"]\nzones = [\"Dyn.Example.\"]\nnameservers = [\"NS1.dyn.example.\"]\n\
         nameserver_addresses = { \"ns1.dyn.example\" = [\"192.0.2.1\", \"2001:db8::1\"] }\n\
         hostmaster = \"h@example.org\"\nallow_transfer = [\"192.0.2.0/24\"]\n\
         notify = [\"192.0.2.2:53\"]",
    );
    let DnsBackend::Builtin(builtin) = checked.config.dns.backend else { panic!("not builtin") };
    assert_eq!(builtin.listen, ["[::1]:5353".parse().unwrap()]);
    assert_eq!(builtin.zones.first().unwrap().as_str(), "dyn.example");
    assert_eq!(builtin.nameservers, ["ns1.dyn.example"]);
    let [(name, addresses)] = &*builtin.nameserver_addresses else { panic!("not one glue") };
    assert_eq!((name.as_str(), addresses.len()), ("ns1.dyn.example", 2));
    assert_eq!(builtin.hostmaster, "h@example.org");
    assert_eq!((builtin.allow_transfer.len(), builtin.notify.len()), (1, 1));
    assert!(checked.warnings.is_empty());
}

#[test]
fn all_problems_of_a_file_are_reported_together_and_by_line() {
    let text = "colour = 1\n\
                [daemon]\nport = 70000\nhots = \"x\"\n\
                [database]\n\
                [dns_service]\ndns_server = \"ns1.example\"\nddns_default_key_file = 5\n\
                [rate_limits]\nenabled = true\n";
    let expected = "c.toml:1: colour: unknown key, known here: daemon, database, dns_service, \
                    defaults, email, rate_limit, auth, admin, metrics, endpoints\n\
                    c.toml:3: daemon.port: must be at most 65535, got 70000\n\
                    c.toml:4: daemon.hots: unknown key, did you mean `host`?\n\
                    c.toml:5: database.path: is required with the sqlite backend\n\
                    c.toml:7: dns_service.dns_server: must be an IP address, got \"ns1.example\"\n\
                    c.toml:8: dns_service.ddns_default_key_file: must be a string, got an integer\n\
                    c.toml:9: rate_limits: unknown section, did you mean `rate_limit`?";
    assert_eq!(complaints(text), expected);
}

#[test]
fn a_syntax_error_is_one_problem_with_line_and_column_and_quotes_nothing() {
    for (text, expected) in [
        (
            "[database]\npassword = \"s3cret\" x\n",
            "c.toml:2:21: not valid TOML: unexpected key or value, expected newline, `#`",
        ),
        ("[daemon]\nport = 1\nport = 2", "c.toml:3:1: not valid TOML: duplicate key `port`"),
        ("[daemon]\n\n[daemon]", "c.toml:3:2: not valid TOML: duplicate key `daemon`"),
        ("a.b = 1\na.\"b\" = 2", "c.toml:2:3: not valid TOML: duplicate key `\"b\"`"),
        (
            "ü = \"é\" 5",
            "c.toml:1:9: not valid TOML: unexpected key or value, expected newline, `#`",
        ),
        ("[daemon]\r\nhost = [", "c.toml:2:9: not valid TOML: unclosed array, expected `]`"),
    ] {
        assert_eq!(complaints(text), expected, "{text:?}");
    }
}

#[test]
fn a_missing_section_is_the_whole_files_problem() {
    assert_eq!(complaints(""), "c.toml:1: database.path: is required with the sqlite backend");
}

#[test]
fn a_section_is_no_value_and_a_value_no_section() {
    let daemon = complaints(&format!("daemon = 3\n{LEAST}"));
    assert_eq!(daemon, "c.toml:1: daemon: must be a section, [daemon], got an integer");
    assert_eq!(
        complaints("database = 3"),
        "c.toml:1: database: must be a section, [database], got an integer"
    );
    let endpoints = complaints(&format!("{LEAST}[endpoints]\npath = \"/u\""));
    assert_eq!(endpoints, "c.toml:5: endpoints: must be sections, [[endpoints]], got a table");
    let params = complaints(&format!("{LEAST}[[endpoints]]\npath = \"/u\"\nparams = []"));
    assert_eq!(
        params,
        "c.toml:7: endpoints.params: must be a section, [endpoints.params], got a list"
    );
    let unknown = complaints(&format!("{LEAST}[auth.cache]\nttl = 5"));
    assert_eq!(unknown, "c.toml:5: auth.cache: unknown section, known here: cache_ttl");
    let tables = complaints(&format!("{LEAST}[[endpoint]]\npath = \"/u\""));
    assert_eq!(tables, "c.toml:5: endpoint: unknown section, did you mean `endpoints`?");
}

#[test]
fn every_value_out_of_its_range_is_named() {
    let mut lines = include_str!("tests/wrong_values.txt").lines();
    while let (Some(wrong), Some(message)) = (lines.next(), lines.next()) {
        let (section, line) = wrong.split_once(' ').unwrap();
        assert_eq!(about(section, line), message.trim_start(), "{line}");
    }
}

#[test]
fn tls_and_timeouts_need_their_related_keys() {
    for (text, expected) in [
        (
            "[daemon]\nssl = true\n",
            "c.toml:5: daemon.ssl_cert_file: is required when daemon.ssl is true\n\
             c.toml:5: daemon.ssl_key_file: is required when daemon.ssl is true",
        ),
        (
            "[daemon]\nrequest_timeout = 5\n",
            "c.toml:3: dns_service.dns_timeout: must be less than daemon.request_timeout (5), got 5, \
             its default",
        ),
        (
            "[daemon]\nrequest_timeout = \"5\"\n",
            "c.toml:6: daemon.request_timeout: must be an integer, got a string",
        ),
    ] {
        assert_eq!(complaints(&format!("{LEAST}{text}")), expected, "{text}");
    }
}

#[test]
fn mail_needs_a_server_a_sender_and_a_complete_login() {
    for (text, expected) in [
        (
            "[email]\nenabled = true\n",
            "c.toml:5: email.smtp_host: is required when email.enabled is true\n\
             c.toml:5: email.from_address: is required when email.enabled is true",
        ),
        (
            "[email]\nenabled = true\nsmtp_host = \"m\"\nfrom_address = \"me\"\nsmtp_username = \"u\"",
            "c.toml:8: email.from_address: must be a mail address, got \"me\"\n\
             c.toml:9: email.smtp_username: needs email.smtp_password_file too",
        ),
        (
            "[email]\nenabled = true\nsmtp_host = \"m\"\nfrom_address = \"a@b.example\"\n\
             smtp_password_file = \"f\"",
            "c.toml:9: email.smtp_password_file: needs email.smtp_username too",
        ),
    ] {
        assert_eq!(complaints(&format!("{LEAST}{text}")), expected, "{text}");
    }
}

#[test]
fn endpoints_need_paths_and_names_of_their_own() {
    for (text, expected) in [
        (
            "[[endpoints]]\n[[endpoints]]\npath = \"u\"\n[[endpoints]]\npath = \"/u?x\"\n",
            "c.toml:5: endpoints.path: is required in every [[endpoints]]\n\
             c.toml:7: endpoints.path: must be a path like \"/nic/update\", got \"u\"\n\
             c.toml:9: endpoints.path: must be a path like \"/nic/update\", got \"/u?x\"",
        ),
        (
            "[[endpoints]]\npath = \"/u\"\n[[endpoints]]\npath = \"//u/\"\n",
            "c.toml:8: endpoints.path: must be unique, \"/u\" is another endpoint's too",
        ),
        (
            "[[endpoints]]\npath = \"/u\"\nparams.hostname = [\"h\"]\nparams.username = [\"H\"]\n",
            "c.toml:8: endpoints.params.username: has the name \"H\", which `hostname` has too",
        ),
        (
            "[[endpoints]]\npath = \"/u\"\nparams.ipv4 = [\"ip\"]\nparams.password = [\"ip\"]\n",
            "c.toml:8: endpoints.params.password: has the name \"ip\", which `ipv4` has too",
        ),
        (
            "[[endpoints]]\npath = \"/u\"\nparams.ipv4 = [\"ip\",\n\"\"]\n",
            "c.toml:8: endpoints.params.ipv4: must not hold an empty name",
        ),
        (
            "[[endpoints]]\npath = \"/u\"\nparams.mail = [\"m\"]\n",
            "c.toml:7: endpoints.params.mail: unknown key, known here: hostname, ipv4, ipv6, prefix6, \
             username, password, notify_change",
        ),
    ] {
        assert_eq!(complaints(&format!("{LEAST}{text}")), expected, "{text}");
    }
}

#[test]
fn a_name_that_the_file_gives_is_no_default_of_another_parameter() {
    let endpoint = "[[endpoints]]\npath = \"/u\"\nparams.hostname = [\"IP\", \"user\"]\n";
    let params = &sound(&format!("{LEAST}{endpoint}")).config.endpoints[0].params;
    assert_eq!(params.hostname, ["IP", "user"]);
    assert_eq!(params.ipv4, ["myip", "ipv4", "ip4", "myipv4"]);
    assert_eq!(params.username, ["username"]);
}

#[test]
fn each_problem_of_the_mariadb_keys_is_reported_once() {
    let mariadb = "[database]\nbackend = \"mariadb\"\nuser = \"u\"\nusername = \"\"\nhost = \"\"\n\
                   password = \"s3cret\"\npassword_file = \"f\"\n";
    let expected = "c.toml:4: database.username: is another name of `user`, give one of the two\n\
                    c.toml:4: database.username: must not be empty\n\
                    c.toml:5: database.host: must not be empty\n\
                    c.toml:7: database.password_file: must not be given beside database.password";
    assert_eq!(complaints(mariadb), expected);
}

#[test]
fn the_built_in_name_server_needs_zones() {
    let empty = "[database]\npath = \"d\"\n[dns_service]\nbackend = \"builtin\"\n\
                 builtin.zones = []\nbuiltin.nameservers = [\"x\"]";
    let expected = "c.toml:5: dns_service.builtin.zones: must not be empty\n\
                    c.toml:6: dns_service.builtin.nameservers: must be a host name, got \"x\", but it \
                    is a single label, not a fully qualified name";
    assert_eq!(complaints(empty), expected);
}

#[test]
fn a_long_value_is_cut_in_the_message() {
    let message = about("[dns_service]", &format!("dns_server = \"{}\"", "9".repeat(100_000)));
    let shown = "9".repeat(60);
    assert_eq!(message, format!("dns_service.dns_server: must be an IP address, got \"{shown}…\""));
    assert!(about("[daemon]", &format!("{} = 1", "k".repeat(100_000))).len() < 500);
}

#[test]
fn questionable_settings_are_warnings() {
    let header = "[daemon]\nproxy_header = \"Forwarded\"";
    let proxies = "[daemon]\ntrusted_proxies = [\"::1\"]";
    let open = "[daemon]\nhost = \"0.0.0.0\"";
    let mail = "[email]\nenabled = true\nsmtp_host = \"m\"\nfrom_address = \"a@b.example\"\n\
                smtp_username = \"u\"\nsmtp_password_file = \"p\"\nsmtp_ca_file = \"c\"";
    for (text, expected) in [
        (
            "[database]\npath = \"d\"\n[dns_service]",
            &["c.toml:3: dns_service.ddns_default_key_file: is not set, so updates of zones that \
               zone_keys does not name go unsigned"][..],
        ),
        (
            header,
            &["c.toml:6: daemon.proxy_header: has no effect, because trusted_proxies is empty"],
        ),
        (
            proxies,
            &["c.toml:6: daemon.trusted_proxies: has no effect on the client address, because \
                 proxy_header is empty; updates from these proxies must name an address, or the \
                 reply is badip"],
        ),
        (
            open,
            &[
                "c.toml:5: daemon.ssl: passwords travel unencrypted, because ssl is off and no proxy \
               is trusted",
            ],
        ),
        ("[daemon]\nhost = \"[::1]\"", &[]),
        (
            mail,
            &[
                "c.toml:6: email.enabled: has no effect, because no template is set, so no mail is \
                 sent",
                "c.toml:5: email.smtp_starttls: is off, so the SMTP password travels unencrypted",
                "c.toml:11: email.smtp_ca_file: has no effect, because smtp_starttls is off",
            ],
        ),
    ] {
        assert_eq!(warnings(text), expected, "{text}");
    }
}

#[test]
fn questionable_settings_of_the_built_in_name_server_are_warnings() {
    let builtin = "[database]\npath = \"d\"\n[dns_service]\nbackend = \"builtin\"\n\
                   builtin.zones = [\"a.example\"]\nbuiltin.nameservers = [\"ns.a.example\"]\n\
                   builtin.nameserver_addresses = { \"ns.b.example\" = [\"192.0.2.1\"] }";
    assert_eq!(
        warnings(builtin),
        [
            "c.toml:5: dns_service.builtin.hostmaster: is not set, so the example's name is \
             published",
            "c.toml:6: dns_service.builtin.nameservers: has `ns.a.example`, which lies in a served \
             zone: set its addresses in nameserver_addresses, unless it is a host with an address",
            "c.toml:7: dns_service.builtin.nameserver_addresses: has `ns.b.example`, which lies in \
             no served zone, so it is not published",
        ]
    );
}

#[test]
fn an_admin_socket_with_too_long_a_path_is_a_problem() {
    let of = |bytes: usize| format!("socket = \"/{}\"", "x".repeat(bytes - 1));
    let message = about("[admin]", &of(108));
    assert!(message.contains("admin.socket") && message.contains("108 bytes"), "{message}");
    sound(&format!("[admin]\n{}", of(107)));
}
