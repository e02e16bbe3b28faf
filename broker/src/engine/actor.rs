//! The actor of one queue: the only task that touches the queue's state.
//!
//! A turn takes what waits in the mailbox (up to [`TURN_REQUESTS`]), lets time pass, hands items out, and submits
//! everything that changed as one commit. What clients are owed for it waits in the pending ledger until the commit is
//! durable. Nothing in a turn awaits. Submodules, one concern each: publishing, delivering, settling, joining.

use std::sync::Arc;
use std::time::Duration;

use baton_queue::{Event, Queue, SessionId, Timestamp};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use super::bodies::Bodies;
use super::commit::{Commit, CommitPosition, CommitProgress, CommitTarget};
use super::consumers::Consumers;
use super::delivering::WaitingLease;
use super::joining::Joins;
use super::pending::Pending;
use super::publishing::Parked;
use super::request::{
    Act, Answer, ConsumeOutput, Delivered, End, Joined, PublishOutput, PublishPiece, Request,
    SettleReply, Settlement, Stored, View,
};
use super::shared::Shared;
use super::token::Epoch;
use crate::error::Error;
use crate::limits::TURN_REQUESTS;

/// What the ledger holds: something to tell a client, and where.
pub(super) enum Effect {
    Stored(oneshot::Sender<Result<Stored, Error>>, Stored),
    Piece(mpsc::OwnedPermit<PublishOutput>, PublishPiece),
    Deliver(mpsc::OwnedPermit<ConsumeOutput>, Vec<Delivered>),
    Leased(
        oneshot::Sender<Result<Vec<Delivered>, Error>>,
        Vec<Delivered>,
    ),
    Settled(SettleReply, Settlement),
    Joined(oneshot::Sender<Result<Joined, Error>>, Joined),
    End(mpsc::OwnedPermit<ConsumeOutput>, End),
    Answer(Answer),
}

/// One queue and everyone who waits for it.
pub(super) struct QueueActor {
    pub(super) name: Arc<str>,
    pub(super) epoch: Epoch,
    pub(super) queue: Queue,
    pub(super) bodies: Bodies,
    pub(super) consumers: Consumers,
    pub(super) producers: u32,
    pub(super) waiting: Vec<WaitingLease>,
    pub(super) parked: Parked,
    pub(super) joins: Joins,
    pub(super) events: Vec<Event>,
    pub(super) now: Timestamp,
    /// Counts hand-outs.
    pub(super) served: u64,
    pub(super) shared: Arc<Shared>,
    pub(super) wake: Arc<Notify>,
    pending: Pending<Effect>,
    submitted: CommitPosition,
    commits: Box<dyn CommitTarget>,
    progress: watch::Receiver<CommitProgress>,
    mailbox: mpsc::Receiver<Request>,
    was_paused: bool,
    deleted: bool,
}

impl QueueActor {
    pub(super) fn new(
        name: Arc<str>,
        queue: Queue,
        epoch: Epoch,
        commits: Box<dyn CommitTarget>,
        (mailbox, shared): (mpsc::Receiver<Request>, Arc<Shared>),
    ) -> Self {
        Self {
            name,
            epoch,
            was_paused: queue.config().paused,
            queue,
            bodies: Bodies::default(),
            consumers: Consumers::default(),
            producers: 0,
            waiting: Vec::new(),
            parked: Parked::default(),
            joins: Joins::default(),
            events: Vec::new(),
            now: shared.clock.now(),
            served: 0,
            wake: Arc::new(Notify::new()),
            pending: Pending::new(),
            submitted: CommitPosition::default(),
            progress: commits.progress(),
            commits,
            mailbox,
            shared,
            deleted: false,
        }
    }

    /// Runs until the queue is deleted, its commits fail, or the engine stops.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut inbox = Vec::new();
        let wake = self.wake.clone();
        let mut progress = self.progress.clone();
        while !self.deleted {
            let due = self.next_turn();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = progress.changed() => {}
                taken = self.mailbox.recv_many(&mut inbox, TURN_REQUESTS) => {
                    if taken == 0 { break }
                }
                () = wake.notified() => {}
                () = sleep_until(due) => {}
            }
            self.turn(&mut inbox);
            if self.has_failed() {
                error!(queue = %self.name, "commits fail: everything that waits has an unknown outcome");
                break;
            }
        }
        self.fail_pending();
        self.refuse_waiting();
        self.shared.stored_bytes.sub(self.bodies.bytes());
        debug!(queue = %self.name, "queue stopped");
    }

    fn turn(&mut self, inbox: &mut Vec<Request>) {
        self.now = self.shared.clock.now();
        self.pass_time();
        for request in inbox.drain(..) {
            self.handle(request);
        }
        self.drop_removed();
        self.admit_parked();
        self.hand_out();
        self.answer_late_leases();
        self.tell_pauses();
        self.end_consumers();
        self.answer_joins();
        // Again: items may have expired on their way out.
        self.drop_removed();
        self.keep_failed_apart();
        self.commit();
        self.release();
    }

    fn handle(&mut self, request: Request) {
        if self.deleted {
            return request.refuse(&self.not_found());
        }
        match request {
            Request::Publish(publish) => self.publish(publish),
            Request::Attach(attach) => self.attach(attach),
            Request::Credit {
                session,
                items,
                bytes,
            } => self.credit(session, items, bytes),
            Request::Settle(settle) => self.settle(settle),
            Request::Drain { session, end } => self.drain(session, end),
            Request::Detach { session } => self.detach(session),
            Request::Lease(lease) => self.lease(lease),
            Request::Join(join) => self.join(join),
            Request::Act(act) => self.act(act),
            Request::ProducerOpened { reply } => self.open_producer(reply),
            Request::ProducerClosed => self.producers -= 1,
            Request::Delete { force, reply } => self.delete(force, reply),
        }
    }

    /// Owes `effect` to a client once all that this turn and those before it changed is durable.
    pub(super) fn owe(&mut self, effect: Effect) {
        let after = CommitPosition(self.submitted.0 + 1);
        self.pending.owe(after, effect);
    }

    pub(super) fn durability(&self) -> baton_proto::v1::Durability {
        self.commits.durability()
    }

    fn act(&mut self, act: Act) {
        let mut view = View {
            queue: &mut self.queue,
            now: self.now,
            events: &mut self.events,
            demand: self.consumers.demand(),
            producers: self.producers,
            bodies: &self.bodies,
        };
        if let Some(answer) = (act.0)(Ok(&mut view)) {
            self.owe(Effect::Answer(answer));
        }
    }

    /// From here on the queue takes nothing; whoever waits for it is told.
    fn delete(&mut self, force: bool, reply: oneshot::Sender<Result<(), Error>>) {
        let holds = !self.queue.is_empty() || self.queue.stats(self.now).dead > 0;
        if holds && !force {
            return drop(reply.send(Err(Error::QueueNotEmpty)));
        }
        self.deleted = true;
        self.mailbox.close();
        for consumer in self.consumers.by_session.values() {
            if let Some(place) = consumer.outbox.place_for_notice() {
                place.send(ConsumeOutput::End(Err(self.not_found())));
            }
        }
        drop(reply.send(Ok(())));
    }

    fn not_found(&self) -> Error {
        Error::QueueNotFound(self.name.to_string())
    }

    /// Answers everyone who waits, and everyone who came too late.
    fn refuse_waiting(&mut self) {
        let error = if self.deleted {
            self.not_found()
        } else {
            Error::OutcomeUnknown
        };
        for lease in self.waiting.drain(..) {
            lease.refuse(&error);
        }
        self.joins.refuse(&error);
        self.mailbox.close();
        while let Ok(request) = self.mailbox.try_recv() {
            request.refuse(&error);
        }
    }

    fn pass_time(&mut self) {
        if self
            .queue
            .next_deadline()
            .is_some_and(|due| due <= self.now)
        {
            self.queue.tick(self.now, rand::random(), &mut self.events);
        }
    }

    /// Drops the bodies of settled items.
    fn drop_removed(&mut self) {
        let before = self.bodies.bytes();
        while let Some((first, count)) = self.queue.poll_removed() {
            self.bodies.remove(first.0, u64::from(count));
        }
        let freed = before - self.bodies.bytes();
        self.shared.stored_bytes.sub(freed);
    }

    /// Moves the bodies of failed items, which are going to stay for a while, out of their blocks.
    fn keep_failed_apart(&mut self) {
        for event in &self.events {
            if let Event::Failed(failed) = event {
                let items = (failed.first.0..).take(failed.count as usize);
                items.for_each(|item| self.bodies.keep_apart(item));
            }
        }
    }

    fn tell_pauses(&mut self) {
        let paused = self.queue.config().paused;
        if self.was_paused == paused {
            return;
        }
        self.was_paused = paused;
        for consumer in self.consumers.by_session.values() {
            if let Some(place) = consumer.outbox.place_for_notice() {
                place.send(ConsumeOutput::Paused(paused));
            }
        }
    }

    fn commit(&mut self) {
        self.submitted.0 += 1;
        let commit = Commit {
            position: self.submitted,
            events: std::mem::take(&mut self.events),
        };
        if let Some(mut buffer) = self.commits.submit(commit) {
            buffer.clear();
            self.events = buffer;
        }
    }

    fn release(&mut self) {
        let CommitProgress::Durable(durable) = *self.progress.borrow() else {
            return;
        };
        let durable_ns = self.shared.clock.monotonic_ns();
        while let Some(effect) = self.pending.next_released(durable) {
            match effect {
                Effect::Stored(reply, stored) => drop(reply.send(Ok(stored))),
                Effect::Piece(place, piece) => {
                    drop(place.send(PublishOutput::Confirm(PublishPiece {
                        durable_ns,
                        ..piece
                    })));
                }
                Effect::Deliver(place, batch) => drop(place.send(ConsumeOutput::Deliveries(batch))),
                Effect::Leased(reply, batch) => self.give_leased(reply, batch),
                Effect::Settled(SettleReply::Once(reply), outcome) => drop(reply.send(Ok(outcome))),
                Effect::Settled(SettleReply::Stream(place, id), outcome) => {
                    drop(place.send(ConsumeOutput::Settled(id, outcome)));
                }
                Effect::Joined(reply, joined) => drop(reply.send(Ok(joined))),
                Effect::End(place, end) => drop(place.send(ConsumeOutput::End(Ok(end)))),
                Effect::Answer(answer) => answer(Ok(())),
            }
        }
    }

    /// What was owed has an unknown outcome. Streams learn it by their outbox closing.
    fn fail_pending(&mut self) {
        while let Some(effect) = self.pending.next_failed() {
            match effect {
                Effect::Stored(reply, _) => drop(reply.send(Err(Error::OutcomeUnknown))),
                Effect::Leased(reply, _) => drop(reply.send(Err(Error::OutcomeUnknown))),
                Effect::Settled(SettleReply::Once(reply), _) => {
                    drop(reply.send(Err(Error::OutcomeUnknown)));
                }
                Effect::Answer(answer) => answer(Err(Error::OutcomeUnknown)),
                Effect::Joined(reply, _) => drop(reply.send(Err(Error::OutcomeUnknown))),
                Effect::Piece(..) | Effect::Deliver(..) | Effect::End(..) => {}
                Effect::Settled(SettleReply::Stream(..), _) => {}
            }
        }
    }

    fn has_failed(&self) -> bool {
        *self.progress.borrow() == CommitProgress::Failed
    }

    /// When the next turn is due without a request.
    fn next_turn(&self) -> Instant {
        /// Parked publishes look whether other queues gave memory back.
        const PARKED_RETRY: Duration = Duration::from_millis(100);
        const IDLE: Duration = Duration::from_secs(3600);
        let now = self.shared.clock.now();
        let until = |at: Timestamp| Duration::from_nanos(at.0.saturating_sub(now.0));
        let parked = (!self.parked.is_empty()).then_some(PARKED_RETRY);
        let deadlines = [
            self.queue.next_deadline().map(until),
            self.waiting
                .iter()
                .map(|lease| lease.until())
                .min()
                .map(until),
            self.joins.next_deadline().map(until),
            parked,
        ];
        Instant::now() + deadlines.into_iter().flatten().min().unwrap_or(IDLE)
    }

    /// Forgets a consumer; its leases outlive it by its grace.
    pub(super) fn detach(&mut self, session: SessionId) {
        if let Some(consumer) = self.consumers.by_session.remove(&session) {
            debug!(queue = %self.name, consumer = %consumer.label, "consumer left");
            for (first, last) in consumer.outbox.untaken() {
                self.give_back(session, first, last);
            }
            self.queue
                .close_session(self.now, session, consumer.grace, &mut self.events);
        }
    }

    fn drain(&mut self, session: SessionId, end: End) {
        if let Some(consumer) = self.consumers.by_session.get_mut(&session) {
            consumer.ending.get_or_insert(end);
        }
    }
}
