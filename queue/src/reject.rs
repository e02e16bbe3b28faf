//! Why a publish is refused.

use std::time::Duration;

use thiserror::Error;

/// Why items were not taken in. Nothing of them was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Reject {
    /// The queue is closed; only repeats of stored items are still answered.
    #[error("the queue is closed")]
    Closed,
    /// There is no room now; there will be when items are settled.
    #[error("the queue is full: {items} items, {bytes} bytes")]
    Full {
        /// Depth in items.
        items: u64,
        /// Depth in bytes.
        bytes: u64,
    },
    /// There would be no room in an empty queue either.
    #[error("{items} items of {bytes} bytes together are more than the queue may ever hold")]
    NeverFits {
        /// Of the batch, or 1.
        items: u64,
        /// Of the batch, or of the item.
        bytes: u64,
    },
    /// As many dedup keys are remembered as may be.
    #[error("no more dedup keys can be remembered for {retry_after:?}")]
    DedupFull {
        /// When the oldest key's window ends.
        retry_after: Duration,
    },
    /// The sequence lies so far back that it is unknown whether its item was stored.
    #[error("sequence {sequence} is too old to tell whether it was stored")]
    SequenceForgotten {
        /// The first such sequence.
        sequence: u64,
    },
    /// A sequence is 0, does not fit 64 bits, or does not ascend over the batch.
    #[error("sequences must ascend from 1")]
    SequenceInvalid,
}
