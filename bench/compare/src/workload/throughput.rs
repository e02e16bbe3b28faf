//! Publish alone, then consume what was published alone, then both at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

use super::drain::Drain;
use super::publish::{Limit, publish_all};
use super::{Bench, ITEMS_MAX};
use crate::args::{Shape, Throughput};
use crate::driver::Driver;
use crate::items::Ledger;
use crate::probe::Cost;

#[derive(Debug, Serialize)]
struct Record {
    phase: &'static str,
    rep: u32,
    #[serde(flatten)]
    shape: Shape,
    items: u64,
    seconds: f64,
    items_per_s: f64,
    server_cpu_s_per_million: f64,
    client_cpu_s_per_million: f64,
    #[serde(flatten)]
    cost: Cost,
    /// Nothing lost, doubled, damaged or left behind. Otherwise the number does not count.
    verified: bool,
    fault: Option<String>,
}

/// What a phase did.
struct Done {
    items: u64,
    time: Duration,
    cost: Cost,
}

impl Record {
    fn new(
        phase: &'static str,
        (rep, shape): (u32, Shape),
        done: &Done,
        fault: Option<String>,
    ) -> Self {
        let (seconds, millions) = (done.time.as_secs_f64(), done.items as f64 / 1e6);
        Self {
            phase,
            rep,
            shape,
            items: done.items,
            seconds,
            items_per_s: done.items as f64 / seconds,
            server_cpu_s_per_million: done.cost.server_cpu_s / millions,
            client_cpu_s_per_million: done.cost.client_cpu_s / millions,
            cost: done.cost,
            verified: fault.is_none(),
            fault,
        }
    }
}

pub(crate) async fn run<D: Driver>(bench: &Bench, args: Throughput) -> Result<()> {
    for rep in 0..args.reps {
        if !args.e2e_only {
            separate::<D>(bench, args, rep).await?;
        }
        concurrent::<D>(bench, args, rep).await?;
    }
    Ok(())
}

fn limit(args: Throughput) -> Limit {
    Limit {
        time: Duration::from_secs_f64(args.seconds),
        items: (args.max_bytes / args.shape.payload.max(1) as u64).min(ITEMS_MAX),
    }
}

async fn separate<D: Driver>(bench: &Bench, args: Throughput, rep: u32) -> Result<()> {
    let (shape, probe, output) = (args.shape, &bench.probe, &bench.output);
    let driver = bench.fresh::<D>().await?;

    let (first, start) = (probe.start()?, Instant::now());
    let items = publish_all(&driver, shape, limit(args)).await?;
    let publish = Done {
        items,
        time: start.elapsed(),
        cost: probe.since(first)?,
    };

    let ledger = Arc::new(Ledger::new(items));
    let (first, start) = (probe.start()?, Instant::now());
    let drain = Drain::start(&driver, shape, ledger.clone(), None).await?;
    let drained = drain.finish(&driver, items).await?;
    let consume = Done {
        items,
        time: drained.settled - start,
        cost: probe.since(first)?,
    };

    let fault = ledger.fault(items, drained.close(&driver).await?);
    let at = (rep, shape);
    output.emit(
        "throughput",
        &Record::new("publish", at, &publish, fault.clone()),
    )?;
    output.emit("throughput", &Record::new("consume", at, &consume, fault))
}

async fn concurrent<D: Driver>(bench: &Bench, args: Throughput, rep: u32) -> Result<()> {
    let (shape, probe) = (args.shape, &bench.probe);
    let driver = bench.fresh::<D>().await?;
    let ledger = Arc::new(Ledger::new(limit(args).items));
    let drain = Drain::start(&driver, shape, ledger.clone(), None).await?;

    let (first, start) = (probe.start()?, Instant::now());
    let items = publish_all(&driver, shape, limit(args)).await?;
    let drained = drain.finish(&driver, items).await?;
    let done = Done {
        items,
        time: drained.settled - start,
        cost: probe.since(first)?,
    };

    let fault = ledger.fault(items, drained.close(&driver).await?);
    let record = Record::new("e2e", (rep, shape), &done, fault);
    bench.output.emit("throughput", &record)
}
