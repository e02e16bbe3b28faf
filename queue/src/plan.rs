//! What a batch would do: who is a repeat, what is new, what fits.
//!
//! Reads the queue and changes nothing. Called by publish, once for each batch.

use std::collections::HashMap;

use bytes::Bytes;

use crate::id::ItemId;
use crate::producers::{Producer, Seen};
use crate::publish::{Admit, NewItem, Publish};
use crate::queue::Queue;
use crate::reject::Reject;
use crate::time::Timestamp;

/// Items in a row that one event can tell of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// Of the first one in the batch.
    pub(crate) position: usize,
    pub(crate) count: u32,
    pub(crate) fate: Fate,
}

/// What becomes of an item.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fate {
    New {
        due: Option<Timestamp>,
        expires_at: Option<Timestamp>,
    },
    Repeat {
        first: Option<ItemId>,
    },
}

impl Step {
    /// Whether an item with `fate` after these goes on as they do.
    fn continues(&self, fate: Fate) -> bool {
        match (self.fate, fate) {
            (Fate::Repeat { first: Some(first) }, Fate::Repeat { first: Some(next) }) => {
                first.plus(u64::from(self.count)) == next
            }
            (mine, next) => mine == next,
        }
    }
}

/// What a batch would do, judged item by item.
pub(crate) struct Plan<'a> {
    queue: &'a Queue,
    now: Timestamp,
    publish: Publish<'a>,
    producer: Option<&'a Producer>,
    /// Sequences of which the same is known: from, until, what.
    known: Option<(u64, u64, Seen)>,
    last_sequence: u64,
    /// Keys of the batch's own items.
    keys: HashMap<&'a Bytes, ItemId>,
    new_items: u64,
    new_bytes: u64,
    steps: Vec<Step>,
}

impl<'a> Plan<'a> {
    pub(crate) fn new(queue: &'a Queue, now: Timestamp, publish: Publish<'a>) -> Self {
        let producer = publish
            .producer
            .and_then(|producer| queue.producers.get(producer.id));
        Self {
            queue,
            now,
            publish,
            producer: producer.map(|(_, known)| known),
            known: None,
            last_sequence: 0,
            keys: HashMap::new(),
            new_items: 0,
            new_bytes: 0,
            steps: Vec::new(),
        }
    }

    /// The steps, and with [`Admit::Prefix`] why they end before the batch does.
    pub(crate) fn make(mut self) -> Result<(Vec<Step>, Option<Reject>), Reject> {
        for (position, item) in self.publish.items.iter().enumerate() {
            match self.judge(item) {
                Ok(fate) => self.push(position, item, fate),
                Err(reject) if self.may_stop_for(&reject) => return Ok((self.steps, Some(reject))),
                Err(reject) => return Err(reject),
            }
        }
        if self.publish.admit == Admit::All {
            self.fits_as_a_whole()?;
        }
        Ok((self.steps, None))
    }

    /// Whether the items before the one that is refused are taken in nevertheless.
    fn may_stop_for(&self, reject: &Reject) -> bool {
        let passes = matches!(reject, Reject::Full { .. } | Reject::DedupFull { .. });
        self.publish.admit == Admit::Prefix && (passes || !self.steps.is_empty())
    }

    fn judge(&mut self, item: &'a NewItem) -> Result<Fate, Reject> {
        if let Some(sequence) = self.sequence(item)? {
            match self.seen(sequence) {
                Seen::Never => {}
                Seen::As(first) => return Ok(Fate::Repeat { first }),
                Seen::Forgotten => return Err(Reject::SequenceForgotten { sequence }),
            }
        }
        if let Some(key) = key_of(item) {
            let own = || self.keys.get(key).copied();
            if let Some(first) = self.queue.keys.find(key, self.now).or_else(own) {
                return Ok(Fate::Repeat { first: Some(first) });
            }
            self.has_room_for_a_key()?;
        }
        if self.queue.config.closed {
            return Err(Reject::Closed);
        }
        if self.publish.admit == Admit::Prefix {
            self.fits(item)?;
        }
        let by_default = || Some(self.now.saturating_add(self.queue.config.default_ttl?));
        let due = item.due.filter(|due| *due > self.now);
        Ok(Fate::New {
            due,
            expires_at: item.expires_at.or_else(by_default),
        })
    }

    fn push(&mut self, position: usize, item: &'a NewItem, fate: Fate) {
        if matches!(fate, Fate::New { .. }) {
            self.new_items += 1;
            self.new_bytes += u64::from(item.size);
            if let Some(key) = key_of(item) {
                self.keys
                    .insert(key, self.queue.last_item.plus(self.new_items));
            }
        }
        // With a producer, a step has sequences without gaps.
        let in_sequence = self.publish.producer.is_none()
            || position.checked_sub(1).is_some_and(|before| {
                self.publish.items[before].index.checked_add(1) == Some(item.index)
            });
        match self.steps.last_mut() {
            Some(step) if in_sequence && step.continues(fate) => step.count += 1,
            _ => self.steps.push(Step {
                position,
                count: 1,
                fate,
            }),
        }
    }

    fn sequence(&mut self, item: &NewItem) -> Result<Option<u64>, Reject> {
        let Some(producer) = self.publish.producer else {
            return Ok(None);
        };
        let sequence = producer.first_sequence.checked_add(u64::from(item.index));
        let ascends =
            |sequence: &u64| producer.first_sequence > 0 && *sequence > self.last_sequence;
        let sequence = sequence.filter(ascends).ok_or(Reject::SequenceInvalid)?;
        self.last_sequence = sequence;
        Ok(Some(sequence))
    }

    fn seen(&mut self, sequence: u64) -> Seen {
        let Some(producer) = self.producer else {
            return Seen::Never;
        };
        let (from, seen) = match self.known {
            Some((from, until, seen)) if sequence <= until => (from, seen),
            _ => {
                let (seen, until) = producer.at(sequence);
                self.known = Some((sequence, until, seen));
                (sequence, seen)
            }
        };
        match seen {
            Seen::As(Some(first)) => Seen::As(Some(first.plus(sequence - from))),
            other => other,
        }
    }

    fn has_room_for_a_key(&self) -> Result<(), Reject> {
        if self.keys.len() < self.queue.keys.room() {
            return Ok(());
        }
        let end = self.queue.keys.next_end().unwrap_or(self.now);
        Err(Reject::DedupFull {
            retry_after: end.saturating_since(self.now),
        })
    }

    /// Whether one more item fits.
    fn fits(&self, item: &NewItem) -> Result<(), Reject> {
        let bytes = u64::from(item.size);
        self.fits_the_limits((1, bytes), (self.new_items + 1, self.new_bytes + bytes))
    }

    fn fits_as_a_whole(&self) -> Result<(), Reject> {
        let batch = (self.new_items, self.new_bytes);
        if self.new_items == 0 {
            Ok(())
        } else {
            self.fits_the_limits(batch, batch)
        }
    }

    /// `alone`: items and bytes that have to fit at once; `added`: those that come on top of the depth.
    fn fits_the_limits(&self, alone: (u64, u64), added: (u64, u64)) -> Result<(), Reject> {
        let (items, bytes) = (self.queue.depth_items(), self.queue.depth_bytes());
        let items_limit = self.queue.config.items_limit().unwrap_or(u64::MAX);
        let bytes_limit = self.queue.config.bytes_limit().unwrap_or(u64::MAX);
        if alone.0 > items_limit || alone.1 > bytes_limit {
            return Err(Reject::NeverFits {
                items: alone.0,
                bytes: alone.1,
            });
        }
        if items + added.0 > items_limit || bytes + added.1 > bytes_limit {
            return Err(Reject::Full { items, bytes });
        }
        Ok(())
    }
}

/// The dedup key of an item, if it has one.
pub(crate) fn key_of(item: &NewItem) -> Option<&Bytes> {
    item.dedup_key.as_ref().filter(|key| !key.is_empty())
}
