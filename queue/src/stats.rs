//! How a queue stands, in numbers.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::codec::COUNTER_MAX;
use crate::id::{ItemId, SessionId};
use crate::queue::Queue;
use crate::time::Timestamp;

/// How a queue stands. Counts are exact. Totals are since the queue was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Items not before a given time.
    pub scheduled: u64,
    /// Items that wait for a consumer.
    pub ready: u64,
    /// Items that a consumer has.
    pub leased: u64,
    /// Items given up on and still kept.
    pub dead: u64,
    /// Bytes of items that are scheduled, ready or leased.
    pub bytes: u64,
    /// Bytes of dead letters.
    pub dead_bytes: u64,
    /// Age of the item that has been ready for the longest; None: none is ready.
    pub oldest_ready_age: Option<Duration>,
    /// Items accepted.
    pub published_total: u64,
    /// Publishes that were recognised as repeats.
    pub duplicates_total: u64,
    /// Deliveries, each attempt counted, unstarted ones too.
    pub delivered_total: u64,
    /// Items acknowledged.
    pub acked_total: u64,
    /// Attempts that failed.
    pub failed_attempts_total: u64,
    /// Items that became dead letters.
    pub dead_total: u64,
    /// Items whose time to live ran out.
    pub expired_total: u64,
    /// Items cancelled or purged.
    pub cancelled_total: u64,
    /// Dead letters that were made ready again.
    pub redriven_total: u64,
    /// Dead letters that were removed.
    pub discarded_total: u64,
    /// The item published last; 0: none yet.
    pub last_item_id: ItemId,
}

/// What happened since the queue was made, but for `published`, which is the last item's id.
// Kept on disk by position (see `snapshot`): a field more or less is a new version of the format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Totals {
    pub(crate) duplicates: u64,
    pub(crate) delivered: u64,
    pub(crate) acked: u64,
    pub(crate) failed_attempts: u64,
    pub(crate) dead: u64,
    pub(crate) expired: u64,
    pub(crate) cancelled: u64,
    pub(crate) redriven: u64,
    pub(crate) discarded: u64,
}

impl Totals {
    /// Whether all of them can go on counting.
    pub(crate) fn are_bounded(&self) -> bool {
        let Self {
            duplicates,
            delivered,
            acked,
            failed_attempts,
            dead,
            expired,
            cancelled,
            redriven,
            discarded,
        } = *self;
        let unlike = [duplicates, delivered, failed_attempts, dead, redriven];
        let ends = [acked, expired, cancelled, discarded];
        unlike
            .iter()
            .chain(&ends)
            .all(|total| *total <= COUNTER_MAX)
    }
}

impl Queue {
    /// Leases that a session holds now. 0 for one that is unknown.
    pub fn live_leases(&self, session: SessionId) -> u64 {
        self.sessions.get(session).map_or(0, |known| known.live)
    }

    /// Age of the item that has been scheduled for the longest; None: none is scheduled.
    pub fn oldest_scheduled_age(&self, now: Timestamp) -> Option<Duration> {
        oldest_age(&self.scheduled.index().ages, now)
    }

    /// Age of the item that has been dead for the longest; None: none is dead.
    pub fn oldest_dead_age(&self, now: Timestamp) -> Option<Duration> {
        oldest_age(&self.dead.index().ages, now)
    }

    /// How the queue stands.
    pub fn stats(&self, now: Timestamp) -> Stats {
        let totals = &self.totals;
        Stats {
            scheduled: self.scheduled.count(),
            ready: self.ready.count(),
            leased: self.leased.count(),
            dead: self.dead.count(),
            bytes: self.depth_bytes(),
            dead_bytes: self.dead.bytes(),
            oldest_ready_age: oldest_age(&self.ready.index().ages, now),
            published_total: self.last_item.get(),
            duplicates_total: totals.duplicates,
            delivered_total: totals.delivered,
            acked_total: totals.acked,
            failed_attempts_total: totals.failed_attempts,
            dead_total: totals.dead,
            expired_total: totals.expired,
            cancelled_total: totals.cancelled,
            redriven_total: totals.redriven,
            discarded_total: totals.discarded,
            last_item_id: self.last_item,
        }
    }
}

fn oldest_age(ages: &BTreeSet<(Timestamp, ItemId)>, now: Timestamp) -> Option<Duration> {
    let (since, _) = ages.first()?;
    Some(now.saturating_since(*since))
}
