//! What routers send that no test can run: `tests/fixtures/requests`, written from what CLIENTS.md
//! knows of each, byte by byte but not recorded from the devices. Each is answered as that client
//! needs. In a file a request stands below its `# answer: STATUS BODY`, `|` for a line end; all of
//! a file take one connection.

use crate::Scene;
use crate::contract::endpoint;
use ddnsd_tests::clients::PATH;
use ddnsd_tests::http::Reply;
use ddnsd_tests::named::ZONE;
use ddnsd_tests::setup::source;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// One request of a file.
struct Sent {
    bytes: String,
    status: u16,
    body: String,
}

fn read(text: &str) -> Vec<Sent> {
    let (_, requests) = text.split_once("# answer: ").expect("an answer");
    let sent = requests.split("# answer: ").map(|request| {
        let (answer, lines) = request.split_once('\n').expect("a request below its answer");
        let (status, body) = answer.split_once(' ').expect("status and body");
        Sent {
            bytes: lines.replace('\n', "\r\n"),
            status: status.parse().expect("a status"),
            body: body.replace('|', "\n") + "\n",
        }
    });
    sent.collect()
}

/// Reads one reply from a connection that stays open.
#[track_caller]
fn reply(stream: &mut TcpStream) -> Reply {
    let mut received = Vec::new();
    loop {
        let mut buffer = [0; 1024];
        let length = stream.read(&mut buffer).expect("an answer in time");
        received.extend_from_slice(&buffer[..length]);
        let reply = Reply::parse(&String::from_utf8_lossy(&received));
        let announced = |reply: &Reply| reply.header("content-length")?.parse::<usize>().ok();
        match reply {
            Some(reply) if announced(&reply).is_none_or(|all| reply.body.len() >= all) => {
                return reply;
            }
            _ => assert!(length > 0, "closed after {:?}", String::from_utf8_lossy(&received)),
        }
    }
}

/// Sends a file's requests; `again`: DNS holds it already.
#[track_caller]
fn replay(scene: &Scene, name: &str, sent: &[Sent], again: bool) {
    let mut stream = TcpStream::connect(scene.daemon.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut is_closed = false;
    for Sent { bytes, status, body } in sent {
        assert!(!is_closed, "{name}: its connection was closed too early");
        stream.write_all(bytes.as_bytes()).unwrap();
        let reply = reply(&mut stream).has_status(*status);
        let expected = if again { body.replace("good ", "nochg ") } else { body.clone() };
        assert_eq!(reply.body, expected, "{name}, {bytes}: {reply}");
        let challenge = reply.header("www-authenticate");
        assert_eq!(challenge.is_some(), *status == 401, "{name}: {reply}");
        let is_old = bytes.contains(" HTTP/1.0\r\n");
        if is_old || bytes.contains("Connection: close") {
            // such a client reads until the connection is closed
            assert_eq!(stream.read(&mut [0; 1]).expect("closed at once"), 0, "{name}: {reply}");
            is_closed = true;
        }
    }
}

#[test]
fn each_request_of_a_router_gets_the_reply_that_the_router_needs() {
    let scene = Scene::without_hosts(|setup| setup.set_top("endpoints", vec![endpoint(PATH, &[])]));
    scene.ctl().add_user_with("carol", "s3cret").ok();
    for label in ["pc", "two"] {
        scene.ctl().add_host("carol", label, ZONE, &[]);
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(source("tests/fixtures/requests")).unwrap() {
        let path = entry.unwrap().path();
        let sent = read(&std::fs::read_to_string(&path).unwrap());
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let down = format!("{PATH}?hostname=pc.dyn.example,two.dyn.example&offline=YES");
        scene.daemon.get(&down).user("carol", "s3cret").send().has_status(200);
        replay(&scene, &name, &sent, false);
        replay(&scene, &name, &sent, true);
        names.push(name);
    }
    for client in ["fritzbox", "openwrt", "unifi", "speedport", "opnsense", "pfsense", "synology"] {
        assert!(names.iter().any(|name| name.starts_with(client)), "none of {client}: {names:?}");
    }
}
