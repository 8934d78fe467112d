//! The floor of publishing: signed updates (RFC 2136, RFC 8945), one name each, straight to the
//! name server by UDP, with a number of them in flight.

use base64::Engine as _;
use ddnsd_tests::primary::{Primary, ZONE};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// As in the key files of the tests.
const KEY_NAME: &str = "ddns-key";
const ALGORITHM: &str = "hmac-sha256";
/// Seconds that the clocks may differ.
const FUDGE: u16 = 300;
/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(5);
/// Pointer to the zone's name, the first of a message.
const ZONE_POINTER: [u8; 2] = [0xc0, 12];
const A: u16 = 1;
const SOA: u16 = 6;
const TSIG: u16 = 250;
const IN: u16 = 1;
const ANY: u16 = 255;

/// Sends updates to a name server.
pub(crate) struct DnsFloor {
    socket: UdpSocket,
    secret: Vec<u8>,
    hosts: u32,
    sent: u32,
}

impl DnsFloor {
    /// For the names `h0` to `h{hosts - 1}`.
    pub(crate) fn new(primary: &dyn Primary, hosts: u32) -> Self {
        let key = std::fs::read_to_string(primary.key_file()).expect("the key file");
        let secret = key.split_once("secret \"").and_then(|(_, rest)| rest.split('"').next());
        let secret = secret.expect("a secret in the key file");
        let secret = base64::engine::general_purpose::STANDARD.decode(secret).expect("base64");
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.connect(("127.0.0.1", primary.port())).expect("the name server's port");
        socket.set_read_timeout(Some(ANSWER)).expect("a time-out");
        Self { socket, secret, hosts, sent: 0 }
    }

    /// Sends for a time, and returns updates per second and how long each took.
    ///
    /// # Panics
    /// An update was refused or lost.
    pub(crate) fn run(&mut self, in_flight: usize, time: Duration) -> (f64, Vec<Duration>) {
        let start = Instant::now();
        let mut sent_at = vec![start; 1 << 16];
        let mut latencies = Vec::new();
        let mut waiting = 0;
        let mut answer = [0; 2048];
        loop {
            while waiting < in_flight && start.elapsed() < time {
                let message = self.next_message();
                sent_at[usize::from(self.sent as u16)] = Instant::now();
                self.socket.send(&message).expect("a message is sent");
                waiting += 1;
            }
            if waiting == 0 {
                return (latencies.len() as f64 / start.elapsed().as_secs_f64(), latencies);
            }
            match self.socket.recv(&mut answer) {
                Ok(length) => {
                    let answer = &answer[..length];
                    assert_eq!(answer[3] & 15, 0, "the RCODE of an update");
                    let id = u16::from_be_bytes([answer[0], answer[1]]);
                    latencies.push(sent_at[usize::from(id)].elapsed());
                    waiting -= 1;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("no answer to an update: {error}"),
            }
        }
    }

    /// Replaces the A record of the next host.
    fn next_message(&mut self) -> Vec<u8> {
        self.sent += 1;
        let mut name = label(&format!("h{}", self.sent % self.hosts));
        name.extend(ZONE_POINTER);
        let mut message = Vec::with_capacity(512);
        // id, opcode 5, one zone, no prerequisite, two updates, nothing more
        for field in [self.sent as u16, 5 << 11, 1, 0, 2, 0] {
            message.extend(field.to_be_bytes());
        }
        message.extend(wire_name(ZONE));
        message.extend(fields(&[SOA, IN]));
        // RFC 2136, 2.5.2: class ANY, TTL 0 and no data delete the RRset
        message.extend(&name);
        message.extend(fields(&[A, ANY, 0, 0, 0]));
        message.extend(&name);
        message.extend(fields(&[A, IN, 0, 60, 4]));
        message.extend((0x0a00_0000 | self.sent & 0x00ff_ffff).to_be_bytes());
        self.sign(&mut message);
        message
    }

    fn sign(&self, message: &mut Vec<u8>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time since 1970");
        let mut timers = now.as_secs().to_be_bytes()[2..].to_vec();
        timers.extend(FUDGE.to_be_bytes());
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("a key of any length");
        // RFC 8945, 4.3.3: the message without the record, then the record's variables
        mac.update(message);
        mac.update(&wire_name(KEY_NAME));
        mac.update(&fields(&[ANY, 0, 0]));
        mac.update(&wire_name(ALGORITHM));
        mac.update(&timers);
        mac.update(&fields(&[0, 0]));
        let mac = mac.finalize().into_bytes();
        let mut data = wire_name(ALGORITHM);
        data.extend(timers);
        data.extend((mac.len() as u16).to_be_bytes());
        data.extend(mac);
        data.extend(&message[..2]);
        data.extend(fields(&[0, 0]));
        message.extend(wire_name(KEY_NAME));
        message.extend(fields(&[TSIG, ANY, 0, 0, data.len() as u16]));
        message.extend(data);
        message[11] = 1;
    }
}

fn fields(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

fn label(text: &str) -> Vec<u8> {
    let mut octets = vec![text.len() as u8];
    octets.extend(text.as_bytes());
    octets
}

fn wire_name(name: &str) -> Vec<u8> {
    let mut octets: Vec<u8> = name.split('.').flat_map(label).collect();
    octets.push(0);
    octets
}
