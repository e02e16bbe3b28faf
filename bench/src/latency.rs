//! Latency of items that come at a fixed rate: an open loop.
//!
//! Each item has a time at which it is due, by the schedule and nothing else. Latencies count from then, so what a slow
//! broker (or this program) makes wait in front of it counts too: no coordinated omission. Items that are due in the same
//! 100 us are due together. A rate that was not held has no latency worth telling.

use std::future::ready;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use baton_client::{Confirm, Durability, Item, Producer};
use rustix::thread::{ClockId, clock_nanosleep_relative, set_current_timer_slack};
use rustix::time::Timespec;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::args::{Args, Latency};
use crate::broker::Broker;
use crate::latencies::Latencies;
use crate::load::{Consuming, QUEUE, body};
use crate::report::{Metric, Report};
use crate::seen::shares;
use crate::stated::Stated;

const GROUP_NS: u64 = 100_000;
/// Time for streams to open before the first item is due.
const HEAD_START: Duration = Duration::from_millis(500);
/// Confirms on their way to whoever measures them: more than a producer may have unconfirmed.
const CONFIRMS: usize = 1 << 16;
/// How far the rate may be off.
const TOLERANCE: f64 = 0.02;

const RATE: Metric = Metric::rate("achieved_items_per_second", "rate achieved");
const CONFIRM: [Metric; 5] = [
    Metric::millis("confirm_p50_seconds", "due to confirmed, p50"),
    Metric::millis("confirm_p90_seconds", "due to confirmed, p90"),
    Metric::millis("confirm_p99_seconds", "due to confirmed, p99"),
    Metric::millis("confirm_p999_seconds", "due to confirmed, p99.9"),
    Metric::millis("confirm_max_seconds", "due to confirmed, max"),
];
const DELIVER: [Metric; 5] = [
    Metric::millis("deliver_p50_seconds", "due to received, p50"),
    Metric::millis("deliver_p90_seconds", "due to received, p90"),
    Metric::millis("deliver_p99_seconds", "due to received, p99"),
    Metric::millis("deliver_p999_seconds", "due to received, p99.9"),
    Metric::millis("deliver_max_seconds", "due to received, max"),
];

pub(crate) async fn run(args: &Args, workload: &Latency) -> Result<()> {
    let mut report = Report::new("latency", workload);
    let mut stated = Stated::default();
    for _ in 0..args.runs() {
        let broker = Broker::start(args).await?;
        let outcome = once(&broker, workload, &mut stated).await?;
        report.add(RATE, outcome.rate);
        if held(workload.rate, outcome.rate) {
            outcome.confirm.report(&mut report, &CONFIRM);
            outcome.deliver.report(&mut report, &DELIVER);
        } else {
            report.note("the rate was not held within 2 %: such a run has no latency");
        }
    }
    report.print(&stated.about(args)?, args.json);
    Ok(())
}

/// When each item is due.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    start: Instant,
    producers: u64,
    /// Items a second, of all producers together.
    rate: u64,
    /// The first item that is measured.
    measured_from: u64,
}

#[derive(Debug)]
struct Outcome {
    rate: f64,
    confirm: Latencies,
    deliver: Latencies,
}

/// What the consumers measured.
#[derive(Debug)]
struct Delivered {
    latencies: Latencies,
    last: Instant,
}

impl Schedule {
    /// From the start. An item of each producer is due at the same time.
    fn due_ns(&self, number: u64) -> u64 {
        let turn = u128::from(number / self.producers);
        let exact = turn * u128::from(self.producers) * 1_000_000_000 / u128::from(self.rate);
        let exact = u64::try_from(exact).unwrap_or(u64::MAX);
        exact - exact % GROUP_NS
    }

    fn due(&self, number: u64) -> Instant {
        self.start + Duration::from_nanos(self.due_ns(number))
    }

    /// How long ago the item was due, if it is measured.
    fn latency(&self, number: u64, now: Instant) -> Option<Duration> {
        let measured = number >= self.measured_from;
        measured.then(|| now.saturating_duration_since(self.due(number)))
    }
}

fn held(wanted: u64, achieved: f64) -> bool {
    (achieved / wanted as f64 - 1.0).abs() <= TOLERANCE
}

async fn once(broker: &Broker, workload: &Latency, stated: &mut Stated) -> Result<Outcome> {
    let schedule = Schedule {
        start: Instant::now() + HEAD_START,
        producers: workload.producers,
        rate: workload.rate,
        measured_from: workload.rate * workload.warm_up,
    };
    let delivered = Arc::new(Mutex::new(Delivered {
        latencies: Latencies::new(),
        last: schedule.start,
    }));
    let mut consuming = Consuming::new(workload.producers, 1);
    for _ in 0..workload.consumers {
        let delivered = delivered.clone();
        consuming.add(&broker.client()?, workload.credit, move |number| {
            let mut delivered = delivered.lock().unwrap_or_else(PoisonError::into_inner);
            delivered.note(&schedule, number);
            ready(())
        });
    }
    let published = shares(
        workload.rate * (workload.warm_up + workload.seconds),
        workload.producers,
    );
    let confirm = publish(broker, workload.payload, schedule, &published, stated).await?;
    consuming.finish(&broker.client()?, &published).await?;
    let delivered = Arc::into_inner(delivered).and_then(|all| all.into_inner().ok());
    let delivered = delivered.expect("the consumers have ended");
    let took = delivered.last - schedule.due(schedule.measured_from);
    Ok(Outcome {
        rate: delivered.latencies.count() as f64 / took.as_secs_f64(),
        confirm,
        deliver: delivered.latencies,
    })
}

impl Delivered {
    fn note(&mut self, schedule: &Schedule, number: u64) {
        let now = Instant::now();
        if let Some(latency) = schedule.latency(number, now) {
            self.latencies.record(latency);
            self.last = now;
        }
    }
}

async fn publish(
    broker: &Broker,
    payload: usize,
    schedule: Schedule,
    published: &[u64],
    stated: &mut Stated,
) -> Result<Latencies> {
    let (mut generators, mut confirming) = (JoinSet::new(), JoinSet::new());
    for (own, items) in (0..).zip(published) {
        let (confirms, waiting) = mpsc::channel(CONFIRMS);
        let generator = Generator {
            producer: broker.client()?.producer(QUEUE).open(),
            schedule,
            numbers: own..own + items * schedule.producers,
            payload,
            confirms,
        };
        let runtime = Handle::current();
        generators.spawn_blocking(move || generator.run(&runtime));
        confirming.spawn(confirmed(waiting, schedule));
    }
    while let Some(done) = generators.join_next().await {
        done??;
    }
    let mut all = Latencies::new();
    while let Some(done) = confirming.join_next().await {
        let (latencies, durability) = done??;
        all.merge(&latencies);
        durability.map_or(Ok(()), |durability| stated.add(durability))?;
    }
    Ok(all)
}

/// Publishes items when they are due, on a thread of its own: the runtime's timers tick once in a millisecond.
struct Generator {
    producer: Producer,
    schedule: Schedule,
    numbers: std::ops::Range<u64>,
    payload: usize,
    confirms: mpsc::Sender<(u64, Confirm)>,
}

impl Generator {
    fn run(self, runtime: &Handle) -> Result<()> {
        // Wake when it is time, not up to 50 us later; where that is refused, the latency has it.
        let _ = set_current_timer_slack(NonZeroU64::new(1));
        let step = usize::try_from(self.schedule.producers)?;
        let mut numbers = self.numbers.clone().step_by(step).peekable();
        while let Some(next) = numbers.peek() {
            wait_until(self.schedule.due(*next));
            runtime.block_on(async {
                let now = Instant::now();
                while let Some(number) = numbers.next_if(|n| self.schedule.due(*n) <= now) {
                    let item = Item::new(body(number, self.payload));
                    let confirm = self.producer.send(item).await?;
                    // Whoever measures has failed, and says why.
                    drop(self.confirms.send((number, confirm)).await);
                }
                anyhow::Ok(())
            })?;
        }
        Ok(runtime.block_on(self.producer.close())?)
    }
}

fn wait_until(due: Instant) {
    let left = due.saturating_duration_since(Instant::now());
    if let Ok(left) = Timespec::try_from(left) {
        // A signal wakes it early, and what is not due then waits for another turn.
        drop(clock_nanosleep_relative(ClockId::Monotonic, &left));
    }
}

async fn confirmed(
    mut waiting: mpsc::Receiver<(u64, Confirm)>,
    schedule: Schedule,
) -> Result<(Latencies, Option<Durability>)> {
    let (mut latencies, mut durability) = (Latencies::new(), None);
    // They are confirmed in the order in which they were sent.
    while let Some((number, confirm)) = waiting.recv().await {
        durability = Some(confirm.await?.durability);
        if let Some(latency) = schedule.latency(number, Instant::now()) {
            latencies.record(latency);
        }
    }
    Ok((latencies, durability))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(producers: u64, rate: u64) -> Schedule {
        Schedule {
            start: Instant::now(),
            producers,
            rate,
            measured_from: 10,
        }
    }

    #[test]
    fn items_are_due_in_groups_at_the_rate() {
        let fast = schedule(2, 100_000);
        let in_group = |group: u64| {
            (0..100)
                .filter(|n| fast.due_ns(*n) == group * GROUP_NS)
                .count()
        };
        assert_eq!([0, 1, 9].map(in_group), [10, 10, 10]);
        assert_eq!(fast.due_ns(100_000 * 3600), 3600 * 1_000_000_000);
        assert_eq!(schedule(2, 1000).due_ns(3), 2_000_000);
    }

    #[test]
    fn latency_counts_from_when_an_item_was_due_and_not_in_the_warm_up() {
        let schedule = schedule(1, 1000);
        let late = schedule.start + Duration::from_secs(1);
        assert_eq!(schedule.latency(9, late), None);
        assert_eq!(schedule.latency(10, late), Some(Duration::from_millis(990)));
        assert_eq!(schedule.latency(10, schedule.start), Some(Duration::ZERO));
    }

    #[test]
    fn a_rate_is_held_within_two_percent() {
        assert!(held(1000, 981.0) && held(1000, 1019.0));
        assert!(!held(1000, 979.0) && !held(1000, 1021.0));
    }
}
