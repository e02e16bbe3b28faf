//! Which queues have turns, and what comes of one.

use std::sync::{Mutex, PoisonError};

use baton_ledger::budget::Budget;
use baton_ledger::party::Party;
use baton_ledger::sampling::{SamplingSettings, TraceLimit};
use baton_queue::NewItem;

use super::*;
use crate::engine::{Accounting, Action, EngineSettings, Keep, Lease, Publish, Sending, Settle};
use crate::engine::{SettledLease, TraceSink};

const DAY: u64 = 24 * 3600;

fn pass(number: u64, over_budget: bool) -> Pass {
    Pass {
        number,
        now: at(10 * DAY),
        over_budget,
    }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp(seconds * 1_000_000_000)
}

/// Its turns over so many passes, without the clock moving.
fn turns(silent: u64, passes: u64, over_budget: bool) -> Vec<Turn> {
    let turn = |number| pass(number, over_budget).turn(at(10 * DAY - silent), 17);
    (0..passes).filter_map(turn).collect()
}

#[test]
fn a_queue_that_was_active_just_now_has_a_turn_in_each_pass_and_forgets_each_minute() {
    let turns = turns(30, 12, false);
    assert_eq!(turns.len(), 12);
    let forgets = turns.iter().filter(|turn| **turn == Turn::Forget);
    assert_eq!(forgets.count(), 2);
}

#[test]
fn a_silent_queue_has_few_turns_and_after_a_day_none() {
    assert_eq!(turns(600, 120, false), [Turn::Forget; 2]);
    assert_eq!(turns(DAY, 120, false), [Turn::Forget; 2]);
    assert_eq!(turns(DAY + 3600, 120, false), []);
}

#[test]
fn where_memory_is_used_up_each_queue_has_its_turns() {
    assert_eq!(turns(9 * DAY, 5, true), [Turn::Forget; 5]);
}

/// Remembers which items got a trace, and why.
#[derive(Debug, Default)]
struct Sink(Mutex<Vec<(u64, Kept)>>);

impl Sink {
    fn taken(&self) -> Vec<(u64, Kept)> {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.clone()
    }
}

impl TraceSink for Sink {
    fn keep(&self, account: Arc<Account>, kept: Kept) {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.push((account.item, kept));
    }
}

/// Traces are those of the slowest of a minute only.
fn engine(budget: usize) -> (Engine, Arc<Sink>) {
    let sampling = SamplingSettings {
        baseline: 0,
        ..SamplingSettings::default()
    };
    let sink = Arc::new(Sink::default());
    (engine_with(sampling, budget, sink.clone()), sink)
}

fn engine_with(sampling: SamplingSettings, budget: usize, sink: Arc<dyn TraceSink>) -> Engine {
    let ledgers = baton_ledger::Shared {
        budget: Budget::new(budget),
        limit: TraceLimit::new(100),
        sampling: Some(sampling),
        finished_max: 1000,
    };
    let settings = EngineSettings {
        auto_create: true,
        keep: Keep::Memory { bytes_max: 1 << 20 },
        accounting: Some(Accounting {
            ledgers: Arc::new(ledgers),
            sink: Some(sink),
        }),
    };
    Engine::open(settings).unwrap()
}

/// An item is published, handed out and acknowledged.
async fn one_done(queue: &QueueHandle) {
    let publish = |reply| Publish {
        producer: None,
        items: vec![NewItem::default()],
        bodies: vec!["".into()],
        sending: Sending::default(),
        reply,
    };
    queue.publish(publish).await.unwrap();
    let lease = |reply| Lease {
        consumer: Arc::new(Party::named("c")),
        items: 1,
        bytes: 1000,
        lease_duration: None,
        until: Timestamp(u64::MAX),
        reply,
    };
    let leased = queue.lease(lease).await.unwrap().remove(0);
    let settle = |reply| Settle {
        session: baton_queue::SessionId(0),
        deliveries: vec![],
        leases: vec![SettledLease {
            token: queue.epoch().read(&leased.token),
            action: Action::Ack,
            stamps: None,
        }],
        received: Timestamp(0),
        clock: None,
        reply,
    };
    queue.settle(settle).await.unwrap();
}

#[tokio::test]
async fn the_slowest_items_of_a_queue_that_fell_silent_get_their_traces() {
    let (engine, sink) = engine(1 << 20);
    let queue = engine.queue_or_create("q").unwrap();
    one_done(&queue).await;
    assert_eq!(sink.taken(), []);
    let mut pass = Pass::new(&engine, 1);
    pass.now.0 += 61_000_000_000;
    pass.run(&engine).await;
    assert_eq!(sink.taken(), [(1, Kept::TopK)]);
    pass.run(&engine).await;
    assert_eq!(sink.taken().len(), 1, "once");
}

#[tokio::test]
async fn a_queue_whose_ledger_is_empty_has_no_turn_until_something_comes() {
    let (engine, _sink) = engine(1 << 20);
    let queue = engine.queue_or_create("q").unwrap();
    assert_eq!(queue.last_active().at(), None);
    // As after a restart: something was told, and nothing of it is kept.
    queue.last_active().note(engine.clock().now());
    Pass::new(&engine, 0).run(&engine).await;
    assert_eq!(queue.last_active().at(), None);
    one_done(&queue).await;
    assert!(queue.last_active().at().is_some());
    Pass::new(&engine, 0).run(&engine).await;
    assert!(
        queue.last_active().at().is_some(),
        "its histograms are kept"
    );
}

#[tokio::test]
async fn silent_queues_give_memory_back_where_it_is_used_up() {
    let (engine, _sink) = engine(10_000);
    let budget = || &engine.ledgers().unwrap().budget;
    for name in ["a", "b", "c", "d"] {
        let queue = engine.queue_or_create(name).unwrap();
        one_done(&queue).await;
    }
    let before = budget().used();
    assert!(
        before > budget().limit(),
        "{before} bytes are too few for this test"
    );
    let mut pass = Pass::new(&engine, 1);
    pass.now.0 += 30 * 24 * 3600 * 1_000_000_000;
    pass.run(&engine).await;
    assert!(budget().used() < before);
}

/// Holds the actor up until the client has its answer, if that comes at all meanwhile.
#[derive(Debug)]
struct Patient {
    answered: Mutex<std::sync::mpsc::Receiver<()>>,
    /// Whether it had it.
    told: Mutex<std::sync::mpsc::Sender<bool>>,
}

impl TraceSink for Patient {
    fn keep(&self, _: Arc<Account>, _: Kept) {
        let answered = self.answered.lock().unwrap();
        let came = answered.recv_timeout(Duration::from_secs(5)).is_ok();
        self.told.lock().unwrap().send(came).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_has_its_answer_before_its_item_is_accounted_for() {
    let (answer, answered) = std::sync::mpsc::channel();
    let (told, came) = std::sync::mpsc::channel();
    let sink = Patient {
        answered: answered.into(),
        told: told.into(),
    };
    let everything = SamplingSettings {
        slow: Duration::ZERO,
        ..SamplingSettings::default()
    };
    let engine = engine_with(everything, 1 << 20, Arc::new(sink));
    one_done(&engine.queue_or_create("q").unwrap()).await;
    answer.send(()).unwrap();
    let came = tokio::task::spawn_blocking(move || came.recv());
    assert!(
        came.await.unwrap().unwrap(),
        "the answer waited for the ledger"
    );
}
