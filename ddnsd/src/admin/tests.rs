//! Client and server over a real socket, with a test handler instead of the stories.

use super::connection::{CallReply, MAX_CONNECTIONS};
use super::*;
use ddnsd_proto::status::StatusView;
use ddnsd_proto::transport::{Preamble, Status as Welcome, frames};
use ddnsd_proto::{AdministrationClient, AdministrationRequest, AdministrationResponse, PROTOCOL};
use futures::FutureExt;
use tarpc::client::Config;
use tarpc::context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(5);

/// The admin socket of a daemon.
struct Daemon {
    folder: tempfile::TempDir,
    stop: CancellationToken,
    tasks: TaskTracker,
    accepting: tokio::task::JoinHandle<()>,
}

impl Daemon {
    fn start(
        handler: impl Fn(AdministrationRequest) -> futures::future::BoxFuture<'static, CallReply>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("admin.sock");
        let config = crate::config::AdminConfig { socket, mode: 0o600, group: None };
        let bound = socket::bind(&config).unwrap();
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let stop_too = stop.clone();
        let tasks_too = tasks.clone();
        let handler: CallHandler = Arc::new(move |_, request| handler(request));
        let accepting =
            tokio::spawn(async move { accept(&bound, handler, stop_too, tasks_too).await });
        Self { folder, stop, tasks, accepting }
    }

    /// Answers every call with a version.
    fn simple() -> Self {
        Self::start(|_| async { Ok(version("1.2.3")) }.boxed())
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.folder.path().join("admin.sock")).await.unwrap()
    }

    async fn after_handshake(&self) -> UnixStream {
        let mut stream = self.connect().await;
        let hello = timeout(SOON, Preamble::receive(&mut stream)).await.unwrap().unwrap();
        assert_eq!(hello.status, Welcome::Welcome);
        Preamble::new(Welcome::Welcome, 0, "test").send(&mut stream).await.unwrap();
        stream
    }

    async fn client(&self) -> AdministrationClient {
        AdministrationClient::new(Config::default(), frames(self.after_handshake().await)).spawn()
    }

    async fn assert_alive(&self) {
        let status = self.client().await.status(context::current()).await.unwrap().unwrap();
        assert_eq!(status.version, "1.2.3");
    }
}

fn version(version: &str) -> AdministrationResponse {
    AdministrationResponse::Status(Ok(StatusView {
        version: version.into(),
        ..StatusView::default()
    }))
}

/// Reads until the daemon closes the connection.
async fn read_to_the_end(stream: &mut UnixStream) {
    let mut rest = Vec::new();
    // a reset closes it too
    let _ = timeout(SOON, stream.read_to_end(&mut rest))
        .await
        .expect("the daemon closes the connection");
}

#[tokio::test]
async fn a_call_is_answered() {
    Daemon::simple().assert_alive().await;
}

#[tokio::test]
async fn garbage_ends_its_own_connection_only() {
    let daemon = Daemon::simple();
    let mut web = daemon.connect().await;
    web.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    read_to_the_end(&mut web).await;
    let too_long = u32::MAX.to_be_bytes();
    for garbage in [b"\0\0\0\x04oops".as_slice(), b"\0\0\0\0", &too_long] {
        let mut stream = daemon.after_handshake().await;
        stream.write_all(garbage).await.unwrap();
        read_to_the_end(&mut stream).await;
    }
    daemon.assert_alive().await;
}

#[tokio::test]
async fn an_unreasonable_deadline_ends_its_own_connection_only() {
    let daemon = Daemon::simple();
    let request = tarpc::ClientMessage::Request(tarpc::Request {
        context: context::current(),
        id: 1,
        message: AdministrationRequest::Status {},
    });
    for seconds in [u64::MAX, 10 * 366 * 86_400] {
        let mut json = serde_json::to_value(&request).unwrap();
        json["Request"]["context"]["deadline"]["secs"] = seconds.into();
        let json = serde_json::to_vec(&json).unwrap();
        let mut stream = daemon.after_handshake().await;
        stream.write_u32(u32::try_from(json.len()).unwrap()).await.unwrap();
        stream.write_all(&json).await.unwrap();
        read_to_the_end(&mut stream).await;
    }
    daemon.assert_alive().await;
}

#[tokio::test]
async fn another_major_version_receives_ours_and_is_dropped() {
    let daemon = Daemon::simple();
    let mut stream = daemon.connect().await;
    assert_eq!(Preamble::receive(&mut stream).await.unwrap().protocol, PROTOCOL);
    let mut later = Preamble::new(Welcome::Welcome, 0, "9.0.0");
    later.protocol.major += 1;
    later.send(&mut stream).await.unwrap();
    read_to_the_end(&mut stream).await;
}

/// A handler that reports each call as it begins and answers it once `finish` has a permit.
struct SlowCalls {
    begun: Arc<Semaphore>,
    finish: Arc<Semaphore>,
}

impl SlowCalls {
    fn new() -> Self {
        Self { begun: Arc::new(Semaphore::new(0)), finish: Arc::new(Semaphore::new(0)) }
    }

    fn daemon(&self) -> Daemon {
        let begun = Arc::clone(&self.begun);
        let finish = Arc::clone(&self.finish);
        Daemon::start(move |_| {
            let begun = Arc::clone(&begun);
            let finish = Arc::clone(&finish);
            async move {
                begun.add_permits(1);
                finish.acquire().await.unwrap().forget();
                Ok(version("1.2.3"))
            }
            .boxed()
        })
    }

    async fn wait_for_begun(&self, calls: usize) {
        let calls = u32::try_from(calls).unwrap();
        timeout(SOON, self.begun.acquire_many(calls)).await.unwrap().unwrap().forget();
    }
}

#[tokio::test]
async fn a_call_beyond_the_maximum_of_connections_waits_until_one_ends() {
    let slow = SlowCalls::new();
    let daemon = slow.daemon();
    let status = |client: AdministrationClient| {
        tokio::spawn(async move { client.status(context::current()).await })
    };
    let mut calls = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        calls.push(status(daemon.client().await));
    }
    slow.wait_for_begun(MAX_CONNECTIONS).await;
    let next = status(daemon.client().await);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(slow.begun.available_permits(), 0, "the call waits");
    slow.finish.add_permits(MAX_CONNECTIONS + 1);
    for call in calls {
        call.await.unwrap().unwrap().unwrap();
    }
    next.await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_connection_without_a_first_call_is_closed() {
    let daemon = Daemon::simple();
    let mut idle = daemon.after_handshake().await;
    read_to_the_end(&mut idle).await;
}

#[tokio::test]
async fn a_thousand_connections_that_send_nothing_keep_no_client_out() {
    let daemon = Daemon::simple();
    let mut crowd = Vec::new();
    for number in 0..1_000 {
        let mut stream = daemon.connect().await;
        if number % 2 == 0 {
            stream.write_all(b"dd").await.unwrap();
        }
        crowd.push(stream);
    }
    timeout(2 * SOON, daemon.assert_alive()).await.unwrap();
}

#[tokio::test]
async fn at_the_stop_calls_in_flight_are_answered_and_the_socket_is_removed() {
    let slow = SlowCalls::new();
    let daemon = slow.daemon();
    let _idle = daemon.after_handshake().await;
    let client = daemon.client().await;
    let call = tokio::spawn(async move { client.status(context::current()).await });
    slow.wait_for_begun(1).await;
    daemon.stop.cancel();
    timeout(SOON, daemon.accepting).await.unwrap().unwrap();
    assert!(!daemon.folder.path().join("admin.sock").exists());
    slow.finish.add_permits(1);
    assert_eq!(call.await.unwrap().unwrap().unwrap().version, "1.2.3");
    daemon.tasks.close();
    timeout(SOON, daemon.tasks.wait()).await.unwrap();
}
