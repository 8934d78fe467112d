//! The DNS exit against a real BIND: private, in a temporary folder, on a free port.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

use ddnsd::clock::Clock;
use ddnsd::config::{DnsTransport, Rfc2136, TsigAlgorithm, TsigKey, ZoneKeys};
use ddnsd::counters::DnsCounters;
use ddnsd::dns::{Dns, DnsError, Lane, Published};
use ddnsd::model::change::RecordChange;
use ddnsd::model::name::{Fqdn, Zone};
use ddnsd::model::record::{Wanted, WantedRecords};
use ddnsd::model::secret::SecretBytes;
use futures::future::join_all;
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::UdpSocket;
use tokio::time::{sleep, timeout};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const SECRET_BASE64: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// A private named; killed when dropped.
struct Named {
    folder: TempDir,
    port: u16,
    child: Option<Child>,
}

impl Named {
    async fn start() -> Self {
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let folder = TempDir::new().unwrap();
        let named = Self { folder, port, child: None };
        named.configure();
        named.restarted().await
    }

    fn configure(&self) {
        let (folder, port) = (self.folder.path(), self.port);
        let conf = format!(
            r#"key "k" {{ algorithm hmac-sha256; secret "{SECRET_BASE64}"; }};
            options {{
                directory "{0}"; pid-file none; session-keyfile "{0}/session.key";
                managed-keys-directory "{0}"; listen-on port {port} {{ 127.0.0.1; }};
                listen-on-v6 {{ none; }}; recursion no; notify no; dnssec-validation no;
            }};
            controls {{ }};
            zone "dyn.test" {{ type primary; file "dyn.zone"; update-policy {{
                deny k name denied.dyn.test. ANY; grant k zonesub A AAAA; }}; }};
            zone "open.test" {{ type primary; file "open.zone"; allow-update {{ 127.0.0.1; }}; }};
            zone "shut.test" {{ type primary; file "shut.zone"; allow-update {{ none; }}; }};
            "#,
            folder.display()
        );
        std::fs::write(folder.join("named.conf"), conf).unwrap();
        let zone = "$TTL 300\n@ SOA ns root 1 3600 900 604800 300\n@ NS ns\nns A 127.0.0.1\n\
                    alias CNAME ns\nstatic AAAA 2001:db8::53\n";
        for name in ["dyn", "open", "shut"] {
            std::fs::write(folder.join(name).with_extension("zone"), zone).unwrap();
        }
    }

    async fn restarted(mut self) -> Self {
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
        let child = Command::new("named")
            .env("PATH", path)
            .args(["-g", "-c"])
            .arg(self.folder.path().join("named.conf"))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(self.folder.path().join("log")).unwrap())
            .spawn()
            .expect("named starts (apt: bind9)");
        self.child = Some(child);
        for _ in 0..200 {
            if !self.look_up("ns.dyn.test", RecordType::A).await.is_empty() {
                return self;
            }
            sleep(Duration::from_millis(50)).await;
        }
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
        panic!("named does not answer: {log}");
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// `address ttl` of each record.
    async fn look_up(&self, name: &str, kind: RecordType) -> Vec<String> {
        let mut query = Message::new(9, MessageType::Query, OpCode::Query);
        query.add_query(Query::query(Name::from_ascii(format!("{name}.")).unwrap(), kind));
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(self.address()).await.unwrap();
        let mut buffer = [0; 1500];
        let ask = async {
            socket.send(&query.to_vec().unwrap()).await?;
            socket.recv(&mut buffer).await
        };
        let Ok(Ok(length)) = timeout(Duration::from_secs(2), ask).await else {
            return Vec::new();
        };
        let answer = Message::from_vec(&buffer[..length]).unwrap();
        answer.answers.iter().map(|record| format!("{} {}", record.data, record.ttl)).collect()
    }

    fn dns(&self) -> (Dns, Arc<DnsCounters>) {
        self.dns_with(Some(SECRET), DnsTransport::Auto)
    }

    fn dns_with(&self, secret: Option<&[u8]>, transport: DnsTransport) -> (Dns, Arc<DnsCounters>) {
        let key = secret.map(|secret| {
            Arc::new(TsigKey {
                name: "k".into(),
                algorithm: TsigAlgorithm::Sha256,
                secret: SecretBytes::new(secret.to_vec()),
            })
        });
        let keys = ZoneKeys { default: key, zones: Vec::new() };
        let (server, timeout) = (self.address(), Duration::from_secs(5));
        let counters = Arc::new(DnsCounters::default());
        let config = Rfc2136 { server, timeout, transport, keys };
        (Dns::new(config, Arc::clone(&counters), Clock), counters)
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        self.stop();
    }
}

fn change(name: &str, records: WantedRecords) -> RecordChange {
    let (_, zone) = name.split_once('.').unwrap();
    RecordChange {
        fqdn: Fqdn::parse(name).unwrap(),
        zone: Zone::parse(zone).unwrap(),
        ttl: 77,
        records,
        unpublished_since: None,
    }
}

fn v4(last: u8) -> Wanted<Ipv4Addr> {
    Wanted::Present(Ipv4Addr::new(192, 0, 2, last))
}

fn only(v4: Wanted<Ipv4Addr>) -> WantedRecords {
    WantedRecords { v4, v6: Wanted::Untouched }
}

fn dual(last: u8) -> WantedRecords {
    WantedRecords { v4: v4(last), v6: Wanted::Present(Ipv6Addr::LOCALHOST) }
}

fn error_of(published: &Published) -> &DnsError {
    match published {
        Published::Refused(error) | Published::Unconfirmed(error) => error,
        Published::Acknowledged { .. } => panic!("it was acknowledged"),
    }
}

fn is_plain_success(published: &Published) -> bool {
    matches!(published, Published::Acknowledged { final_from: None })
}

async fn publish(dns: &Dns, change: RecordChange) -> Published {
    dns.publish(change, Lane::Interactive).await
}

#[tokio::test]
async fn a_host_is_added_changed_given_both_families_and_removed() {
    let named = Named::start().await;
    let (dns, counters) = named.dns();
    let name = "pc.dyn.test";
    let steps = [
        (only(v4(1)), vec!["192.0.2.1 77"], vec![]),
        (only(v4(2)), vec!["192.0.2.2 77"], vec![]),
        (dual(3), vec!["192.0.2.3 77"], vec!["::1 77"]),
        (WantedRecords { v4: Wanted::Absent, ..dual(0) }, vec![], vec!["::1 77"]),
        (WantedRecords { v4: Wanted::Absent, v6: Wanted::Absent }, vec![], vec![]),
    ];
    for (records, a, aaaa) in steps {
        assert!(is_plain_success(&publish(&dns, change(name, records)).await));
        assert_eq!(named.look_up(name, RecordType::A).await, a);
        assert_eq!(named.look_up(name, RecordType::AAAA).await, aaaa);
    }
    assert_eq!((counters.messages.get(), counters.hosts.get(), counters.tcp.get()), (5, 5, 0));
}

#[tokio::test]
async fn a_family_that_was_never_set_is_untouched() {
    let named = Named::start().await;
    let (dns, _) = named.dns();
    let published = publish(&dns, change("static.dyn.test", only(v4(1)))).await;
    assert!(is_plain_success(&published));
    assert_eq!(named.look_up("static.dyn.test", RecordType::AAAA).await, ["2001:db8::53 300"]);
}

#[tokio::test]
async fn a_cname_in_the_way_and_a_forbidden_name_fail_alone_in_their_batch() {
    let named = Named::start().await;
    let (dns, counters) = named.dns();
    let hosts: Vec<_> = (0..60)
        .map(|n| match n {
            20 => "alias.dyn.test".into(),
            45 => "denied.dyn.test".into(),
            n => format!("h{n}.dyn.test"),
        })
        .collect();
    let all = || hosts.iter().map(|name| publish(&dns, change(name, dual(1))));
    let published = join_all(all()).await;
    for (name, outcome) in hosts.iter().zip(&published) {
        let code = match name.as_str() {
            "alias.dyn.test" => "YXRRSET (a CNAME stands at the name",
            "denied.dyn.test" => "REFUSED",
            _ => {
                assert!(is_plain_success(outcome), "{name}: {outcome:?}");
                continue;
            }
        };
        assert!(matches!(outcome, Published::Refused(_)), "{outcome:?}");
        assert!(error_of(outcome).to_string().contains(code), "{outcome:?}");
    }
    let first_time = counters.messages.get();
    let again = join_all(all()).await;
    assert_eq!(again.iter().filter(|outcome| is_plain_success(outcome)).count(), 58);
    let messages = counters.messages.get() - first_time;
    assert!(messages <= 6, "{messages}: the refused hosts are isolated");
}

#[tokio::test]
async fn a_wrong_secret_is_reported_and_no_response_counts() {
    let named = Named::start().await;
    let (dns, _) = named.dns_with(Some(b"another secret"), DnsTransport::Auto);
    let published = publish(&dns, change("pc.dyn.test", dual(1))).await;
    assert!(matches!(published, Published::Unconfirmed(_)), "{published:?}");
    let text = error_of(&published).to_string();
    assert!(text.contains("NOTAUTH/BADSIG (is the secret of TSIG key `k`"), "{text}");
    assert!(!dns.zones()[0].down, "it answers");
}

#[tokio::test]
async fn a_zone_that_is_not_served_or_takes_no_updates_is_refused_in_few_messages() {
    let named = Named::start().await;
    let (dns, counters) = named.dns();
    for (zone, code) in [("other.test", "NOTAUTH (is it primary"), ("shut.test", "REFUSED (")] {
        let before = counters.messages.get();
        let changes = (0..100).map(|n| change(&format!("h{n}.{zone}"), dual(1)));
        let published = join_all(changes.map(|change| publish(&dns, change))).await;
        for outcome in &published {
            assert!(matches!(outcome, Published::Refused(_)), "{outcome:?}");
            assert!(error_of(outcome).to_string().contains(code), "{outcome:?}");
        }
        assert!(counters.messages.get() - before <= 6, "{}", counters.messages.get());
    }
}

#[tokio::test]
async fn a_server_that_is_down_fails_changes_at_once_and_gets_them_when_it_is_back() {
    let mut named = Named::start().await;
    let (dns, counters) = named.dns();
    let pc = || change("pc.dyn.test", dual(1));
    assert!(is_plain_success(&publish(&dns, pc()).await));
    let zone = counters.zones.of("dyn.test");
    assert_eq!(zone.last_error(), None);
    named.stop();

    let first = publish(&dns, pc()).await;
    assert!(matches!(first, Published::Unconfirmed(DnsError::Unreachable { .. })), "{first:?}");
    let second = publish(&dns, pc()).await;
    assert!(matches!(second, Published::Unconfirmed(DnsError::Down { .. })), "{second:?}");
    assert!(dns.zones()[0].down);
    assert!(zone.last_error().unwrap().text.starts_with("cannot reach name server"));

    let named = named.restarted().await;
    let back = dns.publish(pc(), Lane::Background).await;
    assert!(is_plain_success(&back), "no program took what was sent before: {back:?}");
    assert!(is_plain_success(&publish(&dns, pc()).await));
    assert_eq!(named.look_up("pc.dyn.test", RecordType::A).await, ["192.0.2.1 77"]);
    assert!(!dns.zones()[0].down);
}

#[tokio::test]
async fn concurrent_changes_travel_together_by_tcp_when_they_do_not_fit_a_datagram() {
    let named = Named::start().await;
    let (dns, counters) = named.dns();
    let changes = (0..200).map(|n| change(&format!("h{n}.dyn.test"), dual(9)));
    let published = join_all(changes.map(|change| publish(&dns, change))).await;
    assert!(published.iter().all(is_plain_success));
    assert!(counters.messages.get() <= 10, "{}", counters.messages.get());
    assert_eq!(counters.hosts.get(), 200);
    assert!(counters.tcp.get() >= 1);
    assert_eq!(named.look_up("h199.dyn.test", RecordType::A).await, ["192.0.2.9 77"]);
}

#[tokio::test]
async fn tcp_connections_are_kept_and_replaced_when_the_server_has_closed_them() {
    let mut named = Named::start().await;
    let (dns, counters) = named.dns_with(Some(SECRET), DnsTransport::Tcp);
    for n in 1..=3 {
        assert!(is_plain_success(&publish(&dns, change("pc.dyn.test", dual(n))).await));
    }
    assert_eq!((counters.tcp.get(), counters.messages.get()), (3, 3));
    named.stop();
    let named = named.restarted().await;
    let published = publish(&dns, change("pc.dyn.test", dual(4))).await;
    assert!(matches!(published, Published::Acknowledged { .. }), "{published:?}");
    assert_eq!(named.look_up("pc.dyn.test", RecordType::A).await, ["192.0.2.4 77"]);
}

#[tokio::test]
async fn a_change_is_sent_though_its_caller_is_gone() {
    let named = Named::start().await;
    let (dns, _) = named.dns();
    let left = publish(&dns, change("left.dyn.test", dual(1)));
    assert!(futures::FutureExt::now_or_never(left).is_none());
    assert!(is_plain_success(&publish(&dns, change("stayed.dyn.test", dual(2))).await));
    assert_eq!(named.look_up("left.dyn.test", RecordType::A).await, ["192.0.2.1 77"]);
}

#[tokio::test]
async fn without_a_key_updates_go_unsigned() {
    let named = Named::start().await;
    let (dns, _) = named.dns_with(None, DnsTransport::Auto);
    assert!(is_plain_success(&publish(&dns, change("pc.open.test", dual(1))).await));
    let published = publish(&dns, change("pc.dyn.test", dual(1))).await;
    let text = error_of(&published).to_string();
    assert!(text.contains("REFUSED (does its policy let this address"), "{text}");
}
