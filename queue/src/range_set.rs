//! A set of numbers as ranges, with a bound on how many it keeps.
//!
//! Over the bound the lowest range is let go, and everything up to its end is `Forgotten` from then on: the set says that
//! it cannot know, never a wrong yes or no.

use std::collections::BTreeMap;

use crate::codec::{DecodeError, ensure};
use crate::snapshot::{Reader, Writer};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RangeSet {
    /// First to last; they neither overlap nor touch.
    ranges: BTreeMap<u64, u64>,
    capacity: usize,
    /// Numbers up to here that are in no range are forgotten.
    floor: u64,
}

/// Whether a number is in the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Membership {
    Present,
    Absent,
    Forgotten,
}

impl RangeSet {
    pub(crate) const fn with_capacity(capacity: usize) -> Self {
        Self {
            ranges: BTreeMap::new(),
            capacity,
            floor: 0,
        }
    }

    /// Whether `value` is in the set, and the last number for which the answer is the same.
    pub(crate) fn at(&self, value: u64) -> (Membership, u64) {
        if let Some((_, &last)) = self.ranges.range(..=value).next_back()
            && value <= last
        {
            return (Membership::Present, last);
        }
        let until = self
            .ranges
            .range(value..)
            .next()
            .map_or(u64::MAX, |(&first, _)| first - 1);
        if value <= self.floor {
            (Membership::Forgotten, until.min(self.floor))
        } else {
            (Membership::Absent, until)
        }
    }

    pub(crate) fn insert(&mut self, first: u64, last: u64) {
        assert!(first <= last, "a range has numbers");
        let (mut first, mut last) = (first, last);
        while let Some((&from, &to)) = self.ranges.range(..=last.saturating_add(1)).next_back()
            && to >= first.saturating_sub(1)
        {
            self.ranges.remove(&from);
            first = first.min(from);
            last = last.max(to);
        }
        self.ranges.insert(first, last);
        if self.ranges.len() > self.capacity
            && let Some((_, last)) = self.ranges.pop_first()
        {
            self.floor = self.floor.max(last);
        }
    }

    /// The highest number.
    pub(crate) fn last(&self) -> Option<u64> {
        self.ranges.last_key_value().map(|(_, last)| *last)
    }

    pub(crate) fn store(&self, writer: &mut Writer<'_>) {
        writer.put(&(self.floor, self.ranges.len()));
        let mut before = 0;
        for (first, last) in &self.ranges {
            writer.put(&(first - before, last - first));
            before = *last;
        }
    }

    pub(crate) fn load(reader: &mut Reader<'_>, capacity: usize) -> Result<Self, DecodeError> {
        let (floor, count): (u64, u64) = reader.take()?;
        let mut ranges = reader.room(count);
        let mut before = None;
        for _ in 0..count {
            let (gap, more): (u64, u64) = reader.take()?;
            let first = before.unwrap_or(0_u64).checked_add(gap);
            let last = first.and_then(|first| first.checked_add(more));
            let apart = before.is_none() || gap > 1;
            let rule = "ranges neither overlap nor touch";
            ensure(apart, rule)?;
            let range = first.zip(last).ok_or(DecodeError::Inconsistent { rule })?;
            ranges.push(range);
            before = last;
        }
        Ok(Self {
            ranges: ranges.into_iter().collect(),
            capacity,
            floor,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_or_overlap_become_one() {
        let mut set = RangeSet::with_capacity(8);
        for (first, last) in [(10, 19), (30, 39), (5, 9), (20, 29), (35, 50)] {
            set.insert(first, last);
        }
        assert_eq!(set.at(5), (Membership::Present, 50));
        assert_eq!(set.at(4), (Membership::Absent, 4));
        assert_eq!(set.at(51), (Membership::Absent, u64::MAX));
    }

    #[test]
    fn over_its_capacity_it_says_that_it_cannot_know() {
        let mut set = RangeSet::with_capacity(2);
        for first in [10, 20, 30] {
            set.insert(first, first + 1);
        }
        assert_eq!(set.at(1), (Membership::Forgotten, 11));
        assert_eq!(set.at(10), (Membership::Forgotten, 11));
        assert_eq!(set.at(12), (Membership::Absent, 19));
        assert_eq!(set.at(20), (Membership::Present, 21));
    }

    #[test]
    fn what_was_forgotten_is_stored_too() {
        let mut set = RangeSet::with_capacity(2);
        for first in [10, 20, 30, 1000] {
            set.insert(first, first + 1);
        }
        let mut bytes = Vec::new();
        set.store(&mut Writer::new(&mut bytes));
        let mut reader = Reader::new(&bytes).unwrap();
        assert_eq!(RangeSet::load(&mut reader, 2), Ok(set));
    }

    #[test]
    fn ranges_that_touch_are_refused() {
        let mut bytes = Vec::new();
        let set: [u64; 6] = [0, 2, 5, 0, 1, 0]; // floor, ranges, 5..=5, 6..=6
        let mut writer = Writer::new(&mut bytes);
        set.iter().for_each(|number| writer.put(number));
        let mut reader = Reader::new(&bytes).unwrap();
        assert!(RangeSet::load(&mut reader, 2).is_err());
    }

    #[test]
    fn it_agrees_with_a_set_of_numbers() {
        use std::collections::BTreeSet;
        let mut numbers = BTreeSet::new();
        let mut set = RangeSet::with_capacity(1000);
        let mut seed = 7_u64;
        for _ in 0..500 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (first, width) = ((seed >> 33) % 200, (seed >> 50) % 6);
            set.insert(first, first + width);
            numbers.extend(first..=first + width);
            for value in 0..210 {
                let (membership, until) = set.at(value);
                for same in value..=until.min(210) {
                    assert_eq!(membership == Membership::Present, numbers.contains(&same));
                }
            }
            if numbers.len() > 150 {
                numbers.clear();
                set = RangeSet::with_capacity(1000);
            }
        }
    }
}
