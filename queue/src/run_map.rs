//! The runs of one state, by item id.
//!
//! Invariants: runs do not overlap, `count` is the sum of theirs and `bytes` that of their items, and the state's index
//! has each run exactly as it stands. Whoever changes a run takes it out and puts it back.

use std::collections::BTreeMap;

use crate::id::ItemId;
use crate::run::{Index, Phase, Run};

#[derive(Clone, Debug)]
pub(crate) struct RunMap<P: Phase> {
    runs: BTreeMap<ItemId, Run<P>>,
    index: P::Index,
    count: u64,
    bytes: u64,
}

/// The same of every item, wherever runs are cut: what was joined for free may be apart after a restore. The index follows
/// from the runs.
impl<P: Phase + PartialEq> PartialEq for RunMap<P> {
    fn eq(&self, other: &Self) -> bool {
        let (mut mine, mut others) = (self.runs.values(), other.runs.values());
        let (mut one, mut two) = (mine.next().cloned(), others.next().cloned());
        while let (Some(left), Some(right)) = (&mut one, &mut two) {
            let count = left.items.count.min(right.items.count);
            if !left.begins_like(right, count) {
                return false;
            }
            one = left.rest(count).or_else(|| mine.next().cloned());
            two = right.rest(count).or_else(|| others.next().cloned());
        }
        one.is_none() && two.is_none() && (self.count, self.bytes) == (other.count, other.bytes)
    }
}

impl<P: Phase> Default for RunMap<P> {
    fn default() -> Self {
        Self {
            runs: BTreeMap::new(),
            index: P::Index::default(),
            count: 0,
            bytes: 0,
        }
    }
}

impl<P: Phase> RunMap<P> {
    /// Items, not runs.
    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) const fn index(&self) -> &P::Index {
        &self.index
    }

    pub(crate) fn first(&self) -> Option<&Run<P>> {
        self.runs.first_key_value().map(|(_, run)| run)
    }

    /// Ascending by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Run<P>> {
        self.runs.values()
    }

    /// Runs as they were, ascending. None: their bytes cannot be summed up.
    pub(crate) fn of(runs: Vec<Run<P>>) -> Option<Self> {
        let mut map = Self::default();
        for run in &runs {
            map.index.add(run);
            map.count += u64::from(run.items.count);
            map.bytes = map.bytes.checked_add(run.items.bytes())?;
        }
        let runs = runs.into_iter();
        map.runs = runs.map(|run| (run.items.first, run)).collect();
        Some(map)
    }

    /// Runs, not items.
    pub(crate) fn runs(&self) -> usize {
        self.runs.len()
    }

    /// First items and how many follow on them, ascending.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = (ItemId, u32)> {
        self.iter().map(|run| (run.items.first, run.items.count))
    }

    /// The run that the item is in.
    pub(crate) fn find(&self, item: ItemId) -> Option<&Run<P>> {
        let (_, run) = self.runs.range(..=item).next_back()?;
        (item <= run.items.last()).then_some(run)
    }

    /// The runs that have items after `after`, ascending. The first one may begin before it.
    pub(crate) fn after(&self, after: ItemId) -> impl Iterator<Item = &Run<P>> {
        let from = self.find(after).map_or(after, |run| run.items.first);
        self.runs
            .range(from..)
            .map(|(_, run)| run)
            .skip_while(move |run| run.items.last() <= after)
    }

    /// How many items lie after `after` and not after `up_to`.
    pub(crate) fn count_within(&self, after: ItemId, up_to: ItemId) -> u64 {
        let within = self.after(after).take_while(|run| run.items.first <= up_to);
        within
            .map(|run| {
                let first = run.items.first.max(after.plus(1));
                run.items.last().min(up_to).get() + 1 - first.get()
            })
            .sum()
    }

    /// Takes items in. None of them is here.
    pub(crate) fn insert(&mut self, run: Run<P>) {
        self.count += u64::from(run.items.count);
        self.bytes += run.items.bytes();
        let run = self.join_before(run);
        let run = self.join_after(run);
        self.link(run);
    }

    /// Takes out the `count` items from `first` on, cut to fit. All of them are here.
    pub(crate) fn take(&mut self, first: ItemId, count: u32) -> Vec<Run<P>> {
        let taken = self.take_some(first, count);
        let sum: u64 = taken.iter().map(|run| u64::from(run.items.count)).sum();
        assert_eq!(sum, u64::from(count), "the items are in this state");
        taken
    }

    /// Takes out what is here of the `count` items from `first` on, cut to fit.
    pub(crate) fn take_some(&mut self, first: ItemId, count: u32) -> Vec<Run<P>> {
        let end = first.plus(u64::from(count));
        let mut from = self.find(first).map_or(first, |run| run.items.first);
        let mut taken = Vec::new();
        while let Some((&key, _)) = self.runs.range(from..end).next() {
            let run = self.carve(key, first, end);
            from = run.items.end();
            self.count -= u64::from(run.items.count);
            self.bytes -= run.items.bytes();
            taken.push(run);
        }
        taken
    }

    /// Takes the run at `key` out but for its items before `first` and from `end` on.
    fn carve(&mut self, key: ItemId, first: ItemId, end: ItemId) -> Run<P> {
        let mut run = self.unlink(key);
        if run.items.first < first {
            let inside = run.cut(first.since(run.items.first));
            self.link(run);
            run = inside;
        }
        if end < run.items.end() {
            let rest = run.cut(end.since(run.items.first));
            self.link(rest);
        }
        run
    }

    fn join_before(&mut self, run: Run<P>) -> Run<P> {
        let Some((&key, before)) = self.runs.range(..run.items.first).next_back() else {
            return run;
        };
        assert!(
            before.items.last() < run.items.first,
            "an item is in a state once"
        );
        let Some(joined) = before.joined(&run) else {
            return run;
        };
        self.unlink(key);
        joined
    }

    fn join_after(&mut self, run: Run<P>) -> Run<P> {
        let Some((&key, after)) = self.runs.range(run.items.first..).next() else {
            return run;
        };
        assert!(
            run.items.last() < after.items.first,
            "an item is in a state once"
        );
        let Some(joined) = run.joined(after) else {
            return run;
        };
        self.unlink(key);
        joined
    }

    fn link(&mut self, run: Run<P>) {
        self.index.add(&run);
        self.runs.insert(run.items.first, run);
    }

    fn unlink(&mut self, key: ItemId) -> Run<P> {
        let run = self.runs.remove(&key).expect("the key was just found");
        self.index.remove(&run);
        run
    }
}
