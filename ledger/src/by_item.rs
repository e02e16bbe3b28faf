//! What is known of single items, for the few of which there is something to know.

use rustc_hash::FxHashMap;

/// Entries for which an empty map keeps its memory.
const ROOM_KEPT: usize = 1024;

/// See the module.
#[derive(Debug)]
pub(crate) struct ByItem<T> {
    items: FxHashMap<u64, T>,
}

impl<T> Default for ByItem<T> {
    fn default() -> Self {
        Self {
            items: FxHashMap::default(),
        }
    }
}

impl<T: Default> ByItem<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) fn get(&self, item: u64) -> Option<&T> {
        self.items.get(&item)
    }

    pub(crate) fn entry(&mut self, item: u64) -> &mut T {
        self.items.entry(item).or_default()
    }

    pub(crate) fn remove(&mut self, item: u64) -> Option<T> {
        let removed = self.items.remove(&item);
        self.give_room_back();
        removed
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.items.values()
    }

    /// Drops what is known of items in a row. Takes no longer than there are entries, however many items that may be.
    pub(crate) fn forget(&mut self, first: u64, end: u64, mut each: impl FnMut(&T)) {
        if end.saturating_sub(first) <= self.items.len() as u64 {
            let removed = (first..end).filter_map(|item| self.items.remove(&item));
            removed.for_each(|value| each(&value));
        } else {
            let range = first..end;
            self.items.retain(|item, value| {
                let goes = range.contains(item);
                if goes {
                    each(value);
                }
                !goes
            });
        }
        self.give_room_back();
    }

    fn give_room_back(&mut self) {
        if self.items.is_empty() && self.items.capacity() > ROOM_KEPT {
            self.items = FxHashMap::default();
        }
    }

    /// Memory of the map itself, bytes.
    pub(crate) fn bytes(&self) -> usize {
        // A byte of control each, and an eighth of the places is never used.
        self.items.capacity() * (size_of::<(u64, T)>() + 1) * 8 / 7
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_any_length_is_forgotten() {
        for end in [5, u64::MAX] {
            let mut items = ByItem::default();
            for item in [1_u64, 2, 4, 9] {
                *items.entry(item) = item;
            }
            let mut gone = Vec::new();
            items.forget(2, end, |value| gone.push(*value));
            gone.sort_unstable();
            let expected: &[u64] = if end == 5 { &[2, 4] } else { &[2, 4, 9] };
            assert_eq!(gone, expected);
            assert_eq!((items.get(1), items.get(2)), (Some(&1), None));
        }
    }

    #[test]
    fn an_empty_map_gives_its_memory_back() {
        let mut items: ByItem<u64> = ByItem::default();
        for item in 0..10_000 {
            *items.entry(item) = item;
        }
        assert!(items.bytes() > 160_000);
        for item in 0..10_000 {
            items.remove(item);
        }
        assert_eq!(items.bytes(), 0);
    }
}
