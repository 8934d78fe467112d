//! TLS: one certificate for all, HTTP/2 and HTTP/1.1 by ALPN. In: the certificate with its key.
//! Out: an acceptor.

use crate::clock::Clock;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls_pki_types::UnixTime;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::TlsAcceptor;

/// TLS with the configured certificate, TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN.
///
/// # Errors
/// The crypto provider supports no protocol version.
pub(super) fn acceptor(certified: &Arc<CertifiedKey>) -> Result<TlsAcceptor, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut server = ServerConfig::builder_with_details(provider, Arc::new(HandshakeTime))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(OneKey(Arc::clone(certified))));
    // a client that names only what is not here is refused, and curl --http1.0 names that one
    server.alpn_protocols = [&b"h2"[..], b"http/1.1", b"http/1.0"].map(<[u8]>::to_vec).into();
    Ok(TlsAcceptor::from(Arc::new(server)))
}

/// rustls' own panics before 1970.
#[derive(Debug)]
struct HandshakeTime;

impl TimeProvider for HandshakeTime {
    fn current_time(&self) -> Option<UnixTime> {
        let since_1970 = Duration::from_millis(Clock.now().wall.0.unsigned_abs());
        Some(UnixTime::since_unix_epoch(since_1970))
    }
}

#[derive(Debug)]
struct OneKey(Arc<CertifiedKey>);

impl ResolvesServerCert for OneKey {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}
