//! The hashing threads. In: jobs and the memory they need. Out: each job runs once, administration
//! before logins, at low priority, so that hashing takes only the time that the runtime leaves. The
//! queue is bounded, and so is memory: each thread keeps its own, and one large job runs at a time.

use super::argon2::HashMemory;
use super::login_queue::{HashJob, LoginQueue, QueueFull};
use crate::model::client::NetworkKey;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const MAX_ADMINISTRATION: usize = 64;
/// A job that needs more is large: 128 MiB.
pub const LARGE_KIB: u32 = 128 * 1024;
/// Added to the niceness of the runtime.
const NICE: i32 = 10;
/// A thread that is idle for this long releases its memory.
const IDLE: Duration = Duration::from_secs(10);

/// The order in which jobs start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Priority {
    /// Before all logins.
    Administration,
    /// Of a user who has a host that was last updated from the same address: before other logins.
    FamiliarLogin(NetworkKey),
    Login(NetworkKey),
}

/// A fixed number of threads. Dropped, they carry out what is queued and end.
pub(super) struct HashThreads {
    queue: Arc<JobQueue>,
    count: usize,
}

struct JobQueue {
    state: Mutex<QueuedJobs>,
    changed: Condvar,
}

#[derive(Default)]
struct QueuedJobs {
    administration: VecDeque<HashJob>,
    familiar_logins: LoginQueue,
    logins: LoginQueue,
    large_is_running: bool,
    closed: bool,
}

impl HashThreads {
    pub(super) fn start(count: usize) -> std::io::Result<Self> {
        let queue = Arc::new(JobQueue { state: Mutex::default(), changed: Condvar::new() });
        // dropped if a thread cannot be started, which ends those before it
        let threads = Self { queue, count };
        for number in 0..count {
            let queue = Arc::clone(&threads.queue);
            let thread = std::thread::Builder::new().name(format!("hash-{number}"));
            thread.spawn(move || queue.serve())?;
        }
        Ok(threads)
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Jobs that have not started.
    pub(super) fn waiting(&self) -> usize {
        let state = self.queue.lock();
        state.len()
    }

    /// Queues a job that needs this much memory.
    pub(super) fn submit(
        &self,
        priority: Priority,
        kib: u32,
        work: impl FnOnce(&mut HashMemory) + Send + 'static,
    ) -> Result<(), QueueFull> {
        let job = HashJob { is_large: kib > LARGE_KIB, work: Box::new(work) };
        let mut state = self.queue.lock();
        let dropped = match priority {
            Priority::Administration if state.administration.len() >= MAX_ADMINISTRATION => {
                return Err(QueueFull);
            }
            Priority::Administration => {
                state.administration.push_back(job);
                None
            }
            Priority::FamiliarLogin(network) => state.familiar_logins.push(network, job)?,
            Priority::Login(network) => state.logins.push(network, job)?,
        };
        drop(state);
        // ends the wait of its caller
        drop(dropped);
        self.queue.changed.notify_one();
        Ok(())
    }
}

impl Drop for HashThreads {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.changed.notify_all();
    }
}

impl JobQueue {
    fn lock(&self) -> MutexGuard<'_, QueuedJobs> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        // on Linux this sets the calling thread alone; if it fails, hashing works all the same
        let _ = rustix::process::nice(NICE);
        let mut memory = HashMemory::default();
        while let Some(job) = self.next(&mut memory) {
            let work = job.work;
            if catch_unwind(AssertUnwindSafe(|| work(&mut memory))).is_err() {
                memory.release();
                tracing::error!("hashing a password panicked (please report it)");
            }
            if job.is_large {
                self.lock().large_is_running = false;
                self.changed.notify_all();
            }
        }
    }

    /// Waits for the next job; `None` once the queue is closed and empty.
    fn next(&self, memory: &mut HashMemory) -> Option<HashJob> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.take() {
                return Some(job);
            }
            if state.closed && state.is_empty() {
                return None;
            }
            if memory.is_released() {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            } else {
                let waited = self.changed.wait_timeout(state, IDLE);
                let (woken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                state = woken;
                if timeout.timed_out() {
                    memory.release();
                }
            }
        }
    }
}

impl QueuedJobs {
    /// The first job that may start now.
    fn take(&mut self) -> Option<HashJob> {
        let large_may_run = !self.large_is_running;
        let may_run = |job: &HashJob| large_may_run || !job.is_large;
        let index = self.administration.iter().position(may_run);
        let job = index
            .and_then(|index| self.administration.remove(index))
            .or_else(|| self.familiar_logins.take(large_may_run))
            .or_else(|| self.logins.take(large_may_run))?;
        self.large_is_running |= job.is_large;
        Some(job)
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> usize {
        self.administration.len() + self.familiar_logins.len() + self.logins.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::login_queue::{MAX_LARGE, MAX_LOGINS};
    use super::*;
    use std::sync::mpsc;

    const SMALL: u32 = 8;
    const NETWORK: NetworkKey = NetworkKey::V4([192, 0, 2]);
    const LOGIN: Priority = Priority::Login(NETWORK);

    /// One thread that is busy until the sender is used or dropped.
    fn busy_thread() -> (HashThreads, mpsc::Sender<()>) {
        let threads = HashThreads::start(1).unwrap();
        let (release, wait) = mpsc::channel::<()>();
        let (started, has_started) = mpsc::channel();
        threads
            .submit(LOGIN, SMALL, move |_| {
                started.send(()).unwrap();
                let _ = wait.recv();
            })
            .unwrap();
        has_started.recv().unwrap();
        (threads, release)
    }

    #[test]
    fn administration_starts_before_logins_and_familiar_ones_before_others() {
        let (threads, release) = busy_thread();
        let (order, seen) = mpsc::channel();
        for (priority, name) in [
            (LOGIN, "first"),
            (LOGIN, "second"),
            (Priority::FamiliarLogin(NETWORK), "familiar"),
            (Priority::Administration, "admin"),
        ] {
            let order = order.clone();
            threads.submit(priority, SMALL, move |_| order.send(name).unwrap()).unwrap();
        }
        drop((release, order));
        assert_eq!(seen.iter().collect::<Vec<_>>(), ["admin", "familiar", "first", "second"]);
    }

    #[test]
    fn beyond_the_bound_logins_are_refused_and_administration_is_not() {
        let (threads, _release) = busy_thread();
        for _ in 0..MAX_LOGINS {
            threads.submit(LOGIN, SMALL, |_| ()).unwrap();
        }
        assert_eq!(threads.submit(LOGIN, SMALL, |_| ()), Err(QueueFull));
        assert_eq!(threads.submit(Priority::Administration, SMALL, |_| ()), Ok(()));
    }

    #[test]
    fn large_logins_leave_room_for_small_ones() {
        let (threads, _release) = busy_thread();
        for _ in 0..MAX_LARGE {
            threads.submit(LOGIN, LARGE_KIB + 1, |_| ()).unwrap();
        }
        assert_eq!(threads.submit(LOGIN, LARGE_KIB + 1, |_| ()), Err(QueueFull));
        assert_eq!(threads.submit(LOGIN, LARGE_KIB, |_| ()), Ok(()));
    }

    #[test]
    fn two_large_jobs_never_run_together() {
        let (threads, (events, seen)) = (HashThreads::start(2).unwrap(), mpsc::channel());
        let (release, wait) = mpsc::channel::<()>();
        let first = events.clone();
        threads
            .submit(LOGIN, LARGE_KIB + 1, move |_| {
                first.send("large starts").unwrap();
                let _ = wait.recv();
                first.send("large ends").unwrap();
            })
            .unwrap();
        assert_eq!(seen.recv().unwrap(), "large starts");
        for (kib, name) in [(LARGE_KIB + 1, "second large"), (LARGE_KIB, "small")] {
            let events = events.clone();
            threads.submit(LOGIN, kib, move |_| events.send(name).unwrap()).unwrap();
        }
        assert_eq!(
            seen.recv().unwrap(),
            "small",
            "it starts before the large one, which has to wait"
        );
        release.send(()).unwrap();
        assert_eq!(seen.recv().unwrap(), "large ends");
        assert_eq!(seen.recv().unwrap(), "second large");
    }

    #[test]
    fn a_panic_loses_its_own_job_only() {
        let threads = HashThreads::start(1).unwrap();
        let (lost, never) = mpsc::channel::<()>();
        threads
            .submit(LOGIN, LARGE_KIB + 1, move |_| {
                let _lost = lost;
                panic!("on purpose");
            })
            .unwrap();
        assert!(never.recv().is_err(), "its waiter gets an error");
        let (done, wait) = mpsc::channel();
        threads.submit(LOGIN, LARGE_KIB + 1, move |_| done.send(7).unwrap()).unwrap();
        assert_eq!(wait.recv().unwrap(), 7);
    }

    #[test]
    fn dropped_threads_carry_out_what_is_queued_and_end() {
        let (threads, release) = busy_thread();
        let (done, seen) = mpsc::channel();
        for number in [1, 2] {
            let done = done.clone();
            threads.submit(LOGIN, SMALL, move |_| done.send(number).unwrap()).unwrap();
        }
        let queue = Arc::downgrade(&threads.queue);
        drop(threads);
        drop((release, done));
        assert_eq!(seen.iter().collect::<Vec<_>>(), [1, 2]);
        while queue.strong_count() > 0 {
            std::thread::yield_now();
        }
    }
}
