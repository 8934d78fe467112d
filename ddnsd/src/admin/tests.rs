//! Client and server over a real socket; the stories behind are stand-ins.

use super::places::CONNECTIONS;
use super::*;
use connection::CallReply;
use ddnsd_proto::status::StatusView;
use ddnsd_proto::transport::{Preamble, Status as Welcome, frames};
use ddnsd_proto::{
    AdministrationClient, AdministrationRequest as Ask, AdministrationResponse as Say, PROTOCOL,
};
use futures::FutureExt;
use tarpc::client::Config;
use tarpc::context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(5);

/// A daemon's admin part on a socket of its own.
struct Daemon {
    folder: tempfile::TempDir,
    stop: CancellationToken,
    tasks: TaskTracker,
    accepting: tokio::task::JoinHandle<()>,
}

impl Daemon {
    fn start(
        answer: impl Fn(Ask) -> futures::future::BoxFuture<'static, CallReply> + Send + Sync + 'static,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("admin.sock");
        let config = crate::config::AdminConfig { socket, mode: 0o600, group: None };
        let bound = socket::bind(&config).unwrap();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let (stop_too, tasks_too) = (stop.clone(), tasks.clone());
        let answer: CallHandler = Arc::new(move |_, ask| answer(ask));
        let accepting =
            tokio::spawn(async move { accept(&bound, answer, stop_too, tasks_too).await });
        Self { folder, stop, tasks, accepting }
    }

    /// Answers `status` with a version.
    fn simple() -> Self {
        Self::start(|_| async { Ok(version("1.2.3")) }.boxed())
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.folder.path().join("admin.sock")).await.unwrap()
    }

    /// A connection whose preambles are through.
    async fn greeted(&self) -> UnixStream {
        let mut stream = self.connect().await;
        let hello = timeout(SOON, Preamble::receive(&mut stream)).await.unwrap().unwrap();
        assert_eq!(hello.status, Welcome::Welcome);
        Preamble::new(Welcome::Welcome, 0, "test").send(&mut stream).await.unwrap();
        stream
    }

    async fn client(&self) -> AdministrationClient {
        AdministrationClient::new(Config::default(), frames(self.greeted().await)).spawn()
    }

    async fn assert_alive(&self) {
        let status = self.client().await.status(context::current()).await.unwrap().unwrap();
        assert_eq!(status.version, "1.2.3");
    }
}

fn version(version: &str) -> Say {
    Say::Status(Ok(StatusView { version: version.into(), ..StatusView::default() }))
}

/// Reads until the daemon hangs up.
async fn read_to_the_end(stream: &mut UnixStream) {
    let mut rest = Vec::new();
    // a reset is an end too
    let _ = timeout(SOON, stream.read_to_end(&mut rest)).await.expect("the daemon hangs up");
}

#[tokio::test]
async fn a_call_is_answered() {
    Daemon::simple().assert_alive().await;
}

#[tokio::test]
async fn rubbish_ends_its_own_connection_only() {
    let daemon = Daemon::simple();
    let mut web = daemon.connect().await;
    web.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    read_to_the_end(&mut web).await;
    let too_long = u32::MAX.to_be_bytes();
    for rubbish in [b"\0\0\0\x04oops".as_slice(), b"\0\0\0\0", &too_long] {
        let mut stream = daemon.greeted().await;
        stream.write_all(rubbish).await.unwrap();
        read_to_the_end(&mut stream).await;
    }
    daemon.assert_alive().await;
}

#[tokio::test]
async fn a_deadline_beyond_reason_ends_its_own_connection_only() {
    let daemon = Daemon::simple();
    let request = tarpc::ClientMessage::Request(tarpc::Request {
        context: context::current(),
        id: 1,
        message: Ask::Status {},
    });
    for seconds in [u64::MAX, 10 * 366 * 86_400] {
        let mut json = serde_json::to_value(&request).unwrap();
        json["Request"]["context"]["deadline"]["secs"] = seconds.into();
        let json = serde_json::to_vec(&json).unwrap();
        let mut stream = daemon.greeted().await;
        stream.write_u32(u32::try_from(json.len()).unwrap()).await.unwrap();
        stream.write_all(&json).await.unwrap();
        read_to_the_end(&mut stream).await;
    }
    daemon.assert_alive().await;
}

#[tokio::test]
async fn another_major_version_is_told_ours_and_dropped() {
    let daemon = Daemon::simple();
    let mut stream = daemon.connect().await;
    assert_eq!(Preamble::receive(&mut stream).await.unwrap().protocol, PROTOCOL);
    let mut later = Preamble::new(Welcome::Welcome, 0, "9.0.0");
    later.protocol.major += 1;
    later.send(&mut stream).await.unwrap();
    read_to_the_end(&mut stream).await;
}

#[tokio::test]
async fn when_all_places_are_taken_who_has_been_idle_longest_makes_room() {
    let daemon = Daemon::simple();
    let mut oldest = daemon.greeted().await;
    let busy = daemon.client().await;
    let mut others = Vec::new();
    for _ in 2..CONNECTIONS {
        others.push(daemon.greeted().await);
    }
    // older than the others, but used since
    busy.status(context::current()).await.unwrap().unwrap();
    daemon.assert_alive().await;
    read_to_the_end(&mut oldest).await;
    busy.status(context::current()).await.unwrap().unwrap();
}

#[tokio::test]
async fn who_has_a_call_under_way_keeps_its_place() {
    let (begun, finish) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let daemon = Daemon::start({
        let (begun, finish) = (Arc::clone(&begun), Arc::clone(&finish));
        move |_| {
            let (begun, finish) = (Arc::clone(&begun), Arc::clone(&finish));
            async move {
                begun.add_permits(1);
                finish.acquire().await.unwrap().forget();
                Ok(version("1.2.3"))
            }
            .boxed()
        }
    });
    let mut calls = Vec::new();
    for _ in 0..CONNECTIONS {
        let client = daemon.client().await;
        calls.push(tokio::spawn(async move { client.status(context::current()).await }));
    }
    let _all = begun.acquire_many(u32::try_from(CONNECTIONS).unwrap()).await.unwrap();
    let mut next = daemon.connect().await;
    let early = timeout(Duration::from_millis(300), Preamble::receive(&mut next)).await;
    assert!(early.is_err(), "all places are in use");
    finish.add_permits(CONNECTIONS);
    timeout(SOON, Preamble::receive(&mut next)).await.unwrap().unwrap();
    for call in calls {
        call.await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_thousand_connections_that_say_nothing_keep_nobody_out() {
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
async fn at_the_stop_calls_under_way_are_answered_and_the_socket_goes() {
    let (begun, finish) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let daemon = Daemon::start({
        let (begun, finish) = (Arc::clone(&begun), Arc::clone(&finish));
        move |_| {
            let (begun, finish) = (Arc::clone(&begun), Arc::clone(&finish));
            async move {
                begun.notify_one();
                finish.notified().await;
                Ok(version("late"))
            }
            .boxed()
        }
    });
    let (_idle, client) = (daemon.greeted().await, daemon.client().await);
    let call = tokio::spawn(async move { client.status(context::current()).await });
    begun.notified().await;
    daemon.stop.cancel();
    timeout(SOON, daemon.accepting).await.unwrap().unwrap();
    assert!(!daemon.folder.path().join("admin.sock").exists());
    finish.notify_one();
    assert_eq!(call.await.unwrap().unwrap().unwrap().version, "late");
    daemon.tasks.close();
    timeout(SOON, daemon.tasks.wait()).await.unwrap();
}
