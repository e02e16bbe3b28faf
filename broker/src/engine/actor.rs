//! The actor of one queue: the only task that touches the queue's state.
//!
//! A turn takes what waits in the mailbox (up to [`TURN_REQUESTS`] and about [`COMMIT_BYTES`]), lets time pass, hands items
//! out, and submits everything that changed as one commit. What clients are owed for it waits in the pending ledger until
//! the commit is durable. Nothing in a turn awaits; while the commit target has enough to do there are no turns, so that
//! more gathers for the next one. Submodules, one concern each: publishing, delivering, settling, joining, loading.

use std::collections::VecDeque;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use baton_ledger::account::Account;
use baton_ledger::sampling::Kept;
use baton_ledger::{ItemStamps, Ledger};
use baton_queue::{Event, ItemId, Queue, SessionId, Timestamp};
use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use super::bodies::Bodies;
use super::commit::{Commit, CommitPosition, CommitProgress, CommitTarget};
use super::consumers::Consumers;
use super::delivering::WaitingLease;
use super::joining::Joins;
use super::last_active::LastActive;
use super::loading::Loading;
use super::pending::Pending;
use super::publishing::Parked;
use super::request::{
    Act, Answer, ConsumeOutput, Delivered, End, Joined, PublishOutput, PublishPiece, Request,
    SettleReply, Settlement, Stored, View,
};
use super::shared::Shared;
use super::store::Store;
use super::token::Epoch;
use crate::error::Error;
use crate::limits::{COMMIT_BYTES, TURN_REQUESTS};

/// How long a queue that is stopped waits for its last commits.
const FLUSH_WAIT: Duration = Duration::from_secs(1);

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
    /// None: nobody wants to know where time goes.
    pub(super) ledger: Option<Box<Ledger>>,
    pub(super) active: Arc<LastActive>,
    /// Worth a trace, since the last turn.
    pub(super) kept: Vec<(Arc<Account>, Kept)>,
    /// Of the items that are handed out just now.
    pub(super) stamps: Vec<ItemStamps>,
    /// Events that the ledger knows of.
    pub(super) accounted: usize,
    pub(super) now: Timestamp,
    /// Counts hand-outs.
    pub(super) served: u64,
    pub(super) shared: Arc<Shared>,
    pub(super) wake: Arc<Notify>,
    pub(super) loading: Loading,
    /// Bytes published in this turn.
    pub(super) turn_bytes: usize,
    /// Of `bodies`, as counted in `shared`.
    counted_bytes: usize,
    /// Done in this turn.
    released: Vec<(u64, u32)>,
    pending: Pending<Effect>,
    /// Of commits that the ledger knows to be durable.
    pub(super) accounted_to: CommitPosition,
    submitted: CommitPosition,
    /// The last new item of each commit under way that has any.
    unwritten: VecDeque<(CommitPosition, ItemId)>,
    pub(super) commits: Box<dyn CommitTarget>,
    progress: watch::Receiver<CommitProgress>,
    mailbox: mpsc::Receiver<Request>,
    was_paused: bool,
    deleted: bool,
    /// Deleted in this turn.
    deleting: bool,
}

impl QueueActor {
    pub(super) fn new(
        name: Arc<str>,
        queue: Queue,
        epoch: Epoch,
        store: Store,
        (mailbox, shared): (mpsc::Receiver<Request>, Arc<Shared>),
    ) -> Self {
        let written = queue.last_item();
        let ledger = shared.ledger(&name, epoch);
        let loading = store
            .reader
            .map_or_else(Loading::default, |reader| Loading::new(reader, written));
        Self {
            name,
            epoch,
            was_paused: queue.config().paused,
            queue,
            bodies: store.bodies,
            loading,
            turn_bytes: 0,
            counted_bytes: 0,
            released: Vec::new(),
            unwritten: VecDeque::new(),
            consumers: Consumers::default(),
            producers: 0,
            waiting: Vec::new(),
            parked: Parked::default(),
            joins: Joins::default(),
            accounted: store.events.len(),
            events: store.events,
            ledger,
            active: Arc::default(),
            kept: Vec::new(),
            stamps: Vec::new(),
            now: shared.clock.now(),
            served: 0,
            wake: store.wake,
            pending: Pending::new(),
            accounted_to: CommitPosition::default(),
            submitted: CommitPosition::default(),
            progress: store.commits.progress(),
            commits: store.commits,
            mailbox,
            shared,
            deleted: false,
            deleting: false,
        }
    }

    /// Runs until the queue is deleted, its commits fail, or the engine stops.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        // The last one is next.
        let mut inbox = Vec::new();
        let wake = self.wake.clone();
        let mut progress = self.progress.clone();
        while !self.is_over() {
            let due = self.next_turn();
            let free = !self.commits.is_busy();
            let open = free && inbox.is_empty() && !self.deleted;
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = progress.changed() => {}
                loaded = self.loading.next() => self.take_loaded(loaded),
                () = ready(()), if free && !inbox.is_empty() => {}
                taken = self.mailbox.recv_many(&mut inbox, TURN_REQUESTS), if open => {
                    if taken == 0 { break }
                    inbox.reverse();
                }
                () = wake.notified(), if free => {}
                () = sleep_until(due), if free => {}
            }
            self.step(&mut inbox);
            if self.has_failed() {
                error!(queue = %self.name, "commits fail: everything that waits has an unknown outcome");
                break;
            }
        }
        drop(timeout(FLUSH_WAIT, self.flush(&mut progress)).await);
        self.fail_pending();
        self.refuse_waiting(inbox);
        self.shared.stored_bytes.change(self.counted_bytes, 0);
        debug!(queue = %self.name, "queue stopped");
    }

    /// What was submitted gets durable, and whoever waits for it is told.
    async fn flush(&mut self, progress: &mut watch::Receiver<CommitProgress>) {
        while !self.pending.is_empty() && !self.has_failed() {
            // The sender is the target's, which is here.
            drop(progress.changed().await);
            self.release();
        }
    }

    /// Deleted, and everyone has been told.
    pub(super) fn is_over(&self) -> bool {
        self.deleted && self.pending.is_empty()
    }

    /// A turn, unless there is enough under way; and what became durable is told.
    pub(super) fn step(&mut self, inbox: &mut Vec<Request>) {
        if !self.commits.is_busy() {
            self.turn(inbox);
        }
        self.release();
    }

    /// One turn; requests are taken from the end of `inbox`, and those that are too many are left there.
    fn turn(&mut self, inbox: &mut Vec<Request>) {
        self.now = self.shared.clock.now();
        self.turn_bytes = 0;
        self.note_written();
        self.pass_time();
        while self.turn_bytes < COMMIT_BYTES
            && let Some(request) = inbox.pop()
        {
            self.handle(request);
        }
        self.drop_removed();
        self.admit_parked();
        self.bodies.seal(&self.queue);
        self.hand_out();
        self.load_more();
        self.answer_late_leases();
        self.tell_pauses();
        self.end_consumers();
        self.answer_joins();
        // Again: items may have expired on their way out.
        self.drop_removed();
        self.keep_failed_apart();
        self.account_turn();
        self.commit();
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
            ledger: self.ledger.as_deref_mut(),
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
        self.deleting = true;
        for consumer in self.consumers.by_session.values() {
            if let Some(place) = consumer.outbox.place_for_notice() {
                place.send(ConsumeOutput::End(Err(self.not_found())));
            }
        }
        let answer = Box::new(move |durable| drop(reply.send(durable)));
        self.owe(Effect::Answer(answer));
    }

    fn not_found(&self) -> Error {
        Error::QueueNotFound(self.name.to_string())
    }

    /// Answers everyone who waits, and everyone who came too late.
    fn refuse_waiting(&mut self, inbox: Vec<Request>) {
        let error = if self.deleted {
            self.not_found()
        } else {
            Error::OutcomeUnknown
        };
        for lease in self.waiting.drain(..) {
            lease.refuse(&error);
        }
        self.joins.refuse(&error);
        for request in inbox.into_iter().rev() {
            request.refuse(&error);
        }
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
            let random = self.shared.chance.next();
            self.queue.tick(self.now, random, &mut self.events);
        }
    }

    /// Drops the bodies of settled items, once it is accounted for those that say in theirs where they came from.
    fn drop_removed(&mut self) {
        self.account_events();
        while let Some((first, count)) = self.queue.poll_removed() {
            self.bodies.remove(first.0, count);
            self.released.push((first.0, count));
        }
        self.count_bytes();
    }

    /// Tells all queues together how much memory this one's bodies take.
    pub(super) fn count_bytes(&mut self) {
        let bytes = self.bodies.bytes();
        self.shared.stored_bytes.change(self.counted_bytes, bytes);
        self.counted_bytes = bytes;
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
        let room = self.counted_bytes + self.shared.stored_bytes.room();
        let blocks = self.bodies.end_turn(room);
        self.count_bytes();
        let snapshot = self.commits.wants_snapshot().then(|| self.snapshot());
        let commit = Commit {
            position: CommitPosition(self.submitted.0 + 1),
            events: std::mem::take(&mut self.events),
            blocks,
            released: std::mem::take(&mut self.released),
            snapshot,
            last: std::mem::take(&mut self.deleting),
        };
        if commit.is_empty() {
            self.events = commit.events;
            return self.pending.nothing_after(self.submitted);
        }
        self.submitted = commit.position;
        self.accounted = 0;
        if let Some(ledger) = &mut self.ledger {
            ledger.end_turn(self.submitted.0);
        }
        if let Some(block) = commit.blocks.last() {
            let last = ItemId(block.end() - 1);
            self.unwritten.push_back((self.submitted, last));
        }
        let last = commit.last;
        if let Some(mut buffer) = self.commits.submit(commit) {
            buffer.clear();
            self.events = buffer;
        }
        if last {
            // Not before: whoever finds it closed may make a queue of this name anew.
            self.mailbox.close();
        }
    }

    fn snapshot(&self) -> Bytes {
        let mut snapshot = Vec::new();
        self.queue.snapshot(&mut snapshot);
        snapshot.into()
    }

    /// Before anything is read: the turn that a commit's progress brings may be the last one for long.
    fn note_written(&mut self) {
        let CommitProgress::Durable(durable) = *self.progress.borrow() else {
            return;
        };
        while let Some((_, last)) = self
            .unwritten
            .pop_front_if(|(commit, _)| *commit <= durable)
        {
            self.loading.written_up_to(last);
        }
    }

    fn release(&mut self) {
        let CommitProgress::Durable(durable) = *self.progress.borrow() else {
            return;
        };
        let (now, durable_ns) = (self.shared.clock.now(), self.shared.clock.monotonic_ns());
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
        // Nobody waits for the ledger: it only has to know before the next turn hands anything out.
        self.account_durable(durable, now);
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
            debug!(queue = %self.name, consumer = %consumer.party.client_id, "consumer left");
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
