//! Counters of the merged queues, which must never go back: a scraper takes a smaller number for a restart from 0, and all of it
//! for new.
//!
//! A queue that is deleted, or gets a name of its own, takes its counts out of the sum. What goes missing so is added again from
//! then on. Where others grew in the same moment, that growth is not seen: better too little than a rate that never was.

use baton_ledger::waits::Stall;
use baton_telemetry::stage::Stage;

use super::distribution::Distribution;
use crate::engine::Observed;

/// What becomes of items and publishes, in the order of `Totals::events`.
pub(super) const OUTCOMES: [&str; 10] = [
    "published",
    "duplicate",
    "delivered",
    "acked",
    "failed",
    "dead",
    "expired",
    "cancelled",
    "redriven",
    "discarded",
];

const STAGES: usize = Stage::ALL.len();
const STALLS: usize = Stall::ALL.len();

/// What a queue has counted so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// By [`OUTCOMES`].
    pub(super) events: [u64; OUTCOMES.len()],
    /// By [`Stall::ALL`], nanoseconds.
    pub(super) stalls_ns: [u64; STALLS],
    /// By [`Stage::ALL`].
    pub(super) stages: [Distribution; STAGES],
}

impl Totals {
    pub(super) fn of(observed: &Observed) -> Self {
        let stats = &observed.stats;
        let mut stages: [Distribution; STAGES] = Default::default();
        for observed in &observed.stages {
            stages[observed.stage.index()] = Distribution::of(&observed.histogram);
        }
        Self {
            events: [
                stats.published_total,
                stats.duplicates_total,
                stats.delivered_total,
                stats.acked_total,
                stats.failed_attempts_total,
                stats.dead_total,
                stats.expired_total,
                stats.cancelled_total,
                stats.redriven_total,
                stats.discarded_total,
            ],
            stalls_ns: Stall::ALL.map(|stall| observed.stalls.of(stall)),
            stages,
        }
    }

    fn plus(&self, other: &Self) -> Self {
        Self {
            events: each(&self.events, &other.events, u64::saturating_add),
            stalls_ns: each(&self.stalls_ns, &other.stalls_ns, u64::saturating_add),
            stages: std::array::from_fn(|place| self.stages[place].plus(&other.stages[place])),
        }
    }

    /// What is missing in `later`, number by number.
    fn missing_in(&self, later: &Self) -> Self {
        let stages = |place: usize| self.stages[place].missing_in(&later.stages[place]);
        Self {
            events: each(&self.events, &later.events, u64::saturating_sub),
            stalls_ns: each(&self.stalls_ns, &later.stalls_ns, u64::saturating_sub),
            stages: std::array::from_fn(stages),
        }
    }
}

fn each<const N: usize>(a: &[u64; N], b: &[u64; N], of: fn(u64, u64) -> u64) -> [u64; N] {
    std::array::from_fn(|place| of(a[place], b[place]))
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct NeverBack {
    before: Totals,
    /// Went missing.
    lost: Totals,
}

impl NeverBack {
    /// What to show where the sum is `now`.
    pub(super) fn show(&mut self, now: Totals) -> Totals {
        let missing = self.before.missing_in(&now);
        self.lost = self.lost.plus(&missing);
        self.before = now;
        self.lost.plus(&self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_telemetry::histogram::Histogram;

    fn totals(acked: u64, values: &[u64]) -> Totals {
        let mut histogram = Histogram::new();
        values.iter().for_each(|ns| histogram.record(*ns));
        let mut totals = Totals::default();
        totals.events[3] = acked;
        totals.stalls_ns[1] = acked * 5;
        totals.stages[Stage::Total.index()] = Distribution::of(&histogram);
        totals
    }

    #[test]
    fn while_nothing_goes_missing_the_sum_is_shown() {
        let mut shown = NeverBack::default();
        for (acked, values) in [(0, &[][..]), (3, &[100, 100]), (3, &[100, 100, 7])] {
            let now = totals(acked, values);
            assert_eq!(shown.show(now.clone()), now);
        }
    }

    #[test]
    fn what_goes_missing_stays_and_what_comes_is_added() {
        let mut shown = NeverBack::default();
        shown.show(totals(10, &[1, 1, 50_000, 2_000_000]));
        let after = shown.show(totals(4, &[1, 50_000]));
        assert_eq!(after, totals(10, &[1, 1, 50_000, 2_000_000]));
        let later = shown.show(totals(7, &[1, 1, 50_000]));
        assert_eq!(later, totals(13, &[1, 1, 1, 50_000, 2_000_000]));
    }
}
