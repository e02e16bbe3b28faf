//! The memory that all ledgers of a broker share, and what its end costs.
//!
//! Detail gives way first, in this order: the finished items that are remembered, contexts of items that nobody samples
//! and that come from then on, the stamps of earlier attempts, when items came, kept items, contexts of items under way.
//! The histograms come last, in two steps: old slots of theirs get coarser, which leaves every count and the latest
//! minute as they were; and if all of that is not enough, attempts under way are no longer known, which then count in
//! no histogram but those of their wait. That this is the very last step, after the coarser slots, is on purpose: a p99
//! that is right to 4 % instead of 2 % still tells the truth, one that the attempts of a flood are missing from does not.
//!
//! A ledger looks after each commit; one that is over its share while all are over the budget shrinks to it. What was dropped
//! is counted.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What was dropped for want of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// A finished item.
    Finished,
    /// The trace context of an item.
    Context,
    /// The stamps of an item's earlier attempt.
    Attempt,
    /// When an item came.
    Arrival,
    /// An item that was kept for being slow or failed.
    Kept,
    /// The slots of a stage's histogram got coarser.
    Slot,
    /// An attempt under way.
    Lease,
}

impl Dropped {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Finished,
        Self::Context,
        Self::Attempt,
        Self::Arrival,
        Self::Kept,
        Self::Slot,
        Self::Lease,
    ];

    /// As it is called everywhere.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Context => "context",
            Self::Finished => "finished",
            Self::Attempt => "attempt",
            Self::Arrival => "arrival",
            Self::Kept => "kept",
            Self::Slot => "slot",
            Self::Lease => "lease",
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
    /// Ledgers that hold any memory.
    holders: AtomicUsize,
    dropped: [AtomicU64; Dropped::ALL.len()],
}

impl Budget {
    /// Bytes for all ledgers together.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            used: AtomicUsize::new(0),
            holders: AtomicUsize::new(0),
            dropped: Default::default(),
        }
    }

    /// Bytes that there may be.
    #[must_use]
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes that there are.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// How many of a kind were dropped.
    #[must_use]
    pub fn dropped(&self, what: Dropped) -> u64 {
        self.dropped[what as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn drop_some(&self, what: Dropped, count: u64) {
        if count > 0 {
            self.dropped[what as usize].fetch_add(count, Ordering::Relaxed);
        }
    }

    /// A ledger holds `after` bytes instead of `before`.
    pub(crate) fn change(&self, before: usize, after: usize) {
        match (before, after) {
            (0, 1..) => drop(self.holders.fetch_add(1, Ordering::Relaxed)),
            (1.., 0) => drop(self.holders.fetch_sub(1, Ordering::Relaxed)),
            _ => {}
        }
        if after >= before {
            self.used.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.used.fetch_sub(before - after, Ordering::Relaxed);
        }
    }

    /// Past three quarters finished items give way to others.
    pub(crate) fn is_filling(&self) -> bool {
        self.used() > self.limit / 4 * 3
    }

    /// Past seven eighths what nobody asked for is not taken in any more.
    pub(crate) fn is_tight(&self) -> bool {
        self.used() > self.limit / 8 * 7
    }

    pub(crate) fn is_over(&self) -> bool {
        self.used() > self.limit
    }

    /// What a ledger may hold when all are over the budget.
    pub(crate) fn share(&self) -> usize {
        self.limit / self.holders.load(Ordering::Relaxed).max(1)
    }

    /// What a ledger may hold with its finished items when the budget fills up.
    pub(crate) fn share_filling(&self) -> usize {
        self.share() / 4 * 3
    }
}
