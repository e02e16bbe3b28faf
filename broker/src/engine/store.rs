//! What a queue actor is started with: where its commits go, the bodies that it has at hand, and who reads the others.

use std::sync::Arc;

use baton_queue::Event;
use tokio::sync::Notify;

use super::bodies::{Bodies, HotBodies, MemoryBodies};
use super::commit::{CommitTarget, MemoryTarget};
use super::storage::{BodyReader, JournalTarget};

/// Where a queue's items are kept.
pub(super) struct Store {
    pub(super) commits: Box<dyn CommitTarget>,
    pub(super) bodies: Bodies,
    /// Reads what is on disk; none: all is in memory.
    pub(super) reader: Option<BodyReader>,
    /// Happened already, and not stored yet.
    pub(super) events: Vec<Event>,
    /// Given to the threads that wake the actor.
    pub(super) wake: Arc<Notify>,
}

impl Store {
    /// In memory only.
    pub(super) fn memory() -> Self {
        Self::behind(Box::new(MemoryTarget::new()))
    }

    /// In memory, with commits that go elsewhere.
    pub(super) fn behind(commits: Box<dyn CommitTarget>) -> Self {
        let bodies = Bodies::Memory(MemoryBodies::default());
        let (events, wake) = (Vec::new(), Arc::new(Notify::new()));
        Self {
            commits,
            bodies,
            reader: None,
            events,
            wake,
        }
    }

    /// In a journal.
    pub(super) fn journal(target: JournalTarget, reader: BodyReader, events: Vec<Event>) -> Self {
        let wake = Arc::new(Notify::new());
        target.wakes(&wake);
        if !events.is_empty() {
            wake.notify_one();
        }
        let bodies = Bodies::Hot(HotBodies::default());
        Self {
            commits: Box::new(target),
            bodies,
            reader: Some(reader),
            events,
            wake,
        }
    }
}
