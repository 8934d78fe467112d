//! The transport of the RPC: first a preamble in each direction, the daemon's first, then
//! length-delimited JSON frames. The format of the preamble never changes, whatever the version.

use crate::{AdministrationRequest, AdministrationResponse, PROTOCOL, Protocol};
use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use std::io;
use std::pin::Pin;
use tarpc::{ClientMessage, Response};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_serde::{Deserializer, Serializer};
use tokio_util::codec::LengthDelimitedCodec;

/// Maximum length of a frame, bytes.
pub const MAX_FRAME: usize = 4 << 20;

const MAGIC: [u8; 4] = *b"DDNA";

/// Whether the sender of a preamble accepts the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The receiver may continue.
    Welcome,
    /// The receiver may not administer; the connection ends.
    Denied,
    /// A status of a later version.
    Unknown(u8),
}

/// The first bytes in each direction: magic (4), status (1), uid (4), major (2), minor (2), length
/// (1) and text of the program's version. Numbers are big-endian.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preamble {
    /// Whether the sender accepts the receiver.
    pub status: Status,
    /// The receiver's uid as the daemon's kernel reports it; clients send 0.
    pub uid: u32,
    /// The sender's version of the RPC.
    pub protocol: Protocol,
    /// The sender's program version, for people; truncated to 255 bytes.
    pub version: String,
}

/// Why no preamble was received.
#[derive(Debug, thiserror::Error)]
pub enum PreambleError {
    /// The peer speaks another protocol.
    #[error("the peer does not speak ddnsd's protocol")]
    Foreign,
    /// The connection broke or ended.
    #[error("the connection broke")]
    Broken(#[from] io::Error),
}

impl Preamble {
    /// Makes a preamble of this build's protocol.
    pub fn new(status: Status, uid: u32, version: &str) -> Self {
        Self { status, uid, protocol: PROTOCOL, version: version.to_owned() }
    }

    /// Sends the preamble.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn send(&self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        to.write_all(&self.encode()).await?;
        to.flush().await
    }

    /// Reads the peer's preamble. The caller sets the timeout.
    ///
    /// # Errors
    /// The bytes are no preamble, or the connection broke.
    pub async fn receive(from: &mut (impl AsyncRead + Unpin)) -> Result<Self, PreambleError> {
        let mut magic = [0; MAGIC.len()];
        from.read_exact(&mut magic).await?;
        if magic != MAGIC {
            return Err(PreambleError::Foreign);
        }
        let status = Status::from_byte(from.read_u8().await?);
        let uid = from.read_u32().await?;
        let protocol = Protocol { major: from.read_u16().await?, minor: from.read_u16().await? };
        let mut version = vec![0; usize::from(from.read_u8().await?)];
        from.read_exact(&mut version).await?;
        let version = String::from_utf8_lossy(&version).into_owned();
        Ok(Self { status, uid, protocol, version })
    }

    fn encode(&self) -> Vec<u8> {
        let version = self.version.as_bytes();
        let length = u8::try_from(version.len()).unwrap_or(u8::MAX);
        let mut bytes = Vec::from(MAGIC);
        bytes.push(self.status.byte());
        bytes.extend(self.uid.to_be_bytes());
        bytes.extend(self.protocol.major.to_be_bytes());
        bytes.extend(self.protocol.minor.to_be_bytes());
        bytes.push(length);
        bytes.extend(version.iter().take(usize::from(length)));
        bytes
    }
}

impl Status {
    fn byte(self) -> u8 {
        match self {
            Status::Welcome => 0,
            Status::Denied => 1,
            Status::Unknown(byte) => byte,
        }
    }

    fn from_byte(byte: u8) -> Self {
        match byte {
            0 => Status::Welcome,
            1 => Status::Denied,
            other => Status::Unknown(other),
        }
    }
}

/// The RPC's messages over a byte stream: `In` from the peer, `Out` to the peer.
pub type Frames<S, In, Out> = tarpc::serde_transport::Transport<S, In, Out, JsonCodec>;

/// JSON from the bytes of a frame. The codec of `tokio-serde` reads them one by one, which takes
/// three times as long. Its functions are not generic, so that they are compiled once, here.
#[derive(Clone, Copy, Debug)]
pub struct JsonCodec;

type Calls = ClientMessage<AdministrationRequest>;
type Replies = Response<AdministrationResponse>;

impl Deserializer<Calls> for JsonCodec {
    type Error = serde_json::Error;

    fn deserialize(self: Pin<&mut Self>, frame: &BytesMut) -> serde_json::Result<Calls> {
        serde_json::from_slice(frame)
    }
}

impl Serializer<Calls> for JsonCodec {
    type Error = serde_json::Error;

    fn serialize(self: Pin<&mut Self>, calls: &Calls) -> serde_json::Result<Bytes> {
        serde_json::to_vec(calls).map(Bytes::from)
    }
}

impl Deserializer<Replies> for JsonCodec {
    type Error = serde_json::Error;

    fn deserialize(self: Pin<&mut Self>, frame: &BytesMut) -> serde_json::Result<Replies> {
        serde_json::from_slice(frame)
    }
}

impl Serializer<Replies> for JsonCodec {
    type Error = serde_json::Error;

    fn serialize(self: Pin<&mut Self>, replies: &Replies) -> serde_json::Result<Bytes> {
        serde_json::to_vec(replies).map(Bytes::from)
    }
}

/// Wraps a stream after the preambles. A frame over [`MAX_FRAME`] ends the connection.
pub fn frames<S, In, Out>(stream: S) -> Frames<S, In, Out>
where
    S: AsyncRead + AsyncWrite,
    In: for<'de> Deserialize<'de>,
    Out: Serialize,
    JsonCodec: Deserializer<In> + Serializer<Out>,
{
    let framed = LengthDelimitedCodec::builder().max_frame_length(MAX_FRAME).new_framed(stream);
    tarpc::serde_transport::new(framed, JsonCodec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_preamble_arrives_as_it_was_sent() {
        for status in [Status::Welcome, Status::Denied, Status::Unknown(9)] {
            let sent = Preamble::new(status, 1000, "0.1.0");
            let mut wire = Vec::new();
            sent.send(&mut wire).await.unwrap();
            assert_eq!(Preamble::receive(&mut wire.as_slice()).await.unwrap(), sent);
        }
    }

    #[tokio::test]
    async fn the_bytes_of_a_preamble_never_change() {
        let mut wire = Vec::new();
        let preamble = Preamble {
            status: Status::Denied,
            uid: 0x0102_0304,
            protocol: Protocol { major: 5, minor: 6 },
            version: "v".into(),
        };
        preamble.send(&mut wire).await.unwrap();
        assert_eq!(wire, b"DDNA\x01\x01\x02\x03\x04\x00\x05\x00\x06\x01v");
    }

    #[tokio::test]
    async fn a_long_version_is_truncated() {
        let mut wire = Vec::new();
        Preamble::new(Status::Welcome, 0, &"v".repeat(300)).send(&mut wire).await.unwrap();
        let back = Preamble::receive(&mut wire.as_slice()).await.unwrap();
        assert_eq!(back.version.len(), 255);
    }

    #[tokio::test]
    async fn another_protocol_is_distinguished_from_an_early_end() {
        let foreign = Preamble::receive(&mut b"GET / HTTP/1.1\r\n".as_slice()).await;
        assert!(matches!(foreign, Err(PreambleError::Foreign)));
        let short = Preamble::receive(&mut b"DDNA\0".as_slice()).await;
        assert!(matches!(short, Err(PreambleError::Broken(_))));
    }
}
