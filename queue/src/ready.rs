//! Items that wait for a consumer.

use std::collections::BTreeSet;

use crate::id::ItemId;
use crate::queue::Queue;
use crate::run::{Index, Items, Phase, Run};
use crate::time::Timestamp;

/// Waits for a consumer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ready {
    pub(crate) since: Since,
}

/// Since when items are ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// Since each was published, so that items of different times can be one run.
    Published,
    At(Timestamp),
}

impl Run<Ready> {
    /// Since when the item at `index` is ready.
    pub(crate) fn ready_at(&self, index: u32) -> Timestamp {
        match self.phase.since {
            Since::Published => self.items.published_at.at(index),
            Since::At(at) => at,
        }
    }

    /// Since when the item at `index` waits for its next attempt: taken in, or the attempt before failed, or redriven.
    pub(crate) fn waiting_since(&self, index: u32) -> Timestamp {
        let redriven = self.items.forgiven > 0 && self.items.forgiven == self.items.attempts;
        let history = self.items.history.as_ref();
        match history.and_then(|history| history.last_ended_at()) {
            _ if redriven => self.ready_at(index),
            Some(failed_at) => failed_at,
            None => self.items.published_at.at(index),
        }
    }
}

impl Queue {
    /// The ready items after `after` in the order in which they are handed out, as runs: the first item, how many, and their
    /// bytes. What has expired is among them until a tick or a lease notices.
    pub fn ready_runs(&self, after: ItemId) -> impl Iterator<Item = (ItemId, u32, u64)> {
        self.ready.after(after).map(move |Run { items, .. }| {
            let first = items.first.max(after.plus(1));
            let skipped = first.since(items.first);
            let count = items.count - skipped;
            (first, count, items.sizes.skip(skipped).total(count))
        })
    }
}

/// Ready runs by the age of their first item, which is the oldest, and by expiry.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReadyIndex {
    pub(crate) ages: BTreeSet<(Timestamp, ItemId)>,
    pub(crate) expiries: Expiries,
}

impl Phase for Ready {
    type Index = ReadyIndex;

    fn skip(&self, _: u32) -> Self {
        self.clone()
    }

    fn continues(&self, _: u32, next: &Self) -> bool {
        self == next
    }
}

impl Index<Ready> for ReadyIndex {
    fn add(&mut self, run: &Run<Ready>) {
        self.ages.insert((run.ready_at(0), run.items.first));
        self.expiries.add(&run.items);
    }

    fn remove(&mut self, run: &Run<Ready>) {
        self.ages.remove(&(run.ready_at(0), run.items.first));
        self.expiries.remove(&run.items);
    }
}

/// Runs with a time to live, by the end of their first item's, which is the earliest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expiries(BTreeSet<(Timestamp, ItemId)>);

impl Expiries {
    pub(crate) fn add(&mut self, items: &Items) {
        if let Some(at) = &items.expires_at {
            self.0.insert((at.at(0), items.first));
        }
    }

    pub(crate) fn remove(&mut self, items: &Items) {
        if let Some(at) = &items.expires_at {
            self.0.remove(&(at.at(0), items.first));
        }
    }

    /// The next end.
    pub(crate) fn first(&self) -> Option<Timestamp> {
        self.0.first().map(|(at, _)| *at)
    }

    /// The runs of which an item's end has come at `now`.
    pub(crate) fn until(&self, now: Timestamp) -> impl Iterator<Item = ItemId> {
        self.0
            .iter()
            .take_while(move |(at, _)| *at <= now)
            .map(|(_, first)| *first)
    }
}
