//! Items that nobody takes, and what they cost: memory and disk while they wait, time when the broker is killed and comes
//! back with them, and the rate at which they drain.

use std::future::ready;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::sync::mpsc;

use crate::args::{Args, Backlog};
use crate::broker::{Broker, Started};
use crate::load::{Consuming, Publishing, check_waiting};
use crate::report::{Metric, Report};
use crate::seen::shares;
use crate::stated::Stated;

const IDLE: Metric = Metric::bytes("idle_rss_bytes", "idle broker, resident");
const LOAD: Metric = Metric::rate("load_items_per_second", "load: rate");
const LOADED: Metric = Metric::bytes("loaded_rss_bytes", "load: resident at the end");
const LOADED_MAX: Metric = Metric::bytes("loaded_rss_max_bytes", "load: resident at most");
const DISK: Metric = Metric::bytes("loaded_disk_bytes", "load: data directory");
const READY: Metric = Metric::millis("restart_ready_seconds", "restart: exec to first answer");
const FIRST: Metric = Metric::millis("restart_first_seconds", "restart: exec to first delivery");
const RESTARTED: Metric = Metric::bytes("restarted_rss_bytes", "restart: resident when ready");
const DRAIN: Metric = Metric::rate("drain_items_per_second", "drain: rate");
const DRAINED_MAX: Metric = Metric::bytes("drained_rss_max_bytes", "drain: resident at most");
const DRAINED_DISK: Metric = Metric::bytes("drained_disk_bytes", "drain: data directory 5 s after");

/// Long enough for a broker to notice that nothing is left.
const SETTLE: Duration = Duration::from_secs(5);

/// Items that wait are delivered by then.
const FIRST_WAIT: Duration = Duration::from_secs(30);

pub(crate) async fn run(args: &Args, workload: &Backlog) -> Result<()> {
    let mut report = Report::new("backlog", workload);
    let mut stated = Stated::default();
    for _ in 0..args.runs() {
        let mut broker = Broker::start(args).await?;
        if workload.kill {
            broker.check_ours()?;
        }
        load(&broker, workload, &mut stated, &mut report).await?;
        let restarted = if workload.kill {
            Some(restart(&mut broker, &mut report).await?)
        } else {
            None
        };
        drain(&broker, workload, restarted, &mut report).await?;
    }
    report.print(&stated.about(args)?, args.json);
    Ok(())
}

async fn load(
    broker: &Broker,
    workload: &Backlog,
    stated: &mut Stated,
    report: &mut Report,
) -> Result<()> {
    report.add(IDLE, broker.resident().map(|rss| rss.now as f64));
    let publishing = Publishing {
        producers: workload.producers,
        items: workload.items,
        payload: workload.payload,
        window: workload.window,
        traced_every: 0,
        queues: 1,
        rate: 0,
    };
    let begun = Instant::now();
    publishing.run(&broker.client()?, stated).await?;
    let elapsed = begun.elapsed().as_secs_f64();
    report.add(LOAD, workload.items as f64 / elapsed);
    let resident = broker.resident();
    report.add(LOADED, resident.map(|rss| rss.now as f64));
    report.add(LOADED_MAX, resident.map(|rss| rss.peak as f64));
    report.add(DISK, broker.directory_bytes().map(|bytes| bytes as f64));
    check_waiting(broker, workload.items).await
}

async fn restart(broker: &mut Broker, report: &mut Report) -> Result<Started> {
    let started = broker.crash().await?;
    report.add(READY, started.ready.as_secs_f64());
    report.add(RESTARTED, broker.resident().map(|rss| rss.now as f64));
    Ok(started)
}

async fn drain(
    broker: &Broker,
    workload: &Backlog,
    restarted: Option<Started>,
    report: &mut Report,
) -> Result<()> {
    let mut consuming = Consuming::new(workload.producers, 1);
    let (came, mut firsts) = mpsc::channel(1);
    let begun = Instant::now();
    for _ in 0..workload.consumers {
        let came = came.clone();
        let mut first = true;
        consuming.add(&broker.client()?, workload.credit, move |_| {
            if std::mem::take(&mut first) {
                // Another consumer may have been the first.
                let _ = came.try_send(Instant::now());
            }
            ready(())
        });
    }
    let first = tokio::time::timeout(FIRST_WAIT, firsts.recv()).await;
    let first = first.context("wrong result: nothing is delivered")?;
    let first = first.context("the consumers have ended")?;
    if let Some(started) = restarted {
        report.add(FIRST, (first - started.at).as_secs_f64());
    }
    let published = shares(workload.items, workload.producers);
    let done = consuming.finish(&broker.client()?, &published).await?;
    let elapsed = (done - begun).as_secs_f64();
    report.add(DRAIN, workload.items as f64 / elapsed);
    report.add(DRAINED_MAX, broker.resident().map(|rss| rss.peak as f64));
    if broker.directory_bytes().is_some() {
        tokio::time::sleep(SETTLE).await;
    }
    report.add(DRAINED_DISK, broker.directory_bytes().map(|b| b as f64));
    Ok(())
}
