//! Sets of numbers as ranges: ids of items, numbers of facts.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};

/// A set of numbers, kept as ranges that neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges {
    /// First, and one after the last.
    ends: BTreeMap<u64, u64>,
}

impl Ranges {
    /// Takes `first..end` in.
    pub(super) fn insert(&mut self, first: u64, end: u64) {
        if first >= end {
            return;
        }
        let (mut from, mut to) = (first, end);
        while let Some((&start, &stop)) = self.ends.range(..=to).next_back() {
            if stop < from {
                break;
            }
            from = from.min(start);
            to = to.max(stop);
            self.ends.remove(&start);
        }
        self.ends.insert(from, to);
    }

    /// Takes `first..end` out.
    pub(super) fn remove(&mut self, first: u64, end: u64) {
        for (start, stop) in self.within(first, end) {
            let Some((&from, &to)) = self.ends.range(..=start).next_back() else {
                continue;
            };
            self.ends.remove(&from);
            if from < start {
                self.ends.insert(from, start);
            }
            if stop < to {
                self.ends.insert(stop, to);
            }
        }
    }

    /// The parts of `first..end` that are in the set.
    pub(super) fn within(&self, first: u64, end: u64) -> Vec<(u64, u64)> {
        let before = self.ends.range(..first).next_back();
        let begin = before.map_or(first, |(start, _)| *start);
        let ranges = self.ends.range(begin..end.max(begin));
        let cut = ranges.map(|(&start, &stop)| (start.max(first), stop.min(end)));
        cut.filter(|(start, stop)| start < stop).collect()
    }

    /// The parts of `first..end` that are not in the set.
    pub(super) fn lacking(&self, first: u64, end: u64) -> Vec<(u64, u64)> {
        let mut lacking = Vec::new();
        let mut at = first;
        for (start, stop) in self.within(first, end) {
            lacking.push((at, start));
            at = stop;
        }
        lacking.push((at, end));
        lacking.retain(|(start, stop)| start < stop);
        lacking
    }

    /// All ranges: first, and one after the last.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.ends.iter().map(|(first, end)| (*first, *end))
    }

    /// How many numbers there are.
    pub(super) fn count(&self) -> u64 {
        self.iter().map(|(first, end)| end - first).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

impl FromIterator<(u64, u64)> for Ranges {
    fn from_iter<T: IntoIterator<Item = (u64, u64)>>(ranges: T) -> Self {
        let mut set = Self::default();
        ranges
            .into_iter()
            .for_each(|(first, end)| set.insert(first, end));
        set
    }
}

/// As in `1-5, 9`.
impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (first, end)) in self.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            match end - first {
                1 => write!(f, "{comma}{first}")?,
                _ => write!(f, "{comma}{first}-{}", end - 1)?,
            }
        }
        Ok(())
    }
}

/// A list of pairs: first and last.
impl Serialize for Ranges {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(|(first, end)| [first, end - 1]))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ranges_behave_like_a_set_of_numbers() {
        let (mut ranges, mut model) = (Ranges::default(), BTreeSet::new());
        let mut random = 7_u64;
        for _ in 0..2000 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let (first, length) = ((random >> 33) % 60, (random >> 50) % 9);
            if random >> 63 == 0 {
                ranges.insert(first, first + length);
                model.extend(first..first + length);
            } else {
                ranges.remove(first, first + length);
                model.retain(|number| !(first..first + length).contains(number));
            }
            let all: Vec<u64> = ranges.iter().flat_map(|(first, end)| first..end).collect();
            assert_eq!(all, model.iter().copied().collect::<Vec<_>>());
            let apart: Vec<_> = ranges.iter().collect();
            assert!(apart.windows(2).all(|pair| pair[0].1 < pair[1].0));
            let lacking = ranges.lacking(10, 40);
            let lacking: Vec<u64> = lacking.iter().flat_map(|&(from, to)| from..to).collect();
            let expected = (10..40).filter(|number| !model.contains(number));
            assert_eq!(lacking, expected.collect::<Vec<_>>());
        }
    }

    #[test]
    fn ranges_are_written_with_their_last_number() {
        let ranges = Ranges::from_iter([(1, 6), (9, 10)]);
        assert_eq!(ranges.to_string(), "1-5, 9");
        assert_eq!(ranges.count(), 6);
    }
}
