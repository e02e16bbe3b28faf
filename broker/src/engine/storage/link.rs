//! What ties a queue to the journal's threads: they report progress and ask for snapshots; the queue looks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use baton_journal::StreamId;
use tokio::sync::{Notify, watch};

use crate::engine::commit::{CommitPosition, CommitProgress};

/// One queue's.
#[derive(Debug)]
pub(in crate::engine) struct Link {
    pub(in crate::engine) stream: StreamId,
    progress: watch::Sender<CommitProgress>,
    snapshot_wanted: AtomicBool,
    /// The actor's, once it runs.
    wake: OnceLock<Arc<Notify>>,
    /// Commits and bytes that were submitted and are not durable yet.
    commits: AtomicU64,
    bytes: AtomicUsize,
}

impl Link {
    pub(super) fn new(stream: StreamId) -> Self {
        let start = CommitProgress::Durable(CommitPosition::default());
        Self {
            stream,
            progress: watch::Sender::new(start),
            snapshot_wanted: AtomicBool::new(false),
            wake: OnceLock::new(),
            commits: AtomicU64::new(0),
            bytes: AtomicUsize::new(0),
        }
    }

    pub(super) fn progress(&self) -> watch::Receiver<CommitProgress> {
        self.progress.subscribe()
    }

    pub(super) fn wakes(&self, wake: Arc<Notify>) {
        // Set once: a link has one actor.
        drop(self.wake.set(wake));
    }

    pub(super) fn submitted(&self, bytes: usize) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A commit was written, or failed.
    pub(super) fn written(&self, bytes: usize) {
        self.commits.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Commits and bytes under way.
    pub(super) fn under_way(&self) -> (u64, usize) {
        (
            self.commits.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
        )
    }

    pub(super) fn durable(&self, position: CommitPosition) {
        self.progress
            .send_replace(CommitProgress::Durable(position));
    }

    pub(super) fn fail(&self) {
        self.progress.send_replace(CommitProgress::Failed);
    }

    pub(super) fn want_snapshot(&self) {
        self.snapshot_wanted.store(true, Ordering::Release);
        if let Some(wake) = self.wake.get() {
            wake.notify_one();
        }
    }

    pub(super) fn takes_snapshot(&self) -> bool {
        self.snapshot_wanted.load(Ordering::Relaxed)
            && self.snapshot_wanted.swap(false, Ordering::Acquire)
    }
}

/// All queues', by stream. Locked for a look-up only.
#[derive(Debug, Default)]
pub(in crate::engine) struct Links(Mutex<BTreeMap<StreamId, Arc<Link>>>);

impl Links {
    pub(super) fn add(&self, link: &Arc<Link>) {
        self.lock().insert(link.stream, Arc::clone(link));
    }

    /// The queue is gone. Queues come and go: what is kept of one must not outlive it.
    pub(super) fn remove(&self, stream: StreamId) {
        self.lock().remove(&stream);
    }

    /// None: the queue is gone.
    pub(super) fn get(&self, stream: StreamId) -> Option<Arc<Link>> {
        self.lock().get(&stream).cloned()
    }

    pub(super) fn fail_all(&self) {
        let links: Vec<_> = self.lock().values().cloned().collect();
        links.iter().for_each(|link| link.fail());
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<StreamId, Arc<Link>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
