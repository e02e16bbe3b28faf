//! Which ended items get a trace, and how many.
//!
//! Whoever samples at the head (the producer's flag) is obeyed; of the others those are taken that failed, were retried, took
//! longer than a threshold, are among the slowest of a minute, or are one in so many. A token bucket bounds all of them
//! together, over all queues: what it refuses is counted. Called by the ledger for each item that ends.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Why an item got a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kept {
    /// Its producer asked for it.
    Head,
    /// It expired, or an attempt of it failed and it never succeeded.
    Error,
    /// It was tried more than once.
    Retry,
    /// It was given up.
    DeadLetter,
    /// It took longer than the threshold.
    Slow,
    /// Among the slowest of a minute.
    TopK,
    /// One in so many.
    Baseline,
}

impl Kept {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Head,
        Self::Error,
        Self::Retry,
        Self::DeadLetter,
        Self::Slow,
        Self::TopK,
        Self::Baseline,
    ];

    /// As it is called everywhere.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Error => "error",
            Self::Retry => "retry",
            Self::DeadLetter => "dead_letter",
            Self::Slow => "slow",
            Self::TopK => "top_k",
            Self::Baseline => "baseline",
        }
    }
}

/// How items are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SamplingSettings {
    /// Traces in a second, over all queues; a second's worth may come at once. 0: none.
    pub traces_per_second: u32,
    /// Items that take longer are taken.
    pub slow: Duration,
    /// One item in so many is taken. 0: none.
    pub baseline: u32,
}

impl Default for SamplingSettings {
    /// 100 traces in a second, items over 10 s, one in 10 000.
    fn default() -> Self {
        Self {
            traces_per_second: 100,
            slow: Duration::from_secs(10),
            baseline: 10_000,
        }
    }
}

/// A token bucket without a lock: it keeps the time at which it would be full (GCRA, the generic cell rate algorithm).
#[derive(Debug)]
pub struct TraceLimit {
    /// Nanoseconds a trace.
    interval: u64,
    full_at: AtomicU64,
    granted: AtomicU64,
    refused: AtomicU64,
}

impl TraceLimit {
    /// Full.
    #[must_use]
    pub const fn new(traces_per_second: u32) -> Self {
        let interval = match traces_per_second {
            0 => u64::MAX,
            rate => 1_000_000_000 / rate as u64,
        };
        Self {
            interval,
            full_at: AtomicU64::new(0),
            granted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Takes a token, or counts a refusal.
    pub fn take(&self, now: u64) -> bool {
        const BURST_NS: u64 = 1_000_000_000;
        let latest = now.saturating_add(BURST_NS.max(self.interval));
        let next = |full_at: u64| {
            // Further ahead than it gets by itself: the clock was set back.
            let set_back = full_at > latest.saturating_add(BURST_NS);
            let full_at = if set_back { now } else { full_at.max(now) };
            let next = full_at.saturating_add(self.interval);
            (next <= latest).then_some(next)
        };
        let taken = self.interval != u64::MAX
            && self
                .full_at
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
                .is_ok();
        let count = if taken { &self.granted } else { &self.refused };
        count.fetch_add(1, Ordering::Relaxed);
        taken
    }

    /// Traces that it let through.
    #[must_use]
    pub fn granted(&self) -> u64 {
        self.granted.load(Ordering::Relaxed)
    }

    /// Traces that it refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn taken(limit: &TraceLimit, now: u64, tries: usize) -> usize {
        (0..tries).filter(|_| limit.take(now)).count()
    }

    #[test]
    fn a_second_holds_as_many_traces_as_it_should() {
        let limit = TraceLimit::new(100);
        assert_eq!(taken(&limit, 50 * SECOND, 1000), 100);
        assert_eq!(taken(&limit, 50 * SECOND + SECOND / 2, 1000), 50);
        assert_eq!(
            taken(&limit, 99 * SECOND, 1000),
            100,
            "a long pause saves up no more than a second"
        );
        assert_eq!(limit.refused(), 900 + 950 + 900);
        assert_eq!(limit.granted(), 100 + 50 + 100);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_end_all_traces() {
        let limit = TraceLimit::new(100);
        assert!(limit.take(u64::MAX));
        assert_eq!(taken(&limit, 50 * SECOND, 1000), 100);
        assert!(
            !limit.take(50 * SECOND - SECOND / 10),
            "a little is nothing"
        );
    }

    #[test]
    fn one_a_second_and_none_are_possible() {
        let (one, none) = (TraceLimit::new(1), TraceLimit::new(0));
        assert_eq!(
            [SECOND, SECOND, 2 * SECOND].map(|now| one.take(now)),
            [true, false, true]
        );
        assert!(!none.take(SECOND));
    }
}
