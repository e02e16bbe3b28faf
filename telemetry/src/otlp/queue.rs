//! The queue between whoever ends spans and the one task that exports them.
//!
//! Invariants: sending never waits, and takes no lock that is held while anyone does. What waits is bounded in bytes; a
//! message holds its share of them until its spans have arrived somewhere or were given up, so that memory stays bounded
//! while a request is on its way, too.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::counters::{Counters, Share};
use super::spans::Spans;

/// Messages that wait: so many of the smallest, one short span each, fill the default of 16 MiB.
const MESSAGES_MAX: usize = 1 << 16;

/// Bytes of one message: a request is made of whole messages, and collectors refuse requests of 4 MiB.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// What a message takes besides its encoded spans.
const OVERHEAD_BYTES: usize = size_of::<Queued>();

/// Spans with their part of the budget.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) spans: Spans,
    pub(super) share: Share,
}

/// Where spans are handed over; cheap to clone.
#[derive(Clone, Debug)]
pub struct ExportHandle {
    queue: mpsc::Sender<Queued>,
    counters: Arc<Counters>,
    bytes_max: u64,
}

/// A queue of at most `bytes_max` bytes.
pub(super) fn bounded(bytes_max: u64) -> (ExportHandle, mpsc::Receiver<Queued>) {
    let (queue, receiver) = mpsc::channel(MESSAGES_MAX);
    let handle = ExportHandle {
        queue,
        counters: Arc::default(),
        bytes_max,
    };
    (handle, receiver)
}

impl ExportHandle {
    /// Hands spans over without waiting. False: they were dropped and counted, because the queue is full, the exporter has
    /// ended, or they are more than 1 MiB, which is some thousand spans.
    ///
    /// Memory counts as it was allocated: `encoded` should not have much more capacity than content.
    #[must_use = "what is false was lost, and counted already"]
    pub fn try_send(&self, spans: Spans) -> bool {
        let count = u64::from(spans.count);
        if spans.encoded.len() > MESSAGE_BYTES_MAX {
            self.counters.drop_spans(count);
            return false;
        }
        let bytes = (spans.encoded.capacity() + OVERHEAD_BYTES) as u64;
        let Some(share) = Share::take(&self.counters, count, bytes, self.bytes_max) else {
            return false;
        };
        match self.queue.try_send(Queued { spans, share }) {
            Ok(()) => true,
            Err(TrySendError::Full(queued) | TrySendError::Closed(queued)) => {
                queued.share.dropped();
                false
            }
        }
    }

    /// Counts spans as dropped that were not even written.
    pub fn lost(&self, spans: u64) {
        self.counters.drop_spans(spans);
    }

    /// What became of all spans so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(super) fn shared_counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(bytes: usize) -> Spans {
        Spans {
            service: None,
            encoded: vec![0; bytes],
            count: 2,
        }
    }

    #[test]
    fn what_does_not_fit_is_dropped_until_something_leaves() {
        let (handle, mut receiver) = bounded(1000 + OVERHEAD_BYTES as u64);
        assert!(handle.try_send(spans(1000)));
        assert!(!handle.try_send(spans(1)));
        assert_eq!(handle.counters().dropped(), 2);
        let queued = receiver.try_recv().unwrap();
        assert!(!handle.try_send(spans(1)), "it is still on its way");
        queued.share.answered(0);
        assert!(handle.try_send(spans(1)));
    }

    #[test]
    fn allocated_memory_counts() {
        let (handle, _receiver) = bounded(1000);
        let mut roomy = spans(1);
        roomy.encoded.reserve(2000);
        assert!(!handle.try_send(roomy));
    }

    #[test]
    fn messages_are_counted_too() {
        let (handle, _receiver) = bounded(u64::MAX);
        let accepted = (0..MESSAGES_MAX + 10)
            .filter(|_| handle.try_send(spans(0)))
            .count();
        assert_eq!(accepted, MESSAGES_MAX);
        assert_eq!(handle.counters().dropped(), 20);
    }

    #[test]
    fn no_collector_would_take_a_huge_message() {
        let (handle, _receiver) = bounded(u64::MAX);
        assert!(handle.try_send(spans(MESSAGE_BYTES_MAX)));
        assert!(!handle.try_send(spans(MESSAGE_BYTES_MAX + 1)));
    }

    #[test]
    fn an_exporter_that_has_ended_takes_nothing_and_what_waited_failed() {
        let (handle, receiver) = bounded(1000);
        assert!(handle.try_send(spans(1)));
        drop(receiver);
        assert!(!handle.try_send(spans(1)));
        assert_eq!(
            (handle.counters().failed(), handle.counters().dropped()),
            (2, 2)
        );
        assert_eq!(handle.counters().queued_bytes(), 0);
    }
}
