//! Dedup keys: which item a key of the user's stands for, while its window lasts.
//!
//! Keys are let go in the order in which they came. Called by publish and tick.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use crate::codec::{DecodeError, ensure};
use crate::id::ItemId;
use crate::limits::DEDUP_KEYS_MAX;
use crate::snapshot::{Reader, Writer};
use crate::time::Timestamp;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Keys {
    /// Hashed with a secret, since peers choose the keys. Never iterated.
    items: HashMap<Bytes, (ItemId, Timestamp)>,
    order: VecDeque<(Timestamp, Bytes)>,
    capacity: usize,
}

impl Default for Keys {
    fn default() -> Self {
        Self::with_capacity(DEDUP_KEYS_MAX)
    }
}

impl Keys {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self {
            items: HashMap::new(),
            order: VecDeque::new(),
            capacity,
        }
    }

    /// The item that the key stands for at `now`.
    pub(crate) fn find(&self, key: &Bytes, now: Timestamp) -> Option<ItemId> {
        self.items
            .get(key)
            .filter(|(_, until)| *until > now)
            .map(|(item, _)| *item)
    }

    /// How many more keys there is room for.
    pub(crate) fn room(&self) -> usize {
        self.capacity.saturating_sub(self.order.len())
    }

    /// When the next key is let go.
    pub(crate) fn next_end(&self) -> Option<Timestamp> {
        self.order.front().map(|(until, _)| *until)
    }

    /// How many keys, up to `max`, can be let go at `now`.
    pub(crate) fn ended(&self, now: Timestamp, max: usize) -> u32 {
        let ended = self
            .order
            .iter()
            .take(max)
            .take_while(|(until, _)| *until <= now)
            .count();
        u32::try_from(ended).unwrap_or(u32::MAX)
    }

    pub(crate) fn remember(&mut self, key: &Bytes, item: ItemId, until: Timestamp) {
        self.items.insert(key.clone(), (item, until));
        self.order.push_back((until, key.clone()));
    }

    pub(crate) fn forget(&mut self, count: u32) {
        for _ in 0..count {
            let (until, key) = self.order.pop_front().expect("a key is forgotten once");
            // A later item may have taken the key over.
            if self
                .items
                .get(&key)
                .is_some_and(|(_, current)| *current == until)
            {
                self.items.remove(&key);
            }
        }
    }

    /// In the order in which they came, each with its item; None: a later use of the key has taken over.
    pub(crate) fn store(&self, writer: &mut Writer<'_>) {
        writer.put(&self.order.len());
        for (until, key) in &self.order {
            let current = self.items.get(key);
            let item = current.filter(|(_, current)| current == until);
            writer.put_base(*until);
            writer.put(&(key, item.map(|(item, _)| item)));
        }
    }

    pub(crate) fn load(reader: &mut Reader<'_>, last_item: ItemId) -> Result<Self, DecodeError> {
        let mut keys = Self::default();
        let count: u64 = reader.take()?;
        for _ in 0..count {
            let until = reader.base()?;
            let (key, item): (Bytes, Option<ItemId>) = reader.take()?;
            if let Some(item) = item {
                ensure(item <= last_item, "a key is that of an item")?;
                let before = keys.items.insert(key.clone(), (item, until));
                ensure(before.is_none(), "a key stands for one item")?;
            }
            keys.order.push_back((until, key));
        }
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stands_for_its_item_until_its_window_ends() {
        let mut keys = Keys::default();
        let key = Bytes::from_static(b"k");
        keys.remember(&key, ItemId(1), Timestamp(10));
        assert_eq!(keys.find(&key, Timestamp(9)), Some(ItemId(1)));
        assert_eq!(keys.find(&key, Timestamp(10)), None);
    }

    #[test]
    fn forgetting_an_old_use_of_a_key_spares_the_new_one() {
        let mut keys = Keys::default();
        let key = Bytes::from_static(b"k");
        keys.remember(&key, ItemId(1), Timestamp(10));
        keys.remember(&key, ItemId(2), Timestamp(20));
        assert_eq!(keys.ended(Timestamp(10), 100), 1);
        keys.forget(1);
        assert_eq!(keys.find(&key, Timestamp(11)), Some(ItemId(2)));
        keys.forget(1);
        assert_eq!(keys, Keys::default());
    }
}
