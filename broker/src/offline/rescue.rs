//! A queue from what is left of it.
//!
//! Up to the first gap its state is certain: the last whole checkpoint, and the facts that follow it one by one. Behind a gap
//! facts are honoured that end items, that publish them and that configure the queue; items of which a body can be read and
//! no fact is known are ready, since an item had better come twice than never. [`Queue::apply`] panics where an event does
//! not fit: so events from behind a gap are never applied, but others that fit and come to the same.

use std::collections::BTreeMap;

use baton_journal::StreamId;
use baton_queue::{Config, Event, ItemId, PublishedItems, Queue, Sizes, Timestamp};

use super::endings::{End, Endings};
use super::evidence::{Bodies, Trail};
use super::ranges::Ranges;

/// A queue that can be driven on, of which every item that is not done has a body.
#[derive(Debug)]
pub(super) struct Rescue {
    pub(super) stream: StreamId,
    pub(super) queue: Queue,
    /// There is neither a checkpoint nor a first fact: what the queue was is not known.
    pub(super) begins_anew: bool,
    /// Numbers of facts that cannot be read, up to the last one that can.
    pub(super) missing_facts: Ranges,
    /// Items that were waiting and whose bodies cannot be read.
    pub(super) lost: Ranges,
    /// Items without a body that may have been done: the facts that would say so cannot be read.
    pub(super) unknown: Ranges,
    /// Items with a body that may have been done: they are ready.
    pub(super) revived: Ranges,
}

impl Rescue {
    /// What can be made of a trail.
    pub(super) fn of(stream: StreamId, trail: &Trail, now: Timestamp) -> Self {
        let mut base = Base::of(trail);
        let certain = base.queue.last_item();
        let later = Later::of(trail, base.seq, certain);
        let mut rescue = Self {
            stream,
            begins_anew: base.begins_anew,
            missing_facts: later.missing,
            lost: Ranges::default(),
            unknown: Ranges::default(),
            revived: Ranges::default(),
            queue: std::mem::replace(&mut base.queue, Queue::new(Config::default())),
        };
        let readable: Ranges = trail.bodies.iter().map(|b| (b.first, b.end())).collect();
        let last = readable.iter().last().map_or(0, |(_, end)| end - 1);
        let last = last.max(later.last_item).max(certain.0);
        rescue.publish(trail, &later.published, last, now);
        let mut endings = Endings::new(now);
        for (end, items) in &later.ended {
            endings.apply(&mut rescue.queue, *end, items);
        }
        rescue.drop_unreadable(&readable, certain, &mut endings);
        let done = later.ended.values().flat_map(Ranges::iter);
        done.for_each(|(first, end)| rescue.unknown.remove(first, end));
        endings.finish(&mut rescue.queue);
        if let Some(config) = later.config {
            rescue
                .queue
                .apply(&Event::ConfigChanged { at: now, config });
        }
        while rescue.queue.poll_removed().is_some() {}
        rescue
    }

    /// The items that are not done.
    pub(super) fn waiting(&self) -> Ranges {
        let mut waiting = Ranges::default();
        let mut add =
            |first: ItemId, count: u32| waiting.insert(first.0, first.0 + u64::from(count));
        self.queue.unsettled(&mut add);
        waiting
    }

    /// Publishes the items behind the certain ones, up to `last`: as it was done, where the fact can be read; else ready.
    fn publish(
        &mut self,
        trail: &Trail,
        published: &BTreeMap<u64, PublishedItems>,
        last: u64,
        now: Timestamp,
    ) {
        for (&first, items) in published {
            self.fill(trail, first, now);
            if self.queue.last_item().0 + 1 == first {
                self.queue.apply(&Event::Published(items.clone()));
            }
        }
        self.fill(trail, last + 1, now);
    }

    /// Publishes all items below `end`. Bodies may be there twice, and in any order.
    fn fill(&mut self, trail: &Trail, end: u64, now: Timestamp) {
        let first = self.queue.last_item().0 + 1;
        let bodies = trail.bodies.iter();
        let mut within: Vec<&Bodies> = bodies
            .filter(|bodies| bodies.first < end && bodies.end() > first)
            .collect();
        within.sort_unstable_by_key(|bodies| bodies.first);
        for bodies in within {
            let at = self.queue.last_item().0 + 1;
            self.blank(bodies.first.min(end), now);
            let from = bodies.first.max(at);
            let to = bodies.end().min(end);
            if from < to {
                let skipped = narrow(from - bodies.first);
                self.add(narrow(to - from), bodies.sizes.skip(skipped), now);
                self.revived.insert(from, to);
            }
        }
        self.blank(end, now);
    }

    /// Publishes all items below `end`, and cancels them: there is nothing of them.
    fn blank(&mut self, end: u64, now: Timestamp) {
        loop {
            let first = self.queue.last_item().0 + 1;
            if first >= end {
                return;
            }
            let count = narrow(end - first);
            self.add(count, Sizes::Uniform(0), now);
            let first = ItemId(first);
            self.queue.apply(&Event::Cancelled {
                at: now,
                first,
                count,
            });
            self.unknown.insert(first.0, first.0 + u64::from(count));
        }
    }

    fn add(&mut self, count: u32, sizes: Sizes, now: Timestamp) {
        let first = ItemId(self.queue.last_item().0 + 1);
        self.queue.apply(&Event::Published(PublishedItems {
            at: now,
            first,
            count,
            sizes,
            due: None,
            expires_at: None,
            producer: None,
            keys: Vec::new(),
            origin: None,
        }));
    }

    /// Drops the items without a body. They are lost for sure where every fact can be read.
    fn drop_unreadable(&mut self, readable: &Ranges, certain: ItemId, endings: &mut Endings) {
        let waiting = self.waiting();
        let lacking = waiting
            .iter()
            .flat_map(|(first, end)| readable.lacking(first, end));
        let lacking: Ranges = lacking.collect();
        endings.apply(&mut self.queue, End::Dropped, &lacking);
        let whole = self.missing_facts.is_empty() && !self.begins_anew;
        let into = if whole {
            &mut self.lost
        } else {
            &mut self.unknown
        };
        lacking
            .iter()
            .for_each(|(first, end)| into.insert(first, end));
        let left = self.waiting();
        let doubtful = self.revived.iter();
        let doubtful = doubtful.flat_map(|(first, end)| left.within(first.max(certain.0 + 1), end));
        self.revived = doubtful.collect();
    }
}

/// A run counts its items in 32 bits; the rest comes in the next one.
fn narrow(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The state that is certain.
struct Base {
    queue: Queue,
    /// Of the last fact in it.
    seq: u64,
    begins_anew: bool,
}

impl Base {
    fn of(trail: &Trail) -> Self {
        let mut base = Self {
            queue: Queue::new(Config::default()),
            seq: 0,
            begins_anew: false,
        };
        if let Some(checkpoint) = &trail.checkpoint {
            match Queue::restore(&checkpoint.payload) {
                Ok(queue) => (base.queue, base.seq) = (queue, checkpoint.as_of),
                Err(_) => {
                    base.begins_anew = true;
                    return base;
                }
            }
        }
        while let Some(payload) = trail.facts.get(&(base.seq + 1)) {
            let Some(events) = decoded(payload) else {
                break;
            };
            events.iter().for_each(|event| base.queue.apply(event));
            base.seq += 1;
        }
        base.begins_anew = base.seq == 0;
        base
    }
}

/// None: they cannot be understood, and none of them counts.
fn decoded(payload: &[u8]) -> Option<Vec<Event>> {
    let mut events = Vec::new();
    let decoded = baton_queue::decode_events(payload, &mut |event| events.push(event));
    decoded.ok().map(|()| events)
}

/// What is known from behind the first gap.
struct Later {
    missing: Ranges,
    /// By first item; all of them behind the certain ones.
    published: BTreeMap<u64, PublishedItems>,
    ended: BTreeMap<End, Ranges>,
    config: Option<Config>,
    last_item: u64,
}

impl Later {
    fn of(trail: &Trail, seq: u64, certain: ItemId) -> Self {
        let mut later = Self {
            missing: Ranges::default(),
            published: BTreeMap::new(),
            ended: BTreeMap::new(),
            config: None,
            last_item: 0,
        };
        let mut next = seq + 1;
        for (&seq, payload) in trail.facts.range(next..) {
            later.missing.insert(next, seq);
            next = seq + 1;
            match decoded(payload) {
                Some(events) => events
                    .into_iter()
                    .for_each(|event| later.event(event, certain)),
                None => later.missing.insert(seq, next),
            }
        }
        for (first, end) in trail.hit_facts.within(seq + 1, u64::MAX) {
            let known = trail
                .facts
                .range(first..end)
                .map(|(&seq, _)| (seq, seq + 1));
            let known: Ranges = known.collect();
            let lacking = known.lacking(first, end).into_iter();
            lacking.for_each(|(first, end)| later.missing.insert(first, end));
        }
        let hit = trail.hit_items.iter().last();
        later.last_item = later.last_item.max(hit.map_or(0, |(_, end)| end - 1));
        later
    }

    fn event(&mut self, event: Event, certain: ItemId) {
        if let Some((first, count)) = items_of(&event) {
            self.last_item = self.last_item.max(first.0 + u64::from(count) - 1);
        }
        match event {
            Event::Published(items) if items.first > certain => {
                self.published.insert(items.first.0, items);
            }
            Event::Acked { first, count, .. } => self.ended(End::Acked, first, count),
            Event::Expired { first, count, .. } => self.ended(End::Expired, first, count),
            Event::Cancelled { first, count, .. } => self.ended(End::Cancelled, first, count),
            Event::Discarded { first, count, .. } => self.ended(End::Discarded, first, count),
            Event::ConfigChanged { config, .. } => self.config = Some(config),
            _ => {}
        }
    }

    fn ended(&mut self, end: End, first: ItemId, count: u32) {
        let ended = self.ended.entry(end).or_default();
        ended.insert(first.0, first.0 + u64::from(count));
    }
}

fn items_of(event: &Event) -> Option<(ItemId, u32)> {
    match event {
        Event::Published(items) | Event::PublishedFrom(items, _) => {
            Some((items.first, items.count))
        }
        Event::Leased(leased) => Some((leased.first, leased.count)),
        Event::Failed(failed) => Some((failed.first, failed.count)),
        &(Event::Extended { first, count, .. }
        | Event::Acked { first, count, .. }
        | Event::Released { first, count, .. }
        | Event::Due { first, count, .. }
        | Event::Expired { first, count, .. }
        | Event::Cancelled { first, count, .. }
        | Event::Redriven { first, count, .. }
        | Event::Discarded { first, count, .. }) => Some((first, count)),
        Event::Repeated(_)
        | Event::ConfigChanged { .. }
        | Event::SessionOpened { .. }
        | Event::SessionClosed { .. }
        | Event::SessionForgotten { .. }
        | Event::ProducerForgotten { .. }
        | Event::KeysForgotten { .. } => None,
    }
}
