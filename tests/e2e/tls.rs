//! HTTPS: HTTP/1.1 and HTTP/2 as the client can, certificates, and clients that send nothing.

use crate::Scene;
use ddnsd_tests::authority::{Authority, Certificate};
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::daemon::Daemon;
use ddnsd_tests::http::{Request, get};
use ddnsd_tests::named::write_private;
use ddnsd_tests::process::{Finished, program, run};
use ddnsd_tests::setup::Setup;
use std::io::Read;
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

/// Puts a certificate where the configuration names it.
pub(crate) fn install(setup: &Setup, certificate: &Certificate) {
    std::fs::copy(&certificate.certificate, setup.file("cert.pem")).unwrap();
    write_private(&setup.file("key.pem"), &std::fs::read_to_string(&certificate.key).unwrap());
}

/// Serves TLS with the certificate that is installed.
pub(crate) fn with_tls(setup: Setup) -> Setup {
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| setup.file(name).display().to_string());
    setup.set("daemon.ssl", true).set("daemon.ssl_cert_file", cert).set("daemon.ssl_key_file", key)
}

/// A request for a daemon of this name, whose certificate the authority has signed.
pub(crate) fn secure(daemon: &Daemon, authority: &Authority, name: &str, path: &str) -> Request {
    let port = daemon.url().rsplit(':').next().expect("a port");
    let authority = authority.certificate().display().to_string();
    let resolved = format!("{name}:{port}:127.0.0.1");
    get(&format!("https://{name}:{port}{path}")).with(&[
        "--cacert",
        &authority,
        "--resolve",
        &resolved,
    ])
}

fn scene(configure: impl FnOnce(Setup) -> Setup) -> (Scene, Authority) {
    let authority = Authority::new();
    let scene = Scene::with(|setup| {
        install(&setup, &authority.sign("ddns.example"));
        configure(with_tls(setup))
    });
    (scene, authority)
}

#[test]
fn updates_come_by_http_1_and_http_2_as_the_client_can() {
    let (scene, authority) = scene(|setup| setup);
    assert!(scene.daemon.url().starts_with("https://"), "{}", scene.daemon.url());
    for (last, option, version) in [
        (1, "--http1.1", "1.1"),
        (2, "--http2", "2"),
        (3, "--no-alpn", "1.1"),
        (4, "--tlsv1.2", "2"),
    ] {
        let path = format!("/update?hostname=pc.dyn.example&myip=192.0.2.{last}");
        let request = secure(&scene.daemon, &authority, "ddns.example", &path);
        // curl writes the version that it used below the body
        let request = request.user("alice", PASSWORD).with(&[option, "-w", "HTTP/%{http_version}"]);
        let reply = request.send();
        let expected = format!("good 192.0.2.{last}\nHTTP/{version}");
        assert_eq!(
            (reply.status, reply.body.as_str()),
            (200, expected.as_str()),
            "{option}: {reply}"
        );
        let length = reply.header("content-length").map(str::to_owned);
        assert_eq!(length, Some("good 192.0.2.1\n".len().to_string()), "{option}");
        assert_eq!(scene.a("pc"), [format!("192.0.2.{last}")]);
    }
}

/// `openssl s_client` with a request on its standard input, which stays open.
fn s_client(scene: &Scene, request: &str) -> Finished {
    let connect = format!("-connect {} -servername ddns.example", scene.daemon.address());
    let mut openssl = Command::new(program("openssl"));
    openssl.arg("s_client").args(connect.split(' ')).args(["-ign_eof", "-state"]);
    run(&mut openssl, request)
}

#[test]
fn an_http_1_0_request_is_answered_and_the_connection_closed_with_close_notify() {
    let (scene, _) = scene(|setup| setup);
    let output = s_client(&scene, "GET /update HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert!(output.stdout.contains("HTTP/1.0 401"), "{output}");
    assert!(output.stdout.contains("\r\n\r\nbadauth\n"), "{output}");
    assert!(output.stderr.contains("SSL3 alert read:warning:close notify"), "{output}");
}

#[test]
fn clients_that_send_nothing_or_no_tls_are_closed_in_time() {
    let (scene, authority) =
        scene(|setup| setup.set("daemon.request_timeout", 2).set("dns_service.dns_timeout", 1));
    let start = Instant::now();
    let idle: Vec<_> =
        (0..20).map(|_| TcpStream::connect(scene.daemon.address()).unwrap()).collect();
    secure(&scene.daemon, &authority, "ddns.example", "/update").send().is(401, "badauth\n");
    assert!(start.elapsed() < Duration::from_secs(2), "others are served meanwhile");
    for mut stream in idle {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert_eq!(stream.read(&mut [0; 8]).expect("the end, not a time-out of ours"), 0);
    }
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(1900), "they had their time: {took:?}");
    assert!(took < Duration::from_secs(8), "they were dropped after {took:?}");

    // plain HTTP gets an alert at most, and never a page
    let plain = ddnsd_tests::http::raw(
        scene.daemon.address(),
        b"GET /update HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    assert!(!plain.unwrap_or_default().contains("HTTP"), "it was answered without TLS");
}
