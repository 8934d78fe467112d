//! Waiting for what seldom comes, beside a connection that is busy. In: a future. Out: the same,
//! polled only after it was woken: each poll of what all connections wait for would lock what they
//! share.

use futures::task::AtomicWaker;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

pub(super) struct Seldom<F> {
    future: Pin<Box<F>>,
    alarm: Arc<Alarm>,
}

struct Alarm {
    has_rung: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.has_rung.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl<F: Future> Seldom<F> {
    pub(super) fn new(future: F) -> Self {
        let alarm = Alarm { has_rung: AtomicBool::new(true), task: AtomicWaker::new() };
        Self { future: Box::pin(future), alarm: Arc::new(alarm) }
    }
}

impl<F: Future> Future for Seldom<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        // first, so that an alarm after the look wakes the task
        this.alarm.task.register(cx.waker());
        if !this.alarm.has_rung.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        let waker = Waker::from(Arc::clone(&this.alarm));
        this.future.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use tokio_util::sync::CancellationToken;

    #[tokio::test]
    async fn it_is_polled_once_until_it_is_woken_and_wakes_its_task() {
        let (polls, stop) = (AtomicUsize::new(0), CancellationToken::new());
        let stopped = async {
            let mut cancelled = std::pin::pin!(stop.cancelled());
            std::future::poll_fn(|cx| {
                polls.fetch_add(1, Ordering::Relaxed);
                cancelled.as_mut().poll(cx)
            })
            .await;
        };
        let mut seldom = Seldom::new(stopped);
        for _ in 0..3 {
            assert!(futures::poll!(&mut seldom).is_pending());
        }
        assert_eq!(polls.load(Ordering::Relaxed), 1);
        let waker = async {
            tokio::task::yield_now().await;
            stop.cancel();
        };
        tokio::join!(seldom, waker);
        assert_eq!(polls.load(Ordering::Relaxed), 2);
    }
}
