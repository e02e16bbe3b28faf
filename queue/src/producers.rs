//! Which sequences of which producer were stored, so that a retry makes no second item.
//!
//! For each producer it knows exactly which sequences it has seen (a batch that was refused may come again after later
//! ones), and of the latest runs also the ids that they got. Bounds: see `limits`. Called by publish and tick.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::codec::{DecodeError, ensure};
use crate::id::ItemId;
use crate::limits::{PRODUCERS_MAX, SEQUENCE_RUNS_MAX};
use crate::range_set::{Membership, RangeSet};
use crate::snapshot::{Reader, Writer};
use crate::time::Timestamp;

/// Ordered maps, since peers choose the ids: no choice of theirs makes them slow.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Producers {
    known: BTreeMap<Arc<str>, Producer>,
    /// The one that has been silent for the longest first.
    idle: BTreeSet<(Timestamp, Arc<str>)>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Producer {
    heard_at: Timestamp,
    seen: RangeSet,
    /// By first sequence. Where a sequence is in none, its id is forgotten.
    ids: BTreeMap<u64, IdRun>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct IdRun {
    count: u64,
    first: ItemId,
}

/// What is known of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It is new.
    Never,
    /// It was stored as this item; `None`: as one whose id is forgotten.
    As(Option<ItemId>),
    /// Too long ago to say.
    Forgotten,
}

impl Producer {
    fn new(heard_at: Timestamp) -> Self {
        let seen = RangeSet::with_capacity(SEQUENCE_RUNS_MAX);
        Self {
            heard_at,
            seen,
            ids: BTreeMap::new(),
        }
    }

    /// What is known of `sequence`, and the last one of which the same is known; ids go up by 1 up to there.
    pub(crate) fn at(&self, sequence: u64) -> (Seen, u64) {
        match self.seen.at(sequence) {
            (Membership::Absent, until) => (Seen::Never, until),
            (Membership::Forgotten, until) => (Seen::Forgotten, until),
            (Membership::Present, until) => self.id_at(sequence, until),
        }
    }

    fn id_at(&self, sequence: u64, until: u64) -> (Seen, u64) {
        if let Some((&first, run)) = self.ids.range(..=sequence).next_back()
            && sequence - first < run.count
        {
            let id = run.first.plus(sequence - first);
            return (Seen::As(Some(id)), until.min(first + (run.count - 1)));
        }
        let next = self
            .ids
            .range(sequence..)
            .next()
            .map_or(u64::MAX, |(first, _)| first - 1);
        (Seen::As(None), until.min(next))
    }

    fn remember(&mut self, sequence: u64, count: u32, first: Option<ItemId>) {
        let count = u64::from(count);
        self.seen.insert(sequence, sequence + (count - 1));
        if let Some(first) = first {
            self.remember_ids(sequence, count, first);
        }
        while self.ids.len() > SEQUENCE_RUNS_MAX {
            self.ids.pop_first();
        }
    }

    /// Some of the sequences may be known: where repeats by key and by sequence are neighbours, they come as one run.
    fn remember_ids(&mut self, sequence: u64, count: u64, first: ItemId) {
        let last = sequence + (count - 1);
        let mut next = Some(sequence);
        while let Some(from) = next.filter(|from| *from <= last) {
            let (known, until) = self.id_at(from, last);
            if known == Seen::As(None) {
                self.append_ids(from, until - from + 1, first.plus(from - sequence));
            }
            next = until.checked_add(1);
        }
    }

    fn append_ids(&mut self, sequence: u64, count: u64, first: ItemId) {
        if let Some((&before, run)) = self.ids.range_mut(..sequence).next_back()
            && before + run.count == sequence
            && run.first.plus(run.count) == first
        {
            run.count += count;
        } else {
            self.ids.insert(sequence, IdRun { count, first });
        }
    }

    fn store(&self, writer: &mut Writer<'_>) {
        writer.put_base(self.heard_at);
        self.seen.store(writer);
        writer.put(&self.ids.len());
        let mut next = 0;
        for (first, run) in &self.ids {
            writer.put(&(first - next, run.count, run.first));
            next = first + (run.count - 1);
        }
    }

    fn load(reader: &mut Reader<'_>, last_item: ItemId) -> Result<Self, DecodeError> {
        let heard_at = reader.base()?;
        let seen = RangeSet::load(reader, SEQUENCE_RUNS_MAX)?;
        let count: u64 = reader.take()?;
        let mut ids = reader.room(count);
        let mut before = None;
        for _ in 0..count {
            let (gap, count, first): (u64, u64, ItemId) = reader.take()?;
            let sequence = before.unwrap_or(0_u64).checked_add(gap);
            let last = sequence.and_then(|first| first.checked_add(count.checked_sub(1)?));
            let rule = "sequences ascend";
            ensure(before.is_none() || gap > 0, rule)?;
            let (sequence, last) = sequence
                .zip(last)
                .ok_or(DecodeError::Inconsistent { rule })?;
            let published = first.plus(count - 1) <= last_item;
            ensure(published, "a sequence is that of an item")?;
            ids.push((sequence, IdRun { count, first }));
            before = Some(last);
        }
        let ids = ids.into_iter().collect();
        Ok(Self {
            heard_at,
            seen,
            ids,
        })
    }
}

impl Producers {
    /// The producer and its name as it is kept.
    pub(crate) fn get(&self, id: &str) -> Option<(&Arc<str>, &Producer)> {
        self.known.get_key_value(id)
    }

    /// The producer to forget before another one can be remembered.
    pub(crate) fn surplus(&self) -> Option<&Arc<str>> {
        let full = self.known.len() >= PRODUCERS_MAX;
        self.idle.first().map(|(_, id)| id).filter(|_| full)
    }

    /// The producer that has been silent for the longest, and when it was heard.
    pub(crate) fn most_idle(&self) -> Option<(Timestamp, &Arc<str>)> {
        self.idle.first().map(|(heard_at, id)| (*heard_at, id))
    }

    /// The sequences from `sequence` on were stored as the items from `first` on.
    pub(crate) fn remember(
        &mut self,
        id: &Arc<str>,
        at: Timestamp,
        (sequence, count): (u64, u32),
        first: Option<ItemId>,
    ) {
        let known = self
            .known
            .entry(Arc::clone(id))
            .or_insert_with(|| Producer::new(at));
        if known.heard_at < at {
            self.idle.remove(&(known.heard_at, Arc::clone(id)));
            known.heard_at = at;
        }
        self.idle.insert((known.heard_at, Arc::clone(id)));
        known.remember(sequence, count, first);
    }

    pub(crate) fn forget(&mut self, id: &Arc<str>) {
        let known = self.known.remove(id).expect("a producer is forgotten once");
        self.idle.remove(&(known.heard_at, Arc::clone(id)));
    }

    pub(crate) fn store<'a>(&'a self, writer: &mut Writer<'a>) {
        writer.put(&self.known.len());
        for (id, producer) in &self.known {
            writer.put(id.as_ref());
            producer.store(writer);
        }
    }

    pub(crate) fn load(reader: &mut Reader<'_>, last_item: ItemId) -> Result<Self, DecodeError> {
        let mut producers = Self::default();
        let count: u64 = reader.take()?;
        for _ in 0..count {
            let id: Arc<str> = reader.take::<&str>()?.into();
            let producer = Producer::load(reader, last_item)?;
            producers.idle.insert((producer.heard_at, Arc::clone(&id)));
            let before = producers.known.insert(id, producer);
            ensure(before.is_none(), "a producer is known once")?;
        }
        Ok(producers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn producer(runs: &[(u64, u32, Option<u64>)]) -> Producer {
        let mut producer = Producer::new(Timestamp(0));
        for &(sequence, count, first) in runs {
            producer.remember(sequence, count, first.map(ItemId));
        }
        producer
    }

    #[test]
    fn runs_that_go_on_in_sequence_and_id_become_one() {
        let producer = producer(&[(1, 10, Some(1)), (11, 10, Some(11))]);
        assert_eq!(producer.ids.len(), 1);
        assert_eq!(producer.at(5), (Seen::As(Some(ItemId(5))), 20));
        assert_eq!(producer.at(21), (Seen::Never, u64::MAX));
    }

    #[test]
    fn a_batch_that_was_refused_is_new_after_later_ones_were_stored() {
        let producer = producer(&[(1, 10, Some(1)), (21, 10, Some(11))]);
        assert_eq!(producer.at(11), (Seen::Never, 20));
        assert_eq!(producer.at(22), (Seen::As(Some(ItemId(12))), 30));
    }

    #[test]
    fn old_ids_are_forgotten_before_the_sequences_are() {
        let mut producer = Producer::new(Timestamp(0));
        for batch in 0..=SEQUENCE_RUNS_MAX as u64 {
            producer.remember(1 + 10 * batch, 10, Some(ItemId(1 + 20 * batch)));
        }
        assert_eq!(producer.at(1), (Seen::As(None), 10));
        assert_eq!(producer.at(11), (Seen::As(Some(ItemId(21))), 20));
    }

    #[test]
    fn sequences_below_too_many_gaps_are_reported_as_forgotten() {
        let mut producer = Producer::new(Timestamp(0));
        for batch in 0..=SEQUENCE_RUNS_MAX as u64 {
            producer.remember(10 + 10 * batch, 1, Some(ItemId(1 + batch)));
        }
        assert_eq!(producer.at(3), (Seen::Forgotten, 10));
        assert_eq!(producer.at(20).0, Seen::As(Some(ItemId(2))));
        assert_eq!(producer.at(11), (Seen::Never, 19));
    }

    #[test]
    fn repeats_that_are_known_in_part_keep_all_their_ids() {
        let mut producer = producer(&[(3, 1, Some(5)), (6, 1, Some(9))]);
        producer.remember(3, 2, Some(ItemId(5)));
        producer.remember(5, 2, Some(ItemId(8)));
        let ids: Vec<Seen> = (3..=6).map(|sequence| producer.at(sequence).0).collect();
        assert_eq!(ids, [5, 6, 8, 9].map(|id| Seen::As(Some(ItemId(id)))));
    }

    #[test]
    fn the_most_idle_producer_is_the_one_heard_longest_ago() {
        let mut producers = Producers::default();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        producers.remember(&a, Timestamp(1), (1, 1), Some(ItemId(1)));
        producers.remember(&b, Timestamp(2), (1, 1), Some(ItemId(2)));
        producers.remember(&a, Timestamp(3), (2, 1), Some(ItemId(3)));
        assert_eq!(producers.most_idle(), Some((Timestamp(2), &b)));
        producers.forget(&b);
        assert_eq!(producers.most_idle(), Some((Timestamp(3), &a)));
    }
}
