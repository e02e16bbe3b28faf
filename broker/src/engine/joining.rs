//! Joining: callers that wait until every item up to some id is settled.

use std::collections::BTreeMap;

use baton_queue::{ItemId, Timestamp};

use super::actor::{Effect, QueueActor};
use super::request::{Join, Joined};
use crate::error::Error;
use crate::limits::CLIENTS_PER_QUEUE_MAX;

/// Joins that wait, by the id that they wait for.
#[derive(Debug, Default)]
pub(super) struct Joins {
    waiting: BTreeMap<(ItemId, u64), Join>,
    made: u64,
}

impl Joins {
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.waiting.values().map(|join| join.until).min()
    }
}

impl Joins {
    pub(super) fn refuse(&mut self, error: &Error) {
        for join in std::mem::take(&mut self.waiting).into_values() {
            drop(join.reply.send(Err(error.clone())));
        }
    }
}

impl QueueActor {
    pub(super) fn join(&mut self, join: Join) {
        if self.joins.waiting.len() >= CLIENTS_PER_QUEUE_MAX {
            let refusal = Error::Limit {
                what: "joins of one queue",
                max: CLIENTS_PER_QUEUE_MAX,
            };
            drop(join.reply.send(Err(refusal)));
            return;
        }
        let up_to = join.up_to.unwrap_or_else(|| self.queue.last_item());
        self.joins.made += 1;
        self.joins.waiting.insert((up_to, self.joins.made), join);
    }

    /// Answers the joins whose items are settled, and those whose time is up.
    pub(super) fn answer_joins(&mut self) {
        if self.joins.waiting.is_empty() {
            return;
        }
        let unsettled = self.queue.lowest_unsettled().unwrap_or(ItemId(u64::MAX));
        let last = self.queue.last_item();
        let (now, draining) = (self.now, self.shared.is_draining());
        let over = |up_to: ItemId, join: &Join| {
            (up_to < unsettled && up_to <= last)
                || join.until <= now
                || draining
                || join.reply.is_closed()
        };
        let waiting = &mut self.joins.waiting;
        let answered: Vec<_> = waiting
            .extract_if(.., |(up_to, _), join| over(*up_to, join))
            .collect();
        for ((up_to, _), join) in answered {
            let joined = Joined {
                up_to,
                join: self.queue.join(join.after, up_to),
            };
            self.owe(Effect::Joined(join.reply, joined));
        }
    }
}
