//! The README's configurations, run as they are printed.

use crate::{RECOVERY, Scene};
use ddnsd_tests::authority::Authority;
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::daemon::Daemon;
use ddnsd_tests::eventually::eventually_equals;
use ddnsd_tests::http::get;
use ddnsd_tests::named::{ZONE, free_port, write_private};
use ddnsd_tests::primary::Primary;
use ddnsd_tests::process::{program, run};
use ddnsd_tests::proxy::{Kind, Proxy};
use ddnsd_tests::readme::{ReadmePrimary, Server, block};
use ddnsd_tests::setup::{Setup, source};
use std::collections::BTreeMap;
use std::process::Command;

#[test]
fn the_configurations_of_name_servers_take_updates_and_removals() {
    for server in [Server::Bind, Server::Knot, Server::PowerDns] {
        let primary = ReadmePrimary::start(server);
        let daemon = Daemon::builder(&primary).start();
        daemon.ctl().add_user("alice");
        daemon.ctl().add_host("alice", "pc", ZONE, &[]);
        let update = |query: &str| daemon.update("alice", &format!("hostname=pc.{ZONE}&{query}"));
        update("myip=192.0.2.1,2001:db8::1").is(200, "good 192.0.2.1 2001:db8::1\n");
        let held = |kind: &str| primary.data(&format!("pc.{ZONE}"), kind);
        assert_eq!(
            (held("A"), held("AAAA")),
            (vec!["192.0.2.1".to_owned()], vec!["2001:db8::1".to_owned()])
        );
        update("offline=YES").is(200, "good\n");
        eventually_equals(RECOVERY, &format!("{server:?} to hold nothing"), &0, || {
            held("A").len() + held("AAAA").len()
        });
    }
}

#[test]
fn the_small_configuration_passes_the_check() {
    let setup = Setup::empty();
    let folder = setup.config().parent().unwrap().display().to_string();
    let authority = Authority::new();
    let signed = authority.sign("127.0.0.1");
    let text = block("toml", "ssl_cert_file")
        .replace("/etc/ddnsd/cert.pem", &signed.certificate.display().to_string())
        .replace("/etc/ddnsd/key.pem", &signed.key.display().to_string())
        .replace("/etc/ddnsd", &folder)
        .replace("/var/lib/ddnsd", &folder);
    write_private(&setup.config(), &text);
    let key = run(Command::new(program("tsig-keygen")).arg("ddns-key"), "").ok().stdout;
    write_private(&setup.file("ddns.key"), &key);
    let checked = setup.run_as_written(&["--check-config"]).ok();
    assert!(checked.stderr.is_empty(), "{checked}");
}

/// The daemon's part, and the proxies' parts with a certificate of the test.
#[test]
fn the_configurations_of_proxies_do_tls_and_pass_the_clients_address_on() {
    let keys: toml::Table = block("toml", "proxy_header").parse().unwrap();
    let scene = Scene::with(|setup| {
        let daemon = keys["daemon"].as_table().unwrap().iter();
        let proxy_keys = daemon.filter(|(key, _)| *key != "port");
        proxy_keys
            .fold(setup, |setup, (key, value)| setup.set(&format!("daemon.{key}"), value.clone()))
    });
    let authority = Authority::new();
    let signed = authority.sign("127.0.0.1");
    let (certificate, key) = (signed.certificate.display(), signed.key.display());
    let both = scene.daemon.setup().file("both.pem");
    let pem = |path| std::fs::read_to_string(path).unwrap();
    std::fs::write(&both, pem(&signed.certificate) + &pem(&signed.key)).unwrap();
    for (number, kind) in (1..).zip([Kind::Nginx, Kind::Caddy, Kind::Haproxy]) {
        let address = format!("127.0.0.1:{}", free_port());
        let text = match kind {
            Kind::Nginx => block("nginx", "proxy_pass")
                .replace("listen 443", &format!("listen {address}"))
                .replace("/etc/ssl/ddns.example.com.pem", &certificate.to_string())
                .replace("/etc/ssl/ddns.example.com.key", &key.to_string()),
            Kind::Caddy => block("caddy", "reverse_proxy").replace(
                "ddns.example.com {",
                &format!("https://{address} {{\n    tls {certificate} {key}"),
            ),
            Kind::Haproxy => block("haproxy", "forwardfor")
                .replace("bind :443", &format!("bind {address}"))
                .replace("/etc/haproxy/ddns.example.com.pem", &both.display().to_string()),
        };
        let text = text.replace("127.0.0.1:8080", scene.daemon.address());
        assert!(text.contains(&address) && text.contains(scene.daemon.address()), "{text}");
        let proxy = Proxy::configured(kind, address.clone(), &text);
        let client = format!("127.0.0.{}", 10 + number);
        let ca = authority.certificate().display().to_string();
        let request = get(&format!("https://{address}/update?hostname=pc.{ZONE}"));
        let request = request.user("alice", PASSWORD).header("X-Forwarded-For: 6.6.6.6");
        let reply = request.with(&["--interface", &client, "--cacert", &ca]).send();
        assert_eq!(reply.body, format!("good {client}\n"), "{kind:?}: {}", proxy.output());
    }
}

/// Keys by section, each with the text of its default.
type Keys = BTreeMap<(String, String), Option<String>>;

/// All keys of the example; a default is what follows `#key = `.
fn keys_of_example() -> Keys {
    let text = std::fs::read_to_string(source("files/config.example.toml")).unwrap();
    let (mut section, mut keys) = (String::new(), Keys::new());
    for line in text.lines() {
        let (given, line) = line.strip_prefix('#').map_or((true, line), |rest| (false, rest));
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_matches(['[', ']']).to_owned();
            if let Some((parent, key)) = section.rsplit_once('.')
                && ["zone_keys", "nameserver_addresses"].contains(&key)
            {
                keys.insert((parent.to_owned(), key.to_owned()), None);
                section.clear();
            }
        } else if let Some((key, value)) = line.split_once(" = ")
            && key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            && !section.is_empty()
        {
            let default = (!given).then(|| value.to_owned());
            keys.insert((section.clone(), key.to_owned()), default);
        }
    }
    keys
}

/// The parts in backquotes of a table's cell.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_table_of_keys_has_every_key_of_the_example_with_its_default() {
    let readme = std::fs::read_to_string(source("README.md")).unwrap();
    let table = readme.split("### Every key").nth(1).unwrap().split("\n## ").next().unwrap();
    let (mut section, mut listed) = (String::new(), Keys::new());
    for row in table.lines().filter_map(|line| line.strip_prefix("| ")) {
        let cells: Vec<_> = row.split(" | ").collect();
        if let Some(name) = cells[0].strip_prefix("**") {
            section = name.trim_matches(['[', ']', '*']).to_owned();
            continue;
        }
        let (keys, defaults) = (quoted(cells[0]), quoted(cells[1]));
        // one default for several keys counts for each of them
        let of = |at: usize| defaults.get(at).or(defaults.first().filter(|_| defaults.len() == 1));
        for (at, key) in keys.iter().enumerate() {
            listed.insert((section.clone(), key.clone()), of(at).cloned());
        }
    }
    let example = keys_of_example();
    assert!(example.len() > 70, "{example:?}");
    let names = |keys: &Keys| keys.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&listed), names(&example));
    for (key, shown) in listed {
        // `–` and `examples` show none
        if let (Some(shown), Some(default)) = (&shown, &example[&key]) {
            assert_eq!(shown, default, "{key:?}");
        }
    }
}
