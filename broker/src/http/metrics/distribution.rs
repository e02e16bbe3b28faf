//! A histogram on its way out: only the buckets that hold something.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use baton_telemetry::histogram::{Histogram, SCALE, le_exponent};

/// The upper bounds of classic buckets, as powers of two of a second: 1 µs to over an hour. Three decades of an octave each
/// would lose what an octave tells.
pub(super) const LE_EXPONENTS: RangeInclusive<i32> = -20..=12;
/// How many there are, without the last one, which is infinite.
pub(super) const LE_BUCKETS: usize = 33;

/// Counts by bucket, as [`baton_telemetry::histogram`] numbers them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Distribution {
    /// Values of 0 ns.
    pub(super) zero: u64,
    /// Index and count, ascending; none is 0.
    pub(super) buckets: Vec<(i32, u64)>,
    /// Of all values.
    pub(super) sum_ns: u128,
}

impl Distribution {
    pub(super) fn of(histogram: &Histogram) -> Self {
        Self {
            zero: histogram.zero_count(),
            buckets: histogram.buckets().collect(),
            sum_ns: histogram.sum_ns(),
        }
    }

    pub(super) fn count(&self) -> u64 {
        let counts = self.buckets.iter().map(|(_, count)| *count);
        counts.fold(self.zero, u64::saturating_add)
    }

    pub(super) fn sum_seconds(&self) -> f64 {
        self.sum_ns as f64 / 1e9
    }

    /// How many values are within each bound of [`LE_EXPONENTS`]: exact, since each is a bound of the histogram too.
    pub(super) fn cumulative(&self) -> [u64; LE_BUCKETS] {
        let mut within = [0; LE_BUCKETS];
        let mut seen = self.zero;
        let mut buckets = self.buckets.iter().peekable();
        for (exponent, within) in LE_EXPONENTS.zip(&mut within) {
            // Bucket i ends at 2^((i+1)/16) seconds.
            while let Some((_, count)) = buckets.next_if(|(index, _)| *index < exponent << SCALE) {
                seen = seen.saturating_add(*count);
            }
            *within = seen;
        }
        within
    }

    /// Whether it has a value of about this size: within the same power of two of a second.
    pub(super) fn has_like(&self, ns: u64) -> bool {
        let Some(exponent) = le_exponent(ns) else {
            return self.zero > 0;
        };
        let octave = (exponent - 1) << SCALE..exponent << SCALE;
        self.buckets.iter().any(|(index, _)| octave.contains(index))
    }

    /// Both together.
    pub(super) fn plus(&self, other: &Self) -> Self {
        self.with(other, u64::saturating_add, u128::saturating_add)
    }

    /// What is missing in `later`, bucket by bucket.
    pub(super) fn missing_in(&self, later: &Self) -> Self {
        self.with(later, u64::saturating_sub, u128::saturating_sub)
    }

    fn with(&self, other: &Self, count: fn(u64, u64) -> u64, sum: fn(u128, u128) -> u128) -> Self {
        let mut pairs: BTreeMap<i32, (u64, u64)> = BTreeMap::new();
        for (index, own) in &self.buckets {
            pairs.entry(*index).or_default().0 = *own;
        }
        for (index, others) in &other.buckets {
            pairs.entry(*index).or_default().1 = *others;
        }
        let counts = pairs
            .into_iter()
            .map(|(index, (own, others))| (index, count(own, others)));
        Self {
            zero: count(self.zero, other.zero),
            buckets: counts.filter(|(_, count)| *count > 0).collect(),
            sum_ns: sum(self.sum_ns, other.sum_ns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::new();
        values.iter().for_each(|ns| histogram.record(*ns));
        histogram
    }

    #[test]
    fn classic_buckets_are_those_of_the_histogram() {
        let mut values: Vec<u64> = (0..64).map(|shift| 1 << shift).collect();
        let bounds = LE_EXPONENTS.map(|exponent| f64::from(exponent).exp2() * 1e9);
        for bound in bounds {
            // On a bound, and on either side of it.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "bounds are from 954 to 4096e9"
            )]
            let ns = bound as u64;
            values.extend([0, ns - 1, ns, ns + 1, u64::MAX]);
        }
        let histogram = histogram(&values);
        let expected: Vec<u64> = histogram
            .cumulative_le(LE_EXPONENTS)
            .map(|(_, count)| count)
            .collect();
        let distribution = Distribution::of(&histogram);
        assert_eq!(distribution.cumulative().to_vec(), expected);
        assert_eq!(distribution.count(), values.len() as u64);
        assert_eq!(expected.len(), LE_BUCKETS);
    }

    #[test]
    fn a_value_has_its_like_where_one_of_its_octave_was_recorded() {
        let distribution = Distribution::of(&histogram(&[600_000_000, 1 << 40]));
        let likes = [500_000_001, 1_000_000_000, 1 << 40];
        assert!(likes.into_iter().all(|ns| distribution.has_like(ns)));
        let others = [0, 1, 500_000_000, 1_000_000_001];
        assert!(!others.into_iter().any(|ns| distribution.has_like(ns)));
        assert!(Distribution::of(&histogram(&[0])).has_like(0));
    }

    #[test]
    fn what_is_added_is_there_and_what_is_missing_is_told() {
        let (a, b) = (histogram(&[0, 5, 1000, 1000]), histogram(&[0, 7, 1000]));
        let mut both = a.clone();
        both.merge(&b);
        let (a, both) = (Distribution::of(&a), Distribution::of(&both));
        assert_eq!(a.plus(&Distribution::of(&b)), both);
        assert_eq!(both.missing_in(&a), Distribution::of(&b));
        assert_eq!(a.missing_in(&both), Distribution::default());
    }
}
