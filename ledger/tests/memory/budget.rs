//! A hundred busy queues within one budget.

use baton_ledger::budget::Dropped;
use baton_ledger::{FINISHED_MAX, Shared};
use baton_telemetry::stage::Stage;

use crate::busy::{Busy, HOUR, MS, SECOND, shared};
use crate::{allocated, alone};

const LIMIT: usize = 64 << 20;
const QUEUES: usize = 100;
/// What the queues may take in before they look again: a commit of each.
const TURN: usize = 2 << 20;

struct Broker {
    queues: Vec<Busy>,
    shared: std::sync::Arc<Shared>,
    before: usize,
    most: usize,
}

impl Broker {
    fn new(contexts: bool) -> Self {
        let before = allocated();
        let shared = shared(LIMIT, FINISHED_MAX);
        let queue = || {
            let mut queue = Busy::new(&shared);
            queue.contexts = contexts;
            queue
        };
        Self {
            queues: (0..QUEUES).map(|_| queue()).collect(),
            before,
            most: 0,
            shared,
        }
    }

    /// Every queue does something, and commits it.
    fn each(&mut self, mut step: impl FnMut(&mut Busy)) {
        for queue in &mut self.queues {
            step(queue);
            queue.now += MS;
            queue.commit();
            let used = self.shared.budget.used();
            self.most = self.most.max(used);
            assert!(used <= LIMIT + TURN, "{used} bytes are used");
        }
    }

    fn said(&self) -> usize {
        self.queues.iter().map(|queue| queue.ledger.bytes()).sum()
    }

    #[track_caller]
    fn assert_honest(&self) {
        let (said, real) = (self.said(), allocated() - self.before);
        assert_eq!(said, self.shared.budget.used());
        assert!(
            said * 2 <= real * 3 && real * 2 <= said * 3,
            "they say {said}, but take {real}"
        );
    }
}

/// Twice as many items as are in flight at a time go through each queue, in batches of `each`; some are retried.
fn a_busy_hour(broker: &mut Broker, in_flight: u64, each: u32) {
    let all = 2 * in_flight;
    let step = u64::from(each);
    for place in (0..all).step_by(each as usize) {
        let first = 1 + place;
        broker.each(|queue| {
            queue.now += queue.random(3600 * SECOND / (all / step));
            queue.arrive(first, step);
            queue.lease(first, step, 1);
            if place < in_flight {
                return;
            }
            let done = first - in_flight;
            queue.handled(done, each);
            queue.oldest = done;
            match place / step % 10 {
                0 => {
                    queue.fail(done, each, false);
                    queue.end_turn();
                    queue.lease(done, step, 2);
                    queue.handled(done, each);
                    queue.ack(done, each);
                }
                1 => {
                    queue.fail(done, 1, true);
                    queue.ack(done + 1, each - 1);
                }
                _ => queue.ack(done, each),
            }
        });
    }
}

fn all_of_it_ends(broker: &mut Broker, in_flight: u64, each: u32) {
    for first in (in_flight + 1..=2 * in_flight).step_by(each as usize) {
        broker.each(|queue| {
            queue.handled(first, each);
            queue.ack(first, each);
            queue.oldest = first + u64::from(each);
        });
    }
    // Two days later.
    for _ in 0..2 {
        for queue in &mut broker.queues {
            queue.now += 24 * HOUR;
            queue.commit();
            queue.ledger.expire(queue.now);
        }
    }
}

/// Each queue gets to so many items in flight.
fn within_the_budget(contexts: bool, in_flight: u64, each: u32) {
    let _alone = alone();
    let mut broker = Broker::new(contexts);
    a_busy_hour(&mut broker, in_flight, each);
    broker.assert_honest();
    assert!(broker.most > LIMIT / 2, "that was no test: {}", broker.most);
    all_of_it_ends(&mut broker, in_flight, each);
    broker.assert_honest();
    assert!(broker.said() < LIMIT / 8, "{} are left", broker.said());
    broker.queues.clear();
    assert_eq!(broker.shared.budget.used(), 0);
}

#[test]
fn a_million_items_in_flight_in_large_batches() {
    let _turn = crate::turn();
    within_the_budget(false, 10_000, 250);
}

#[test]
fn a_million_items_in_flight_with_their_traces() {
    let _turn = crate::turn();
    within_the_budget(true, 10_000, 100);
}

#[test]
fn more_items_in_flight_one_by_one_than_there_is_room_for() {
    let _turn = crate::turn();
    within_the_budget(true, 4000, 1);
}

#[test]
fn what_is_dropped_goes_in_its_order() {
    let _turn = crate::turn();
    let _alone = alone();
    let shared = shared(4 << 20, 1000);
    let mut queue = Busy::new(&shared);
    queue.contexts = true;
    // Some of everything.
    for hour in 0..3 {
        let first = 1 + hour * 1000;
        queue.in_flight(first, 1000, 10);
        for item in first..first + 500 {
            queue.handled(item, 1);
            queue.ack(item, 1);
        }
        queue.commit();
        queue.fail(first + 600, 100, false);
        queue.now += HOUR;
        queue.commit();
    }
    let counts = || Dropped::ALL.map(|what| shared.budget.dropped(what));
    assert_eq!(counts(), [0; Dropped::ALL.len()]);
    let mut order = Vec::new();
    for first in (10_000..60_000).step_by(10) {
        queue.in_flight(first, 10, 1);
        let new = |what: &Dropped| shared.budget.dropped(*what) > 0 && !order.contains(what);
        let new: Vec<_> = Dropped::ALL.into_iter().filter(new).collect();
        order.extend(new);
        assert!(shared.budget.used() <= shared.budget.limit());
    }
    assert_eq!(order, Dropped::ALL);
}

#[test]
fn contexts_of_items_under_way_go_before_histograms_get_coarser() {
    let _turn = crate::turn();
    let _alone = alone();
    let shared = shared(4 << 20, 1000);
    let mut queue = Busy::new(&shared);
    // Some that were asked for, which are taken in even where memory is tight.
    (queue.contexts, queue.sampled) = (true, true);
    for hour in 0..3 {
        queue.in_flight(1 + hour * 10, 10, 10);
        queue.now += HOUR;
        queue.commit();
    }
    let dropped = |what| shared.budget.dropped(what);
    let mut first = 10_000;
    while dropped(Dropped::Context) == 0 {
        queue.in_flight(first, 100, 100);
        first += 100;
        assert_eq!((dropped(Dropped::Slot), dropped(Dropped::Lease)), (0, 0));
    }
    // Their attempts count all the same.
    queue.ack(10_000, u32::try_from(first - 10_000).unwrap());
    queue.commit();
    let mut totals = queue.ledger.series().totals();
    let process = totals.find(|(stage, ..)| *stage == Stage::Process);
    assert_eq!(process.map(|(_, all, _)| all.count()), Some(first - 10_000));
}
