//! The hashing threads. In: runs with the memory they need. Out: they are carried out, administration
//! first, at low priority, so that hashing takes only the time the runtime leaves. The queue is
//! bounded, and so is memory: each thread keeps its own, and one large run is under way at most.

use super::argon2::HashMemory;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Logins that wait, at most: some two seconds of two threads at our own cost.
const MAX_LOGINS: usize = 256;
/// Large runs among them, at most: only one is under way at a time, and each takes its place from many
/// small ones.
const MAX_LARGE: usize = 16;
/// New hashes that wait, at most.
const MAX_ADMINISTRATION: usize = 64;
/// A run that needs more is large: 128 MiB.
const LARGE_KIB: u32 = 128 * 1024;
/// How much lower than the runtime's the priority is.
const NICE: i32 = 10;
/// A thread that had nothing to do for so long gives its memory back.
const IDLE: Duration = Duration::from_secs(10);

/// Where a run waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Priority {
    /// Goes ahead of all logins.
    Administration,
    /// Waits its turn.
    Login,
}

/// The queue is full.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct QueueFull;

/// The threads; they end when this is dropped, what waits then is dropped with them.
pub(super) struct HashThreads(Arc<JobQueue>);

struct JobQueue {
    state: Mutex<JobQueueState>,
    changed: Condvar,
}

#[derive(Default)]
struct JobQueueState {
    administration: VecDeque<HashJob>,
    logins: VecDeque<HashJob>,
    large_is_running: bool,
    /// Threads there are.
    threads: usize,
    /// Threads there should be; those beyond end after their run.
    wanted: usize,
    closed: bool,
}

struct HashJob {
    is_large: bool,
    work: Box<dyn FnOnce(&mut HashMemory) + Send>,
}

impl HashThreads {
    /// Starts the threads.
    pub(super) fn start(threads: usize) -> std::io::Result<Self> {
        let queue = JobQueue { state: Mutex::default(), changed: Condvar::new() };
        let pool = Self(Arc::new(queue));
        pool.resize(threads)?.commit();
        Ok(pool)
    }

    /// Gets ready to be of another size: new threads start at once, those that are too many end with the
    /// commit. No run is lost.
    pub(super) fn resize(&self, threads: usize) -> std::io::Result<Resize> {
        let mut state = self.0.lock();
        // dropped by a failure too
        let resize = Resize { queue: Arc::clone(&self.0), wanted: threads, before: state.wanted };
        state.wanted = state.wanted.max(threads);
        let missing = state.wanted.saturating_sub(state.threads);
        drop(state);
        for _ in 0..missing {
            JobQueue::start_thread(&self.0)?;
        }
        Ok(resize)
    }

    /// Queues a run that needs so much memory.
    pub(super) fn submit(
        &self,
        lane: Priority,
        kib: u32,
        work: impl FnOnce(&mut HashMemory) + Send + 'static,
    ) -> Result<(), QueueFull> {
        let run = HashJob { is_large: kib > LARGE_KIB, work: Box::new(work) };
        let mut state = self.0.lock();
        let (queue, max) = match lane {
            Priority::Administration => (&mut state.administration, MAX_ADMINISTRATION),
            Priority::Login => (&mut state.logins, MAX_LOGINS),
        };
        let waiting_large = || queue.iter().filter(|run| run.is_large).count();
        if queue.len() >= max || run.is_large && waiting_large() >= MAX_LARGE {
            // dropping the run takes other locks
            drop(state);
            drop(run);
            return Err(QueueFull);
        }
        queue.push_back(run);
        self.0.changed.notify_one();
        Ok(())
    }
}

impl Drop for HashThreads {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_all();
    }
}

/// Another number of threads, all of them there.
#[must_use = "dropped, the size stays as it was"]
pub(super) struct Resize {
    queue: Arc<JobQueue>,
    wanted: usize,
    before: usize,
}

impl Resize {
    /// It is so from now on.
    pub(super) fn commit(mut self) {
        self.before = self.wanted;
    }
}

impl Drop for Resize {
    fn drop(&mut self) {
        self.queue.lock().wanted = self.before;
        self.queue.changed.notify_all();
    }
}

impl JobQueue {
    fn start_thread(queue: &Arc<Self>) -> std::io::Result<()> {
        let mut state = queue.lock();
        let thread = std::thread::Builder::new().name(format!("hash-{}", state.threads));
        let served = Arc::clone(queue);
        thread.spawn(move || served.serve())?;
        state.threads += 1;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, JobQueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        // on Linux this is the priority of the calling thread alone; without it all still works
        let _ = rustix::process::nice(NICE);
        let mut memory = HashMemory::default();
        while let Some(run) = self.next(&mut memory) {
            let work = run.work;
            if catch_unwind(AssertUnwindSafe(|| work(&mut memory))).is_err() {
                memory.release();
                tracing::error!("hashing a password panicked (please report it)");
            }
            if run.is_large {
                self.lock().large_is_running = false;
                self.changed.notify_one();
            }
        }
    }

    /// The next run; `None` when the pool is gone, or smaller.
    fn next(&self, memory: &mut HashMemory) -> Option<HashJob> {
        let mut state = self.lock();
        while !state.closed {
            if state.threads > state.wanted {
                state.threads -= 1;
                // it may have been woken for a run
                self.changed.notify_one();
                return None;
            }
            if let Some(run) = state.take() {
                return Some(run);
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
        None
    }
}

impl JobQueueState {
    /// The first run that may start now.
    fn take(&mut self) -> Option<HashJob> {
        let large_may_run = !self.large_is_running;
        let run = [&mut self.administration, &mut self.logins].into_iter().find_map(|queue| {
            let place = queue.iter().position(|run| large_may_run || !run.is_large)?;
            queue.remove(place)
        })?;
        self.large_is_running |= run.is_large;
        Some(run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const SMALL: u32 = 8;

    /// A pool of one thread that is busy until the sender is used or dropped.
    fn busy_pool() -> (HashThreads, mpsc::Sender<()>) {
        let pool = HashThreads::start(1).unwrap();
        let (release, wait) = mpsc::channel::<()>();
        let (started, has_started) = mpsc::channel();
        pool.submit(Priority::Login, SMALL, move |_| {
            started.send(()).unwrap();
            let _ = wait.recv();
        })
        .unwrap();
        has_started.recv().unwrap();
        (pool, release)
    }

    #[test]
    fn administration_goes_ahead_of_waiting_logins() {
        let (pool, release) = busy_pool();
        let (order, seen) = mpsc::channel();
        for (lane, name) in [
            (Priority::Login, "first"),
            (Priority::Login, "second"),
            (Priority::Administration, "admin"),
        ] {
            let order = order.clone();
            pool.submit(lane, SMALL, move |_| order.send(name).unwrap()).unwrap();
        }
        drop((release, order));
        assert_eq!(seen.iter().collect::<Vec<_>>(), ["admin", "first", "second"]);
    }

    #[test]
    fn beyond_the_bound_logins_are_turned_away_and_administration_is_not() {
        let (pool, _release) = busy_pool();
        for _ in 0..MAX_LOGINS {
            pool.submit(Priority::Login, SMALL, |_| ()).unwrap();
        }
        assert_eq!(pool.submit(Priority::Login, SMALL, |_| ()), Err(QueueFull));
        assert_eq!(pool.submit(Priority::Administration, SMALL, |_| ()), Ok(()));
    }

    #[test]
    fn large_logins_leave_room_for_small_ones() {
        let (pool, _release) = busy_pool();
        for _ in 0..MAX_LARGE {
            pool.submit(Priority::Login, LARGE_KIB + 1, |_| ()).unwrap();
        }
        assert_eq!(pool.submit(Priority::Login, LARGE_KIB + 1, |_| ()), Err(QueueFull));
        assert_eq!(pool.submit(Priority::Login, LARGE_KIB, |_| ()), Ok(()));
    }

    #[test]
    fn two_large_runs_are_never_under_way_together() {
        let (pool, (events, seen)) = (HashThreads::start(2).unwrap(), mpsc::channel());
        let (release, wait) = mpsc::channel::<()>();
        let first = events.clone();
        pool.submit(Priority::Login, LARGE_KIB + 1, move |_| {
            first.send("large starts").unwrap();
            let _ = wait.recv();
            first.send("large ends").unwrap();
        })
        .unwrap();
        assert_eq!(seen.recv().unwrap(), "large starts");
        for (kib, name) in [(LARGE_KIB + 1, "second large"), (LARGE_KIB, "small")] {
            let events = events.clone();
            pool.submit(Priority::Login, kib, move |_| events.send(name).unwrap()).unwrap();
        }
        assert_eq!(seen.recv().unwrap(), "small", "it passes the large one that has to wait");
        release.send(()).unwrap();
        assert_eq!(seen.recv().unwrap(), "large ends");
        assert_eq!(seen.recv().unwrap(), "second large");
    }

    #[test]
    fn a_panic_loses_its_own_run_only() {
        let pool = HashThreads::start(1).unwrap();
        let (lost, never) = mpsc::channel::<()>();
        pool.submit(Priority::Login, LARGE_KIB + 1, move |_| {
            let _lost = lost;
            panic!("on purpose");
        })
        .unwrap();
        assert!(never.recv().is_err(), "who waits for it is told");
        let (done, wait) = mpsc::channel();
        pool.submit(Priority::Login, LARGE_KIB + 1, move |_| done.send(7).unwrap()).unwrap();
        assert_eq!(wait.recv().unwrap(), 7);
    }

    /// How many runs are under way when this many wait for each other.
    fn under_way(pool: &HashThreads, runs: usize) -> (usize, mpsc::Sender<()>) {
        let (started, seen) = mpsc::channel();
        let (release, wait) = mpsc::channel::<()>();
        let wait = Arc::new(Mutex::new(wait));
        for _ in 0..runs {
            let (started, wait) = (started.clone(), Arc::clone(&wait));
            pool.submit(Priority::Login, SMALL, move |_| {
                // nobody counts any more when it starts late
                let _ = started.send(());
                let _ = wait.lock().unwrap().recv();
            })
            .unwrap();
        }
        let under_way = std::iter::from_fn(|| seen.recv_timeout(Duration::from_millis(300)).ok());
        (under_way.count(), release)
    }

    #[test]
    fn it_grows_and_shrinks_and_loses_no_run() {
        let (pool, release) = busy_pool();
        let (done, seen) = mpsc::channel();
        pool.submit(Priority::Login, SMALL, move |_| done.send(7).unwrap()).unwrap();
        pool.resize(3).unwrap().commit();
        assert_eq!(seen.recv(), Ok(7), "a new thread takes what waits");
        drop(release);
        let (count, release) = under_way(&pool, 4);
        assert_eq!(count, 3);
        pool.resize(2).unwrap().commit();
        drop(release);
        while pool.0.lock().threads > 2 {
            std::thread::yield_now();
        }
        assert_eq!(under_way(&pool, 4).0, 2);
    }

    #[test]
    fn a_size_that_is_not_committed_is_taken_back() {
        let pool = HashThreads::start(1).unwrap();
        drop(pool.resize(3).unwrap());
        while pool.0.lock().threads > 1 {
            std::thread::yield_now();
        }
        assert_eq!(under_way(&pool, 2).0, 1);
        drop(pool.resize(1).unwrap());
        let state = pool.0.lock();
        assert_eq!((state.threads, state.wanted), (1, 1));
    }

    #[test]
    fn threads_end_and_waiting_runs_are_dropped_when_the_pool_is() {
        let (pool, release) = busy_pool();
        let (never, dropped) = mpsc::channel::<()>();
        pool.submit(Priority::Login, SMALL, move |_| never.send(()).unwrap()).unwrap();
        let queue = Arc::downgrade(&pool.0);
        drop(pool);
        drop(release);
        assert!(dropped.recv().is_err());
        while queue.strong_count() > 0 {
            std::thread::yield_now();
        }
    }
}
