//! Where commits wait for the writer thread.
//!
//! Bounded by what a queue may have under way, and by a limit over all queues past which a queue waits until nothing of its
//! own is under way. Locked for a push or a take; the writer sleeps on it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use baton_journal::{Forward, Record, Released};

use super::link::Link;
use crate::engine::commit::CommitPosition;

/// A queue's turn as it goes into the journal.
#[derive(Debug)]
pub(in crate::engine) struct Submission {
    pub(super) link: Arc<Link>,
    pub(super) position: CommitPosition,
    pub(super) records: Vec<Record>,
    pub(super) released: Vec<Released>,
    /// Of the payloads.
    pub(super) bytes: usize,
}

/// What the writer does next.
#[derive(Debug)]
pub(super) enum Mail {
    /// At least one.
    Commit(Vec<Submission>),
    /// Copies of what lives in nearly dead segments.
    Forward(Forward),
    /// Nothing came in time.
    Nothing,
    /// Closed, and empty.
    End,
}

/// See the module.
#[derive(Debug)]
pub(in crate::engine) struct Mailbox {
    state: Mutex<State>,
    /// Something came, or it was closed.
    came: Condvar,
    /// The keeper did something.
    kept: Condvar,
    bytes: AtomicUsize,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    submissions: Vec<Submission>,
    forward: Option<Forward>,
    waiting: bool,
    closed: bool,
    failed: bool,
}

impl Mailbox {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            state: Mutex::default(),
            came: Condvar::new(),
            kept: Condvar::new(),
            bytes: AtomicUsize::new(0),
            bytes_max,
        }
    }

    /// False: the journal failed or was closed, and nothing will come of it.
    pub(super) fn submit(&self, submissions: impl IntoIterator<Item = Submission>) -> bool {
        let mut state = self.lock();
        if state.failed || state.closed {
            return false;
        }
        for submission in submissions {
            self.bytes.fetch_add(submission.bytes, Ordering::Relaxed);
            submission.link.submitted(submission.bytes);
            state.submissions.push(submission);
        }
        if state.waiting {
            self.came.notify_one();
        }
        true
    }

    /// Leaves copies for the writer, in place of those that it did not take yet.
    pub(super) fn forward(&self, forward: Forward) {
        let mut state = self.lock();
        state.forward = Some(forward);
        self.came.notify_one();
    }

    /// More is under way than should be.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) >= self.bytes_max
    }

    /// What to write next: as many submissions as there are, up to `bytes`. Waits up to `wait`.
    pub(super) fn take(&self, bytes: usize, wait: Duration) -> Mail {
        let mut state = self.lock();
        if state.submissions.is_empty()
            && state.forward.is_none()
            && !state.closed
            && !wait.is_zero()
        {
            state.waiting = true;
            let woken = self.came.wait_timeout(state, wait);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
            state.waiting = false;
        }
        if !state.submissions.is_empty() {
            return Mail::Commit(take_up_to(&mut state.submissions, bytes));
        }
        match state.forward.take() {
            Some(forward) => Mail::Forward(forward),
            None if state.closed => Mail::End,
            None => Mail::Nothing,
        }
    }

    /// The writer is done with a submission.
    pub(super) fn written(&self, submission: &Submission) {
        self.bytes.fetch_sub(submission.bytes, Ordering::Relaxed);
        submission.link.written(submission.bytes);
    }

    /// Takes nothing more; what is in it is written.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.came.notify_all();
        self.kept.notify_all();
    }

    /// Takes nothing more; what was in it is returned.
    pub(super) fn fail(&self) -> Vec<Submission> {
        let mut state = self.lock();
        state.failed = true;
        std::mem::take(&mut state.submissions)
    }

    /// The keeper did something that the writer may wait for.
    pub(super) fn tell_kept(&self) {
        drop(self.lock());
        self.kept.notify_all();
    }

    /// Waits until the keeper did something, or for `wait`.
    pub(super) fn wait_kept(&self, wait: Duration) {
        let state = self.lock();
        drop(
            self.kept
                .wait_timeout(state, wait)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take_up_to(submissions: &mut Vec<Submission>, bytes: usize) -> Vec<Submission> {
    let mut sum = 0;
    let more = submissions.iter().position(|submission| {
        sum += submission.bytes;
        sum >= bytes
    });
    match more {
        Some(last) if last + 1 < submissions.len() => {
            let rest = submissions.split_off(last + 1);
            std::mem::replace(submissions, rest)
        }
        _ => std::mem::take(submissions),
    }
}
