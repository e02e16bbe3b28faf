//! Which ended items get a trace, and how many.
//!
//! Whoever samples at the head (the producer's flag) is obeyed; of the others those are taken that failed, were retried, took
//! longer than a threshold, are among the slowest of a minute, or are one in so many. Token buckets bound all of them
//! together, over all queues: what they refuse is counted. Called by the ledger for each item that ends.

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

    /// Something went wrong, or took too long.
    #[must_use]
    pub const fn is_trouble(self) -> bool {
        match self {
            Self::Error | Self::Retry | Self::DeadLetter | Self::Slow => true,
            Self::Head | Self::TopK | Self::Baseline => false,
        }
    }

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
    /// Traces in a second, over all queues; half a second's worth may come at once. 0: none.
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

/// How many traces there may be, in two halves: one for what went wrong, and one for what is asked for or comes by itself. So
/// a flag on everything does not cost the trace of a failure, and a flood of failures not those that were asked for.
/// What one half leaves the other may use, as it comes.
#[derive(Debug)]
pub struct TraceLimit {
    troubled: Bucket,
    others: Bucket,
    kept: [AtomicU64; Kept::ALL.len()],
    refused: [AtomicU64; Kept::ALL.len()],
}

impl TraceLimit {
    /// Full.
    #[must_use]
    pub fn new(traces_per_second: u32) -> Self {
        Self {
            troubled: Bucket::half_of(traces_per_second),
            others: Bucket::half_of(traces_per_second),
            kept: Default::default(),
            refused: Default::default(),
        }
    }

    /// Takes a token, or counts a refusal.
    pub fn take(&self, reason: Kept, now: u64) -> bool {
        let (own, other) = if reason.is_trouble() {
            (&self.troubled, &self.others)
        } else {
            (&self.others, &self.troubled)
        };
        let taken = own.take(now, BURST_NS) || other.take(now, 0);
        let counts = if taken { &self.kept } else { &self.refused };
        counts[reason as usize].fetch_add(1, Ordering::Relaxed);
        taken
    }

    /// Traces that it let through for a reason.
    #[must_use]
    pub fn kept(&self, reason: Kept) -> u64 {
        self.kept[reason as usize].load(Ordering::Relaxed)
    }

    /// Traces that it refused for a reason.
    #[must_use]
    pub fn refused(&self, reason: Kept) -> u64 {
        self.refused[reason as usize].load(Ordering::Relaxed)
    }
}

/// What a bucket holds.
const BURST_NS: u64 = 1_000_000_000;

/// A token bucket without a lock: it keeps the time at which it would be full (GCRA, the generic cell rate algorithm).
#[derive(Debug)]
struct Bucket {
    /// Nanoseconds a trace.
    interval: u64,
    full_at: AtomicU64,
}

impl Bucket {
    const fn half_of(traces_per_second: u32) -> Self {
        let interval = match traces_per_second {
            0 => u64::MAX,
            rate => 2 * BURST_NS / rate as u64,
        };
        Self {
            interval,
            full_at: AtomicU64::new(0),
        }
    }

    /// Takes a token, if that leaves no more than `lack` to fill up; one that is full has always one to give.
    fn take(&self, now: u64, lack: u64) -> bool {
        if self.interval == u64::MAX {
            return false;
        }
        let latest = now.saturating_add(lack.max(self.interval));
        let most = now.saturating_add(BURST_NS.max(self.interval));
        let next = |full_at: u64| {
            // Further ahead than it gets by itself: the clock was set back.
            let set_back = full_at > most.saturating_add(BURST_NS);
            let full_at = if set_back { now } else { full_at.max(now) };
            let next = full_at.saturating_add(self.interval);
            (next <= latest).then_some(next)
        };
        self.full_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn taken(limit: &TraceLimit, reason: Kept, now: u64, tries: usize) -> usize {
        (0..tries).filter(|_| limit.take(reason, now)).count()
    }

    /// In a second that begins with a full bucket, at a thousand tries; by the reasons that are tried each time.
    fn in_a_second<const N: usize>(
        limit: &TraceLimit,
        from: u64,
        reasons: [Kept; N],
    ) -> [usize; N] {
        let mut counts = [0; N];
        for step in 0..1000_u64 {
            let now = from + step * SECOND / 1000;
            for (count, reason) in counts.iter_mut().zip(reasons) {
                *count += usize::from(limit.take(reason, now));
            }
        }
        counts
    }

    #[test]
    fn a_second_holds_as_many_traces_as_it_should() {
        let limit = TraceLimit::new(100);
        for seconds in [50, 99] {
            let [count] = in_a_second(&limit, seconds * SECOND, [Kept::Head]);
            // Half of it was saved up, and no pause saves up more.
            assert!((145..=152).contains(&count), "{count}");
            let [count] = in_a_second(&limit, (seconds + 1) * SECOND, [Kept::Head]);
            assert!((95..=101).contains(&count), "{count}");
        }
        let (kept, refused) = (limit.kept(Kept::Head), limit.refused(Kept::Head));
        assert_eq!(kept + refused, 4000);
        assert!((480..=506).contains(&kept), "{kept}");
    }

    #[test]
    fn a_flood_of_one_kind_leaves_the_other_its_half() {
        let limit = TraceLimit::new(100);
        for second in 0..10 {
            in_a_second(&limit, (50 + second) * SECOND, [Kept::Head]);
        }
        // All at once, after ten seconds of flood.
        assert!(taken(&limit, Kept::DeadLetter, 60 * SECOND, 1000) >= 49);
        for reason in [Kept::Error, Kept::DeadLetter, Kept::Retry, Kept::Slow] {
            for flood in [Kept::Head, Kept::TopK, Kept::Baseline] {
                let limit = TraceLimit::new(100);
                in_a_second(&limit, 60 * SECOND, [flood, reason]);
                let counts = in_a_second(&limit, 61 * SECOND, [flood, reason]);
                assert!(
                    counts.iter().all(|count| (47..=52).contains(count)),
                    "{counts:?}"
                );
            }
        }
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_end_all_traces() {
        let limit = TraceLimit::new(100);
        assert!(limit.take(Kept::Head, u64::MAX));
        assert!(taken(&limit, Kept::Head, 50 * SECOND, 1000) >= 50);
        assert!(
            !limit.take(Kept::Head, 50 * SECOND - SECOND / 10),
            "a little is nothing"
        );
    }

    #[test]
    fn one_a_second_and_none_are_possible() {
        let (one, none) = (TraceLimit::new(1), TraceLimit::new(0));
        let count = (0..100_u64).map(|second| taken(&one, Kept::Slow, second * SECOND, 5));
        // Each half has one to begin with.
        assert_eq!(count.sum::<usize>(), 100);
        assert!(!none.take(Kept::Error, SECOND));
        assert_eq!(none.refused(Kept::Error), 1);
    }
}
