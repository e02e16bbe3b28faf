//! What all queues of one engine share: its clock, its epoch, its memory, and whether it is draining.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use baton_queue::Timestamp;
use baton_telemetry::clock::{WallClock, monotonic_ns};
use tokio_util::sync::CancellationToken;

use super::bookkeeping::Accounting;

/// See the module.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) chance: Chance,
    pub(super) stored_bytes: StoredBytes,
    /// None: nobody wants to know where time goes.
    pub(super) accounting: Option<Accounting>,
    draining: AtomicBool,
    failed: CancellationToken,
}

impl Shared {
    /// `failed` is cancelled when nothing more can be stored.
    pub(super) fn new(
        stored_bytes_max: usize,
        accounting: Option<Accounting>,
        failed: CancellationToken,
    ) -> Self {
        Self {
            clock: Clock::new(),
            chance: Chance::System,
            stored_bytes: StoredBytes {
                held: AtomicUsize::new(0),
                max: stored_bytes_max,
            },
            accounting,
            draining: AtomicBool::new(false),
            failed,
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.is_cancelled()
    }

    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}

/// The broker's clock: wall time that never goes back.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Source);

#[derive(Debug, Clone, Copy)]
enum Source {
    Machine(WallClock),
    /// Nanoseconds since the epoch, moved on by a simulation.
    #[cfg(test)]
    Simulated(&'static std::sync::atomic::AtomicU64),
}

impl Clock {
    fn new() -> Self {
        Self(Source::Machine(WallClock::new()))
    }

    #[cfg(test)]
    pub(super) fn simulated(ns: &'static std::sync::atomic::AtomicU64) -> Self {
        Self(Source::Simulated(ns))
    }

    /// This one, or one that begins at `floor` where this one is behind: a machine's clock may have been set back while the
    /// broker was down.
    pub(super) fn not_before(self, floor: Timestamp) -> Self {
        if self.now() >= floor {
            return self;
        }
        Self(Source::Machine(WallClock::anchored(
            floor.0,
            monotonic_ns(),
        )))
    }

    /// Now, in nanoseconds since the Unix epoch.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match self.0 {
            Source::Machine(clock) => Timestamp(clock.now_ns()),
            #[cfg(test)]
            Source::Simulated(ns) => Timestamp(ns.load(Ordering::Relaxed)),
        }
    }

    /// The time of a stamp of CLOCK_MONOTONIC.
    #[must_use]
    pub fn at(&self, monotonic_ns: u64) -> Timestamp {
        Timestamp(monotonic_ns.wrapping_add(self.wall_shift_ns()))
    }

    /// Added to a stamp of CLOCK_MONOTONIC, modulo 2^64, it gives nanoseconds since the Unix epoch.
    #[must_use]
    pub fn wall_shift_ns(&self) -> u64 {
        match self.0 {
            Source::Machine(clock) => clock.shift_ns(),
            #[cfg(test)]
            Source::Simulated(_) => 0,
        }
    }

    /// Now, in nanoseconds of CLOCK_MONOTONIC.
    #[must_use]
    pub fn monotonic_ns(&self) -> u64 {
        match self.0 {
            Source::Machine(_) => monotonic_ns(),
            #[cfg(test)]
            Source::Simulated(ns) => ns.load(Ordering::Relaxed),
        }
    }
}

/// Where back-offs get their jitter from.
#[derive(Debug)]
pub(super) enum Chance {
    /// The system.
    System,
    /// The same numbers each time.
    #[cfg(test)]
    Seeded(std::sync::atomic::AtomicU64),
}

impl Chance {
    pub(super) fn next(&self) -> u64 {
        match self {
            Self::System => rand::random(),
            #[cfg(test)]
            Self::Seeded(state) => {
                // Knuth's constants; the queue mixes it further.
                let next = |state: u64| {
                    state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1)
                };
                state
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |state| {
                        Some(next(state))
                    })
                    .unwrap_or_default()
            }
        }
    }
}

/// Bytes of bodies in memory, over all queues.
#[derive(Debug)]
pub(super) struct StoredBytes {
    held: AtomicUsize,
    max: usize,
}

impl StoredBytes {
    /// How many more there may be. Queues look before each batch, so the limit is passed by a batch each at most.
    pub(super) fn room(&self) -> usize {
        self.max.saturating_sub(self.held.load(Ordering::Relaxed))
    }

    /// A queue holds `after` instead of `before`.
    pub(super) fn change(&self, before: usize, after: usize) {
        if after >= before {
            self.held.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.held.fetch_sub(before - after, Ordering::Relaxed);
        }
    }
}
