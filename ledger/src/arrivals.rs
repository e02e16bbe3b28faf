//! When items came: received and durable, by runs of items that came together.
//!
//! A run is kept until every item up to its end has ended, or all of its own were acked, or the budget takes the oldest.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::party::{Party, Shift};

/// Spent runs that are not worth a search for them.
const SPENT_KEPT: usize = 64;

/// Items that came together.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) first: u64,
    pub(crate) count: u32,
    /// Those that were not acked.
    pub(crate) left: u32,
    pub(crate) received: u64,
    /// 0: not yet.
    pub(crate) durable: u64,
    pub(crate) producer: Option<Arc<Party>>,
    pub(crate) clock: Option<Shift>,
}

impl Arrival {
    pub(crate) const fn end(&self) -> u64 {
        self.first.saturating_add(self.count as u64)
    }
}

/// By id, ascending.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    runs: VecDeque<Arrival>,
    /// Runs of which nothing is left; a single old item would keep those after it for as long as it waits.
    spent: usize,
}

impl Arrivals {
    /// Items after all that came before.
    pub(crate) fn push(&mut self, arrival: Arrival) {
        self.runs.push_back(arrival);
    }

    /// The items from `first` on are durable.
    pub(crate) fn durable(&mut self, first: u64, now: u64) {
        if let Some(index) = self.index_of(first) {
            let run = &mut self.runs[index];
            run.durable = now.max(run.received);
        }
    }

    pub(crate) fn find(&self, item: u64) -> Option<&Arrival> {
        self.runs.get(self.index_of(item)?)
    }

    fn index_of(&self, item: u64) -> Option<usize> {
        let index = self.after(item);
        (self.runs.get(index)?.first <= item).then_some(index)
    }

    /// The first run that ends after an item.
    fn after(&self, item: u64) -> usize {
        self.runs.partition_point(|run| run.end() <= item)
    }

    /// The run of the item `from`, and how far it or, where there is none, that goes.
    pub(crate) fn stretch(&self, from: u64, end: u64) -> (Option<&Arrival>, u64) {
        match self.runs.get(self.after(from)) {
            Some(run) if run.first <= from => (Some(run), run.end().min(end)),
            Some(next) => (None, next.first.min(end)),
            None => (None, end),
        }
    }

    /// How far the items from `from` on were durable at the same time, and when that was; 0: not yet, or not known.
    pub(crate) fn alike(&self, from: u64, end: u64) -> (u64, u64) {
        let after = self.after(from);
        let Some(run) = self.runs.get(after).filter(|run| run.first <= from) else {
            let next = self.runs.get(after).map_or(end, |next| next.first);
            return (0, next.min(end));
        };
        let mut to = run.end();
        for next in self.runs.range(after + 1..) {
            if to >= end || next.first != to || next.durable != run.durable {
                break;
            }
            to = next.end();
        }
        (run.durable, to.min(end))
    }

    /// Items of one run, from `item` on, were acked, and that is durable.
    pub(crate) fn acked(&mut self, item: u64, count: u32) {
        let Some(index) = self.index_of(item) else {
            return;
        };
        let run = &mut self.runs[index];
        let before = run.left;
        run.left = before.saturating_sub(count);
        if before > 0 && run.left == 0 {
            self.spent += 1;
        }
    }

    /// Every item before this one has ended.
    pub(crate) fn forget_before(&mut self, item: u64) {
        while let Some(run) = self.runs.pop_front_if(|run| run.end() <= item) {
            self.spent -= usize::from(run.left == 0);
        }
        if self.spent > SPENT_KEPT && self.spent > self.runs.len() / 2 {
            self.runs.retain(|run| run.left > 0);
            self.spent = 0;
        }
        if self.runs.capacity() > SPENT_KEPT && self.runs.len() < self.runs.capacity() / 8 {
            self.runs.shrink_to(2 * self.runs.len());
        }
    }

    /// Where the oldest run ends.
    pub(crate) fn oldest_end(&self) -> Option<u64> {
        self.runs.front().map(Arrival::end)
    }

    /// Drops the oldest runs until at most `bytes` are held; how many items that were.
    pub(crate) fn shrink(&mut self, bytes: usize) -> u64 {
        let mut dropped = 0;
        let keep = bytes / size_of::<Arrival>();
        while self.runs.len() > keep
            && let Some(run) = self.runs.pop_front()
        {
            self.spent -= usize::from(run.left == 0);
            dropped += u64::from(run.left);
        }
        self.runs.shrink_to_fit();
        dropped
    }

    pub(crate) fn bytes(&self) -> usize {
        self.runs.capacity() * size_of::<Arrival>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(runs: &[(u64, u32)]) -> Arrivals {
        let mut arrivals = Arrivals::default();
        for &(first, count) in runs {
            arrivals.push(Arrival {
                first,
                count,
                left: count,
                received: first * 10,
                durable: 0,
                producer: None,
                clock: None,
            });
        }
        arrivals
    }

    #[test]
    fn an_item_is_found_in_the_run_that_it_came_with() {
        let mut arrivals = arrivals(&[(1, 5), (6, 1), (9, 2)]);
        let found = |arrivals: &Arrivals, item| arrivals.find(item).map(|run| run.first);
        let firsts = [0, 1, 5, 6, 7, 8, 10, 11].map(|item| found(&arrivals, item));
        assert_eq!(
            firsts,
            [None, Some(1), Some(1), Some(6), None, None, Some(9), None]
        );
        arrivals.durable(6, 77);
        assert_eq!(arrivals.find(6).unwrap().durable, 77);
        arrivals.durable(9, 1);
        assert_eq!(
            arrivals.find(9).unwrap().durable,
            90,
            "not before it was received"
        );
    }

    #[test]
    fn items_are_alike_as_far_as_they_were_durable_together() {
        let mut arrivals = arrivals(&[(1, 5), (6, 1), (7, 2), (12, 2)]);
        arrivals.durable(1, 77);
        arrivals.durable(6, 77);
        assert_eq!(arrivals.alike(2, 100), (77, 7));
        assert_eq!(arrivals.alike(2, 4), (77, 4));
        assert_eq!(arrivals.alike(7, 100), (0, 9));
        assert_eq!(arrivals.alike(9, 100), (0, 12));
        assert_eq!(arrivals.alike(14, 100), (0, 100));
        let ends = [2, 9, 14].map(|item| arrivals.stretch(item, 100).1);
        assert_eq!(ends, [6, 12, 100]);
    }

    #[test]
    fn what_has_ended_is_forgotten_and_the_oldest_go_first() {
        let mut arrivals = arrivals(&[(1, 5), (6, 1), (9, 2)]);
        arrivals.forget_before(6);
        assert!(arrivals.find(5).is_none() && arrivals.find(6).is_some());
        arrivals.forget_before(10);
        assert!(arrivals.find(9).is_some(), "10 is still there");
        assert_eq!((arrivals.shrink(0), arrivals.bytes()), (2, 0));
    }

    #[test]
    fn one_item_that_waits_for_long_does_not_keep_what_is_known_of_those_after_it() {
        let mut arrivals = Arrivals::default();
        for batch in 0..10_000 {
            let first = 1 + batch * 4;
            arrivals.runs.extend(self::arrivals(&[(first, 4)]).runs);
            if batch > 0 {
                arrivals.acked(first, 3);
                arrivals.acked(first + 3, 1);
            }
            arrivals.forget_before(1);
        }
        assert!(arrivals.find(1).is_some());
        assert!(arrivals.runs.len() <= 2 * SPENT_KEPT + 2);
    }
}
