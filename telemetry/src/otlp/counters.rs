//! What became of spans, as numbers that anyone may read at any time.
//!
//! Invariant: each span that was offered is in exactly one of `exported`, `dropped`, `rejected` and `failed`, or still in
//! the queue. [`Share`] keeps it: it travels with spans, and what nobody settles counts as failed when it goes, even with
//! a task that was aborted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::clock::WallClock;

/// Counts since the process began.
#[derive(Debug, Default)]
pub struct Counters {
    exported: AtomicU64,
    dropped: AtomicU64,
    rejected: AtomicU64,
    failed: AtomicU64,
    queued_bytes: AtomicU64,
    last_success_unix_ns: AtomicU64,
}

impl Counters {
    /// Spans that the collector took.
    #[must_use]
    pub fn exported(&self) -> u64 {
        self.exported.load(Relaxed)
    }

    /// Spans that found the queue full or closed.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Spans that the collector did not want.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Relaxed)
    }

    /// Spans given up: the collector was out of reach for too long, or the process ended.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// Spans that will never be seen, for whichever reason.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.dropped() + self.rejected() + self.failed()
    }

    /// Memory of the spans that wait or are on their way.
    #[must_use]
    pub fn queued_bytes(&self) -> u64 {
        self.queued_bytes.load(Relaxed)
    }

    /// When the collector last took spans, in nanoseconds since the Unix epoch; 0: never.
    #[must_use]
    pub fn last_success_unix_ns(&self) -> u64 {
        self.last_success_unix_ns.load(Relaxed)
    }

    pub(super) fn drop_spans(&self, spans: u64) {
        self.dropped.fetch_add(spans, Relaxed);
    }
}

/// A part of the queue's bytes, and the duty to count what became of the spans in them.
#[derive(Debug)]
pub(super) struct Share {
    counters: Arc<Counters>,
    bytes: u64,
    /// Not counted yet.
    spans: u64,
}

impl Share {
    /// None: the bytes taken would be more than `bytes_max`; the spans then count as dropped.
    pub(super) fn take(
        counters: &Arc<Counters>,
        spans: u64,
        bytes: u64,
        bytes_max: u64,
    ) -> Option<Self> {
        let more = |taken: u64| {
            let taken = taken.checked_add(bytes)?;
            (taken <= bytes_max).then_some(taken)
        };
        let taken = counters.queued_bytes.fetch_update(Relaxed, Relaxed, more);
        if taken.is_err() {
            counters.drop_spans(spans);
            return None;
        }
        Some(Self {
            counters: Arc::clone(counters),
            bytes,
            spans,
        })
    }

    /// Both are settled as one from now on.
    pub(super) fn join(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
        self.spans += std::mem::take(&mut other.spans);
    }

    /// The queue had no place left.
    pub(super) fn dropped(mut self) {
        self.counters.drop_spans(self.spans);
        self.spans = 0;
    }

    /// The collector answered; `rejected` of the spans it did not want.
    pub(super) fn answered(mut self, rejected: u64) {
        let rejected = rejected.min(self.spans);
        let exported = self.spans - rejected;
        self.counters.rejected.fetch_add(rejected, Relaxed);
        self.counters.exported.fetch_add(exported, Relaxed);
        if exported > 0 {
            let now_ns = WallClock::new().now_ns();
            self.counters.last_success_unix_ns.store(now_ns, Relaxed);
        }
        self.spans = 0;
    }

    pub(super) const fn spans(&self) -> u64 {
        self.spans
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.counters.failed.fetch_add(self.spans, Relaxed);
        self.counters.queued_bytes.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(counters: &Arc<Counters>, spans: u64, bytes: u64) -> Option<Share> {
        Share::take(counters, spans, bytes, 100)
    }

    #[test]
    fn bytes_are_taken_up_to_the_limit_and_come_back() {
        let counters = Arc::new(Counters::default());
        let first = share(&counters, 1, 60).unwrap();
        assert!(share(&counters, 3, 41).is_none());
        assert_eq!((counters.queued_bytes(), counters.dropped()), (60, 3));
        let mut both = share(&counters, 1, 40).unwrap();
        both.join(first);
        assert_eq!((counters.queued_bytes(), both.spans()), (100, 2));
        both.answered(0);
        assert_eq!((counters.queued_bytes(), counters.exported()), (0, 2));
        assert!(share(&counters, 1, u64::MAX).is_none());
    }

    #[test]
    fn each_span_is_counted_once() {
        let counters = Arc::new(Counters::default());
        share(&counters, 1, 10).unwrap().dropped();
        assert_eq!(counters.last_success_unix_ns(), 0);
        share(&counters, 2, 10).unwrap().answered(99);
        assert_eq!(counters.last_success_unix_ns(), 0, "it wanted none of them");
        drop(share(&counters, 4, 10));
        share(&counters, 8, 10).unwrap().answered(3);
        assert!(counters.last_success_unix_ns() > 0);
        assert_eq!((counters.dropped(), counters.rejected()), (1, 5));
        assert_eq!((counters.failed(), counters.exported()), (4, 5));
        assert_eq!((counters.lost(), counters.queued_bytes()), (10, 0));
    }
}
