//! How long things took: a base-2 exponential histogram of scale 4, sixteen buckets per doubling, values in
//! nanoseconds.
//!
//! Bucket `i` covers `(2^(i/16), 2^((i+1)/16)]` **seconds**: open below, closed above. That is bucket `i` of an OTLP
//! `ExponentialHistogram` of scale 4 in seconds, and bucket `i + 1` of a Prometheus native histogram of schema 4, which
//! counts by upper bounds. Power-of-two `le` bounds in seconds fall out exactly, sixteen buckets each. 0 ns goes to a
//! zero bucket; every other u64 has a bucket of its own, without overflow.
//!
//! Invariants: a value is counted in exactly one bucket, decided exactly; merging equals recording everything in one;
//! count, sum, minimum and maximum are exact (they saturate at their types' ends); an empty histogram owns no memory.
//! Percentiles are never averaged: merge, then ask. Pure. Called by the broker for every item and stage, by
//! [`crate::windows`], and by whatever prints latencies.

use std::ops::RangeInclusive;

mod index;
mod sealed;
#[cfg(test)]
mod tests;

pub use index::{SCALE, index_of, le_exponent, upper_bound_ns};
pub use sealed::Sealed;

/// Counts of values by their size; see the [module](self). At most 8.2 KiB, 128 bytes per octave between the smallest
/// and the largest value.
#[derive(Clone, Debug)]
pub struct Histogram {
    /// Counts by position, from `first` on: whole octaves.
    counts: Vec<u64>,
    first: usize,
    count: u64,
    zero_count: u64,
    sum_ns: u128,
    /// `u64::MAX` while empty.
    min_ns: u64,
    max_ns: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl Histogram {
    /// An empty one. Allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            counts: Vec::new(),
            first: 0,
            count: 0,
            zero_count: 0,
            sum_ns: 0,
            min_ns: u64::MAX,
            max_ns: 0,
        }
    }

    /// Counts one value.
    #[inline]
    pub fn record(&mut self, ns: u64) {
        self.record_n(ns, 1);
    }

    /// Counts a value `n` times.
    #[inline]
    pub fn record_n(&mut self, ns: u64, n: u64) {
        if n == 0 {
            return;
        }
        self.count = self.count.saturating_add(n);
        self.sum_ns = self.sum_ns.saturating_add(u128::from(ns) * u128::from(n));
        self.min_ns = self.min_ns.min(ns);
        self.max_ns = self.max_ns.max(ns);
        if ns == 0 {
            self.zero_count = self.zero_count.saturating_add(n);
        } else {
            self.add_at(index::position(ns), n);
        }
    }

    /// Adds all of another one, bucket by bucket: as if its values had been recorded here.
    pub fn merge(&mut self, other: &Self) {
        if other.is_empty() {
            return;
        }
        self.count = self.count.saturating_add(other.count);
        self.zero_count = self.zero_count.saturating_add(other.zero_count);
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        self.min_ns = self.min_ns.min(other.min_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
        let used = |count: &u64| *count > 0;
        let (Some(from), Some(to)) = (
            other.counts.iter().position(used),
            other.counts.iter().rposition(used),
        ) else {
            return;
        };
        self.cover(other.first + from, other.first + to);
        let start = other.first + from - self.first;
        for (own, added) in self.counts[start..]
            .iter_mut()
            .zip(&other.counts[from..=to])
        {
            *own = own.saturating_add(*added);
        }
    }

    /// How many values were counted.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Their sum, in nanoseconds.
    #[must_use]
    pub const fn sum_ns(&self) -> u128 {
        self.sum_ns
    }

    /// The greatest, in nanoseconds; 0 when empty.
    #[must_use]
    pub const fn max_ns(&self) -> u64 {
        self.max_ns
    }

    /// The smallest, in nanoseconds; 0 when empty.
    #[must_use]
    pub const fn min_ns(&self) -> u64 {
        if self.is_empty() { 0 } else { self.min_ns }
    }

    /// Whether nothing was counted.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many values were 0 ns.
    #[must_use]
    pub const fn zero_count(&self) -> u64 {
        self.zero_count
    }

    /// The value of rank `ceil(q * count)`, in nanoseconds, with `q` from 0 to 1 (others are taken as the nearest).
    ///
    /// Within 2.2 % (half a bucket, `2^(1/32)`) and the rounding to a nanosecond; the first and the last rank are the
    /// minimum and the maximum exactly, and nothing is beyond them. 0 when empty.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "`as` saturates, and rank is clamped"
    )]
    pub fn quantile_ns(&self, q: f64) -> u64 {
        if self.is_empty() {
            return 0;
        }
        // 0.07 * 100.0 is a little above 7, which must not become rank 8.
        let rank = q.clamp(0.0, 1.0) * self.count as f64 * (1.0 - 4.0 * f64::EPSILON);
        let rank = (rank.ceil() as u64).clamp(1, self.count);
        if rank == self.count {
            return self.max_ns;
        }
        if rank == 1 || rank <= self.zero_count {
            return self.min_ns;
        }
        let mut seen = self.zero_count;
        for (index, count) in self.buckets() {
            seen = seen.saturating_add(count);
            if seen >= rank {
                return index::middle_ns(index).clamp(self.min_ns, self.max_ns);
            }
        }
        self.max_ns
    }

    /// Index and count of each bucket that is not empty, ascending. The zero bucket is not among them.
    pub fn buckets(&self) -> impl Iterator<Item = (i32, u64)> + '_ {
        self.counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .map(|(place, count)| (index::index_at(self.first + place), *count))
    }

    /// For each exponent `e`, how many values are at most `2^e` seconds: the buckets of a classic histogram, exactly.
    pub fn cumulative_le(
        &self,
        bounds_log2: RangeInclusive<i32>,
    ) -> impl Iterator<Item = (i32, u64)> + '_ {
        let mut seen = self.zero_count;
        let mut from = 0;
        bounds_log2.map(move |exponent| {
            let within = index::positions_within(exponent).saturating_sub(self.first);
            let to = within.min(self.counts.len());
            seen = self.counts[from..to]
                .iter()
                .fold(seen, |sum, n| sum.saturating_add(*n));
            from = to;
            (exponent, seen)
        })
    }

    /// Heap memory, in bytes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.counts.capacity() * size_of::<u64>()
    }

    /// Forgets everything that was counted, and keeps the memory for what comes.
    pub fn clear(&mut self) {
        let mut counts = std::mem::take(&mut self.counts);
        counts.fill(0);
        *self = Self {
            counts,
            first: self.first,
            ..Self::new()
        };
    }

    #[inline]
    fn add_at(&mut self, position: usize, n: u64) {
        match self.counts.get_mut(position.wrapping_sub(self.first)) {
            Some(count) => *count = count.saturating_add(n),
            None => self.add_beyond(position, n),
        }
    }

    #[cold]
    fn add_beyond(&mut self, position: usize, n: u64) {
        self.cover(position, position);
        self.counts[position - self.first] = n;
    }

    /// Makes room for the positions `from..=to`, in whole octaves: at most 65 times in a histogram's life.
    fn cover(&mut self, from: usize, to: usize) {
        let mut start = from - from % index::OCTAVE;
        let mut end = to - to % index::OCTAVE + index::OCTAVE;
        if !self.counts.is_empty() {
            start = start.min(self.first);
            end = end.max(self.first + self.counts.len());
        }
        if end - start == self.counts.len() {
            return;
        }
        let mut counts = vec![0; end - start];
        if !self.counts.is_empty() {
            let moved = self.first - start;
            counts[moved..moved + self.counts.len()].copy_from_slice(&self.counts);
        }
        self.counts = counts;
        self.first = start;
    }
}

/// Equal when the same buckets hold the same counts, however the memory is laid out.
impl PartialEq for Histogram {
    fn eq(&self, other: &Self) -> bool {
        let head = |of: &Self| (of.count, of.zero_count, of.sum_ns, of.min_ns, of.max_ns);
        head(self) == head(other) && self.buckets().eq(other.buckets())
    }
}

impl Eq for Histogram {}
