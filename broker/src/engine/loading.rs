//! Loading: reads bodies back from disk, ahead of the consumers who will get them.
//!
//! A queue has at most one read under way. Items whose bytes turn out to be damaged become dead letters that say so: one bad
//! block stops neither its queue nor the broker, and nobody gets something else in its place.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;

use baton_journal::Block;
use baton_queue::{ItemId, Nack, NackKind, SessionId, Want};
use tokio::sync::oneshot;
use tracing::error;

use super::actor::QueueActor;
use super::bodies::Bodies;
use super::storage::BodyReader;
use crate::limits::{HOT_BYTES_LOW, READ_BYTES, READ_BYTES_MIN};

/// What was read for a queue.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) blocks: Vec<Block>,
    pub(super) unreadable: Vec<Unreadable>,
}

/// Items whose bodies cannot be read.
#[derive(Debug, Clone)]
pub(super) struct Unreadable {
    pub(super) first: u64,
    pub(super) count: u32,
    /// Which bytes of which file.
    pub(super) why: Arc<str>,
}

/// The reads of one queue.
#[derive(Debug, Default)]
pub(super) struct Loading {
    /// None: nothing is on disk.
    reader: Option<BodyReader>,
    /// Where the read under way is answered. Made for each, since ten thousand queues may have none.
    under_way: Option<oneshot::Receiver<Loaded>>,
    /// Items up to this one are on disk.
    written: ItemId,
    /// By first item.
    unreadable: BTreeMap<u64, Unreadable>,
}

impl Loading {
    /// For a queue of which the items up to `written` are on disk.
    pub(super) fn new(reader: BodyReader, written: ItemId) -> Self {
        Self {
            reader: Some(reader),
            written,
            ..Self::default()
        }
    }

    pub(super) fn written_up_to(&mut self, last: ItemId) {
        self.written = self.written.max(last);
    }

    /// What was read, once it was. Cancel-safe.
    pub(super) async fn next(&mut self) -> Loaded {
        let Some(under_way) = &mut self.under_way else {
            return pending().await;
        };
        // The reader goes away when the engine stops or fails.
        let loaded = under_way.await.unwrap_or_default();
        self.under_way = None;
        loaded
    }

    /// What was read, if it was.
    #[cfg(test)]
    pub(super) fn try_next(&mut self) -> Option<Loaded> {
        let loaded = self.under_way.as_mut()?.try_recv().ok()?;
        self.under_way = None;
        Some(loaded)
    }

    #[cfg(test)]
    pub(super) fn reader(&self) -> Option<&BodyReader> {
        self.reader.as_ref()
    }

    /// The unreadable run that an item is in.
    fn unreadable(&self, item: ItemId) -> Option<&Unreadable> {
        let (_, run) = self.unreadable.range(..=item.0).next_back()?;
        (item.0 - run.first < u64::from(run.count)).then_some(run)
    }
}

impl QueueActor {
    pub(super) fn take_loaded(&mut self, loaded: Loaded) {
        if let Bodies::Hot(hot) = &mut self.bodies {
            hot.load(&loaded.blocks, &self.queue);
        }
        for run in loaded.unreadable {
            error!(queue = %self.name, first = run.first, count = run.count, why = %run.why,
                "stored items cannot be read: they become dead letters");
            self.loading.unreadable.insert(run.first, run);
        }
        self.count_bytes();
    }

    /// Whether items are ready and those that are next are not at hand.
    pub(super) fn waits_for_disk(&self) -> bool {
        let Bodies::Hot(hot) = &self.bodies else {
            return false;
        };
        hot.items() < self.queue.ready_items() && !hot.has_next(&self.queue)
    }

    /// Reads on where somebody wants items and few are at hand.
    pub(super) fn load_more(&mut self) {
        let (Bodies::Hot(hot), Some(reader)) = (&self.bodies, &self.loading.reader) else {
            return;
        };
        // Much at hand is of no use while the item before all of it, one that failed and came back, is not.
        let ahead = hot.bytes() >= HOT_BYTES_LOW && hot.has_next(&self.queue);
        let enough = hot.items() >= self.queue.ready_items() || ahead;
        if self.loading.under_way.is_some() || enough || !self.hands_out() || !self.has_takers() {
            return;
        }
        let room = self.shared.stored_bytes.room() as u64;
        let cold = hot.next_cold(&self.queue, room.clamp(READ_BYTES_MIN, READ_BYTES));
        let written = self.loading.written.0;
        let readable = cold.into_iter().filter_map(|(first, count)| {
            let count =
                count.min(u32::try_from((written + 1).saturating_sub(first)).unwrap_or(count));
            let known = self.loading.unreadable(ItemId(first)).is_some();
            (count > 0 && !known).then_some((first, count))
        });
        let wanted: Vec<(u64, u32)> = readable.collect();
        if !wanted.is_empty() {
            self.loading.under_way = reader.read(wanted);
        }
    }

    fn has_takers(&self) -> bool {
        !self.waiting.is_empty()
            || self
                .consumers
                .by_session
                .values()
                .any(|consumer| consumer.credit() > 0 && consumer.outbox.has_place_for_deliveries())
    }

    /// Makes dead letters of the items that are next and cannot be read.
    pub(super) fn give_up_unreadable(&mut self) {
        while let Some((up_to, why)) = self.next_unreadable() {
            let want = Want {
                items: u32::MAX,
                consumer: Some("baton-broker".into()),
                up_to: Some(up_to),
                ..Want::default()
            };
            let (now, session, events) = (self.now, SessionId::UNARY, &mut self.events);
            for lease in self.queue.handle_lease(now, session, want, events) {
                let nack = Nack {
                    kind: NackKind::DeadLetter,
                    error: Arc::clone(&why),
                    random: 0,
                };
                let (first, last) = (
                    lease.first_seq,
                    lease.first_seq + u64::from(lease.count) - 1,
                );
                self.queue
                    .handle_nack(now, session, first, last, nack, events);
            }
        }
    }

    /// Where the item that is next cannot be read: up to which one that is so, and why. It is told once; should someone
    /// redrive the items, they are read again.
    fn next_unreadable(&mut self) -> Option<(ItemId, Arc<str>)> {
        if self.loading.unreadable.is_empty() {
            return None;
        }
        let (next, _, _) = self.queue.ready_runs(ItemId::NONE).next()?;
        let known = self.loading.unreadable(next)?.first;
        let run = self.loading.unreadable.remove(&known)?;
        let last = run.first + u64::from(run.count) - 1;
        Some((ItemId(last), run.why))
    }
}
