//! What a consumer owes and is owed: deliveries in hand, settles to send, settles that the broker has not answered, credit.
//!
//! Pure: no IO and no clock. Invariants: a delivery is in hand until its final word is taken from the outbox; a final word
//! is kept until it is answered, over any number of connections; items in hand and items that the broker has credit for
//! are together never more than the window (but for what the broker overdraws).
//!
//! Called by the consumer's driver only.

use std::collections::VecDeque;

use baton_proto::opaque::{Credit, Delivery, Extend, SettleBatch, Settled as Answer};
use bytes::Bytes;
use rustc_hash::{FxHashMap, FxHashSet};

use super::Options;
use super::ranges::{Outcomes, coalesce};
use crate::clock::wire_duration;
use crate::error::Error;
use crate::settle::{Action, Command, Settled, Tag, outcome};

/// The most settles of one message.
const MAX_SETTLES: usize = 1000;
/// So that settles grow, rather than multiply, while the broker is the slower side.
const MAX_UNANSWERED: usize = 16;

#[derive(Debug)]
pub(super) struct Ledger {
    options: Options,
    session: u32,
    in_hand: FxHashMap<Tag, Held>,
    in_hand_bytes: u64,
    extends: VecDeque<Command>,
    finals: VecDeque<Command>,
    unanswered: FxHashMap<u64, Batch>,
    last_settle_id: u64,
    /// What the broker may still send on this stream.
    credit_items: u64,
    /// Negative where the last item overdrew it.
    credit_bytes: i64,
}

/// A delivery without a final word.
#[derive(Debug)]
struct Held {
    lease: Bytes,
    bytes: u64,
    /// The lease is gone; the user learns it on settling.
    lost: bool,
}

/// One message's settles, in the order in which they were sent.
#[derive(Debug)]
struct Batch {
    sent_ns: u64,
    deliveries: Vec<Command>,
    leases: Vec<Command>,
}

impl Ledger {
    pub(super) fn new(options: Options) -> Self {
        Self {
            options,
            session: 0,
            in_hand: FxHashMap::default(),
            in_hand_bytes: 0,
            extends: VecDeque::new(),
            finals: VecDeque::new(),
            unanswered: FxHashMap::default(),
            last_settle_id: 0,
            credit_items: 0,
            credit_bytes: 0,
        }
    }

    /// A new stream: what the last one did not answer is asked again, by lease, and everything in hand is extended.
    pub(super) fn restart(&mut self) {
        self.session += 1;
        self.credit_items = 0;
        self.credit_bytes = 0;
        for command in self.drain_unanswered() {
            // An extension that nobody waits for is made anew below.
            if !command.action.is_extend() || command.reply.is_some() {
                self.queue(command);
            }
        }
        self.extend_all();
    }

    fn drain_unanswered(&mut self) -> Vec<Command> {
        let mut batches: Vec<_> = self.unanswered.drain().collect();
        batches.sort_unstable_by_key(|(settle_id, _)| *settle_id);
        let commands = batches
            .into_iter()
            .flat_map(|(_, batch)| batch.deliveries.into_iter().chain(batch.leases));
        commands.collect()
    }

    /// A delivery arrived.
    pub(super) fn hold(&mut self, delivery: &mut Delivery) -> Tag {
        let tag = Tag {
            session: self.session,
            delivery: delivery.delivery_id,
        };
        // A copy: the buffer that it arrived in may be much larger, and the lease lives as long as the delivery.
        delivery.lease = Bytes::copy_from_slice(&delivery.lease);
        let bytes = delivery.item.len() as u64;
        let held = Held {
            lease: delivery.lease.clone(),
            bytes,
            lost: false,
        };
        self.credit_items = self.credit_items.saturating_sub(1);
        self.credit_bytes = self.credit_bytes.saturating_sub_unsigned(bytes);
        self.in_hand_bytes += bytes;
        if let Some(repeated) = self.in_hand.insert(tag, held) {
            self.in_hand_bytes -= repeated.bytes;
        }
        tag
    }

    /// A command came out of the outbox.
    pub(super) fn queue(&mut self, command: Command) {
        if command.action.is_extend() {
            self.extends.push_back(command);
            return;
        }
        if let Some(held) = self.in_hand.remove(&command.tag) {
            self.in_hand_bytes -= held.bytes;
        }
        self.finals.push_back(command);
    }

    /// Extends every lease in hand that is not known to be lost.
    pub(super) fn extend_all(&mut self) {
        // Those that are still here would only be repeated.
        self.extends.retain(|command| command.reply.is_some());
        let extend = Extend {
            lease_duration: self.options.lease_duration.map(wire_duration),
        };
        let held = self.in_hand.iter().filter(|(_, held)| !held.lost);
        let extensions = held.map(|(tag, held)| Command {
            tag: *tag,
            lease: held.lease.clone(),
            action: Action::Extend(extend),
            stamps: None,
            reply: None,
            settlement: None,
        });
        let start = self.extends.len();
        self.extends.extend(extensions);
        self.extends.make_contiguous()[start..].sort_unstable_by_key(|command| command.tag);
    }

    pub(super) fn may_settle(&self) -> bool {
        let something = !self.extends.is_empty() || !self.finals.is_empty();
        something && self.unanswered.len() < MAX_UNANSWERED
    }

    /// The next message's settles. Extensions go first and alone: a delivery's extension comes before its final word.
    pub(super) fn next_settle(&mut self, now_ns: u64) -> Option<SettleBatch> {
        let queue = match self.extends.is_empty() {
            true => &mut self.finals,
            false => &mut self.extends,
        };
        let count = settles_of_a_message(queue);
        if count == 0 {
            return None;
        }
        let session = self.session;
        let (mut deliveries, leases): (Vec<_>, Vec<_>) = queue
            .drain(..count)
            .partition(|command| command.tag.session == session);
        deliveries.sort_by_key(|command: &Command| command.tag.delivery);
        self.last_settle_id += 1;
        let message = SettleBatch {
            settle_id: self.last_settle_id,
            deliveries: coalesce(&deliveries),
            leases: leases.iter().map(Command::on_lease).collect(),
        };
        let batch = Batch {
            sent_ns: now_ns,
            deliveries,
            leases,
        };
        self.unanswered.insert(self.last_settle_id, batch);
        Some(message)
    }

    /// The broker answered a batch. Returns when it was sent, if there was a final word in it.
    pub(super) fn answer(&mut self, answer: &Answer) -> Result<Option<u64>, Error> {
        let unknown = Error::Protocol("an answer to a settle that was not sent");
        let batch = self.unanswered.remove(&answer.settle_id).ok_or(unknown)?;
        let mut commands = batch.deliveries.iter().chain(&batch.leases);
        let is_final = commands.any(|command| !command.action.is_extend());
        let mut outcomes = Outcomes::new(&answer.deliveries);
        for command in batch.deliveries {
            let result = outcomes.of(command.tag.delivery);
            self.resolve(command, result);
        }
        let mut outcomes = answer.leases.iter();
        for command in batch.leases {
            let missing = || Err(Error::Protocol("a settle without an outcome"));
            let result = outcomes.next().map_or_else(missing, |wire| outcome(*wire));
            self.resolve(command, result);
        }
        Ok(is_final.then_some(batch.sent_ns))
    }

    fn resolve(&mut self, command: Command, result: Result<Settled, Error>) {
        let lost = matches!(result, Ok(Settled::LeaseLost) | Err(Error::InvalidLease));
        if command.action.is_extend()
            && lost
            && let Some(held) = self.in_hand.get_mut(&command.tag)
        {
            held.lost = true;
        }
        command.resolve(result);
    }

    /// Credit to give now, if any.
    pub(super) fn next_credit(&mut self, prefetched: usize) -> Option<Credit> {
        if !self.credit_is_due(prefetched) {
            return None;
        }
        let (items, bytes) = self.due();
        self.credit_items += items;
        self.credit_bytes += bytes;
        Some(Credit {
            items: i32::try_from(items).unwrap_or(i32::MAX),
            bytes,
        })
    }

    /// Small amounts wait for company, unless the user is about to run out of items.
    pub(super) fn credit_is_due(&self, prefetched: usize) -> bool {
        let (items, bytes) = self.due();
        let quarter_items = u64::from(self.options.credit_items / 4).max(1);
        let quarter_bytes = i64::try_from(self.options.credit_bytes / 4).unwrap_or(i64::MAX);
        let short_of_items = items > 0 && self.credit_items < quarter_items;
        let short_of_bytes = bytes > 0 && self.credit_items > 0 && self.credit_bytes <= 0;
        let about_to_starve =
            (prefetched as u64) < quarter_items && (short_of_items || short_of_bytes);
        about_to_starve || items >= quarter_items || (items > 0 && bytes >= quarter_bytes.max(1))
    }

    /// What is neither in hand nor promised; none while the broker owes too many answers.
    fn due(&self) -> (u64, i64) {
        if self.unanswered.len() >= MAX_UNANSWERED {
            return (0, 0);
        }
        let in_use = self.in_hand.len() as u64 + self.credit_items;
        let items = u64::from(self.options.credit_items).saturating_sub(in_use);
        let window = i64::try_from(self.options.credit_bytes).unwrap_or(i64::MAX);
        let in_hand = i64::try_from(self.in_hand_bytes).unwrap_or(i64::MAX);
        let bytes = window
            .saturating_sub(in_hand)
            .saturating_sub(self.credit_bytes);
        (items, bytes.max(0))
    }

    /// Nothing in hand, to send, or to be answered.
    pub(super) fn is_idle(&self) -> bool {
        self.in_hand.is_empty()
            && self.extends.is_empty()
            && self.finals.is_empty()
            && self.unanswered.is_empty()
    }

    pub(super) fn holds_any(&self) -> bool {
        !self.in_hand.is_empty()
    }

    /// All settles that have no answer, for another way to send them.
    pub(super) fn take_unsettled(&mut self) -> Vec<Command> {
        let mut commands = self.drain_unanswered();
        commands.extend(self.extends.drain(..));
        commands.extend(self.finals.drain(..));
        commands
    }
}

/// How many of these go into one message, which may name each delivery once: a user's own extension can stand beside ours.
fn settles_of_a_message(queue: &VecDeque<Command>) -> usize {
    let mut named = FxHashSet::default();
    let next = queue.iter().take(MAX_SETTLES);
    next.take_while(|command| named.insert(command.tag)).count()
}

#[cfg(test)]
mod tests;
