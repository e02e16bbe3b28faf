//! The queue's state and what can be read off it at once.
//!
//! Only [`Queue::apply`] changes it. Invariant: of the ids up to `last_item` each is in exactly one of `scheduled`, `ready`,
//! `leased` and `dead`, or it is done and in the totals.

use crate::config::Config;
use crate::dead::Dead;
use crate::ended::Ended;
use crate::event::Event;
use crate::gone::Gone;
use crate::id::ItemId;
use crate::keys::Keys;
use crate::leases::Lease;
use crate::producers::Producers;
use crate::ready::Ready;
use crate::removed::Removed;
use crate::run::Items;
use crate::run_map::RunMap;
use crate::scheduled::Scheduled;
use crate::sessions::Sessions;
use crate::stats::Totals;

/// One queue. See the crate's documentation for how to drive it.
///
/// Two queues are equal when they have come to the same state; what [`Queue::poll_removed`] has still to say is no part of
/// that.
#[derive(Clone, Debug)]
pub struct Queue {
    pub(crate) config: Config,
    pub(crate) last_item: ItemId,
    pub(crate) scheduled: RunMap<Scheduled>,
    pub(crate) ready: RunMap<Ready>,
    pub(crate) leased: RunMap<Lease>,
    pub(crate) dead: RunMap<Dead>,
    pub(crate) sessions: Sessions,
    pub(crate) producers: Producers,
    pub(crate) keys: Keys,
    pub(crate) ended: Ended,
    pub(crate) totals: Totals,
    pub(crate) removed: Removed,
    pub(crate) gone: Gone,
}

impl PartialEq for Queue {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            config,
            last_item,
            scheduled,
            ready,
            leased,
            dead,
            sessions,
            producers,
            keys,
            ended,
            totals,
            removed: _,
            gone: _,
        } = self;
        *config == other.config
            && *last_item == other.last_item
            && *scheduled == other.scheduled
            && *ready == other.ready
            && *leased == other.leased
            && *dead == other.dead
            && *sessions == other.sessions
            && *producers == other.producers
            && *keys == other.keys
            && *ended == other.ended
            && *totals == other.totals
    }
}

impl Queue {
    /// An empty queue. The caller has validated `config`.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            last_item: ItemId::NONE,
            scheduled: RunMap::default(),
            ready: RunMap::default(),
            leased: RunMap::default(),
            dead: RunMap::default(),
            sessions: Sessions::default(),
            producers: Producers::default(),
            keys: Keys::default(),
            ended: Ended::default(),
            totals: Totals::default(),
            removed: Removed::default(),
            gone: Gone::default(),
        }
    }

    /// How it behaves.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Items that wait for a consumer.
    pub const fn ready_items(&self) -> u64 {
        self.ready.count()
    }

    /// Nothing is scheduled, ready or leased. There may be dead letters.
    pub const fn is_empty(&self) -> bool {
        self.depth_items() == 0
    }

    /// Closed and empty: nothing more will come of it.
    pub const fn is_drained(&self) -> bool {
        self.config.closed && self.is_empty()
    }

    /// The item published last; [`ItemId::NONE`] if none was yet.
    pub const fn last_item(&self) -> ItemId {
        self.last_item
    }

    /// The next items whose bodies nobody needs any more: how many, and the first of them. They are acknowledged, expired,
    /// cancelled or discarded.
    pub fn poll_removed(&mut self) -> Option<(ItemId, u32)> {
        self.removed.pop()
    }

    /// Items that count against the limits.
    pub(crate) const fn depth_items(&self) -> u64 {
        self.scheduled.count() + self.ready.count() + self.leased.count()
    }

    /// Their bytes.
    pub(crate) const fn depth_bytes(&self) -> u64 {
        self.scheduled.bytes() + self.ready.bytes() + self.leased.bytes()
    }

    /// What is kept of an item that is not done.
    pub(crate) fn items_of(&self, item: ItemId) -> Option<&Items> {
        let leased = || self.leased.find(item).map(|run| &run.items);
        let ready = || self.ready.find(item).map(|run| &run.items);
        let scheduled = || self.scheduled.find(item).map(|run| &run.items);
        let dead = || self.dead.find(item).map(|run| &run.items);
        leased().or_else(ready).or_else(scheduled).or_else(dead)
    }

    /// Makes a fact of an event and reports it.
    pub(crate) fn emit(&mut self, event: Event, events: &mut Vec<Event>) {
        self.apply(&event);
        events.push(event);
    }
}
