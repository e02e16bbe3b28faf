//! A consumer of the simulation: leases items one way or the other and acks, fails, extends or forgets them.

use std::sync::Arc;
use std::time::Duration;

use baton_ledger::party::Party;
use baton_queue::{Nack, NackKind, Outcome, QueueName, SessionId, Timestamp};
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::oneshot;

use super::broker::SimBroker;
use super::dice::Dice;
use super::oracle::{Fate, Oracle};
use crate::engine::outbox::{self, OutboxReader};
use crate::engine::request::{
    Action, Attach, ConsumeOutput, Delivered, Lease, Request, Settle, SettleReply, SettledLease,
    Settlement,
};
use crate::error::Error;

/// What the queues' configuration says.
pub(super) const LEASE: Duration = Duration::from_secs(10);
/// Tokens of earlier leases that it tries again.
const OLD_TOKENS: usize = 50;

/// Under which key and when it was asked, and the answer.
type Leasing = ((u64, Timestamp), Answer<Vec<Delivered>>);
/// What is to become of what, and the answer.
type Settling = (Vec<(Held, Fate)>, Answer<Settlement>);
type Answer<T> = oneshot::Receiver<Result<T, Error>>;

pub(super) struct Consumer {
    name: String,
    pub(super) queue: QueueName,
    stream: Option<Stream>,
    leasing: Option<Leasing>,
    held: Vec<Held>,
    settling: Vec<Settling>,
    /// Of leases that ended in some way: settling them must not do anything.
    old: Vec<(u64, Bytes)>,
    /// How many of these are of leases that an earlier broker gave.
    old_lives: usize,
    /// Streams and leases so far.
    streams: u64,
    number: u64,
}

struct Stream {
    attaching: Option<oneshot::Receiver<Result<(SessionId, Duration), Error>>>,
    session: Option<SessionId>,
    key: u64,
    asked_at: Timestamp,
    outputs: OutboxReader,
}

#[derive(Clone)]
struct Held {
    item: u64,
    token: Bytes,
}

impl Consumer {
    pub(super) fn new(number: usize, queue: QueueName) -> Self {
        Self {
            name: format!("consumer-{number}"),
            queue,
            stream: None,
            leasing: None,
            held: Vec::new(),
            settling: Vec::new(),
            old: Vec::new(),
            old_lives: 0,
            streams: 0,
            number: number as u64,
        }
    }

    /// Of a stream or a lease: within one, items come in order.
    fn key(&mut self) -> u64 {
        self.streams += 1;
        self.number << 32 | self.streams
    }

    /// Nothing of it is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.held.is_empty() && self.settling.is_empty()
    }

    /// Its broker is gone.
    pub(super) fn lose(&mut self, oracle: &mut Oracle) {
        self.stream = None;
        self.leasing = None;
        for (settled, _) in self.settling.drain(..) {
            for (held, fate) in settled {
                oracle.perhaps(&self.queue, held.item, fate);
                self.old.push((held.item, held.token));
            }
        }
        self.old
            .extend(self.held.drain(..).map(|held| (held.item, held.token)));
        let surplus = self.old.len().saturating_sub(OLD_TOKENS);
        self.old.drain(..surplus);
        self.old_lives = self.old.len();
    }

    /// Does something. With `gently` it only takes and acks.
    pub(super) fn act(
        &mut self,
        broker: &mut SimBroker,
        dice: &mut Dice,
        oracle: &mut Oracle,
        gently: bool,
    ) {
        match dice.below(10) {
            0..3 if self.stream.is_none() && !gently => self.attach(broker, oracle),
            0..3 if self.stream.is_some() => self.grant(broker, dice),
            3..5 => self.lease(broker, dice, gently),
            5 if !gently && dice.one_in(6) => self.detach(broker, oracle),
            6 if !gently && dice.one_in(3) => self.settle_old(broker, dice),
            _ => self.settle(broker, dice, oracle, gently),
        }
    }

    fn attach(&mut self, broker: &mut SimBroker, oracle: &Oracle) {
        let Some(queue) = broker.queues.get(&self.queue) else {
            return;
        };
        let (outbox, _, outputs) = outbox::outbox(queue.actor.wake.clone());
        let (reply, attaching) = oneshot::channel();
        let attach = Attach {
            consumer: Arc::new(Party::named(self.name.as_str())),
            lease_duration: None,
            grace: Duration::from_secs(2),
            until_drained: false,
            items: 5,
            bytes: 0,
            outbox,
            reply,
        };
        let asked_at = oracle.now();
        let key = self.key();
        self.stream = Some(Stream {
            key,
            attaching: Some(attaching),
            session: None,
            asked_at,
            outputs,
        });
        broker.ask(&self.queue, Request::Attach(attach));
    }

    fn grant(&mut self, broker: &mut SimBroker, dice: &mut Dice) {
        if let Some(session) = self.stream.as_ref().and_then(|stream| stream.session) {
            let items = 1 + dice.below(40);
            broker.ask(
                &self.queue,
                Request::Credit {
                    session,
                    items,
                    bytes: 0,
                },
            );
        }
    }

    fn lease(&mut self, broker: &mut SimBroker, dice: &mut Dice, gently: bool) {
        if self.leasing.is_some() {
            return;
        }
        let (reply, leased) = oneshot::channel();
        let items = u32::try_from(1 + dice.below(if gently { 300 } else { 20 })).expect("small");
        let until = broker
            .now()
            .saturating_add(Duration::from_millis(dice.below(3000)));
        let lease = Lease {
            consumer: Arc::new(Party::named(self.name.as_str())),
            items,
            bytes: 1 << 20,
            lease_duration: None,
            until,
            reply,
        };
        let key = self.key();
        self.leasing = Some(((key, broker.now()), leased));
        broker.ask(&self.queue, Request::Lease(lease));
    }

    /// Its connection breaks; what it holds runs out or is settled by token.
    fn detach(&mut self, broker: &mut SimBroker, oracle: &mut Oracle) {
        if let Some(stream) = self.stream.take()
            && let Some(session) = stream.session
        {
            // Items in the outbox were never seen: they are given back.
            drop(stream.outputs);
            oracle.grace_begins(&self.queue, self.held.iter().map(|held| held.item));
            broker.ask(&self.queue, Request::Detach { session });
        }
    }

    fn settle(
        &mut self,
        broker: &mut SimBroker,
        dice: &mut Dice,
        oracle: &mut Oracle,
        gently: bool,
    ) {
        if self.held.is_empty() {
            return;
        }
        let count = 1 + dice.index(self.held.len());
        let from = dice.index(self.held.len() - count + 1);
        let settled: Vec<Held> = self.held.drain(from..from + count).collect();
        let (fate, action) = fate(dice, gently);
        if fate == Fate::Forgotten {
            self.old
                .extend(settled.into_iter().map(|held| (held.item, held.token)));
            return;
        }
        for held in &settled {
            oracle.settles(&self.queue, held.item, fate);
        }
        let tokens: Vec<Bytes> = settled.iter().map(|held| held.token.clone()).collect();
        let reply = send(broker, &self.queue, &tokens, &action);
        let settled = settled.into_iter().map(|held| (held, fate)).collect();
        if let Some(reply) = reply {
            self.settling.push((settled, reply));
        }
    }

    /// A late or repeated settle.
    fn settle_old(&mut self, broker: &mut SimBroker, dice: &mut Dice) {
        if self.old.is_empty() {
            return;
        }
        let which = dice.index(self.old.len());
        let (item, token) = self.old[which].clone();
        let fate = if which < self.old_lives {
            Fate::OldLife
        } else {
            Fate::Stale
        };
        let reply = send(
            broker,
            &self.queue,
            std::slice::from_ref(&token),
            &Action::Ack,
        );
        if let Some(reply) = reply {
            self.settling
                .push((vec![(Held { item, token }, fate)], reply));
        }
    }

    /// Takes what has come.
    pub(super) fn listen(&mut self, oracle: &mut Oracle, told: &mut Vec<String>) {
        if let Some((asked_at, leased)) = &mut self.leasing {
            match leased.try_recv() {
                Ok(Ok(batch)) => {
                    let asked_at = *asked_at;
                    self.leasing = None;
                    self.take(batch, asked_at, oracle, told);
                }
                Ok(Err(_)) | Err(oneshot::error::TryRecvError::Closed) => self.leasing = None,
                Err(oneshot::error::TryRecvError::Empty) => {}
            }
        }
        self.listen_to_stream(oracle, told);
        let settling = std::mem::take(&mut self.settling);
        for (settled, mut reply) in settling {
            match reply.try_recv() {
                Ok(Ok(settlement)) => self.take_settlement(settled, &settlement, oracle, told),
                Err(oneshot::error::TryRecvError::Empty) => self.settling.push((settled, reply)),
                Ok(Err(_)) | Err(oneshot::error::TryRecvError::Closed) => {
                    for (held, fate) in settled {
                        oracle.perhaps(&self.queue, held.item, fate);
                        self.old.push((held.item, held.token));
                    }
                }
            }
        }
    }

    fn listen_to_stream(&mut self, oracle: &mut Oracle, told: &mut Vec<String>) {
        let Some(mut stream) = self.stream.take() else {
            return;
        };
        if let Some(attaching) = &mut stream.attaching {
            match attaching.try_recv() {
                Ok(Ok((session, _))) => (stream.session, stream.attaching) = (Some(session), None),
                Ok(Err(_)) | Err(oneshot::error::TryRecvError::Closed) => return,
                Err(oneshot::error::TryRecvError::Empty) => {}
            }
        }
        while let Some(output) = stream.outputs.next().now_or_never() {
            match output {
                Some(ConsumeOutput::Deliveries(batch)) => {
                    self.take(batch, (stream.key, stream.asked_at), oracle, told)
                }
                Some(ConsumeOutput::End(_)) | None => return,
                Some(_) => {}
            }
        }
        self.stream = Some(stream);
    }

    fn take(
        &mut self,
        batch: Vec<Delivered>,
        asked: (u64, Timestamp),
        oracle: &mut Oracle,
        told: &mut Vec<String>,
    ) {
        for item in batch {
            told.push(format!(
                "{} got {} attempt {}",
                self.name, item.item, item.attempt
            ));
            oracle.delivered(&self.queue, &item, asked);
            self.held.push(Held {
                item: item.item.0,
                token: item.token,
            });
        }
    }

    fn take_settlement(
        &mut self,
        settled: Vec<(Held, Fate)>,
        settlement: &Settlement,
        oracle: &mut Oracle,
        told: &mut Vec<String>,
    ) {
        assert_eq!(settlement.leases.len(), settled.len());
        for ((held, fate), outcome) in settled.into_iter().zip(&settlement.leases) {
            told.push(format!("{} {} {fate:?}: {outcome:?}", self.name, held.item));
            oracle.settled(&self.queue, held.item, fate, *outcome);
            if fate == Fate::Extended && *outcome == Outcome::Ok {
                self.held.push(held);
            } else if !matches!(fate, Fate::Stale | Fate::OldLife) {
                self.old.push((held.item, held.token));
            }
        }
    }
}

fn fate(dice: &mut Dice, gently: bool) -> (Fate, Action) {
    let nack = |kind, dice: &mut Dice| {
        let (error, random) = (format!("because {}", dice.below(3)).into(), dice.number());
        Action::Nack(Nack {
            kind,
            error,
            random,
        })
    };
    match if gently { 0 } else { dice.below(20) } {
        0..11 => (Fate::Acked, Action::Ack),
        11..14 => (Fate::Failed, nack(NackKind::Retry { delay: None }, dice)),
        14 => (
            Fate::Failed,
            nack(
                NackKind::Retry {
                    delay: Some(Duration::ZERO),
                },
                dice,
            ),
        ),
        15 => (Fate::GivenBack, nack(NackKind::Unstarted, dice)),
        16 => (Fate::Rejected, nack(NackKind::DeadLetter, dice)),
        17 => (
            Fate::Extended,
            Action::Extend(Some(Duration::from_secs(1 + dice.below(20)))),
        ),
        _ => (Fate::Forgotten, Action::Ack),
    }
}

fn send(
    broker: &mut SimBroker,
    queue: &QueueName,
    tokens: &[Bytes],
    action: &Action,
) -> Option<oneshot::Receiver<Result<Settlement, Error>>> {
    let epoch = broker.queues.get(queue)?.epoch;
    let (reply, settled) = oneshot::channel();
    let leases = tokens
        .iter()
        .map(|token| SettledLease {
            token: epoch.read(token),
            action: action.clone(),
            stamps: None,
        })
        .collect();
    let settle = Settle {
        session: SessionId::UNARY,
        deliveries: Vec::new(),
        leases,
        received: Timestamp(0),
        clock: None,
        reply: SettleReply::Once(reply),
    };
    broker.ask(queue, Request::Settle(settle));
    Some(settled)
}
