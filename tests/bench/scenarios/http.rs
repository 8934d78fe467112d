//! Updates that change nothing, beside a constant reply.

use crate::http_floor::HttpFloor;
use crate::load::{Plan, Replies, Server, drive};
use crate::process_tree::cpu;
use crate::report::{Report, Row};
use crate::request::{Hosts, Order};
use crate::{Effort, servers};
use ddnsd_tests::authority::Authority;
use ddnsd_tests::named::Named;
use nix::unistd::Pid;
use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::TlsConnector;

const HOSTS: Hosts = Hosts { hosts: 64, users: 64 };

/// One measurement: so many clients, on kept connections or a new one for each request.
struct Cell {
    what: &'static str,
    clients: u32,
    kept: bool,
    least: Option<f64>,
}

/// A server and its process.
struct Side {
    server: Server,
    pid: Pid,
}

pub(crate) fn plain(effort: Effort, report: &mut Report) {
    let named = Named::start();
    let daemon = servers::start(&named, HOSTS, |setup| setup);
    let constant = HttpFloor::start(None);
    let ddnsd = Side { server: servers::server(&daemon), pid: daemon.pid() };
    let floor = Side { server: constant.server(None), pid: constant.pid() };
    let cells = [
        Cell { what: "nochg kept c1", clients: 1, kept: true, least: None },
        Cell { what: "nochg kept c32", clients: 32, kept: true, least: Some(0.8) },
        Cell { what: "nochg new connections c1", clients: 1, kept: false, least: None },
        Cell { what: "nochg new connections c32", clients: 32, kept: false, least: Some(1.0) },
    ];
    measure(&cells, [&ddnsd, &floor], effort, report);
}

/// As [`plain`] over TLS 1.3 without resumption.
pub(crate) fn tls(effort: Effort, report: &mut Report) {
    let authority = Authority::new();
    let certificate = authority.sign("localhost");
    let files = [certificate.certificate.as_path(), certificate.key.as_path()];
    let [pem, key] = files.map(|file| file.display().to_string());
    let named = Named::start();
    let daemon = servers::start(&named, HOSTS, |setup| {
        let setup = setup.set("daemon.ssl", true).set("daemon.ssl_cert_file", pem);
        setup.set("daemon.ssl_key_file", key)
    });
    let constant = HttpFloor::start(Some(files));
    let connector = connector(&authority.certificate());
    let ddnsd = Server { tls: Some(connector.clone()), ..servers::server(&daemon) };
    let ddnsd = Side { server: ddnsd, pid: daemon.pid() };
    let floor = Side { server: constant.server(Some(connector)), pid: constant.pid() };
    let cells = [
        Cell { what: "TLS kept c1", clients: 1, kept: true, least: None },
        Cell { what: "TLS kept c32", clients: 32, kept: true, least: Some(0.7) },
        Cell { what: "TLS handshake each c1", clients: 1, kept: false, least: None },
        Cell { what: "TLS handshake each c32", clients: 32, kept: false, least: Some(0.85) },
    ];
    measure(&cells, [&ddnsd, &floor], effort, report);
}

fn connector(authority: &Path) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(authority).expect("a certificate");
    roots.add(certificate).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsConnector::from(Arc::new(config))
}

fn measure(cells: &[Cell], [ddnsd, floor]: [&Side; 2], effort: Effort, report: &mut Report) {
    warm_up(&ddnsd.server, HOSTS);
    for cell in cells {
        let mut row = Row::new(cell.what, "req/s").beside("constant reply");
        row.target = cell.least.map(crate::report::Target::AtLeast);
        for _ in 0..effort.rounds {
            let (rate, cpu) = sample(cell, floor, effort);
            row.floor_sample(rate);
            row.floor_cpu.push(cpu);
            let (rate, cpu) = sample(cell, ddnsd, effort);
            row.ddnsd.push(rate);
            row.cpu.push(cpu);
        }
        report.add(row);
    }
}

/// Requests per second, and the server's microseconds of CPU time for each.
fn sample(cell: &Cell, side: &Side, effort: Effort) -> (f64, f64) {
    let plan = Plan { kept: cell.kept, ..nochg(&side.server, cell.clients, effort.each) };
    let before = cpu(side.pid);
    let replies = drive(&plan, &HOSTS.nochg(Order::InTurn, cell.kept));
    (replies.rate(), cpu_each(before, side.pid, &replies))
}

/// Microseconds of CPU time of a server for each reply.
pub(super) fn cpu_each(before: Duration, pid: Pid, replies: &Replies) -> f64 {
    (cpu(pid) - before).as_secs_f64() * 1e6 / replies.latencies.len().max(1) as f64
}

/// Every credential verified and every row read once.
pub(super) fn warm_up(server: &Server, hosts: Hosts) {
    drive(&nochg(server, 1, Duration::from_secs(60)), &hosts.each_user_once());
}

/// Updates that change nothing, on kept connections.
pub(super) fn nochg(server: &Server, clients: u32, time: Duration) -> Plan {
    Plan { server: server.clone(), clients, kept: true, time, expected: &["nochg"] }
}
