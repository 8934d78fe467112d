//! The life of the process: signals, the soft and the hard stop, the tasks that must not end early,
//! systemd's notices.

use sd_notify::NotifyState;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

/// How long requests, stories and connections may take after the stop was asked for.
const GRACE: Duration = Duration::from_secs(5);

/// The stops and the tasks of one run; clones share them.
#[derive(Clone, Default)]
pub struct Lifecycle {
    /// No new work; what is under way may end.
    pub stop: CancellationToken,
    /// Everything ends at once.
    pub cut: CancellationToken,
    /// Connections and stories: waited for at the stop.
    pub work: TaskTracker,
    services: TaskTracker,
    broke: Arc<AtomicBool>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As told.
    Stopped,
    /// A part ended that must not.
    Broke,
}

impl Lifecycle {
    /// Runs a part that must live until the stop. If it ends earlier or panics, everything stops, and
    /// the run counts as broken.
    pub fn service(&self, name: &'static str, part: impl Future<Output = ()> + Send + 'static) {
        let life = self.clone();
        let task = tokio::spawn(part);
        self.services.spawn(async move {
            let ended = task.await;
            if life.stop.is_cancelled() {
                return;
            }
            match ended {
                Ok(()) => error!("{name} ended by itself; stopping"),
                Err(panic) => error!("{name} broke: {panic}; stopping"),
            }
            life.broke.store(true, Ordering::SeqCst);
            life.stop.cancel();
        });
    }

    /// Waits for SIGTERM, SIGINT or a broken part, then until the work that is under way has ended, or
    /// its time has; a second signal cuts it short.
    pub async fn until_stopped(&self, signals: &mut Signals) -> End {
        let mut signalled = async || signals.next().await;
        tokio::select! {
            name = signalled() => info!("{name}: stopping"),
            () = self.stop.cancelled() => {}
        }
        notify(&[NotifyState::Stopping]);
        self.stop.cancel();
        self.work.close();
        self.services.close();
        let ended = async {
            self.work.wait().await;
            self.services.wait().await;
        };
        tokio::select! {
            () = ended => {}
            () = tokio::time::sleep(GRACE) => warn!("some requests took too long and were cut"),
            name = signalled() => warn!("{name} again: cut what was under way"),
        }
        self.cut.cancel();
        if self.broke.load(Ordering::SeqCst) { End::Broke } else { End::Stopped }
    }
}

/// The signals that stop the daemon, kept from its start on.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    heard: u32,
}

impl Signals {
    /// From now on the signals wait here instead of ending the process.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            heard: 0,
        })
    }

    /// Whether whoever stops the daemon asked again: nothing is waited for any more.
    pub fn are_urgent(&self) -> bool {
        self.heard > 1
    }

    /// Waits for the next one; its name.
    pub async fn next(&mut self) -> &'static str {
        let name = tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        };
        self.heard += 1;
        name
    }
}

/// SIGHUP, kept from the daemon's start on: one that comes before there is anything to reload waits.
pub struct Hangups(Signal);

impl Hangups {
    /// From now on it waits here instead of ending the process.
    ///
    /// # Errors
    /// The handler cannot be installed.
    pub fn new() -> std::io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Does what it asks for, each time it comes; one that comes meanwhile is done after it.
    pub fn each<F: Future<Output = ()> + Send + 'static>(
        mut self,
        life: &Lifecycle,
        act: impl Fn() -> F + Send + Sync + 'static,
    ) {
        let stop = life.stop.clone();
        life.service("the SIGHUP handler", async move {
            while let Some(Some(())) = stop.run_until_cancelled(self.0.recv()).await {
                act().await;
            }
        });
    }
}

/// Tells systemd that everything is bound and served, and keeps its watchdog quiet from then on.
pub fn ready(life: &Lifecycle) {
    notify(&[NotifyState::Ready]);
    if let Some(every) = sd_notify::watchdog_enabled() {
        life.service("the watchdog", watchdog(every / 2, life.stop.clone()));
    }
}

/// Tells systemd that the configuration is read again.
pub fn reloading() {
    // systemd orders it among its own messages by the time
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(_) => notify(&[NotifyState::Reloading]),
    }
}

/// Tells systemd that this is done, well or not.
pub fn reloaded() {
    notify(&[NotifyState::Ready]);
}

async fn watchdog(every: Duration, stop: CancellationToken) {
    while !stop.is_cancelled() {
        notify(&[NotifyState::Watchdog]);
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = stop.cancelled() => {}
        }
    }
}

fn notify(state: &[NotifyState<'_>]) {
    // without systemd there is nobody to tell
    let _ = sd_notify::notify(state);
}
