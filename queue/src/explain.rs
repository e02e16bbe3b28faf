//! Where an item is, since when and why; and looking at items without leasing them.

use std::sync::Arc;

use crate::ended::Ending;
use crate::event::Origin;
use crate::history::{FailedAttempt, FailureReason};
use crate::id::ItemId;
use crate::queue::Queue;
use crate::run::{Items, Phase};
use crate::run_map::RunMap;
use crate::time::Timestamp;

/// Where an item stands. It is in exactly one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemState {
    /// Not before a given time.
    Scheduled,
    /// Waits for a consumer.
    Ready,
    /// A consumer has it.
    Leased,
    /// Given up on.
    Dead,
    /// Acknowledged, expired, cancelled or discarded.
    Done,
}

/// Why an item waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitReason {
    /// Its producer set a time.
    Delayed,
    /// Its last attempt failed.
    BackingOff,
    /// The queue is paused.
    Paused,
    /// Nobody consumes the queue.
    NoConsumer,
    /// Consumers are there; none has credit.
    NoCredit,
    /// Other items are before it.
    BehindOthers,
}

/// What consumers ask for now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Consumers.
    pub consumers: u32,
    /// Items that they would take now.
    pub credit: u64,
}

/// Where an item is, since when and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Which item.
    pub item: ItemId,
    /// Where it stands. Of one that is done nothing more is known.
    pub state: ItemState,
    /// Scheduled and ready only. None: nothing is in its way, it is handed out next.
    pub wait_reason: Option<WaitReason>,
    /// Taken in.
    pub published_at: Option<Timestamp>,
    /// In this state since.
    pub since: Option<Timestamp>,
    /// Scheduled: due at. Leased: the lease runs out at. Ready with a time to live: expires at.
    pub until: Option<Timestamp>,
    /// Deliveries so far.
    pub attempts: u32,
    /// Failed ones, oldest first; the first and the latest 15 where there are more.
    pub failed_attempts: Vec<FailedAttempt>,
    /// Leased: who has it.
    pub consumer: Option<Arc<str>>,
    /// Ready: items that are handed out before it.
    pub items_before: Option<u64>,
    /// Dead: why it was given up.
    pub dead_reason: Option<FailureReason>,
    /// Bytes.
    pub size: u32,
    /// It could be handed out since; scheduled: it can be from then on.
    pub ready_at: Option<Timestamp>,
    /// Attempts before the last redrive; 0: it was never redriven.
    pub forgiven: u32,
    /// How its producer's clock compared.
    pub origin: Option<Origin>,
    /// Done: how. None: that is not known any more.
    pub ending: Option<Ending>,
}

/// Ready items up to an id.
#[derive(Default)]
struct Counted {
    up_to: ItemId,
    ready: u64,
}

impl Queue {
    /// Where an item is, since when and why. None: it was never published.
    ///
    /// Nothing in the answer is relative to `now`; it is asked for as of every other call.
    pub fn explain(&self, _now: Timestamp, item: ItemId, demand: Demand) -> Option<Explanation> {
        self.explain_after(item, demand, &mut Counted::default())
    }

    /// As [`Queue::explain`] for each of the items that was ever published. Ascending ids are counted past once in all.
    pub fn explain_all(
        &self,
        _now: Timestamp,
        items: &[ItemId],
        demand: Demand,
    ) -> Vec<Explanation> {
        let mut counted = Counted::default();
        let explained = items
            .iter()
            .filter_map(|item| self.explain_after(*item, demand, &mut counted));
        explained.collect()
    }

    fn explain_after(
        &self,
        item: ItemId,
        demand: Demand,
        counted: &mut Counted,
    ) -> Option<Explanation> {
        let state = self.state_of(item)?;
        let known = self
            .items_of(item)
            .map_or_else(|| done(item), |items| about(item, items));
        let ending = (state == ItemState::Done).then(|| self.ended.of(item));
        let mut explanation = Explanation {
            state,
            ending: ending.flatten(),
            ..known
        };
        self.explain_waiting(&mut explanation, demand, counted);
        self.explain_held(&mut explanation);
        Some(explanation)
    }

    fn explain_waiting(
        &self,
        explanation: &mut Explanation,
        demand: Demand,
        counted: &mut Counted,
    ) {
        let item = explanation.item;
        if let Some(run) = self.scheduled.find(item) {
            explanation.since = Some(run.phase.since);
            explanation.until = Some(run.phase.due);
            explanation.ready_at = Some(run.phase.due);
            let delayed = run.items.attempts == 0;
            let reason = if delayed {
                WaitReason::Delayed
            } else {
                WaitReason::BackingOff
            };
            explanation.wait_reason = Some(reason);
        }
        if let Some(run) = self.ready.find(item) {
            let before = self.ready_before(item, counted);
            explanation.since = Some(run.ready_at(item.since(run.items.first)));
            explanation.ready_at = explanation.since;
            let expires_at = run.items.expires_at.as_ref();
            explanation.until = expires_at.map(|at| at.at(item.since(run.items.first)));
            explanation.items_before = Some(before);
            explanation.wait_reason = self.why_ready_waits(before, demand);
        }
    }

    /// Ready items before `item`, counted on from an earlier one where that is possible.
    fn ready_before(&self, item: ItemId, counted: &mut Counted) -> u64 {
        let last = ItemId(item.get() - 1);
        if counted.up_to > last {
            *counted = Counted::default();
        }
        counted.ready += self.ready.count_within(counted.up_to, last);
        counted.up_to = last;
        counted.ready
    }

    fn why_ready_waits(&self, before: u64, demand: Demand) -> Option<WaitReason> {
        match demand {
            _ if self.config.paused => Some(WaitReason::Paused),
            Demand { consumers: 0, .. } => Some(WaitReason::NoConsumer),
            Demand { credit: 0, .. } => Some(WaitReason::NoCredit),
            _ if before > 0 => Some(WaitReason::BehindOthers),
            _ => None,
        }
    }

    fn explain_held(&self, explanation: &mut Explanation) {
        if let Some(run) = self.leased.find(explanation.item) {
            explanation.since = Some(run.phase.leased_at);
            explanation.ready_at = Some(run.phase.ready_at);
            explanation.until = Some(run.phase.deadline);
            explanation.consumer = Some(Arc::clone(&run.phase.consumer));
        }
        if let Some(run) = self.dead.find(explanation.item) {
            explanation.since = Some(run.phase.since);
            explanation.dead_reason = Some(run.phase.reason);
        }
    }

    /// Every item before this one has been settled for good.
    pub fn oldest_unsettled(&self) -> ItemId {
        let first = [
            self.ready.iter().next().map(|run| run.items.first),
            self.leased.iter().next().map(|run| run.items.first),
            self.scheduled.iter().next().map(|run| run.items.first),
            self.dead.iter().next().map(|run| run.items.first),
        ];
        let next = self.last_item.plus(1);
        first.into_iter().flatten().min().unwrap_or(next)
    }

    /// Where an item stands. None: it was never published.
    pub fn state_of(&self, item: ItemId) -> Option<ItemState> {
        if item == ItemId::NONE || item > self.last_item {
            return None;
        }
        Some(if self.ready.find(item).is_some() {
            ItemState::Ready
        } else if self.leased.find(item).is_some() {
            ItemState::Leased
        } else if self.scheduled.find(item).is_some() {
            ItemState::Scheduled
        } else if self.dead.find(item).is_some() {
            ItemState::Dead
        } else {
            ItemState::Done
        })
    }

    /// The next items in a state after `after`, ascending. Of items that are done none are known.
    pub fn peek(&self, state: ItemState, after: ItemId, max: usize) -> Vec<ItemId> {
        match state {
            ItemState::Scheduled => ids(&self.scheduled, after, max),
            ItemState::Ready => ids(&self.ready, after, max),
            ItemState::Leased => ids(&self.leased, after, max),
            ItemState::Dead => ids(&self.dead, after, max),
            ItemState::Done => Vec::new(),
        }
    }

    /// The next dead letters after `after`, ascending, and whether there are more.
    pub fn dead_letters(&self, after: ItemId, max: usize) -> (Vec<ItemId>, bool) {
        let mut found = ids(&self.dead, after, max.saturating_add(1));
        let more = found.len() > max;
        found.truncate(max);
        (found, more)
    }

    /// What the consumer of an item's last failed attempt said. None: nothing, or the item is done.
    pub fn last_error(&self, item: ItemId) -> Option<&str> {
        let history = self.items_of(item)?.history.as_ref()?;
        history.last_error().map(AsRef::as_ref)
    }
}

fn ids<P: Phase>(runs: &RunMap<P>, after: ItemId, max: usize) -> Vec<ItemId> {
    let ids = runs
        .after(after)
        .flat_map(|run| run.items.first.get()..run.items.end().get());
    ids.filter(|id| *id > after.get())
        .take(max)
        .map(ItemId)
        .collect()
}

fn about(item: ItemId, items: &Items) -> Explanation {
    let index = item.since(items.first);
    let history = items.history.as_ref();
    Explanation {
        published_at: Some(items.published_at.at(index)),
        attempts: items.attempts,
        failed_attempts: history.map_or_else(Vec::new, |h| h.failed().cloned().collect()),
        size: items.sizes.at(index),
        forgiven: items.forgiven,
        origin: items.origin,
        ..done(item)
    }
}

const fn done(item: ItemId) -> Explanation {
    Explanation {
        item,
        state: ItemState::Done,
        wait_reason: None,
        published_at: None,
        since: None,
        until: None,
        attempts: 0,
        failed_attempts: Vec::new(),
        consumer: None,
        items_before: None,
        dead_reason: None,
        size: 0,
        ready_at: None,
        forgiven: 0,
        origin: None,
        ending: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::id::SessionId;
    use crate::publish::NewItem;
    use crate::settle::NackKind;
    use crate::testing::{SECOND, Story};

    fn reason(story: &Story, item: u64, consumers: u32, credit: u64) -> Option<WaitReason> {
        let demand = Demand { consumers, credit };
        story
            .queue
            .explain(story.now, ItemId(item), demand)
            .unwrap()
            .wait_reason
    }

    #[test]
    fn a_waiting_item_names_what_is_in_its_way() {
        let mut story = Story::new(Config::default());
        story.add(2);
        assert_eq!(reason(&story, 1, 0, 0), Some(WaitReason::NoConsumer));
        assert_eq!(reason(&story, 1, 1, 0), Some(WaitReason::NoCredit));
        assert_eq!(reason(&story, 1, 1, 5), None);
        assert_eq!(reason(&story, 2, 1, 5), Some(WaitReason::BehindOthers));
        let paused = Config {
            paused: true,
            ..Config::default()
        };
        story.queue.set_config(story.now, paused, &mut story.events);
        assert_eq!(reason(&story, 1, 1, 5), Some(WaitReason::Paused));
    }

    #[test]
    fn a_delay_is_told_from_a_back_off() {
        let mut story = Story::new(Config::default());
        story.add(1);
        let due = Some(story.now.saturating_add(SECOND));
        story
            .publish(
                None,
                &[NewItem {
                    due,
                    ..NewItem::default()
                }],
            )
            .unwrap();
        story.lease(SessionId::UNARY, 1);
        let later = NackKind::Retry {
            delay: Some(SECOND),
        };
        story.nack(SessionId::UNARY, 1, later, "no");
        assert_eq!(reason(&story, 1, 1, 1), Some(WaitReason::BackingOff));
        assert_eq!(reason(&story, 2, 1, 1), Some(WaitReason::Delayed));
    }

    #[test]
    fn only_items_that_never_were_have_no_explanation() {
        let mut story = Story::new(Config::default());
        story.add(1);
        story.lease(SessionId::UNARY, 1);
        story.ack(SessionId::UNARY, 1, 1);
        let explain = |item| {
            story
                .queue
                .explain(story.now, ItemId(item), Demand::default())
        };
        assert_eq!(explain(1).unwrap().state, ItemState::Done);
        assert_eq!((explain(0), explain(2)), (None, None));
    }
}
