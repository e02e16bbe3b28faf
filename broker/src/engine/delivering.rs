//! Delivering: hands ready items out to consumers' streams and long polls, both from the one ready list.
//!
//! Fairness: whoever holds the fewest unsettled items goes first, among equals whoever was served longest ago, and each
//! gets at most an equal share of what is ready at a time. So a busy consumer's prefetch never starves an idle one, and
//! under load everyone gets in proportion to what it settles. Credit and a place in the outbox are needed for each hand-out.

use std::sync::Arc;

use baton_ledger::party::Party;
use baton_queue::{LeasedRun, Nack, NackKind, SessionId, Timestamp, Want};
use tokio::sync::oneshot;
use tracing::debug;

use super::actor::{Effect, QueueActor};
use super::consumers::Consumer;
use super::request::{Attach, ConsumeOutput, Delivered, End, Lease};
use crate::error::Error;
use crate::limits::{CLIENTS_PER_QUEUE_MAX, DELIVERY_BYTES_MAX, DELIVERY_ITEMS_MAX};

/// Messages that one turn hands out: about 64k items at most, so that other queues get their turn.
const SERVES_PER_TURN: usize = 256;

/// A long poll that waits for its first item.
#[derive(Debug)]
pub(super) struct WaitingLease(Lease);

impl WaitingLease {
    pub(super) fn refuse(self, error: &Error) {
        drop(self.0.reply.send(Err(error.clone())));
    }

    pub(super) fn until(&self) -> Timestamp {
        self.0.until
    }
}

impl QueueActor {
    pub(super) fn attach(&mut self, attach: Attach) {
        if let Err(refusal) = self.may_attach() {
            drop(attach.reply.send(Err(refusal)));
            return;
        }
        let (items, bytes) = (attach.items, attach.bytes);
        let lease_duration = attach
            .lease_duration
            .unwrap_or_else(|| self.queue.config().lease_duration);
        let session = self.queue.open_session(
            self.now,
            attach.consumer.client_id.clone(),
            &mut self.events,
        );
        let (reply, mut consumer) = Consumer::new(attach);
        let granted = consumer.grant(items, bytes);
        let attached = granted.is_ok();
        let told = reply
            .send(granted.map(|()| (session, lease_duration)))
            .is_ok();
        if attached && told {
            debug!(queue = %self.name, consumer = %consumer.party.client_id, "consumer attached");
            self.consumers.by_session.insert(session, consumer);
        } else {
            self.queue
                .close_session(self.now, session, consumer.grace, &mut self.events);
        }
    }

    fn may_attach(&self) -> Result<(), Error> {
        if self.shared.is_draining() {
            return Err(Error::Draining);
        }
        if self.consumers.by_session.len() + self.waiting.len() >= CLIENTS_PER_QUEUE_MAX {
            return Err(Error::Limit {
                what: "consumers of one queue",
                max: CLIENTS_PER_QUEUE_MAX,
            });
        }
        Ok(())
    }

    pub(super) fn credit(&mut self, session: SessionId, items: u64, bytes: u64) {
        let Some(consumer) = self.consumers.by_session.get_mut(&session) else {
            return;
        };
        if let Err(refusal) = consumer.grant(items, bytes)
            && let Some(place) = consumer.outbox.place_for_notice()
        {
            place.send(ConsumeOutput::End(Err(refusal)));
            self.detach(session);
        }
    }

    pub(super) fn lease(&mut self, lease: Lease) {
        match self.may_attach() {
            Ok(()) => self.waiting.push(WaitingLease(lease)),
            Err(refusal) => drop(lease.reply.send(Err(refusal))),
        }
    }

    /// Hands out what is ready, as long as someone takes it.
    pub(super) fn hand_out(&mut self) {
        if !self.hands_out() {
            return;
        }
        self.give_up_unreadable();
        self.serve_waiting();
        for _ in 0..SERVES_PER_TURN {
            let Some((session, share)) = self.next_consumer() else {
                return;
            };
            if !self.serve(session, share) {
                break;
            }
        }
        if self.waits_for_disk() {
            // What is read brings the next turn.
            return;
        }
        // There may be more to do, for others too: in a turn of its own, so that nobody is kept waiting.
        if self.queue.ready_items() > 0 {
            self.wake.notify_one();
        }
    }

    /// Whether there is something that may be handed out.
    pub(super) fn hands_out(&self) -> bool {
        self.queue.ready_items() > 0 && !self.queue.config().paused && !self.shared.is_draining()
    }

    /// Who goes next, and how many items it gets at most.
    fn next_consumer(&self) -> Option<(SessionId, u32)> {
        let mut takers = 0;
        let mut next = None;
        for (session, consumer) in &self.consumers.by_session {
            if consumer.credit() == 0 || !consumer.outbox.has_place_for_deliveries() {
                continue;
            }
            takers += 1;
            let rank = (self.queue.live_leases(*session), consumer.served);
            if next.is_none_or(|(best, _)| rank < best) {
                next = Some((rank, *session));
            }
        }
        let ready = self.queue.ready_items();
        if ready == 0 {
            return None;
        }
        let share = ready.div_ceil(takers.max(1));
        let share = share.min(u64::from(DELIVERY_ITEMS_MAX));
        next.map(|(_, session)| (session, u32::try_from(share).unwrap_or(DELIVERY_ITEMS_MAX)))
    }

    /// False if nothing could be handed out after all.
    fn serve(&mut self, session: SessionId, share: u32) -> bool {
        let consumer = self
            .consumers
            .by_session
            .get_mut(&session)
            .expect("it was just found");
        // Answers to its settles may have taken the place that was just seen.
        let Some(place) = consumer.outbox.place_for_deliveries() else {
            return false;
        };
        let items = u32::try_from(consumer.credit())
            .unwrap_or(u32::MAX)
            .min(share);
        let bytes = consumer
            .byte_credit()
            .unwrap_or(u64::MAX)
            .min(DELIVERY_BYTES_MAX);
        let lease_duration = consumer.lease_duration;
        let want = Want {
            items,
            bytes: Some(bytes),
            lease_duration,
            consumer: None,
            up_to: None,
        };
        let party = Arc::clone(&consumer.party);
        let batch = self.take(session, &party, want);
        if batch.is_empty() {
            // What was ready had expired, or is not at hand.
            return false;
        }
        self.served += 1;
        let consumer = self
            .consumers
            .by_session
            .get_mut(&session)
            .expect("it was just found");
        consumer.served = self.served;
        consumer.spend(
            batch.len() as u64,
            batch.iter().map(|item| item.body.len() as u64).sum(),
        );
        self.owe(Effect::Deliver(place, batch));
        true
    }

    /// Leases what is wanted, as far as it is at hand.
    fn take(&mut self, session: SessionId, party: &Arc<Party>, want: Want) -> Vec<Delivered> {
        let want = Want {
            up_to: self.bodies.ready_up_to(&self.queue),
            ..want
        };
        let runs = self
            .queue
            .handle_lease(self.now, session, want, &mut self.events);
        let mut batch = Vec::with_capacity(runs.iter().map(|run| run.count as usize).sum());
        for run in runs {
            let delivered = batch.len();
            self.deliver_run(session, &run, &mut batch);
            self.account_lease(&run, party, &mut batch[delivered..]);
        }
        batch
    }

    fn deliver_run(&mut self, session: SessionId, run: &LeasedRun, batch: &mut Vec<Delivered>) {
        let mut tokens = self.epoch.tokens(session, run.first_seq, run.count);
        let queue_wait_ns = self.now.0.saturating_sub(run.ready_at.0);
        let age_ns = self.now.0.saturating_sub(run.published_at.0);
        self.bodies.take(run.first.0, run.count, |id, body| {
            batch.push(Delivered {
                seq: run.first_seq + (id - run.first.0),
                item: baton_queue::ItemId(id),
                attempt: run.attempt,
                token: tokens.next().expect("a token for each lease"),
                queue_wait_ns,
                age_ns,
                last_error: run.last_error.as_deref().unwrap_or_default().to_owned(),
                traceparent: String::new(),
                body,
            });
        });
    }

    fn serve_waiting(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting).into_iter();
        let mut unserved = Vec::new();
        while self.queue.ready_items() > 0
            && let Some(WaitingLease(lease)) = waiting.next()
        {
            if lease.reply.is_closed() {
                continue;
            }
            let share = self.queue.ready_items().div_ceil(1 + waiting.len() as u64);
            let items = u64::from(lease.items).min(share.max(1));
            let want = Want {
                items: u32::try_from(items).unwrap_or(lease.items),
                bytes: Some(lease.bytes),
                lease_duration: lease.lease_duration,
                consumer: Some(lease.consumer.client_id.clone()),
                up_to: None,
            };
            let batch = self.take(SessionId::UNARY, &lease.consumer, want);
            if batch.is_empty() {
                // What was ready had expired: it waits on.
                unserved.push(WaitingLease(lease));
            } else {
                self.owe(Effect::Leased(lease.reply, batch));
            }
        }
        self.waiting = unserved.into_iter().chain(waiting).collect();
    }

    /// A caller that went away in the meantime never saw the items: they go back as if it had not asked.
    pub(super) fn give_leased(
        &mut self,
        reply: oneshot::Sender<Result<Vec<Delivered>, Error>>,
        batch: Vec<Delivered>,
    ) {
        if let Err(Ok(batch)) = reply.send(Ok(batch)) {
            for item in batch {
                self.give_back(SessionId::UNARY, item.seq, item.seq);
            }
            self.wake.notify_one();
        }
    }

    /// Returns items that nobody saw: ready at once, and the attempt does not count.
    pub(super) fn give_back(&mut self, session: SessionId, first: u64, last: u64) {
        let nack = Nack {
            kind: NackKind::Unstarted,
            error: "".into(),
            random: 0,
        };
        let events = &mut self.events;
        self.queue
            .handle_nack(self.now, session, first, last, nack, events);
    }

    /// Answers long polls whose time is up, or all of them when nothing will come any more.
    pub(super) fn answer_late_leases(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let give_up = self.shared.is_draining() || self.queue.is_drained();
        let now = self.now;
        let late = self.waiting.extract_if(.., |WaitingLease(lease)| {
            give_up || lease.until <= now || lease.reply.is_closed()
        });
        for WaitingLease(lease) in late {
            drop(lease.reply.send(Ok(Vec::new())));
        }
    }

    /// Ends the streams that have nothing to wait for.
    pub(super) fn end_consumers(&mut self) {
        let empty = self.queue.is_empty();
        let drained = self.queue.is_drained();
        let mut ended = Vec::new();
        for (session, consumer) in &self.consumers.by_session {
            let end = match consumer.ending {
                _ if consumer.outbox.is_gone() => {
                    ended.push((*session, None));
                    continue;
                }
                Some(end) if self.queue.live_leases(*session) == 0 => end,
                None if drained || (empty && consumer.until_drained) => End::Drained,
                _ => continue,
            };
            if let Some(place) = consumer.outbox.place_for_notice() {
                ended.push((*session, Some(Effect::End(place, end))));
            }
        }
        for (session, effect) in ended {
            effect.into_iter().for_each(|effect| self.owe(effect));
            self.detach(session);
        }
    }
}
