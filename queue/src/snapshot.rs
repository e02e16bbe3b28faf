//! The whole state of a queue as bytes, for a checkpoint, and back.
//!
//! ```text
//! snapshot = version: u8 | config | last item | totals | ended | dedup keys | producers | sessions
//!          | scheduled runs | ready runs | leased runs | dead runs
//! ```
//!
//! Numbers are postcard's varints. Each part is written and read beside its type. What follows from the rest (indexes, counts,
//! bytes, live leases) is not written. Names, histories and failed attempts that are shared are written once, where they come
//! up first, and by number from then on, so that they are shared again afterwards. What
//! [`Queue::poll_removed`] has still to say is no part of the state.

mod reader;
mod runs;
mod writer;

pub(crate) use reader::Reader;
pub(crate) use runs::StoredPhase;
use serde::{Deserialize, Serialize};
pub(crate) use writer::Writer;

use crate::codec::{COUNTER_MAX, DecodeError, ensure};
use crate::config::Config;
use crate::ended::Ended;
use crate::event::Origin;
use crate::gone::Gone;
use crate::id::ItemId;
use crate::keys::Keys;
use crate::producers::Producers;
use crate::queue::Queue;
use crate::removed::Removed;
use crate::sessions::Sessions;
use crate::stats::Totals;

/// Where a run's items are from. Version 1 says nothing of it.
// Kept on disk by position: never reordered or removed, new ones go last.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum StoredOrigin {
    None,
    /// The same as the last one that was written out.
    Last,
    New(Origin),
}

impl Queue {
    /// Appends the complete state to `into`. The same queue gives the same bytes each time.
    pub fn snapshot(&self, into: &mut Vec<u8>) {
        let mut writer = Writer::new(into);
        writer.put(&self.config);
        writer.put(&self.last_item);
        writer.put(&self.totals);
        self.ended.store(&mut writer);
        self.keys.store(&mut writer);
        self.producers.store(&mut writer);
        self.sessions.store(&mut writer);
        self.scheduled.store(&mut writer);
        self.ready.store(&mut writer);
        self.leased.store(&mut writer);
        self.dead.store(&mut writer);
    }

    /// The queue that a [`Queue::snapshot`] was taken of. It is equal to that one and behaves as it did.
    ///
    /// The configuration is taken as it is, so that a limit of a later version does not lock out what an earlier one wrote.
    ///
    /// # Errors
    /// Why the bytes are no queue: another version, cut short, or not what any queue can have written.
    pub fn restore(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes)?;
        let config: Config = reader.take()?;
        let last_item: ItemId = reader.take()?;
        ensure(last_item.get() <= COUNTER_MAX, "ids are far from their end")?;
        let mut queue = Self {
            config,
            last_item,
            totals: reader.take()?,
            ended: Ended::load(&mut reader, last_item)?,
            keys: Keys::load(&mut reader, last_item)?,
            producers: Producers::load(&mut reader, last_item)?,
            sessions: Sessions::load(&mut reader)?,
            scheduled: reader.runs(last_item)?,
            ready: reader.runs(last_item)?,
            leased: reader.runs(last_item)?,
            dead: reader.runs(last_item)?,
            removed: Removed::default(),
            gone: Gone::default(),
        };
        reader.finish()?;
        queue.sessions.reclaim(&queue.leased)?;
        queue.check_totals()?;
        queue.check_every_item_is_in_one_state()?;
        Ok(queue)
    }

    fn check_totals(&self) -> Result<(), DecodeError> {
        let totals = &self.totals;
        ensure(totals.are_bounded(), "totals are far from their end")?;
        let Totals {
            acked,
            expired,
            cancelled,
            discarded,
            ..
        } = *totals;
        let ended = self.ended.totals();
        let same =
            (ended.expired, ended.cancelled, ended.discarded) == (expired, cancelled, discarded);
        ensure(same, "totals are those of the items that ended")?;
        let here = self.depth_items() + self.dead.count();
        let all = here + acked + expired + cancelled + discarded;
        ensure(all == self.last_item.get(), "every item is somewhere")?;
        // A state sums up its own bytes; three states make the depth.
        let bytes = [
            self.scheduled.bytes(),
            self.ready.bytes(),
            self.leased.bytes(),
        ];
        let bounded = bytes.iter().all(|bytes| *bytes < COUNTER_MAX);
        ensure(bounded, "bytes are far from their end")
    }

    fn check_every_item_is_in_one_state(&self) -> Result<(), DecodeError> {
        let ended = self
            .ended
            .ranges()
            .map(|(first, last)| (first, last.plus(1)));
        let mut ranges: Vec<(ItemId, ItemId)> = ended.collect();
        self.unsettled(&mut |first, count| ranges.push((first, first.plus(u64::from(count)))));
        // Five sorted lists, one after the other: a merge sort merges them in next to no time.
        ranges.sort();
        let apart = ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0);
        ensure(apart, "an item is in one state")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;
    use crate::config::Config;
    use crate::id::SessionId;
    use crate::settle::NackKind;
    use crate::testing::{SECOND, Story};

    /// How many histories and how many failed attempts the scheduled items have in memory.
    fn kept(queue: &Queue) -> (usize, usize) {
        let runs = queue.scheduled.iter();
        let histories: Vec<_> = runs.filter_map(|run| run.items.history.as_ref()).collect();
        let attempts = histories.iter().flat_map(|history| history.attempts());
        let attempts: BTreeSet<_> = attempts.map(Arc::as_ptr).collect();
        let histories: BTreeSet<_> = histories.into_iter().map(Arc::as_ptr).collect();
        (histories.len(), attempts.len())
    }

    fn restored(story: &Story) -> Queue {
        let mut bytes = Vec::new();
        story.queue.snapshot(&mut bytes);
        Queue::restore(&bytes).unwrap()
    }

    #[test]
    fn what_is_shared_is_shared_again() {
        let mut story = Story::new(Config::default());
        story.add(10);
        story.lease(SessionId::UNARY, 10);
        story.wait(31 * SECOND);
        story.tick();
        assert_eq!(kept(&story.queue), (1, 1), "they failed together");
        assert_eq!(kept(&restored(&story)), (1, 1));
        story.wait(10 * SECOND);
        story.tick();
        for seq in 11..=20 {
            story.lease(SessionId::UNARY, 1);
            let retry = NackKind::Retry { delay: None };
            story.nack(SessionId::UNARY, seq, retry, "each for itself");
        }
        assert_eq!(kept(&story.queue), (10, 11), "then one by one");
        assert_eq!(kept(&restored(&story)), (10, 11));
    }
}
