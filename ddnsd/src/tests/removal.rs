//! A deletion ends, even if a message of each attempt gets no answer.

use super::daemon::{Daemon, hash};
use super::{both, host_names, name, runtime};
use crate::rules::reply::ReturnCode;
use crate::rules::request::Change;
use ddnsd_tests::update::answer_to;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// `dns_timeout`.
const TIMEOUT: Duration = Duration::from_millis(500);

/// A server that answers neither UDP nor every first message by TCP, and acknowledges every second
/// one.
fn every_second_answered() -> SocketAddr {
    let (tcp, udp) = loop {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        // the port may be in use for UDP
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()) {
            break (tcp, udp);
        }
    };
    let address = tcp.local_addr().unwrap();
    std::thread::spawn(move || {
        let _unanswered = udp;
        for (number, stream) in tcp.incoming().enumerate() {
            let _ = serve_connection(stream.unwrap(), number % 2 == 1);
        }
    });
    address
}

fn serve_connection(mut stream: TcpStream, answers: bool) -> std::io::Result<()> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message)?;
    if answers {
        let answer = answer_to(&message, 0);
        let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
        stream.write_all(&[&length, answer.as_slice()].concat())?;
    }
    Ok(())
}

#[test]
fn a_deletion_that_is_never_final_is_refused_and_the_host_is_published_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ddnsd.sqlite");
    runtime().block_on(async {
        let daemon = Daemon::start(&file, every_second_answered(), TIMEOUT).await;
        daemon.add_user(&hash().await).await;
        daemon.add_host("pc", None).await;
        assert_eq!(daemon.update(&[name("pc")], Change::Set(both(1))).await, [ReturnCode::Good]);
        let start = Instant::now();
        let refused = daemon.hosts.delete(&host_names("pc"), false).await.unwrap_err().to_string();
        let took = start.elapsed();
        assert!(took < Duration::from_secs(30), "it took {took:?}");
        assert!(refused.contains("got no answer each time"), "{refused}");
        assert_eq!(
            daemon.db.counts().await.unwrap().unpublished,
            1,
            "the host must be published again"
        );
        let left = daemon.hosts.delete(&host_names("pc"), true).await.unwrap();
        assert_eq!(left.left_in_dns.len(), 2);
    });
}
