//! The items' bodies that a queue actor has at hand. Two ways: the memory engine has all of them until they are settled; with
//! a journal it has those that are about to be delivered, and the rest is on disk.
//!
//! Owned by the queue actor. `insert` what was published, `seal` before handing out, `take` what is handed out, `remove`
//! what is done, `end_turn` when the turn's commit takes the new ones along.

mod hot;
mod memory;

use baton_journal::Block;
use baton_queue::{ItemId, Queue};
use bytes::Bytes;

pub(super) use self::hot::HotBodies;
pub(super) use self::memory::MemoryBodies;

/// See the module.
#[derive(Debug)]
pub(super) enum Bodies {
    /// All of them.
    Memory(MemoryBodies),
    /// Those that are next.
    Hot(HotBodies),
}

impl Bodies {
    /// Takes a published body in. The id must be new, and larger than those before.
    pub(super) fn insert(&mut self, id: u64, body: &Bytes) {
        match self {
            Self::Memory(bodies) => bodies.insert(id, body),
            Self::Hot(bodies) => bodies.insert(id, body),
        }
    }

    /// Gets what was published in this turn ready to be handed out.
    pub(super) fn seal(&mut self, queue: &Queue) {
        if let Self::Hot(bodies) = self {
            bodies.seal(queue);
        }
    }

    /// The item up to which ready items can be handed out now, in their order; None: all of them.
    pub(super) fn ready_up_to(&self, queue: &Queue) -> Option<ItemId> {
        match self {
            Self::Memory(_) => None,
            Self::Hot(bodies) => Some(bodies.ready_up_to(queue)),
        }
    }

    /// The bodies of `count` items from `first` on, which are handed out.
    ///
    /// # Panics
    /// Where one is not at hand: see [`Self::ready_up_to`].
    pub(super) fn take(&mut self, first: u64, count: u32, mut each: impl FnMut(u64, Bytes)) {
        match self {
            Self::Memory(bodies) => (first..).take(count as usize).for_each(|id| {
                each(
                    id,
                    bodies
                        .get(id)
                        .expect("an item that is not settled has a body"),
                );
            }),
            Self::Hot(bodies) => bodies.take(first, count, each),
        }
    }

    /// The body of an item, if it is at hand.
    pub(super) fn get(&self, id: u64) -> Option<Bytes> {
        match self {
            Self::Memory(bodies) => bodies.get(id),
            Self::Hot(bodies) => bodies.get(id),
        }
    }

    /// Forgets the `count` bodies from `first` on; those that are gone already are skipped.
    pub(super) fn remove(&mut self, first: u64, count: u32) {
        match self {
            Self::Memory(bodies) => bodies.remove(first, u64::from(count)),
            Self::Hot(bodies) => bodies.remove(first, count),
        }
    }

    /// An item failed: it is going to stay for a while.
    pub(super) fn keep_apart(&mut self, id: u64) {
        if let Self::Memory(bodies) = self {
            bodies.keep_apart(id);
        }
    }

    /// The blocks to be stored with this turn's commit. Of their items those stay at hand that are delivered next, as far as
    /// `room` bytes allow; room that others leave is no reason to keep what is far from its turn.
    pub(super) fn end_turn(&mut self, room: usize) -> Vec<Block> {
        match self {
            Self::Memory(_) => Vec::new(),
            Self::Hot(bodies) => bodies.end_turn(room),
        }
    }

    /// Bytes of memory that all of this takes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Memory(bodies) => bodies.bytes(),
            Self::Hot(bodies) => bodies.bytes(),
        }
    }
}
