//! Open loop at a constant rate: publish to confirm, and publish to receive.
//!
//! No coordinated omission: each item's clock starts at its *scheduled* time, which a slow server cannot move, so the time
//! that an item waits for a place in the window counts, and so does a late load generator.

use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustix::thread::{ClockId, clock_nanosleep_relative, set_current_timer_slack};
use rustix::time::Timespec;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::drain::Drain;
use super::{Bench, ITEMS_MAX};
use crate::args::{Latency, Shape};
use crate::driver::{Driver, OnConfirm, Producer as _};
use crate::items::{Ledger, PayloadMaker};
use crate::probe::Cost;
use crate::results::{Histogram, Quantiles, histogram};

/// The pacer wakes at most this often; above 10,000 items/s it schedules small bursts.
const SHORTEST_TICK_S: f64 = 100e-6;
/// For all connections to open before the first item is due.
const HEAD_START: Duration = Duration::from_millis(600);
/// A rate that was held less than this was not held.
const HELD: f64 = 0.97;

#[derive(Debug, Serialize)]
struct Record {
    rate: f64,
    rep: u32,
    #[serde(flatten)]
    shape: Shape,
    items: u64,
    achieved_per_s: f64,
    /// The server did not keep up: the latencies are those of a growing queue.
    saturated: bool,
    confirm_us: Quantiles,
    receive_us: Quantiles,
    /// How late the load generator itself was: the floor of what can be told apart.
    pacer_lag_us: Quantiles,
    #[serde(flatten)]
    cost: Cost,
    verified: bool,
    fault: Option<String>,
}

/// When each item is due.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    start: Instant,
    burst: u64,
    tick: Duration,
}

impl Schedule {
    fn new(rate: f64, start: Instant) -> Self {
        let burst = (rate * SHORTEST_TICK_S).ceil().max(1.0);
        Self {
            start,
            burst: whole(burst),
            tick: Duration::from_secs_f64(burst / rate),
        }
    }

    fn due(&self, id: u64) -> Instant {
        self.start + self.tick.mul_f64((id / self.burst) as f64)
    }

    fn lateness(&self, id: u64) -> Duration {
        Instant::now().saturating_duration_since(self.due(id))
    }
}

fn whole(number: f64) -> u64 {
    Duration::from_secs_f64(number).as_secs()
}

/// Records how late ids are, from `from` on.
fn recorder(schedule: Schedule, from: u64) -> (OnConfirm, Arc<Mutex<Histogram>>) {
    let shared = Arc::new(Mutex::new(histogram()));
    let into = shared.clone();
    let record = OnConfirm::new(move |id| {
        let lateness = schedule.lateness(id).as_nanos();
        if id >= from {
            let lateness = u64::try_from(lateness).unwrap_or(u64::MAX).max(1);
            let mut into = into.lock().unwrap_or_else(PoisonError::into_inner);
            into.saturating_record(lateness);
        }
    });
    (record, shared)
}

pub(crate) async fn run<D: Driver>(bench: &Bench, args: Latency) -> Result<()> {
    for rep in 0..args.reps {
        once::<D>(bench, args, rep).await?;
    }
    Ok(())
}

async fn once<D: Driver>(bench: &Bench, args: Latency, rep: u32) -> Result<()> {
    let (shape, probe) = (args.shape, &bench.probe);
    let items = whole((args.seconds + args.warm_up) * args.rate);
    let from = whole(args.warm_up * args.rate);
    let possible = from < items && items < ITEMS_MAX;
    ensure!(possible, "rate and seconds give {items} items");
    let driver = bench.fresh::<D>().await?;

    let schedule = Schedule::new(args.rate, Instant::now() + HEAD_START);
    let (on_receive, received) = recorder(schedule, from);
    let (on_confirm, confirmed) = recorder(schedule, from);
    let (on_send, sent) = recorder(schedule, from);
    let ledger = Arc::new(Ledger::new(items));
    let drain = Drain::start(&driver, shape, ledger.clone(), Some(on_receive)).await?;
    let (queues, mut producers) = producers(&driver, shape, items, &on_confirm).await?;
    let connected = Instant::now() < schedule.start;
    ensure!(connected, "connecting took longer than the head start");

    let first = probe.start()?;
    let pacer = std::thread::spawn(move || pace(schedule, items, &queues, &on_send));
    while let Some(producer) = producers.join_next().await {
        producer??;
    }
    pacer.join().expect("the pacer does not panic");
    let drained = drain.finish(&driver, items).await?;
    let (settled, cost) = (drained.settled, probe.since(first)?);

    let fault = ledger.fault(items, drained.close(&driver).await?);
    let achieved_per_s = items as f64 / (settled - schedule.start).as_secs_f64();
    let record = Record {
        rate: args.rate,
        rep,
        shape,
        items,
        achieved_per_s,
        saturated: achieved_per_s < HELD * args.rate,
        confirm_us: quantiles(&confirmed),
        receive_us: quantiles(&received),
        pacer_lag_us: quantiles(&sent),
        cost,
        verified: fault.is_none(),
        fault,
    };
    bench.output.emit("latency", &record)
}

fn quantiles(recorded: &Mutex<Histogram>) -> Quantiles {
    Quantiles::from(&*recorded.lock().unwrap_or_else(PoisonError::into_inner))
}

type Producers = JoinSet<Result<()>>;

/// Producers that publish the ids that they are told, and the ways to tell them.
async fn producers<D: Driver>(
    driver: &D,
    shape: Shape,
    items: u64,
    on_confirm: &OnConfirm,
) -> Result<(Vec<mpsc::Sender<u64>>, Producers)> {
    let maker = PayloadMaker::new(shape.payload);
    let (mut tasks, mut queues) = (JoinSet::new(), Vec::new());
    for _ in 0..shape.active_producers() {
        let window = shape.window_each();
        let mut producer = driver.producer(window, Some(on_confirm.clone())).await?;
        // Room for all: the pacer never waits.
        let (queue, mut ids) = mpsc::channel(usize::try_from(items)?);
        queues.push(queue);
        let maker = maker.clone();
        tasks.spawn(async move {
            while let Some(id) = ids.recv().await {
                producer.publish(id, maker.make(id)).await?;
            }
            producer.flush().await
        });
    }
    Ok((queues, tasks))
}

/// Tells producers their ids when they are due, on a thread of its own: the runtime's timers tick once in a millisecond.
fn pace(schedule: Schedule, items: u64, queues: &[mpsc::Sender<u64>], on_send: &OnConfirm) {
    // Wake when it is time, not up to 50 us later; where that is refused, the lag has it.
    let _ = set_current_timer_slack(NonZeroU64::new(1));
    for (id, queue) in (0..items).zip(queues.iter().cycle()) {
        let wait = schedule.due(id).saturating_duration_since(Instant::now());
        if let Ok(wait) = Timespec::try_from(wait)
            && wait != Timespec::default()
        {
            // A signal that wakes it early makes an item early: nobody signals it.
            drop(clock_nanosleep_relative(ClockId::Monotonic, &wait));
        }
        on_send.call(id);
        // A closed queue means that its producer failed, and says why.
        let _ = queue.try_send(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_due_at_the_rate_and_in_bursts_above_10_000_a_second() {
        let start = Instant::now();
        let slow = Schedule::new(1000.0, start);
        assert_eq!(slow.due(3) - start, Duration::from_millis(3));
        let fast = Schedule::new(100_000.0, start);
        assert_eq!(fast.due(9), start);
        assert_eq!(fast.due(10) - start, Duration::from_micros(100));
        assert_eq!(fast.due(1_000_000) - start, Duration::from_secs(10));
    }
}
