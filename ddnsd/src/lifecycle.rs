//! The life of the process: signals, the watchdog, the graceful and the hard stop, systemd's
//! messages.
//!
//! How to use it: make a [`Lifecycle`] before anything else, so that no signal ends the process.
//! Start the parts within [`Lifecycle::unless_stopped`] and give each the [`Tasks`].
//! [`Lifecycle::run`] then returns when the daemon is to end and its tasks have ended.

use futures::future::BoxFuture;
use sd_notify::NotifyState;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Interval;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

/// The time that requests, stories and connections get to end after a stop is requested.
const GRACE: Duration = Duration::from_secs(5);

/// The stop tokens and the tasks of the daemon; clones share them.
#[derive(Clone, Default)]
pub struct Tasks {
    /// No new work; work in progress may finish.
    pub stop: CancellationToken,
    /// Everything ends at once.
    pub cut: CancellationToken,
    /// Connections and stories: a stop waits for them.
    pub work: TaskTracker,
    services: TaskTracker,
    has_failed: Arc<AtomicBool>,
}

/// Why the daemon ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By a signal.
    Stopped,
    /// A service ended by itself.
    Failed,
}

/// The signals of the process and its tasks.
pub struct Lifecycle {
    signals: StopSignals,
    hangup: Signal,
    tasks: Tasks,
}

struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    received: u32,
}

impl Tasks {
    /// Runs a task that must not end before the stop. If it does, or panics, the daemon stops and
    /// fails.
    pub fn service(&self, name: &'static str, part: impl Future<Output = ()> + Send + 'static) {
        self.boxed_service(name, Box::pin(part));
    }

    /// Compiled once, not for each part.
    fn boxed_service(&self, name: &'static str, part: BoxFuture<'static, ()>) {
        let tasks = self.clone();
        let task = tokio::spawn(part);
        self.services.spawn(async move {
            let ended = task.await;
            if tasks.stop.is_cancelled() {
                return;
            }
            match ended {
                Ok(()) => error!("{name} ended by itself; stopping"),
                Err(panic) => error!("{name} failed: {panic}; stopping"),
            }
            tasks.has_failed.store(true, Ordering::SeqCst);
            tasks.stop.cancel();
        });
    }

    async fn ended(&self) {
        self.work.close();
        self.services.close();
        self.work.wait().await;
        self.services.wait().await;
    }
}

impl Lifecycle {
    /// Takes over SIGTERM, SIGINT and SIGHUP; those that arrive before [`Lifecycle::run`] are kept.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub fn new() -> std::io::Result<Self> {
        let signals = StopSignals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            received: 0,
        };
        Ok(Self { signals, hangup: signal(SignalKind::hangup())?, tasks: Tasks::default() })
    }

    /// The tasks, for the parts of the daemon.
    pub fn tasks(&self) -> Tasks {
        self.tasks.clone()
    }

    /// The result of `work`, or the name of a stop signal that interrupted it.
    ///
    /// # Errors
    /// The signal's name.
    pub async fn unless_stopped<T>(
        &mut self,
        work: impl Future<Output = T>,
    ) -> Result<T, &'static str> {
        tokio::select! {
            result = work => Ok(result),
            name = self.signals.next() => Err(name),
        }
    }

    /// Whether a second stop signal arrived: do not wait for anything.
    pub fn is_urgent(&self) -> bool {
        self.signals.received > 1
    }

    /// Reports READY and serves until a stop signal arrives or a service fails; then drains. SIGHUP
    /// calls `reload`, which must not block.
    pub async fn run(&mut self, reload: impl Fn()) -> Ending {
        notify(&[NotifyState::Ready]);
        info!(version = env!("CARGO_PKG_VERSION"), "ready");
        self.serve(reload).await;

        notify(&[NotifyState::Stopping]);
        self.tasks.stop.cancel();
        let second_signal = self.signals.next();
        tokio::select! {
            () = self.tasks.ended() => {}
            () = tokio::time::sleep(GRACE) => warn!("some requests took too long and were aborted"),
            name = second_signal => warn!("second {name}: aborting requests in progress"),
        }
        self.tasks.cut.cancel();
        let has_failed = self.tasks.has_failed.load(Ordering::SeqCst);
        if has_failed { Ending::Failed } else { Ending::Stopped }
    }

    async fn serve(&mut self, reload: impl Fn()) {
        let mut watchdog = sd_notify::watchdog_enabled().map(|period| interval(period / 2));
        loop {
            tokio::select! {
                name = self.signals.next() => return info!("{name}: stopping"),
                () = self.tasks.stop.cancelled() => return,
                Some(()) = self.hangup.recv() => reload(),
                () = tick(watchdog.as_mut()) => notify(&[NotifyState::Watchdog]),
            }
        }
    }
}

impl StopSignals {
    /// Waits for the next signal and returns its name.
    async fn next(&mut self) -> &'static str {
        let name = tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        };
        self.received += 1;
        name
    }
}

fn interval(period: Duration) -> Interval {
    // systemd accepts no period of zero; tokio would panic
    tokio::time::interval(period.max(Duration::from_millis(1)))
}

/// Never completes without a watchdog.
async fn tick(watchdog: Option<&mut Interval>) {
    match watchdog {
        Some(interval) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}

/// Whether systemd started this process and waits for its messages.
pub fn has_systemd() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Reports to systemd the line that `systemctl status` shows.
pub fn status(line: &str) {
    notify(&[NotifyState::Status(line)]);
}

/// Reports to systemd that a reload begins.
pub fn reloading() {
    // systemd compares the time with that of its own messages
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(_) => notify(&[NotifyState::Reloading]),
    }
}

/// Reports to systemd that a reload has ended, successful or not.
pub fn reloaded() {
    notify(&[NotifyState::Ready]);
}

fn notify(state: &[NotifyState<'_>]) {
    // fails without systemd, and no one waits for it then
    let _ = sd_notify::notify(state);
}
