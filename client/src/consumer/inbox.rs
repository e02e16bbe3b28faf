//! Deliveries that arrived and were not yet given to the user.
//!
//! Bounded by the consumer's credit. The driver fills it, and takes back what is in it when the connection is lost or the
//! consumer shut down; that is why it is no channel.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;

use crate::delivery::Arrival;
use crate::error::Error;

#[derive(Debug, Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    stopped: Notify,
}

#[derive(Debug, Default)]
struct State {
    arrivals: VecDeque<Arrival>,
    /// Since this was asked last.
    handed_out: u64,
    waker: Option<Waker>,
    stopping: bool,
    end: Option<Result<(), Error>>,
}

/// What the user gets next.
#[derive(Debug)]
pub(crate) enum Next {
    Arrival(Arrival),
    Failed(Error),
    End,
}

impl Inbox {
    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Next> {
        let mut state = self.lock();
        if let Some(end) = state.take_end() {
            return Poll::Ready(end.map_or_else(Next::Failed, |()| Next::End));
        }
        // What is still here on a shutdown goes back to the broker.
        if !state.stopping
            && let Some(arrival) = state.arrivals.pop_front()
        {
            state.handed_out += 1;
            return Poll::Ready(Next::Arrival(arrival));
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(crate) fn poll_end(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut state = self.lock();
        if let Some(end) = state.take_end() {
            return Poll::Ready(end);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Called by the driver.
    pub(crate) fn push(&self, arrivals: impl Iterator<Item = Arrival>) {
        let mut state = self.lock();
        state.arrivals.extend(arrivals);
        wake(state);
    }

    /// Takes back what the user has not got yet.
    pub(crate) fn take(&self) -> VecDeque<Arrival> {
        std::mem::take(&mut self.lock().arrivals)
    }

    /// How many the user got since this was asked last.
    pub(crate) fn take_handed_out(&self) -> u64 {
        std::mem::take(&mut self.lock().handed_out)
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().arrivals.len()
    }

    /// The driver has ended. What is left is dropped: its leases are gone, or will be.
    pub(crate) fn end(&self, end: Result<(), Error>) {
        let mut state = self.lock();
        state.arrivals.clear();
        state.end.get_or_insert(end);
        wake(state);
    }

    pub(crate) fn stop(&self) {
        self.lock().stopping = true;
        self.stopped.notify_waiters();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.lock().stopping
    }

    pub(crate) async fn stopping(&self) {
        let mut stopped = std::pin::pin!(self.stopped.notified());
        // Listen first, or a stop between the two would be missed.
        stopped.as_mut().enable();
        if !self.is_stopping() {
            stopped.await;
        }
    }

    /// Guards short, await-free sections; nothing in them can leave the state half changed.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// An error is told once; after it, the stream has just ended.
    fn take_end(&mut self) -> Option<Result<(), Error>> {
        let end = self.end.as_mut()?;
        Some(std::mem::replace(end, Ok(())))
    }
}

/// Outside of the lock: the woken task will want it.
fn wake(mut state: MutexGuard<'_, State>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}
