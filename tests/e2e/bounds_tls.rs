//! Bounds that hold in sum over TLS and in HTTP/2: memory, while a known client is served.

use crate::Scene;
use crate::bounds::{MAX_ADDED, MIB, SOON, raise_open_files, resident};
use crate::tls::{install, secure, with_tls};
use ddnsd_tests::authority::Authority;
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::eventually::eventually;
use ddnsd_tests::http::connect_from;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A daemon that serves TLS, and its authority.
fn tls_scene() -> (Scene, Authority) {
    let authority = Authority::new();
    let scene = Scene::with(|setup| {
        install(&setup, &authority.sign("ddns.example"));
        with_tls(setup)
    });
    (scene, authority)
}

/// Alice's update is answered in time.
#[track_caller]
fn assert_served(scene: &Scene, authority: &Authority, code: &str) {
    let start = Instant::now();
    let path = "/update?hostname=pc.dyn.example&myip=192.0.2.1";
    let request = secure(&scene.daemon, authority, "ddns.example", path);
    request.user("alice", PASSWORD).send().is(200, &format!("{code} 192.0.2.1\n"));
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "it took {took:?}");
}

/// Of HTTP/2 (RFC 9113, 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = [&length[..], &[kind, flags], &stream.to_be_bytes()].concat();
    bytes.extend(payload);
    bytes
}

/// A client's first bytes: the preface, and 32 forms that announce 15,000 bytes and do not end.
/// They fill the connection's window of 64 KiB.
fn unfinished_forms() -> Vec<u8> {
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    const END_HEADERS: u8 = 4;
    // RFC 7541, 6.2.2: literals without indexing; names of the static table, but for one value
    let mut head = vec![0x83, 0x87, 0x01];
    let mut literal = |name: &[u8], value: &str| {
        head.extend(name);
        head.push(u8::try_from(value.len()).unwrap());
        head.extend(value.as_bytes());
    };
    literal(&[], "ddns.example");
    literal(&[0x04], "/update");
    literal(&[0x0f, 31 - 15], "application/x-www-form-urlencoded");
    literal(&[0x0f, 28 - 15], "15000");
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    let streams = (0..32).map(|number| 1 + 2 * number);
    for (number, stream) in streams.enumerate() {
        bytes.extend(frame(HEADERS, END_HEADERS, stream, &head));
        // the daemon takes eight at once, and refuses the others
        if number < 8 {
            bytes.extend(frame(DATA, 0, stream, &[b'a'; 8_000]));
        }
    }
    bytes
}

/// Sends this over TLS and waits.
fn waiting_by_tls(
    source: [u8; 4],
    server: &str,
    config: &Arc<ClientConfig>,
    bytes: &[u8],
) -> StreamOwned<ClientConnection, TcpStream> {
    let name = ServerName::try_from("ddns.example").unwrap();
    let client = ClientConnection::new(Arc::clone(config), name).unwrap();
    let stream = connect_from(Ipv4Addr::from(source), server).unwrap();
    let mut stream = StreamOwned::new(client, stream);
    // the daemon may have closed it already
    let _ = stream.write_all(bytes);
    stream
}

#[test]
fn forms_in_http_2_that_do_not_end_take_little_memory() {
    raise_open_files();
    let (scene, authority) = tls_scene();
    assert_served(&scene, &authority, "good");
    let (server, idle) = (scene.daemon.address(), resident(&scene));
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.certificate()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (config, bytes) = (Arc::new(config), unfinished_forms());
    let mut clients: Vec<_> =
        (0..250).map(|_| waiting_by_tls([127, 70, 0, 1], server, &config, &bytes)).collect();
    // what a daemon does that has read the forms: it refuses streams beyond the eighth
    let mut answer: Vec<u8> = Vec::new();
    let last = clients.last_mut().expect("a client");
    while !answer.windows(4).any(|bytes| bytes == [0, 0, 4, 3]) {
        let mut bytes = [0; 512];
        let read = last.read(&mut bytes).expect("frames");
        assert!(read > 0, "it is closed: {answer:?}");
        answer.extend(&bytes[..read]);
    }
    assert_served(&scene, &authority, "nochg");
    let added = resident(&scene).saturating_sub(idle);
    println!("{} MiB more than before", added / MIB);
    assert!(added < MAX_ADDED, "{} MiB", added / MIB);
    drop(clients);
    eventually(SOON, "the memory to be given back", || {
        let more = resident(&scene).saturating_sub(idle) / MIB;
        if more < 19 + 21 { Ok(()) } else { Err(format!("{more} MiB more than before")) }
    });
}

#[test]
fn half_tls_handshakes_take_little_memory_and_make_room_for_others() {
    raise_open_files();
    let (scene, authority) = tls_scene();
    assert_served(&scene, &authority, "good");
    let (server, idle) = (scene.daemon.address(), resident(&scene));
    // a record of TLS with a ClientHello of 512 bytes (RFC 8446, 4 and 5.1), which do not end
    let hello = [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], &[7; 100]].concat();
    let half: Vec<_> = (0..8_000)
        .map(|number| {
            let network = u8::try_from(number % 100).unwrap();
            let mut stream = connect_from(Ipv4Addr::new(127, 80, network, 1), server).unwrap();
            let _ = stream.write_all(&hello);
            stream
        })
        .collect();
    assert_served(&scene, &authority, "nochg");
    let added = resident(&scene).saturating_sub(idle);
    println!("{} MiB more than before", added / MIB);
    assert!(added < 64 * MIB, "{} MiB", added / MIB);
    drop(half);
}
