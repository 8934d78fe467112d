//! HTTP/2: the same answers as in HTTP/1.1, and the same bounds.

use crate::Scene;
use crate::tls::{install, secure, with_tls};
use ddnsd_tests::authority::Authority;
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::http::Reply;
use ddnsd_tests::process::{program, run};
use ddnsd_tests::setup::Setup;
use std::process::Command;

const UPDATE: &str = "/update?hostname=pc.dyn.example&myip=192.0.2.1";

struct Served {
    scene: Scene,
    authority: Authority,
}

fn served(configure: impl FnOnce(Setup) -> Setup) -> Served {
    let authority = Authority::new();
    let scene = Scene::with(|setup| {
        install(&setup, &authority.sign("ddns.example"));
        configure(with_tls(setup))
    });
    Served { scene, authority }
}

impl Served {
    /// The reply to alice in HTTP/2.
    #[track_caller]
    fn ask(&self, path: &str, arguments: &[&str]) -> Reply {
        let request = secure(&self.scene.daemon, &self.authority, "ddns.example", path);
        let request = request.user("alice", PASSWORD).with(&["--http2"]).with(arguments);
        let reply = request.with(&["-w", "\nHTTP/%{http_version}"]).send();
        let body = reply.body.strip_suffix("\nHTTP/2").expect("an answer in HTTP/2").to_owned();
        Reply { body, ..reply }
    }
}

#[test]
fn methods_forms_and_bounds_are_those_of_http_1() {
    let served = served(|setup| setup);
    let form = "hostname=pc.dyn.example&myip=192.0.2.1";
    let json = ["-H", "Content-Type: application/json", "-d", "{}"];
    let large = format!("{form}&url={}", "x".repeat(16 * 1024));
    let long = format!("{UPDATE}&url={}", "x".repeat(8192));
    served.ask(UPDATE, &[]).is(200, "good 192.0.2.1\n");
    served.ask("/update", &["-d", form]).is(200, "nochg 192.0.2.1\n");
    for (path, arguments, status) in [
        (UPDATE, &["--head"][..], 405),
        (UPDATE, &["-X", "PUT"], 405),
        (UPDATE, &["-X", "DELETE"], 405),
        (UPDATE, &json, 415),
        ("/update", &["-d", &large], 413),
        (&long, &[], 414),
        ("/nowhere", &[], 404),
    ] {
        let reply = served.ask(path, arguments).has_status(status);
        let allowed = (status == 405).then_some("GET, POST");
        assert_eq!(reply.header("allow"), allowed, "{arguments:?}: {reply}");
        assert_eq!(reply.header("connection"), None, "{arguments:?}: {reply}");
    }
    served.ask(UPDATE, &["-H", "Authorization: Bearer x"]).is(401, "badauth\n");
    served.ask(UPDATE, &["-H", "Accept: application/json"]).has_status(200).json();
}

#[test]
fn the_reply_to_a_form_that_is_too_long_is_not_lost_to_a_reset_of_the_stream() {
    let served = served(|setup| setup);
    // more than h2 lets a client send ahead, and less
    for length in [17, 60, 120] {
        let file = served.scene.daemon.setup().file("form");
        std::fs::write(&file, "x".repeat(length * 1024)).unwrap();
        let form = format!("@{}", file.display());
        for _ in 0..5 {
            served.ask("/update", &["-d", &form]).is(413, "the form is over 16 KiB\n");
            let json = ["-H", "Content-Type: application/json", "-d", &form];
            served.ask("/update", &json).has_status(415);
            served.ask("/nowhere", &["-d", &form]).is(404, "there is nothing here\n");
        }
    }
    served.ask(UPDATE, &[]).is(200, "good 192.0.2.1\n");
}

#[test]
fn a_head_that_is_too_large_is_refused_and_the_daemon_goes_on() {
    let served = served(|setup| setup.set("daemon.log_requests", true));
    let one = format!("X-Pad: {}", "x".repeat(17 * 1024));
    let many: Vec<_> = (0..800).map(|number| format!("X-Pad-{number}: {number}")).collect();
    let many: Vec<_> = many.iter().flat_map(|line| ["-H", line]).collect();
    // h2 itself refuses what is over twice the bound, without a text
    assert_eq!(served.ask(UPDATE, &many).status, 431);
    served.ask(UPDATE, &["-H", &one]).is(431, "the headers are over 16 KiB\n");
    let log = served.scene.daemon.log();
    assert!(log.lines().any(|line| line.contains("status=431")), "{log}");
    assert_eq!(served.scene.a("pc"), [""; 0], "what is refused updates nothing");
    served.ask(UPDATE, &[]).is(200, "good 192.0.2.1\n");
    assert!(!served.scene.daemon.log().contains("panicked"), "{}", served.scene.daemon.log());
}

/// Asks by hand on one connection, so often at once and then once more. Says how many were
/// answered, how many refused, and how long the connection was kept after the last answer.
const CLIENT: &str = r#"
import socket, ssl, sys, time
host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
context.set_alpn_protocols(["h2"])
s = context.wrap_socket(socket.create_connection((host, port), 30))
def frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
# RFC 7541: GET and https are in the static table, path and authority are literals
def literal(name, value):
    return bytes([name, len(value)]) + value
head = b"\x82\x87" + literal(4, b"/update") + literal(1, b"ddns.example")
def ask(number):
    return frame(1, 5, 2 * number + 1, head) # END_STREAM, END_HEADERS
s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + b"".join(map(ask, range(count))))
received, answered, refused, last = b"", 0, 0, None
while part := s.recv(65536):
    received += part
    while len(received) >= 9 and len(received) >= (end := 9 + int.from_bytes(received[:3], "big")):
        kind, flags, payload, received = received[3], received[4], received[9:end], received[end:]
        answered += kind == 0 and payload == b"badauth\n"
        refused += kind == 3 and payload == b"\0\0\0\x07" # RST_STREAM: REFUSED_STREAM
    if answered + refused == count and last is None:
        last = time.monotonic()
        s.sendall(ask(count))
    if answered + refused == count + 1:
        last = time.monotonic()
        count = -1
print(answered, refused, "%.1f" % (time.monotonic() - last))
"#;

/// Answered, refused, and for how many seconds it was kept.
#[track_caller]
fn by_hand(served: &Served, count: &str) -> (usize, usize, f64) {
    let (host, port) = served.scene.daemon.address().split_once(':').unwrap();
    let mut python = Command::new(program("python3"));
    let output = run(python.args(["-c", CLIENT, host, port, count]), "").ok().stdout;
    let mut output = output.split_ascii_whitespace();
    let mut next = || output.next().unwrap();
    (next().parse().unwrap(), next().parse().unwrap(), next().parse().unwrap())
}

fn short_timed() -> Served {
    served(|setup| setup.set("daemon.request_timeout", 2).set("dns_service.dns_timeout", 1))
}

#[test]
fn a_connection_that_is_idle_after_a_reply_is_closed_after_the_time_out() {
    let (answered, refused, kept) = by_hand(&short_timed(), "1");
    assert_eq!((answered, refused), (2, 0));
    assert!((1.8..8.0).contains(&kept), "it was kept for {kept} s");
}

#[test]
fn requests_beyond_the_streams_of_a_connection_are_refused_and_later_ones_are_not() {
    let (answered, refused, _) = by_hand(&short_timed(), "200");
    assert_eq!(answered + refused, 201);
    assert!(answered > 8 && refused > 0, "{answered} answered, {refused} refused");
}
