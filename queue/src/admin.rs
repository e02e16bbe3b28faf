//! What operators do to a queue and its items.

use crate::config::Config;
use crate::event::Event;
use crate::explain::ItemState;
use crate::id::ItemId;
use crate::queue::Queue;
use crate::run::{Phase, Run};
use crate::run_map::RunMap;
use crate::tick::coalesced;
use crate::time::Timestamp;

/// Which items a purge removes. Leased ones are their consumers'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PurgeState {
    /// Not before a given time.
    Scheduled,
    /// Waiting for a consumer.
    Ready,
    /// Scheduled and ready.
    Waiting,
    /// Dead letters.
    Dead,
}

/// Which dead letters to redrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedriveWhat<'a> {
    /// These; ids of other items are passed over.
    Ids(&'a [ItemId]),
    /// So many, lowest ids first; None: all.
    Oldest(Option<u32>),
}

impl Queue {
    /// The queue behaves so from now on. The caller has validated `config`. Leases, schedules and windows that have begun
    /// keep their ends.
    pub fn set_config(&mut self, now: Timestamp, config: Config, events: &mut Vec<Event>) {
        if config != self.config {
            self.emit(Event::ConfigChanged { at: now, config }, events);
        }
    }

    /// Cancels those of the items that wait. Returns each one's state before the call, in the same order; None:
    /// never published.
    pub fn cancel(
        &mut self,
        now: Timestamp,
        items: &[ItemId],
        events: &mut Vec<Event>,
    ) -> Vec<Option<ItemState>> {
        let before: Vec<_> = items.iter().map(|item| self.state_of(*item)).collect();
        let waits = |state| matches!(state, Some(ItemState::Scheduled | ItemState::Ready));
        let waiting = items
            .iter()
            .zip(&before)
            .filter(|(_, state)| waits(**state));
        let cancelled: Vec<ItemId> = waiting.map(|(item, _)| *item).collect();
        for (first, count) in runs_of(&cancelled) {
            self.emit(
                Event::Cancelled {
                    at: now,
                    first,
                    count,
                },
                events,
            );
        }
        before
    }

    /// Removes all items in a state. Returns how many they were.
    pub fn purge(&mut self, now: Timestamp, state: PurgeState, events: &mut Vec<Event>) -> u64 {
        let mut ranges = Vec::new();
        if matches!(state, PurgeState::Scheduled | PurgeState::Waiting) {
            ranges.extend(self.scheduled.iter().map(range_of));
        }
        if matches!(state, PurgeState::Ready | PurgeState::Waiting) {
            ranges.extend(self.ready.iter().map(range_of));
        }
        if state == PurgeState::Dead {
            ranges.extend(self.dead.iter().map(range_of));
        }
        let ranges = coalesced(ranges);
        for &(first, count) in &ranges {
            let event = match state {
                PurgeState::Dead => Event::Discarded {
                    at: now,
                    first,
                    count,
                },
                _ => Event::Cancelled {
                    at: now,
                    first,
                    count,
                },
            };
            self.emit(event, events);
        }
        ranges.iter().map(|(_, count)| u64::from(*count)).sum()
    }

    /// Makes dead letters ready again, whatever the limits of depth say: they were in the queue before. Returns how many.
    pub fn redrive(
        &mut self,
        now: Timestamp,
        what: RedriveWhat<'_>,
        events: &mut Vec<Event>,
    ) -> u64 {
        let ranges = match what {
            RedriveWhat::Ids(items) => self.dead_among(items),
            RedriveWhat::Oldest(max) => oldest(&self.dead, max.map_or(u64::MAX, u64::from)),
        };
        for &(first, count) in &ranges {
            self.emit(
                Event::Redriven {
                    at: now,
                    first,
                    count,
                },
                events,
            );
        }
        ranges.iter().map(|(_, count)| u64::from(*count)).sum()
    }

    /// Removes those of the items that are dead letters. Returns how many they were.
    pub fn discard(&mut self, now: Timestamp, items: &[ItemId], events: &mut Vec<Event>) -> u64 {
        let ranges = self.dead_among(items);
        for &(first, count) in &ranges {
            self.emit(
                Event::Discarded {
                    at: now,
                    first,
                    count,
                },
                events,
            );
        }
        ranges.iter().map(|(_, count)| u64::from(*count)).sum()
    }

    fn dead_among(&self, items: &[ItemId]) -> Vec<(ItemId, u32)> {
        let dead = items
            .iter()
            .copied()
            .filter(|item| self.dead.find(*item).is_some());
        runs_of(&dead.collect::<Vec<_>>())
    }
}

fn range_of<P: Phase>(run: &Run<P>) -> (ItemId, u32) {
    (run.items.first, run.items.count)
}

/// The items as ranges, in order and without repeats.
fn runs_of(items: &[ItemId]) -> Vec<(ItemId, u32)> {
    let mut items = items.to_vec();
    items.sort_unstable();
    items.dedup();
    coalesced(items.into_iter().map(|item| (item, 1)).collect())
}

/// The first `max` items, as ranges.
fn oldest<P: Phase>(runs: &RunMap<P>, max: u64) -> Vec<(ItemId, u32)> {
    let mut left = max;
    let mut ranges = Vec::new();
    for run in runs.iter() {
        let count = u32::try_from(left).unwrap_or(u32::MAX).min(run.items.count);
        if count == 0 {
            break;
        }
        ranges.push((run.items.first, count));
        left -= u64::from(count);
    }
    coalesced(ranges)
}
