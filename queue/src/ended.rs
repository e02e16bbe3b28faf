//! How items ended that were not acknowledged, for joins.
//!
//! Kept as ranges of ids, few beside the acknowledged ones. Over the bound the oldest ranges are folded into `base`: of
//! the ids up to `base_up_to` only the sums are known.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::codec::{DecodeError, ensure};
use crate::id::ItemId;
use crate::limits::ENDED_RANGES_MAX;
use crate::snapshot::{Reader, Writer};

/// How an item ended, other than by an ack.
// Kept on disk by position (see `snapshot`): never reordered or removed, new ones go last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum End {
    Expired,
    Cancelled,
    /// Was a dead letter.
    Discarded,
}

/// How an item ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was acknowledged.
    Acked,
    /// Its time to live ran out.
    Expired,
    /// It was cancelled or purged.
    Cancelled,
    /// It was a dead letter, and that was removed.
    Discarded,
}

/// Items by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

    fn sum(self) -> Option<u64> {
        let sum = self.expired.checked_add(self.cancelled)?;
        sum.checked_add(self.discarded)
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

    /// How an item ended that is done. None: of those before it only sums are known.
    pub(crate) fn of(&self, item: ItemId) -> Option<Ending> {
        let before = self.ranges.range(..=item).next_back();
        let within = before.filter(|(_, (last, _))| item <= *last);
        Some(match within {
            Some((_, (_, End::Expired))) => Ending::Expired,
            Some((_, (_, End::Cancelled))) => Ending::Cancelled,
            Some((_, (_, End::Discarded))) => Ending::Discarded,
            None if item <= self.base_up_to => return None,
            None => Ending::Acked,
        })
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

    /// First and last items of the ranges that are kept, ascending.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = (ItemId, ItemId)> {
        self.ranges.iter().map(|(first, (last, _))| (*first, *last))
    }

    /// All that ever ended.
    pub(crate) fn totals(&self) -> EndCounts {
        let mut counts = self.base;
        for (first, (last, end)) in &self.ranges {
            counts.add(*end, last.get() - first.get() + 1);
        }
        counts
    }

    pub(crate) fn store(&self, writer: &mut Writer<'_>) {
        writer.put(&(self.base, self.base_up_to, self.ranges.len()));
        let mut end = self.base_up_to.plus(1);
        for (first, (last, kind)) in &self.ranges {
            writer.put(&(first.get() - end.get(), last.get() - first.get(), kind));
            end = last.plus(1);
        }
    }

    pub(crate) fn load(reader: &mut Reader<'_>, last_item: ItemId) -> Result<Self, DecodeError> {
        let (base, base_up_to, count): (EndCounts, ItemId, u64) = reader.take()?;
        let fits = base.sum().is_some_and(|sum| sum <= base_up_to.get());
        ensure(fits && base_up_to <= last_item, "items end once")?;
        let mut end = base_up_to.plus(1);
        let mut ranges = reader.room(count);
        for _ in 0..count {
            let (gap, more, kind): (u64, u64, End) = reader.take()?;
            let first = end.plus(gap);
            let last = first.plus(more);
            ensure(last <= last_item, "items were published")?;
            ranges.push((first, (last, kind)));
            end = last.plus(1);
        }
        Ok(Self {
            ranges: ranges.into_iter().collect(),
            base,
            base_up_to,
            ..Self::default()
        })
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
    fn what_is_folded_is_stored_too() {
        let mut ended = Ended::with_capacity(1);
        for id in [2, 4, 6] {
            ended.add(ItemId(id), ItemId(id), End::Expired);
        }
        let mut bytes = Vec::new();
        ended.store(&mut Writer::new(&mut bytes));
        let load = |last| Ended::load(&mut Reader::new(&bytes).unwrap(), ItemId(last));
        let restored = load(6).unwrap();
        assert_eq!(restored.totals(), ended.totals());
        assert_eq!(
            (restored.base_up_to, restored.ranges),
            (ended.base_up_to, ended.ranges)
        );
        assert!(load(5).is_err(), "item 6 was never published");
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
