//! The upper bounds of one number over a window, of which only the tightest matters.

use std::collections::VecDeque;

use super::{DRIFT_PPM, WINDOW_NS, WINDOW_SAMPLES};

const PPM: i128 = 1_000_000;

/// All samples loosen at the same rate, so which of two is tighter never changes: it is the smaller at time 0.
#[derive(Clone, Debug)]
struct Sample {
    /// The bound as it would have been at time 0, in 10^-6 ns.
    at_zero: i128,
    /// When it was taken note of.
    at_ns: u64,
    number: u64,
}

/// A deque in which each sample is tighter than those after it: what a later one beats can never be the tightest again.
#[derive(Clone, Debug, Default)]
pub(super) struct Side {
    samples: VecDeque<Sample>,
    pushed: u64,
}

impl Side {
    /// Takes note at `at_ns` of a bound that was true at some time from `from_ns` on.
    pub(super) fn push(&mut self, bound_ns: i128, from_ns: i128, at_ns: u64) {
        let at_zero = bound_ns * PPM - i128::from(DRIFT_PPM) * from_ns;
        while self
            .samples
            .pop_back_if(|last| last.at_zero >= at_zero)
            .is_some()
        {}
        self.pushed += 1;
        let number = self.pushed;
        self.samples.push_back(Sample {
            at_zero,
            at_ns,
            number,
        });
        let is_over = |first: &mut Sample| {
            first.number + WINDOW_SAMPLES <= number || first.at_ns.saturating_add(WINDOW_NS) < at_ns
        };
        while self.samples.pop_front_if(is_over).is_some() {}
    }

    /// The tightest bound as it is at `now_ns`, rounded up.
    pub(super) fn tightest_ns(&self, now_ns: i128) -> Option<i128> {
        let first = self.samples.front()?;
        let loosened = first.at_zero + i128::from(DRIFT_PPM) * now_ns;
        Some(-(-loosened).div_euclid(PPM))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.samples.len()
    }
}
