//! Items that waited and are gone, for whoever accounts for their time: the state itself forgets them.
//!
//! No part of the state, and bounded: nothing depends on it but accounts.

use std::collections::VecDeque;

use crate::event::Origin;
use crate::id::ItemId;
use crate::queue::Queue;
use crate::ready::Ready;
use crate::run::{Items, Run};
use crate::scheduled::Scheduled;
use crate::time::Timestamp;

/// Runs that wait to be asked for: a purge of very many queues' worth of single items is not told item by item.
const RUNS_MAX: usize = 4096;

/// Items in a row that waited for the same and are gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoneRun {
    /// First item; the others follow by 1.
    pub first: ItemId,
    /// At least 1.
    pub count: u32,
    /// Deliveries so far.
    pub attempts: u32,
    /// Attempts before the last redrive.
    pub forgiven: u32,
    /// Taken in.
    pub published_at: Timestamp,
    /// The wait began: taken in, or the attempt before failed, or redriven.
    pub waiting_since: Timestamp,
    /// They could be handed out since, or could have been from then on.
    pub ready_at: Timestamp,
    /// How their producer's clock compared.
    pub origin: Option<Origin>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Gone(VecDeque<GoneRun>);

impl Gone {
    pub(crate) fn ready(&mut self, run: &Run<Ready>) {
        self.add(&run.items, |index| {
            (run.waiting_since(index), run.ready_at(index))
        });
    }

    pub(crate) fn scheduled(&mut self, run: &Run<Scheduled>) {
        self.add(&run.items, |_| (run.phase.since, run.phase.due));
    }

    fn add(&mut self, items: &Items, wait: impl Fn(u32) -> (Timestamp, Timestamp)) {
        let mut from = 0;
        while from < items.count {
            let ages = items.published_at.skip(from);
            let count = ages.same(items.count - from);
            let (waiting_since, ready_at) = wait(from);
            self.0.push_back(GoneRun {
                first: items.first.plus(u64::from(from)),
                count,
                attempts: items.attempts,
                forgiven: items.forgiven,
                published_at: ages.at(0),
                waiting_since,
                ready_at,
                origin: items.origin,
            });
            if self.0.len() > RUNS_MAX {
                self.0.pop_front();
            }
            from += count;
        }
    }
}

impl Queue {
    /// The next items that waited and are gone, expired or cancelled: in the order of these events. Those that are not
    /// asked for in time are forgotten, a few thousand runs of them later.
    pub fn poll_gone(&mut self) -> Option<GoneRun> {
        self.gone.0.pop_front()
    }

    /// The same of the items of one event, which are those from `first` on and before `end`.
    pub fn poll_gone_within(&mut self, first: ItemId, end: ItemId) -> Option<GoneRun> {
        let within = |run: &mut GoneRun| first <= run.first && run.first < end;
        self.gone.0.pop_front_if(within)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::admin::PurgeState;
    use crate::config::Config;
    use crate::ended::Ending;
    use crate::explain::Demand;
    use crate::settle::NackKind;
    use crate::testing::{SECOND, Story};

    #[test]
    fn what_is_gone_says_how_long_it_waited() {
        let mut story = Story::new(Config::default());
        let published = story.now;
        story.add(3);
        story.wait(SECOND);
        let later = story.now;
        story.add(1);
        let session = story.open();
        story.lease(session, 1);
        story.nack(session, 1, NackKind::Retry { delay: None }, "");
        story
            .queue
            .cancel(story.now, &[2, 3, 4].map(ItemId), &mut story.events);
        story
            .queue
            .purge(story.now, PurgeState::Waiting, &mut story.events);
        let mut told = Vec::new();
        while let Some(run) = story.queue.poll_gone_within(ItemId(2), ItemId(5)) {
            assert_eq!(run.ready_at, run.waiting_since);
            told.push((run.first.0, run.count, run.attempts, run.waiting_since));
        }
        assert_eq!(told, [(2, 2, 0, published), (4, 1, 0, later)]);
        let retried = story.queue.poll_gone().unwrap();
        assert_eq!((retried.first, retried.attempts), (ItemId(1), 1));
        assert_eq!(retried.waiting_since, later);
        assert!(retried.ready_at > later, "it backed off");
        assert_eq!(story.queue.poll_gone(), None);
        let endings = [1, 4].map(|item| {
            let explained = story
                .queue
                .explain(story.now, ItemId(item), Demand::default());
            explained.unwrap().ending
        });
        assert_eq!(endings, [Some(Ending::Cancelled); 2]);
    }

    #[test]
    fn what_nobody_asks_for_is_forgotten() {
        let mut story = Story::new(Config::default());
        for _ in 0..RUNS_MAX + 10 {
            story.add(1);
            story.wait(Duration::from_nanos(1));
        }
        story
            .queue
            .purge(story.now, PurgeState::Waiting, &mut story.events);
        let first = story.queue.poll_gone().unwrap().first;
        assert_eq!(first, ItemId(11));
        assert_eq!(
            std::iter::from_fn(|| story.queue.poll_gone()).count(),
            RUNS_MAX - 1
        );
    }
}
