//! Whether items are settled, for those who wait for it.

use crate::id::ItemId;
use crate::queue::Queue;

/// What became of a range of items. A dead letter counts as settled until somebody redrives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Join {
    /// Every item up to the end of the range is settled; those before the range too.
    pub done: bool,
    /// Items of the range that are scheduled, ready, leased or not published yet. 0 when done.
    pub pending: u64,
    /// Acknowledged.
    pub acked: u64,
    /// Dead letters, discarded ones too.
    pub dead: u64,
    /// Time to live ran out.
    pub expired: u64,
    /// Cancelled or purged.
    pub cancelled: u64,
}

impl Queue {
    /// What became of the items after `after` and not after `up_to`.
    ///
    /// Exact, but for ranges that begin among items so old that of those that failed only the sums are known (more than
    /// 65536 ranges of them came after): there a failure from before `after` may be counted in, and none is left out.
    pub fn join(&self, after: ItemId, up_to: ItemId) -> Join {
        let published = up_to.min(self.last_item);
        let width = published.get().saturating_sub(after.get());
        let unpublished = up_to.get().saturating_sub(after.max(published).get());
        if width == 0 {
            return self.joined_nothing(up_to, unpublished);
        }
        let waiting = self.scheduled.count_within(after, published)
            + self.ready.count_within(after, published)
            + self.leased.count_within(after, published);
        let dead = self.dead.count_within(after, published);
        let settled = width - waiting - dead;
        let ended = self.ended.count(after, published, settled);
        Join {
            done: self.is_settled(up_to),
            pending: waiting + unpublished,
            acked: settled - ended.expired - ended.cancelled - ended.discarded,
            dead: dead + ended.discarded,
            expired: ended.expired,
            cancelled: ended.cancelled,
        }
    }

    /// Every item that is scheduled, ready, leased or dead, as runs: those whose bodies are needed. Ascending within each
    /// state, and the states one after the other.
    pub fn unsettled(&self, visit: &mut dyn FnMut(ItemId, u32)) {
        let ranges = self.scheduled.ranges().chain(self.ready.ranges());
        let ranges = ranges.chain(self.leased.ranges());
        ranges
            .chain(self.dead.ranges())
            .for_each(|(first, count)| visit(first, count));
    }

    /// The lowest item that is scheduled, ready or leased. Every lower one is settled. Cheap.
    pub fn lowest_unsettled(&self) -> Option<ItemId> {
        let scheduled = self.scheduled.first().map(|run| run.items.first);
        let ready = self.ready.first().map(|run| run.items.first);
        let leased = self.leased.first().map(|run| run.items.first);
        [scheduled, ready, leased].into_iter().flatten().min()
    }

    fn joined_nothing(&self, up_to: ItemId, pending: u64) -> Join {
        let done = self.is_settled(up_to);
        Join {
            done,
            pending,
            acked: 0,
            dead: 0,
            expired: 0,
            cancelled: 0,
        }
    }

    fn is_settled(&self, up_to: ItemId) -> bool {
        up_to <= self.last_item && self.lowest_unsettled().is_none_or(|lowest| up_to < lowest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::id::SessionId;
    use crate::settle::NackKind;
    use crate::testing::Story;

    #[test]
    fn a_dead_letter_settles_a_join_until_it_is_redriven() {
        let mut story = Story::new(Config::default());
        story.add(2);
        story.lease(SessionId::UNARY, 2);
        story.ack(SessionId::UNARY, 1, 1);
        story.nack(SessionId::UNARY, 2, NackKind::DeadLetter, "");
        let join = story.queue.join(ItemId::NONE, ItemId(2));
        assert_eq!(
            (join.done, join.pending, join.acked, join.dead),
            (true, 0, 1, 1)
        );
        let all = crate::admin::RedriveWhat::Oldest(None);
        assert_eq!(story.queue.redrive(story.now, all, &mut story.events), 1);
        let join = story.queue.join(ItemId::NONE, ItemId(2));
        assert_eq!(
            (join.done, join.pending, join.acked, join.dead),
            (false, 1, 1, 0)
        );
    }

    #[test]
    fn items_that_are_not_published_yet_are_pending() {
        let mut story = Story::new(Config::default());
        assert!(story.queue.join(ItemId::NONE, ItemId::NONE).done);
        story.add(1);
        story.lease(SessionId::UNARY, 1);
        story.ack(SessionId::UNARY, 1, 1);
        let join = story.queue.join(ItemId::NONE, ItemId(3));
        assert_eq!((join.done, join.pending, join.acked), (false, 2, 1));
    }
}
