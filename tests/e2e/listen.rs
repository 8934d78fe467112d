//! Listening: every address of the name, with one port, and the client address that the daemon
//! sees.

use crate::Scene;
use ddnsd_tests::daemon::Daemon;
use ddnsd_tests::eventually::eventually;
use ddnsd_tests::http::get;
use ddnsd_tests::named::{Named, free_port};
use ddnsd_tests::process::{program, run};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::process::Command;
use std::time::Duration;

/// Some containers have no IPv6.
pub(crate) fn has_ipv6(test: &str) -> bool {
    let has = TcpListener::bind("[::1]:0").is_ok();
    if !has {
        eprintln!("{test}: not run, because this machine has no IPv6");
    }
    has
}

#[test]
fn port_0_is_one_port_on_every_address_of_the_name() {
    let mut addresses: Vec<_> = ("localhost", 0).to_socket_addrs().unwrap().collect();
    addresses.retain(|address| TcpListener::bind(address).is_ok());
    let mut hosts: Vec<_> = addresses.iter().map(|address| address.ip()).collect();
    hosts.sort();
    hosts.dedup();
    let named = Named::start();
    let daemon = Daemon::builder(&named).set("daemon.host", "localhost").start();
    let port: u16 = daemon.url().rsplit(':').next().unwrap().parse().unwrap();
    assert_eq!(daemon.urls().len(), hosts.len(), "{:?} for {hosts:?}", daemon.urls());
    for host in hosts {
        let address = std::net::SocketAddr::new(host, port);
        assert!(daemon.urls().contains(&format!("http://{address}")), "{:?}", daemon.urls());
        get(&format!("http://{address}/update")).send().is(401, "badauth\n");
    }
}

#[test]
fn a_name_with_addresses_of_both_families_is_served_on_both_with_one_port() {
    let test = "a_name_with_addresses_of_both_families_is_served_on_both_with_one_port";
    if !has_ipv6(test) {
        return;
    }
    let named = Named::start();
    let setup = Daemon::builder(&named).set("daemon.host", "both.example");
    // a mount namespace of its own gives it its own hosts file
    let hosts = setup.file("hosts");
    std::fs::write(&hosts, "127.0.0.1 both.example\n::1 both.example\n").unwrap();
    let mount = format!("mount --bind {} /etc/hosts && exec \"$0\" \"$@\"", hosts.display());
    let in_it = ["unshare", "--mount", "sh", "-c", &mount];
    if run(Command::new(in_it[0]).args(&in_it[1..]).arg("true"), "").code != Some(0) {
        eprintln!("{test}: not run, because only root can give a process its own /etc/hosts");
        return;
    }
    let daemon = setup.wrapped_in(&in_it).start();
    let port: u16 = daemon.url().rsplit(':').next().unwrap().parse().unwrap();
    let mut urls = daemon.urls().to_vec();
    urls.sort();
    assert_eq!(urls, [format!("http://127.0.0.1:{port}"), format!("http://[::1]:{port}")]);
    for url in urls {
        get(&format!("{url}/update")).send().is(401, "badauth\n");
    }
}

#[test]
fn addresses_that_the_machine_gets_later_are_named_and_served_once_it_has_them() {
    let test = "addresses_that_the_machine_gets_later_are_named_and_served_once_it_has_them";
    let named = Named::start();
    let setup = Daemon::builder(&named).on_sqlite().set("daemon.host", "late.example");
    let hosts = setup.file("hosts");
    let addresses = ["127.0.0.1", "192.0.2.77", "2001:db8::5"];
    std::fs::write(&hosts, addresses.map(|one| format!("{one} late.example\n")).concat()).unwrap();
    // the IPv6 address is tentative for some seconds, and the other one is added below
    let network = format!(
        "ip link set lo up && ip link add v0 type veth peer name v1 &&
         echo 3 > /proc/sys/net/ipv6/conf/v0/dad_transmits && ip link set v1 up &&
         ip link set v0 up && ip -6 addr add 2001:db8::5/64 dev v0 &&
         mount --bind {} /etc/hosts && exec \"$0\" \"$@\"",
        hosts.display()
    );
    let in_it = ["unshare", "--net", "--mount", "sh", "-c", &network];
    if run(Command::new(in_it[0]).args(&in_it[1..]).arg("true"), "").code != Some(0) {
        eprintln!("{test}: not run, because only root can give a process its own network");
        return;
    }
    let daemon = setup.wrapped_in(&in_it).start();
    let url = daemon.url();
    let port = url.strip_prefix("http://127.0.0.1:").expect("the one address that is there");
    let in_its_network = |program: &str, arguments: &[&str]| {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &daemon.pid().to_string(), program]);
        run(command.args(arguments), "")
    };
    let log = daemon.log();
    for late in [&format!("192.0.2.77:{port}"), &format!("[2001:db8::5]:{port}")] {
        let warned = format!("cannot listen on {late} now");
        let line = log.lines().find(|line| line.contains(&warned));
        assert!(line.is_some_and(|line| line.contains("WARN")), "{warned}: {log}");
    }
    in_its_network("ip", &["addr", "add", "192.0.2.77/32", "dev", "v0"]).ok();
    for late in ["192.0.2.77", "[2001:db8::5]"] {
        let url = format!("http://{late}:{port}/update");
        eventually(Duration::from_secs(20), "the address to be served", || {
            let curl = in_its_network("curl", &["-q", "-sS", "-g", "-m", "3", &url]);
            if curl.stdout == "badauth\n" { Ok(()) } else { Err(curl.to_string()) }
        });
        let line = format!("listening on http://{late}:{port}");
        assert!(daemon.log().contains(&line), "{line}: {}", daemon.log());
    }
}

#[test]
fn two_colons_serve_both_families_and_an_ipv4_client_is_seen_as_one() {
    if !has_ipv6("two_colons_serve_both_families_and_an_ipv4_client_is_seen_as_one") {
        return;
    }
    let scene = Scene::with(|setup| {
        setup
            .set("daemon.host", "::")
            .set("daemon.log_requests", true)
            .set("rate_limit.enabled", true)
            .set("rate_limit.bad_max_requests", 1)
    });
    let port = scene.daemon.url().rsplit(':').next().unwrap();
    let wrong = |host: &str, from: &str| {
        let url = format!("http://{host}:{port}/update?hostname=pc.dyn.example");
        get(&url).user("alice", "wrong").with(&["--interface", from]).send()
    };
    wrong("127.0.0.1", "127.0.0.1").is(401, "badauth\n");
    wrong("127.0.0.1", "127.0.0.1").is(503, "abuse\n");
    // two IPv4 clients are limited separately, not as one network ::ffff:0:0/64
    wrong("127.0.0.1", "127.0.0.2").is(401, "badauth\n");
    wrong("[::1]", "::1").is(401, "badauth\n");
    let log = scene.daemon.log();
    for client in ["client=127.0.0.1", "client=127.0.0.2", "client=::1"] {
        assert!(log.contains(client), "no {client} in the log: {log}");
    }
    assert!(!log.contains("::ffff:"), "an IPv4 client is shown as IPv6: {log}");

    // and its published address is an A record
    let url = format!("http://127.0.0.1:{port}/update?hostname=pc.dyn.example");
    let update = get(&url).user("alice", ddnsd_tests::ctl::PASSWORD);
    update.with(&["--interface", "127.0.0.3"]).send().is(200, "good 127.0.0.3\n");
    assert_eq!((scene.a("pc"), scene.aaaa("pc")), (vec!["127.0.0.3".to_owned()], vec![]));
}

#[test]
fn two_colons_serve_both_families_whatever_the_system_prefers() {
    let test = "two_colons_serve_both_families_whatever_the_system_prefers";
    let named = Named::start();
    // a network namespace of its own, where IPv6 sockets are for IPv6 only by default
    let network =
        "echo 1 > /proc/sys/net/ipv6/bindv6only && ip link set lo up && exec \"$0\" \"$@\"";
    let in_it = ["unshare", "--net", "sh", "-c", network];
    if run(Command::new(in_it[0]).args(&in_it[1..]).arg("true"), "").code != Some(0) {
        eprintln!("{test}: not run, because only root can give a process its own network");
        return;
    }
    let daemon = Daemon::builder(&named).on_sqlite().set("daemon.host", "::");
    let daemon = daemon.wrapped_in(&in_it).start();
    let port = daemon.url().rsplit(':').next().unwrap();
    for host in ["127.0.0.1", "[::1]"] {
        let mut curl = Command::new("nsenter");
        curl.args(["--net", "--target", &daemon.pid().to_string(), "curl", "-q", "-sS", "-g"]);
        let output = run(curl.arg(format!("http://{host}:{port}/update")), "").ok();
        assert_eq!(output.stdout, "badauth\n", "{host}: {output}");
    }
}

#[test]
fn debug_on_the_command_line_beats_the_log_level() {
    let named = Named::start();
    let quiet = Daemon::builder(&named).set("daemon.log_level", "ERROR");
    let output = quiet.run(&["--check-config"]).ok().output();
    assert!(!output.contains("DEBUG"), "{output}");
    let with_debug = ["sh", "-c", r#"exec "$0" --debug "$@""#];
    let daemon = quiet.wrapped_in(&with_debug).start();
    daemon.ctl().run(&["status"]).ok();
    let log = daemon.log();
    assert!(log.lines().any(|line| line.contains("DEBUG")), "no line of DEBUG: {log}");
}

//----- Sockets that systemd opened -----

#[test]
fn the_first_client_of_a_socket_unit_starts_the_daemon_and_is_answered() {
    let named = Named::start();
    let address = format!("127.0.0.1:{}", free_port());
    let server = address.clone();
    let client = std::thread::spawn(move || {
        let mut connection = eventually(Duration::from_secs(20), "a socket to connect to", || {
            TcpStream::connect(&server).map_err(|error| error.to_string())
        });
        let request = b"GET /update HTTP/1.1\r\nHost: ddns\r\nConnection: close\r\n\r\n";
        connection.write_all(request).unwrap();
        let mut reply = String::new();
        connection.read_to_string(&mut reply).unwrap();
        reply
    });
    let activate = program("systemd-socket-activate");
    // another port, which is not used
    let setup = Daemon::builder(&named).set("daemon.port", i64::from(free_port()));
    let daemon = setup.wrapped_in(&[activate.to_str().unwrap(), "-l", &address]).start();
    assert_eq!(daemon.urls(), [format!("http://{address}")]);
    let reply = client.join().unwrap();
    assert!(reply.starts_with("HTTP/1.1 401") && reply.ends_with("badauth\n"), "{reply}");
    assert!(daemon.log().contains("daemon.port are not used"), "{}", daemon.log());
}

#[test]
fn a_file_in_place_of_a_socket_of_systemd_is_refused() {
    let named = Named::start();
    let wrapper = ["sh", "-c", r#"LISTEN_FDS=1 exec "$0" "$@" 3</dev/null"#];
    let refused = Daemon::builder(&named).wrapped_in(&wrapper).run(&[]).exits(1);
    refused.prints(&["socket 1 from systemd", "not a socket", "ddnsd.socket"]).one_sentence();
}
