//! The consumers' streams of one queue: their credit, their outboxes, and how they end. Owned by the queue actor.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use baton_ledger::party::Party;
use baton_queue::{Demand, SessionId};
use tokio::sync::oneshot;

use super::outbox::Outbox;
use super::request::{Attach, End};
use crate::error::Error;
use crate::limits::{CREDIT_BYTES_MAX, CREDIT_ITEMS_MAX};

/// Where the answer to an attach goes.
type AttachReply = oneshot::Sender<Result<(SessionId, Duration), Error>>;

/// One consumer's stream.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) party: Arc<Party>,
    pub(super) outbox: Outbox,
    pub(super) lease_duration: Option<Duration>,
    pub(super) grace: Duration,
    pub(super) until_drained: bool,
    /// Set once it gets no more items: it ends when its leases have.
    pub(super) ending: Option<End>,
    /// When it was served last, in hand-outs: who waits longest goes first among equals.
    pub(super) served: u64,
    items: u64,
    /// None: bytes are not counted.
    bytes: Option<i64>,
}

impl Consumer {
    pub(super) fn new(attach: Attach) -> (AttachReply, Self) {
        let consumer = Self {
            party: attach.consumer,
            outbox: attach.outbox,
            lease_duration: attach.lease_duration,
            grace: attach.grace,
            until_drained: attach.until_drained,
            ending: None,
            served: 0,
            items: 0,
            bytes: None,
        };
        (attach.reply, consumer)
    }

    /// Adds credit.
    ///
    /// # Errors
    /// More than a consumer may have.
    pub(super) fn grant(&mut self, items: u64, bytes: u64) -> Result<(), Error> {
        let items = self.items.saturating_add(items);
        if items > CREDIT_ITEMS_MAX {
            return Err(Error::Credit(format!(
                "this makes {items} items, a consumer has at most {CREDIT_ITEMS_MAX} at a time; grant what was used"
            )));
        }
        if bytes > 0 {
            let total = self.bytes.unwrap_or(0).saturating_add_unsigned(bytes);
            if total > CREDIT_BYTES_MAX.cast_signed() {
                return Err(Error::Credit(format!(
                    "this makes {total} bytes, a consumer has at most {CREDIT_BYTES_MAX} at a time; grant what was used"
                )));
            }
            self.bytes = Some(total);
        }
        self.items = items;
        Ok(())
    }

    /// Items that it will take now.
    pub(super) fn credit(&self) -> u64 {
        let overdrawn = self.bytes.is_some_and(|bytes| bytes <= 0);
        if self.ending.is_some() || overdrawn {
            0
        } else {
            self.items
        }
    }

    /// Bytes that it will take now; none: any.
    pub(super) fn byte_credit(&self) -> Option<u64> {
        self.bytes.map(|bytes| u64::try_from(bytes).unwrap_or(0))
    }

    /// Takes what was handed out off its credit.
    pub(super) fn spend(&mut self, items: u64, bytes: u64) {
        assert!(
            items <= self.items,
            "handed out more items than there was credit for"
        );
        self.items -= items;
        if let Some(left) = &mut self.bytes {
            *left = left.saturating_sub_unsigned(bytes);
        }
    }
}

/// All of a queue's.
#[derive(Debug, Default)]
pub(super) struct Consumers {
    pub(super) by_session: BTreeMap<SessionId, Consumer>,
}

impl Consumers {
    /// Who could take items, and how many.
    pub(super) fn demand(&self) -> Demand {
        let credit = self.by_session.values().map(Consumer::credit).sum();
        Demand {
            consumers: u32::try_from(self.by_session.len()).unwrap_or(u32::MAX),
            credit,
        }
    }
}
