//! The commit seam: where a queue's events go before anyone is told of them.
//!
//! At the end of each turn a queue actor hands its events to a [`CommitTarget`] as one [`Commit`]. The target reports how
//! far it has made them durable through a [`CommitProgress`]; what the actor owes to clients waits in its
//! [`Pending`](super::pending::Pending) ledger until then. The memory target is durable at once; a journal reports from
//! its own thread, and a failed one fails everything that still waits.

use baton_journal::Block;
use baton_proto::v1::Durability;
use baton_queue::Event;
use bytes::Bytes;
use tokio::sync::watch;

/// Position of a commit within its queue, from 1. 0: before the first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct CommitPosition(pub(super) u64);

/// What one turn of a queue changed.
#[derive(Debug, Default)]
pub(super) struct Commit {
    /// Ascending by 1.
    pub(super) position: CommitPosition,
    /// Already applied to the queue's memory, in this order.
    pub(super) events: Vec<Event>,
    /// The bodies of new items.
    pub(super) blocks: Vec<Block>,
    /// Items that are done: the first and how many.
    pub(super) released: Vec<(u64, u32)>,
    /// The queue as it is after these events, where the target asked for it.
    pub(super) snapshot: Option<Bytes>,
    /// The queue was deleted; nothing comes after this.
    pub(super) last: bool,
}

impl Commit {
    /// Nothing changed.
    pub(super) fn is_empty(&self) -> bool {
        let Self {
            position: _,
            events,
            blocks,
            released,
            snapshot,
            last,
        } = self;
        let silent = events.is_empty() && blocks.is_empty() && released.is_empty();
        silent && snapshot.is_none() && !last
    }
}

/// How far a target has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CommitProgress {
    /// Everything up to here is durable.
    Durable(CommitPosition),
    /// Nothing after what was reported durable ever will be: the outcome of the rest is unknown.
    Failed,
}

/// Takes commits in order and reports their durability.
pub(super) trait CommitTarget: Send {
    /// Takes the next commit and gives its event buffer back when it is done with it at once.
    fn submit(&mut self, commit: Commit) -> Option<Vec<Event>>;
    /// Where the target reports.
    fn progress(&self) -> watch::Receiver<CommitProgress>;
    /// What durable means here.
    fn durability(&self) -> Durability;
    /// Whether it has enough to do: a turn now would only make what is under way longer. Its progress ends that.
    fn is_busy(&self) -> bool {
        false
    }
    /// Whether new items can be stored now.
    fn has_room(&self) -> bool {
        true
    }
    /// Whether the next commit should bring a snapshot. Asked once for each.
    fn wants_snapshot(&mut self) -> bool {
        false
    }
}

/// Keeps nothing: what the process has in memory is all there is.
#[derive(Debug)]
pub(super) struct MemoryTarget {
    progress: watch::Sender<CommitProgress>,
}

impl MemoryTarget {
    pub(super) fn new() -> Self {
        let start = CommitProgress::Durable(CommitPosition::default());
        Self {
            progress: watch::Sender::new(start),
        }
    }
}

impl CommitTarget for MemoryTarget {
    fn submit(&mut self, commit: Commit) -> Option<Vec<Event>> {
        let durable = CommitProgress::Durable(commit.position);
        // Without waking anyone: the actor looks right after it submits.
        self.progress.send_if_modified(|progress| {
            *progress = durable;
            false
        });
        Some(commit.events)
    }

    fn progress(&self) -> watch::Receiver<CommitProgress> {
        self.progress.subscribe()
    }

    fn durability(&self) -> Durability {
        Durability::Memory
    }
}
