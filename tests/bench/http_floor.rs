//! The floor of HTTP: a server that reads the same request with the same libraries and always sends
//! the same reply. A process of its own, as ddnsd is, with a thread for each core.

use crate::load::Server;
use ddnsd_tests::process::Running;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use warp::Filter as _;

/// A running floor; killed when dropped.
pub(crate) struct HttpFloor {
    process: Running,
    port: u16,
}

impl HttpFloor {
    /// Without a certificate and its key it serves plain HTTP.
    pub(crate) fn start(tls: Option<[&std::path::Path; 2]>) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.arg("--http-floor").stdin(Stdio::null()).stdout(Stdio::piped());
        if let Some(files) = tls {
            command.arg("--tls").args(files);
        }
        let mut process = Running(command.spawn().expect("the floor starts"));
        let out = process.0.stdout.take().expect("a pipe");
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line).expect("the floor prints its port");
        Self { process, port: line.trim().parse().expect("a port") }
    }

    pub(crate) fn pid(&self) -> nix::unistd::Pid {
        self.process.pid()
    }

    pub(crate) fn server(&self, tls: Option<TlsConnector>) -> Server {
        Server { port: self.port, tls }
    }
}

/// Serves until it is killed.
pub(crate) fn serve(tls: &[PathBuf]) -> ! {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let acceptor = match tls {
        [certificate, key] => Some(acceptor(certificate, key)),
        _ => None,
    };
    runtime.expect("a runtime").block_on(accept(acceptor))
}

fn acceptor(certificate: &PathBuf, key: &PathBuf) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(certificate).expect("a certificate");
    let chain = chain.collect::<Result<_, _>>().expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(key).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a certificate with its key");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

async fn accept(acceptor: Option<TlsAcceptor>) -> ! {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    println!("{}", listener.local_addr().expect("a port").port());
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let _no_delay = stream.set_nodelay(true);
            match acceptor {
                None => answer(stream).await,
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        answer(stream).await;
                    }
                }
            }
        });
    }
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let routes = warp::path("update")
        .and(warp::header::optional::<String>("authorization"))
        .and(warp::query::<HashMap<String, String>>())
        .map(reply);
    let service = TowerToHyperService::new(warp::service(routes));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(30))
        .serve_connection(TokioIo::new(stream), service);
    let _broken = connection.await;
}

fn reply(_credentials: Option<String>, _query: HashMap<String, String>) -> &'static str {
    "nochg 10.0.0.1\n"
}
