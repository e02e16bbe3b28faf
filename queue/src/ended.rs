//! How items ended that were not acknowledged, for joins.
//!
//! Kept as ranges of ids, few beside the acknowledged ones. Over the bound the oldest ranges are folded into `base`: of
//! the ids up to `base_up_to` only the sums are known.

use std::collections::BTreeMap;

use crate::id::ItemId;
use crate::limits::ENDED_RANGES_MAX;

/// How an item ended, other than by an ack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Expired,
    Cancelled,
    /// Was a dead letter.
    Discarded,
}

/// Items by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EndCounts {
    pub(crate) expired: u64,
    pub(crate) cancelled: u64,
    pub(crate) discarded: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ended {
    /// By first id: last id and what became of them.
    ranges: BTreeMap<ItemId, (ItemId, End)>,
    capacity: usize,
    base: EndCounts,
    base_up_to: ItemId,
}

impl Default for Ended {
    fn default() -> Self {
        Self::with_capacity(ENDED_RANGES_MAX)
    }
}

impl EndCounts {
    const fn add(&mut self, end: End, count: u64) {
        match end {
            End::Expired => self.expired += count,
            End::Cancelled => self.cancelled += count,
            End::Discarded => self.discarded += count,
        }
    }

    /// These counts, cut so that they sum up to no more than `most`.
    fn at_most(self, most: u64) -> Self {
        let discarded = self.discarded.min(most);
        let expired = self.expired.min(most - discarded);
        let cancelled = self.cancelled.min(most - discarded - expired);
        Self {
            expired,
            cancelled,
            discarded,
        }
    }
}

impl Ended {
    const fn with_capacity(capacity: usize) -> Self {
        let base = EndCounts {
            expired: 0,
            cancelled: 0,
            discarded: 0,
        };
        Self {
            ranges: BTreeMap::new(),
            capacity,
            base,
            base_up_to: ItemId::NONE,
        }
    }

    /// The items from `first` to `last` have ended. They had not before.
    pub(crate) fn add(&mut self, first: ItemId, last: ItemId, end: End) {
        let folded = last.min(self.base_up_to);
        if first <= folded {
            self.base.add(end, folded.get() - first.get() + 1);
        }
        let first = first.max(self.base_up_to.plus(1));
        if first > last {
            return;
        }
        self.insert(first, last, end);
        if self.ranges.len() > self.capacity
            && let Some((first, (last, end))) = self.ranges.pop_first()
        {
            self.base.add(end, last.get() - first.get() + 1);
            self.base_up_to = last;
        }
    }

    /// Items with ids after `after` and not after `up_to`, of which no more than `most` can have ended. Exact where `after`
    /// is 0 or not below what is folded, and `up_to` is not within that; otherwise the sums of what is folded are counted as
    /// if they all lay in the range, so that a join may report a failure too many but never one too few.
    pub(crate) fn count(&self, after: ItemId, up_to: ItemId, most: u64) -> EndCounts {
        let mut counts = EndCounts::default();
        let mut within = 0;
        let first = self
            .ranges
            .range(..=after)
            .next_back()
            .map_or(after, |(first, _)| *first);
        for (first, (last, end)) in self.ranges.range(first..=up_to.max(first)) {
            let first = (*first).max(after.plus(1));
            let last = (*last).min(up_to);
            if first <= last {
                counts.add(*end, last.get() - first.get() + 1);
                within += last.get() - first.get() + 1;
            }
        }
        if after < self.base_up_to {
            let base = self.base.at_most(most.saturating_sub(within));
            counts.expired += base.expired;
            counts.cancelled += base.cancelled;
            counts.discarded += base.discarded;
        }
        counts
    }

    fn insert(&mut self, first: ItemId, last: ItemId, end: End) {
        let (mut first, mut last) = (first, last);
        if let Some((&from, &(to, kind))) = self.ranges.range(..first).next_back() {
            assert!(to < first, "an item ends once");
            if to.plus(1) == first && kind == end {
                first = from;
            }
        }
        if let Some((&from, &(to, kind))) = self.ranges.range(last..).next()
            && last.plus(1) == from
            && kind == end
        {
            self.ranges.remove(&from);
            last = to;
        }
        self.ranges.insert(first, (last, end));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_that_ended_alike_are_one_range() {
        let mut ended = Ended::default();
        for id in [5, 7, 6, 8] {
            ended.add(
                ItemId(id),
                ItemId(id),
                if id == 8 {
                    End::Cancelled
                } else {
                    End::Expired
                },
            );
        }
        assert_eq!(ended.ranges.len(), 2);
        let counts = ended.count(ItemId(5), ItemId(9), 4);
        assert_eq!(
            counts,
            EndCounts {
                expired: 2,
                cancelled: 1,
                discarded: 0
            }
        );
    }

    #[test]
    fn folded_ranges_still_count_from_the_beginning() {
        let mut ended = Ended::with_capacity(2);
        for id in [2, 4, 6, 8] {
            ended.add(ItemId(id), ItemId(id), End::Expired);
        }
        ended.add(ItemId(1), ItemId(1), End::Cancelled);
        let all = ended.count(ItemId::NONE, ItemId(8), 8);
        assert_eq!(
            all,
            EndCounts {
                expired: 4,
                cancelled: 1,
                discarded: 0
            }
        );
        let recent = ended.count(ItemId(4), ItemId(8), 4);
        assert_eq!(
            recent,
            EndCounts {
                expired: 2,
                cancelled: 0,
                discarded: 0
            }
        );
    }

    #[test]
    fn within_what_is_folded_no_failure_is_left_out() {
        let mut ended = Ended::with_capacity(1);
        for id in [2, 4, 6] {
            ended.add(ItemId(id), ItemId(id), End::Expired);
        }
        assert_eq!(ended.count(ItemId(3), ItemId(6), 3).expired, 3);
    }
}
