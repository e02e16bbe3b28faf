//! The world of the simulation: a disk, a clock, one broker at a time, and those who use it. Each step is one roll of the dice.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use baton_journal::fs::{Call, FaultFs};
use baton_queue::{Backoff, Config, ItemId, QueueName};
use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::sync::oneshot;

use super::broker::{SEGMENT_BYTES, SimBroker};
use super::consumer::{Consumer, LEASE};
use super::dice::Dice;
use super::oracle::Oracle;
use super::producer::Producer;
use crate::engine::request::Request;
use crate::engine::storage::{Kept, Written};
use crate::error::Error;

/// 2026-01-01.
const BEGINNING_NS: u64 = 1_767_225_600_000_000_000;
/// Steps after which everything has to be settled.
const SETTLE_STEPS: u32 = 40_000;
/// Room on the small disk: a few segments beyond those that are prepared.
const SMALL_DISK: u64 = 6 * SEGMENT_BYTES;

pub(super) struct World {
    dice: Dice,
    clock: &'static AtomicU64,
    fs: Arc<FaultFs>,
    broker: Option<SimBroker>,
    names: Vec<QueueName>,
    producers: Vec<Producer>,
    consumers: Vec<Consumer>,
    oracle: Oracle,
    deleting: Option<(QueueName, oneshot::Receiver<Result<(), Error>>)>,
    deletion_asked: Option<QueueName>,
    pub(super) history: Vec<String>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let clock: &'static AtomicU64 = Box::leak(Box::new(AtomicU64::new(BEGINNING_NS)));
        let fs = FaultFs::new(dice.number());
        fs.short_writes(20);
        let names: Vec<QueueName> = ["a", "b", "c"]
            .map(|name| name.parse().expect("a name"))
            .into();
        let place = |number: usize| names[number % names.len()].clone();
        let mut world = Self {
            clock,
            fs: Arc::new(fs),
            broker: None,
            producers: (0..5)
                .map(|number| Producer::new(number, place(number)))
                .collect(),
            consumers: (0..5)
                .map(|number| Consumer::new(number, place(number)))
                .collect(),
            names,
            oracle: Oracle::new(clock),
            deleting: None,
            deletion_asked: None,
            history: Vec::new(),
            dice,
        };
        world.start();
        world
    }

    fn note(&mut self, what: impl Into<String>) {
        let at = self.clock.load(Ordering::Relaxed) - BEGINNING_NS;
        self.history.push(format!("{at:>15} {}", what.into()));
    }

    fn start(&mut self) {
        let broker = match SimBroker::start(&self.fs, self.clock, &mut self.dice) {
            Ok(broker) => self.broker.insert(broker),
            Err(error) => return self.note(format!("the broker did not start: {error}")),
        };
        let found: Vec<String> = broker
            .queues
            .iter()
            .map(|(name, queue)| format!("{name}: {:?}", queue.actor.queue.stats(broker.now())))
            .collect();
        if let Some(name) = &self.deletion_asked
            && !broker.queues.contains_key(name)
        {
            // It was deleted, although nobody heard of it.
            self.oracle.deleted(name);
        }
        for name in &self.names {
            assert!(
                !(self.oracle.is_deleted(name) && broker.queues.contains_key(name)),
                "{name} is back"
            );
            if !broker.queues.contains_key(name) && !self.oracle.is_deleted(name) {
                broker.create(name, config());
            }
        }
        self.note(format!("the broker started with {found:?}"));
    }

    /// The broker is gone, in whatever way.
    fn lose(&mut self, why: &str) {
        self.note(why);
        self.broker = None;
        self.deleting = None;
        self.producers.iter_mut().for_each(Producer::lose);
        for consumer in &mut self.consumers {
            consumer.lose(&mut self.oracle);
        }
        self.oracle.broker_gone();
    }

    pub(super) fn step(&mut self) {
        match self.dice.below(1000) {
            0..250 => self.produce(true),
            250..500 => self.consume(false),
            500..650 => self.turn(),
            650..790 => self.write(),
            790..860 => self.keep(),
            860..920 => self.read(),
            920..970 => self.pass(Duration::from_millis(300)),
            970 => self.pass(Duration::from_secs(30)),
            971..975 => {
                self.fs.crash();
                self.lose("the power failed");
            }
            975..978 => self.lose("the broker was killed"),
            978..980 => self.break_call(Call::Write, ErrorKind::Other),
            980..982 => self.break_call(Call::Sync, ErrorKind::Other),
            982 => self.break_call(Call::Create, ErrorKind::StorageFull),
            983 => self.fs.cut_power_after(self.dice.below(30)),
            984..987 => self.fill_disk(),
            987..990 => self.fs.set_capacity(None),
            990 if self.dice.one_in(4) => self.delete(),
            _ => self.look_after(),
        }
        self.listen();
    }

    fn break_call(&mut self, call: Call, kind: ErrorKind) {
        let nth = 1 + self.dice.below(5);
        self.note(format!("the {nth}. {call:?} will fail"));
        self.fs.fail(call, nth, kind);
    }

    fn fill_disk(&mut self) {
        self.note("the disk got small");
        self.fs.set_capacity(Some(SMALL_DISK));
    }

    /// Somebody starts the broker again.
    fn look_after(&mut self) {
        if self.broker.is_none() {
            self.fs.crash();
            self.start();
        }
    }

    fn produce(&mut self, news: bool) {
        let number = self.dice.index(self.producers.len());
        let Some(broker) = &mut self.broker else {
            return;
        };
        let producer = &mut self.producers[number];
        if let Some(request) =
            producer.request(&mut self.dice, broker.now(), &mut self.oracle, news)
        {
            let name = producer.queue.clone();
            broker.ask(&name, request);
        }
    }

    fn consume(&mut self, gently: bool) {
        let number = self.dice.index(self.consumers.len());
        let Some(broker) = &mut self.broker else {
            return;
        };
        self.consumers[number].act(broker, &mut self.dice, &mut self.oracle, gently);
    }

    fn turn(&mut self) {
        let name = self.names[self.dice.index(self.names.len())].clone();
        if let Some(broker) = &mut self.broker {
            broker.turn(&name);
        }
    }

    fn write(&mut self) {
        let Some(broker) = &mut self.broker else {
            return;
        };
        let written = broker.write();
        if written == Written::End {
            self.lose("the journal failed");
        }
    }

    fn keep(&mut self) {
        let Some(broker) = &mut self.broker else {
            return;
        };
        if broker.keep() == Kept::End || broker.has_failed() {
            self.lose("the keeper failed");
        }
    }

    fn read(&mut self) {
        let Some(broker) = &mut self.broker else {
            return;
        };
        broker.read();
        if broker.has_failed() {
            self.lose("the reader failed");
        }
    }

    fn pass(&mut self, most: Duration) {
        let most = u64::try_from(most.as_nanos()).expect("short");
        self.clock
            .fetch_add(self.dice.below(most), Ordering::Relaxed);
    }

    fn delete(&mut self) {
        let name = self.names[2].clone();
        let Some(broker) = &mut self.broker else {
            return;
        };
        if self.deleting.is_none() && broker.queues.contains_key(&name) {
            let (reply, deleted) = oneshot::channel();
            broker.ask(&name, Request::Delete { force: true, reply });
            self.deletion_asked = Some(name.clone());
            self.deleting = Some((name, deleted));
        }
    }

    fn listen(&mut self) {
        let mut told = Vec::new();
        for producer in &mut self.producers {
            told.extend(producer.listen(&mut self.oracle));
        }
        for consumer in &mut self.consumers {
            consumer.listen(&mut self.oracle, &mut told);
        }
        if let Some((name, deleted)) = &mut self.deleting
            && let Ok(Ok(())) = deleted.try_recv()
        {
            told.push(format!("{name} is deleted"));
            self.oracle.deleted(name);
            self.deleting = None;
        }
        told.into_iter().for_each(|line| self.note(line));
    }

    /// The disk is well again: whatever is left is published, consumed and checked.
    pub(super) fn settle(&mut self) {
        self.note("all is well from here on");
        self.lose("the broker was stopped");
        self.fs.set_capacity(None);
        self.fs.crash();
        self.start();
        for _ in 0..SETTLE_STEPS {
            self.settle_step();
            if self.is_settled() {
                break;
            }
        }
        assert!(
            self.is_settled(),
            "it never came to rest: {}",
            self.unsettled()
        );
        let dead = self.dead_letters();
        self.oracle.settle(&dead);
        self.tidy();
        self.comes_back_equal(&dead);
    }

    fn settle_step(&mut self) {
        match self.dice.below(10) {
            0 => self.produce(false),
            1..4 => self.consume(true),
            4..6 => self.turn(),
            6..8 => self.write(),
            8 => {
                self.keep();
                self.pass(Duration::from_millis(2000));
            }
            _ => self.read(),
        }
        self.listen();
    }

    fn is_settled(&self) -> bool {
        let Some(broker) = &self.broker else {
            return false;
        };
        self.producers.iter().all(Producer::is_idle)
            && self.consumers.iter().all(Consumer::is_idle)
            && broker
                .queues
                .values()
                .all(|queue| queue.actor.queue.is_empty())
    }

    /// What holds it up.
    fn unsettled(&self) -> String {
        let Some(broker) = &self.broker else {
            return self.history[self.history.len() - 9..].join("\n");
        };
        let queues = broker.queues.iter();
        let states: Vec<String> = queues
            .map(|(name, queue)| format!("{name}: {:?}", queue.actor.queue.stats(broker.now())))
            .collect();
        let producers: Vec<bool> = self.producers.iter().map(Producer::is_idle).collect();
        let consumers: Vec<bool> = self.consumers.iter().map(Consumer::is_idle).collect();
        let last = self.history.len().saturating_sub(12);
        let counters = broker.storage.counters();
        let history = self.history[last..].join("\n");
        format!(
            "{states:#?}, idle producers {producers:?}, idle consumers {consumers:?}, {counters:?}\n{history}"
        )
    }

    fn dead_letters(&mut self) -> BTreeMap<(QueueName, u64), Bytes> {
        let broker = self.broker.as_mut().expect("it runs");
        let mut dead = BTreeMap::new();
        for name in &self.names {
            let Some(queue) = broker.queues.get(name) else {
                continue;
            };
            let (ids, _) = queue.actor.queue.dead_letters(ItemId::NONE, usize::MAX);
            let reader = queue.actor.loading.reader().cloned();
            let reader = reader.expect("it is on disk");
            for id in ids {
                let mut shown = Box::pin(reader.show(vec![id.0]));
                assert!(shown.as_mut().now_or_never().is_none());
                broker.read();
                let body = shown.now_or_never().expect("it was read").remove(0);
                dead.insert(
                    (name.clone(), id.0),
                    body.expect("a dead letter has a body"),
                );
            }
        }
        dead
    }

    /// What is done takes no room: the disk goes back to few segments.
    fn tidy(&mut self) {
        for _ in 0..400 {
            for name in self.names.clone() {
                if let Some(broker) = &mut self.broker {
                    broker.turn(&name);
                }
            }
            self.write();
            if let Some(broker) = &mut self.broker {
                broker.keep_idle();
            }
        }
        let used = self.fs.used();
        // The active one, two spares, and what dead letters, copies or a restart may hold on to.
        assert!(
            used <= 6 * (SEGMENT_BYTES + 64 * 1024),
            "{used} bytes are in use after everything was done"
        );
    }

    /// A restart finds what was there.
    fn comes_back_equal(&mut self, dead: &BTreeMap<(QueueName, u64), Bytes>) {
        let before = self.broker.as_ref().expect("it runs").states();
        self.lose("the broker was stopped");
        self.fs.crash();
        self.start();
        let after = self.broker.as_ref().expect("it starts").states();
        for (name, queue) in &before {
            let (before, after) = (
                queue.stats(self.oracle.now()),
                after[name].stats(self.oracle.now()),
            );
            assert_eq!(before, after, "queue {name}");
        }
        assert_eq!(self.dead_letters(), *dead);
    }
}

fn config() -> Config {
    Config {
        lease_duration: LEASE,
        max_attempts: 6,
        backoff: Backoff {
            initial: Duration::from_millis(100),
            max: Duration::from_secs(5),
        },
        dedup_window: Duration::from_secs(3600),
        ..Config::default()
    }
}
