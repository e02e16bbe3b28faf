//! What goes into a commit.

use std::fmt;

use bytes::Bytes;

use crate::block::Block;

/// A stream, from 1. Ids are given out by the caller, ascending, and never again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u32);

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One record of a commit.
#[derive(Clone, Debug)]
pub enum Record {
    /// A stream begins. Goes before all that is its own.
    StreamOpened {
        /// Which.
        stream: StreamId,
        /// The caller's name for it, at most 4 KiB.
        name: Bytes,
    },
    /// A stream ends: nothing of it is needed any more.
    StreamClosed {
        /// Which.
        stream: StreamId,
    },
    /// What happened, to be replayed in order.
    Facts {
        /// Of which stream.
        stream: StreamId,
        /// One more than that of the stream's facts before; from 1.
        seq: u64,
        /// The caller's.
        payload: Bytes,
    },
    /// Items of one run.
    Bodies {
        /// Of which stream.
        stream: StreamId,
        /// Not in the stream yet, and not needed before.
        block: Block,
    },
    /// A part of what stands for all facts up to a number. The parts of a checkpoint are appended in order, perhaps in
    /// several commits; it counts once the last one is durable. A later checkpoint may begin only after that.
    Checkpoint {
        /// Of which stream.
        stream: StreamId,
        /// The number of the last fact that it stands for.
        as_of: u64,
        /// From 0.
        part: u32,
        /// How many there are, at least 1.
        parts: u32,
        /// The caller's; the parts are joined in order.
        payload: Bytes,
    },
}

/// Items whose bodies are not needed any more, once the commit that says so is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Released {
    /// Of which stream.
    pub stream: StreamId,
    /// First item.
    pub first: u64,
    /// Items. Each is released once.
    pub count: u32,
}

/// Records that become durable together.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// In the order in which they are replayed.
    pub records: Vec<Record>,
    /// Takes effect with the commit.
    pub released: Vec<Released>,
}

impl Batch {
    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.records.clear();
        self.released.clear();
    }

    /// Nothing to write. What it releases still counts.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}
