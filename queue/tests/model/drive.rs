//! Does each operation to the queue and to the model and compares the answers.

use std::collections::BTreeSet;
use std::mem::discriminant;
use std::sync::Arc;
use std::time::Duration;

use baton_queue::{
    Config, Demand, Event, FailureReason, ItemId, ItemState, LeasedRun, Nack, NackKind, NewItem,
    Outcome, OutcomeRun, ProducerRef, Publish, Queue, RedriveWhat, SessionId, Timestamp, Want,
};
use bytes::Bytes;

use crate::model::{At, Model};
use crate::ops::{Op, OpItem, Setup};

const START: Timestamp = Timestamp(1_700_000_000_000_000_000);

pub(crate) struct Harness {
    pub(crate) queue: Queue,
    /// Sees the events only.
    pub(crate) replica: Queue,
    /// Sees them after they were bytes.
    pub(crate) reader: Queue,
    pub(crate) model: Model,
    pub(crate) removed: BTreeSet<u64>,
    /// By item: attempts that were seen so far.
    pub(crate) attempts: Vec<u32>,
    first_deliveries: Vec<u64>,
    acked: BTreeSet<u64>,
    /// The clock has stood still since the last tick.
    pub(crate) ticked: bool,
}

impl Harness {
    pub(crate) fn new(setup: &Setup) -> Self {
        setup.config.validate().expect("within the limits");
        Self {
            queue: Queue::new(setup.config.clone()),
            replica: Queue::new(setup.config.clone()),
            reader: Queue::new(setup.config.clone()),
            model: Model::new(setup.config.clone(), START),
            removed: BTreeSet::new(),
            attempts: Vec::new(),
            first_deliveries: Vec::new(),
            acked: BTreeSet::new(),
            ticked: true,
        }
    }

    pub(crate) fn run(&mut self, op: &Op) {
        let mut events = Vec::new();
        self.ticked = false;
        self.dispatch(op, &mut events);
        for event in &events {
            self.replica.apply(event);
        }
        self.read(&events);
        while let Some((first, count)) = self.queue.poll_removed() {
            for id in first.get()..first.get() + u64::from(count) {
                assert!(self.removed.insert(id), "item {id} is removed once");
            }
        }
    }

    /// For the next check, that they do not fall.
    pub(crate) fn remember_attempts(&mut self) {
        self.attempts = self.model.items.iter().map(|item| item.attempts).collect();
    }

    fn dispatch(&mut self, op: &Op, events: &mut Vec<Event>) {
        let now = self.model.now;
        match op {
            Op::Publish {
                producer,
                items,
                admit,
            } => {
                let mut index = 0;
                let items: Vec<NewItem> = items
                    .iter()
                    .map(|item| new_item(item, now, &mut index))
                    .collect();
                let names = ["a", "b", "c"];
                let publish = Publish {
                    producer: producer.map(|(name, first_sequence)| ProducerRef {
                        id: names[usize::from(name)],
                        first_sequence,
                    }),
                    items: &items,
                    admit: *admit,
                    origin: None,
                };
                self.publish(op, publish, events);
            }
            Op::Advance { by, tick } => self.advance(*by, *tick, events),
            Op::OpenSession => {
                let session = self.queue.open_session(now, "stream".into(), events);
                assert_eq!(session, SessionId(self.model.sessions.len() as u64));
                self.model.sessions.push(crate::model::Session::default());
            }
            Op::CloseSession { session, grace } => self.close_session(*session, *grace, events),
            Op::Lease { .. } => self.lease(op, events),
            Op::Ack { session, seqs } => {
                let (session, live) = self.settling(*session, *seqs);
                let (at, outcomes) = live;
                let answer = self
                    .queue
                    .handle_ack(now, id_of(session), seqs.0, seqs.1, events);
                self.compare(session, &answer, *seqs, &outcomes);
                for index in at {
                    self.acked.insert(index as u64 + 1);
                    self.model.ack(index);
                }
            }
            Op::Nack {
                session,
                seqs,
                kind,
                random,
            } => {
                self.nack(*session, *seqs, (*kind, *random), events);
            }
            Op::Extend {
                session,
                seqs,
                duration,
            } => {
                let (session, (at, outcomes)) = self.settling(*session, *seqs);
                let id = id_of(session);
                let answer = self
                    .queue
                    .handle_extend(now, id, seqs.0, seqs.1, *duration, events);
                self.compare(session, &answer, *seqs, &outcomes);
                at.into_iter()
                    .for_each(|index| self.model.extend(index, *duration));
            }
            _ => self.administer(op, events),
        }
    }

    fn publish(&mut self, op: &Op, publish: Publish<'_>, events: &mut Vec<Event>) {
        let Op::Publish {
            producer,
            items,
            admit,
        } = op
        else {
            unreachable!("a publish")
        };
        let expected = self.model.publish(*producer, items, *admit);
        let answer = self.queue.handle_publish(self.model.now, publish, events);
        let (answer, (said, blocked)) = match (answer, expected) {
            (Ok(answer), Ok(expected)) => (answer, expected),
            (Err(reject), Err(expected)) => {
                assert_eq!(discriminant(&reject), discriminant(&expected));
                return assert!(events.is_empty(), "what is refused changes nothing");
            }
            (answer, expected) => panic!("{answer:?} is not {expected:?}"),
        };
        assert_eq!(
            answer.blocked.map(|r| discriminant(&r)),
            blocked.map(|r| discriminant(&r))
        );
        assert_eq!(answer.admitted, said.len());
        let mut flat = Vec::new();
        for run in answer.runs {
            assert_eq!(run.position, flat.len());
            let first = run.first.expect("no id is forgotten in so few runs").get();
            flat.extend((first..first + u64::from(run.count)).map(|id| (id, run.duplicate)));
        }
        assert_eq!(flat, said);
    }

    fn advance(&mut self, by: Duration, tick: bool, events: &mut Vec<Event>) {
        self.model.now = self.model.now.saturating_add(by);
        let now = self.model.now;
        if !tick {
            return;
        }
        for round in 0.. {
            assert!(round < 10, "ticks come to an end");
            self.queue.tick(now, round, events);
            if self.queue.next_deadline().is_none_or(|next| next > now) {
                break;
            }
        }
        let queue = &self.queue;
        self.model.tick(|index| due_of(queue, index));
        self.ticked = true;
    }

    fn close_session(&mut self, session: usize, grace: Duration, events: &mut Vec<Event>) {
        let session = session % self.model.sessions.len();
        let now = self.model.now;
        self.queue.close_session(now, id_of(session), grace, events);
        if session == 0 || self.model.sessions[session].closed {
            return assert!(
                events.is_empty(),
                "a session is closed once, and the unary one never"
            );
        }
        self.model.sessions[session].closed = true;
        for item in &mut self.model.items {
            if let At::Leased {
                session: holder,
                deadline,
                orphaned,
                ..
            } = &mut item.at
                && *holder == session
            {
                *deadline = (*deadline).min(now.saturating_add(grace));
                *orphaned = true;
            }
        }
    }

    fn lease(&mut self, op: &Op, events: &mut Vec<Event>) {
        let Op::Lease {
            session,
            items,
            bytes,
            up_to,
            duration,
        } = *op
        else {
            unreachable!("a lease")
        };
        let session = session % self.model.sessions.len();
        let consumer = (session == 0).then(|| Arc::from("unary"));
        let want = Want {
            items,
            bytes,
            lease_duration: duration,
            consumer,
            up_to: up_to.map(ItemId),
        };
        let before = self.model.items.clone();
        let mut next_seq = self.model.sessions[session].leases.len() as u64 + 1;
        let runs = self
            .queue
            .handle_lease(self.model.now, id_of(session), want, events);
        let expected = self.model.lease(session, items, (bytes, up_to), duration);
        let mut given = Vec::new();
        for run in &runs {
            assert_eq!(run.first_seq, next_seq, "leases are numbered in order");
            next_seq += u64::from(run.count);
            for offset in 0..run.count {
                let id = run.first.get() + u64::from(offset);
                self.delivered(id, offset, run, &before);
                given.push(usize::try_from(id - 1).expect("small"));
            }
        }
        assert_eq!(given, expected);
    }

    fn delivered(&mut self, id: u64, offset: u32, run: &LeasedRun, before: &[crate::model::Item]) {
        let item = &before[usize::try_from(id - 1).expect("small")];
        assert!(
            !self.acked.contains(&id),
            "what was acked is never delivered again"
        );
        assert_eq!(
            At::Ready {
                since: run.ready_at
            },
            item.at
        );
        assert_eq!(run.attempt, item.attempts + 1);
        assert_eq!(run.published_at, item.published_at);
        assert_eq!(run.sizes.at(offset), item.size);
        let last_error = item.failed.last().map(|(_, _, error)| error.as_str());
        assert_eq!(
            run.last_error.as_deref(),
            last_error.filter(|error| !error.is_empty())
        );
        let first = !item.delayed && item.failed.is_empty();
        if first && !self.first_deliveries.contains(&id) {
            assert!(
                self.first_deliveries.last() < Some(&id),
                "first deliveries are in order"
            );
            self.first_deliveries.push(id);
        }
    }

    /// The session meant, its live items in the range and all outcomes.
    fn settling(
        &mut self,
        session: usize,
        seqs: (u64, u64),
    ) -> (usize, (Vec<usize>, Vec<Outcome>)) {
        let session = session % self.model.sessions.len();
        let (outcomes, live) = self.model.settle(session, seqs);
        (session, (live, outcomes))
    }

    fn nack(
        &mut self,
        session: usize,
        seqs: (u64, u64),
        (kind, random): (NackKind, u64),
        events: &mut Vec<Event>,
    ) {
        let (session, (live, outcomes)) = self.settling(session, seqs);
        let error: Arc<str> = format!("error {random}").into();
        let nack = Nack {
            kind,
            error: Arc::clone(&error),
            random,
        };
        let now = self.model.now;
        let answer = self
            .queue
            .handle_nack(now, id_of(session), seqs.0, seqs.1, nack, events);
        self.compare(session, &answer, seqs, &outcomes);
        for index in live {
            let reason = match kind {
                NackKind::Unstarted => {
                    self.attempts[index] -= 1;
                    self.model.release(index);
                    continue;
                }
                NackKind::Retry { .. } => FailureReason::Nacked,
                NackKind::DeadLetter => FailureReason::Rejected,
            };
            let queue = &self.queue;
            self.model
                .fail(index, (reason, &error), kind, || due_of(queue, index));
        }
    }

    fn compare(
        &self,
        session: usize,
        answer: &[OutcomeRun],
        seqs: (u64, u64),
        expected: &[Outcome],
    ) {
        if !self.model.sessions[session].forgotten {
            return compare(answer, seqs, expected);
        }
        let (first, last) = seqs;
        let outcome = Outcome::LeaseLost;
        assert_eq!(
            answer,
            [OutcomeRun {
                first,
                last,
                outcome
            }]
        );
    }

    fn administer(&mut self, op: &Op, events: &mut Vec<Event>) {
        let now = self.model.now;
        match op {
            Op::Cancel { items } => {
                let states = self.queue.cancel(now, &ids(items), events);
                let expected: Vec<_> = items.iter().map(|id| self.known_state(*id)).collect();
                assert_eq!(states, expected);
                for id in items {
                    let waits = [Some(ItemState::Scheduled), Some(ItemState::Ready)];
                    if waits.contains(&self.known_state(*id)) {
                        self.model.items[index_of(*id)].at = At::Cancelled;
                    }
                }
            }
            Op::Purge { state } => {
                let purged = self.queue.purge(now, *state, events);
                assert_eq!(purged, self.model.purge(*state));
            }
            Op::RedriveIds { items } => {
                let redriven = self
                    .queue
                    .redrive(now, RedriveWhat::Ids(&ids(items)), events);
                let dead: Vec<_> = self.dead(items);
                assert_eq!(redriven, dead.len() as u64);
                dead.into_iter()
                    .for_each(|index| assert!(self.model.redrive(index)));
            }
            Op::RedriveOldest { max } => {
                let redriven = self.queue.redrive(now, RedriveWhat::Oldest(*max), events);
                let mut dead = self.model.within(ItemState::Dead);
                dead.truncate(max.map_or(usize::MAX, |max| max as usize));
                assert_eq!(redriven, dead.len() as u64);
                dead.into_iter()
                    .for_each(|index| assert!(self.model.redrive(index)));
            }
            Op::Discard { items } => {
                let discarded = self.queue.discard(now, &ids(items), events);
                let dead = self.dead(items);
                assert_eq!(discarded, dead.len() as u64);
                dead.into_iter()
                    .for_each(|index| self.model.items[index].at = At::Discarded);
            }
            Op::Restore => self.restore(),
            Op::Restart => self.restart(events),
            _ => self.configure(op, events),
        }
    }

    fn configure(&mut self, op: &Op, events: &mut Vec<Event>) {
        let base = self.model.config.clone();
        let config = match *op {
            Op::Pause { paused } => Config { paused, ..base },
            Op::Close { closed } => Config { closed, ..base },
            Op::Limit { items, bytes } => Config {
                max_items: items,
                max_bytes: bytes,
                ..base
            },
            _ => unreachable!("the other operations are elsewhere"),
        };
        self.model.config = config.clone();
        self.queue.set_config(self.model.now, config, events);
    }

    fn known_state(&self, id: u64) -> Option<ItemState> {
        (1..=self.model.items.len() as u64)
            .contains(&id)
            .then(|| self.model.state(index_of(id)))
    }

    /// Those of the items that are dead letters, each once.
    fn dead(&self, items: &[u64]) -> Vec<usize> {
        let distinct: BTreeSet<u64> = items.iter().copied().collect();
        let dead = distinct
            .into_iter()
            .filter(|id| self.known_state(*id) == Some(ItemState::Dead));
        dead.map(index_of).collect()
    }
}

fn new_item(item: &OpItem, now: Timestamp, index: &mut u32) -> NewItem {
    *index += item.gap;
    let new = NewItem {
        index: *index,
        size: item.size,
        due: item.delay.map(|delay| now.saturating_add(delay)),
        expires_at: item.ttl.map(|ttl| now.saturating_add(ttl)),
        dedup_key: item.key.map(|key| Bytes::from(vec![key])),
    };
    *index += 1;
    new
}

fn due_of(queue: &Queue, index: usize) -> Option<Timestamp> {
    let id = ItemId(index as u64 + 1);
    let explanation = queue.explain(Timestamp(0), id, Demand::default())?;
    // A back-off that ended in the tick that it began in.
    explanation
        .until
        .filter(|_| explanation.state == ItemState::Scheduled)
        .or(explanation.since)
}

fn compare(answer: &[OutcomeRun], seqs: (u64, u64), expected: &[Outcome]) {
    let mut next = seqs.0;
    for run in answer {
        assert_eq!(run.first, next, "outcomes are without gaps");
        assert!(run.first <= run.last && run.last <= seqs.1);
        let handed_out = seqs.0 + expected.len() as u64;
        for seq in run.first..=run.last.min(handed_out) {
            let index = usize::try_from(seq - seqs.0).expect("small");
            let outcome = expected.get(index).unwrap_or(&Outcome::InvalidLease);
            assert_eq!(run.outcome, *outcome, "of lease {seq}");
        }
        next = run.last.wrapping_add(1);
    }
    assert_eq!(next, seqs.1.wrapping_add(1), "outcomes cover the range");
}

fn id_of(session: usize) -> SessionId {
    SessionId(session as u64)
}

fn index_of(id: u64) -> usize {
    usize::try_from(id - 1).expect("small")
}

fn ids(items: &[u64]) -> Vec<ItemId> {
    items.iter().map(|id| ItemId(*id)).collect()
}
