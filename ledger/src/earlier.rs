//! The attempts of items that go on: those that were over before the current one.
//!
//! Of each item the first one and the latest 15 are kept, as the queue keeps its failures. They are taken out when the item
//! ends, and dropped when the budget wants them.

use crate::account::Attempt;
use crate::by_item::ByItem;

/// Attempts kept of an item.
const ATTEMPTS_MAX: usize = 16;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Earlier {
    items: ByItem<Vec<Attempt>>,
    bytes: usize,
}

impl Earlier {
    /// An attempt is over, and its item goes on.
    pub(crate) fn push(&mut self, item: u64, attempt: Attempt) {
        let attempts = self.items.entry(item);
        self.bytes -= bytes(attempts);
        if attempts.len() == ATTEMPTS_MAX {
            attempts.remove(1);
        }
        // Most items have one.
        attempts.reserve_exact(1);
        attempts.push(attempt);
        self.bytes += bytes(attempts);
    }

    /// In order.
    pub(crate) fn of(&self, item: u64) -> &[Attempt] {
        self.items.get(item).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn take(&mut self, item: u64) -> Vec<Attempt> {
        let attempts = self.items.remove(item).unwrap_or_default();
        self.bytes -= bytes(&attempts);
        attempts
    }

    /// How far the items from `from` on had their attempt of this number durably over at the same time, and when that was;
    /// 0: not yet, or not known.
    pub(crate) fn alike(&self, number: u32, from: u64, end: u64) -> (u64, u64) {
        if self.items.is_empty() {
            return (0, end);
        }
        let durable = self.durable(from, number);
        let other = |item: &u64| self.durable(*item, number) != durable;
        (durable, (from + 1..end).find(other).unwrap_or(end))
    }

    fn durable(&self, item: u64, number: u32) -> u64 {
        let last = self.of(item).last();
        let end = last
            .filter(|last| last.number == number)
            .and_then(|last| last.end.as_ref());
        end.map_or(0, |end| end.durable)
    }

    /// Drops the attempts of items in a row.
    pub(crate) fn forget(&mut self, first: u64, end: u64) {
        let all = &mut self.bytes;
        self.items
            .forget(first, end, |attempts| *all -= bytes(attempts));
    }

    /// Drops all of them; how many that were.
    pub(crate) fn clear(&mut self) -> u64 {
        let dropped = self.items.values().map(Vec::len).sum::<usize>();
        *self = Self::default();
        dropped as u64
    }

    pub(crate) fn bytes(&self) -> usize {
        self.items.bytes() + self.bytes
    }
}

fn bytes(attempts: &Vec<Attempt>) -> usize {
    let errors = attempts.iter().filter_map(|attempt| attempt.end.as_ref());
    attempts.capacity() * size_of::<Attempt>() + errors.map(|end| end.error.len()).sum::<usize>()
}
