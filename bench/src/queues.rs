//! Many small queues, a kill, and whether each has its items afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use baton_client::{Client, Durability, Item};
use tokio::task::JoinSet;

use crate::args::{Args, Queues};
use crate::broker::Broker;
use crate::load::body;
use crate::report::{Metric, Report};
use crate::stated::Stated;

/// Calls at a time.
const CALLERS: u64 = 32;
/// For an item that is there.
const WAIT: Duration = Duration::from_secs(10);

const FILL: Metric = Metric::rate("fill_queues_per_second", "fill: queues")
    .unit("k queues/s")
    .decimals(2);
const FILLED: Metric = Metric::bytes("filled_rss_bytes", "fill: resident");
const DISK: Metric = Metric::bytes("filled_disk_bytes", "fill: data directory");
const READY: Metric = Metric::millis("restart_ready_seconds", "restart: exec to first answer");
const RESTARTED: Metric = Metric::bytes("restarted_rss_bytes", "restart: resident when ready");
const DRAIN: Metric = Metric::rate("drain_queues_per_second", "drain: queues")
    .unit("k queues/s")
    .decimals(2);

pub(crate) async fn run(args: &Args, workload: &Queues) -> Result<()> {
    let mut report = Report::new("queues", workload);
    let mut stated = Stated::default();
    for _ in 0..args.runs() {
        let mut broker = Broker::start(args).await?;
        broker.check_ours()?;
        let queues = workload.queues as f64;
        let begun = Instant::now();
        for durability in each_queue(&broker, workload, fill).await? {
            stated.add(durability)?;
        }
        report.add(FILL, queues / begun.elapsed().as_secs_f64());
        report.add(FILLED, broker.resident().map(|rss| rss.now as f64));
        report.add(DISK, broker.directory_bytes().map(|bytes| bytes as f64));
        let started = broker.crash().await?;
        report.add(READY, started.ready.as_secs_f64());
        report.add(RESTARTED, broker.resident().map(|rss| rss.now as f64));
        let begun = Instant::now();
        each_queue(&broker, workload, drain).await?;
        report.add(DRAIN, queues / begun.elapsed().as_secs_f64());
    }
    report.print(&stated.about(args)?, args.json);
    Ok(())
}

/// A queue to do something with.
#[derive(Debug, Clone)]
struct Task {
    client: Client,
    name: String,
    items: u32,
    payload: usize,
}

/// Does something with every queue, a few at a time.
async fn each_queue<T, F, Fut>(broker: &Broker, workload: &Queues, act: F) -> Result<Vec<T>>
where
    T: Send + 'static,
    F: Fn(Task) -> Fut + Copy + Send + 'static,
    Fut: Future<Output = Result<T>> + Send,
{
    let client = broker.client()?;
    let next = Arc::new(AtomicU64::new(0));
    let mut callers = JoinSet::new();
    let Queues {
        queues,
        items,
        payload,
    } = *workload;
    for _ in 0..CALLERS {
        let (client, next) = (client.clone(), next.clone());
        callers.spawn(async move {
            let mut done = Vec::new();
            loop {
                let queue = next.fetch_add(1, Ordering::Relaxed);
                if queue >= queues {
                    return anyhow::Ok(done);
                }
                let task = Task {
                    client: client.clone(),
                    name: format!("bench-{queue}"),
                    items,
                    payload,
                };
                done.push(act(task).await?);
            }
        });
    }
    let mut all = Vec::new();
    while let Some(done) = callers.join_next().await {
        all.extend(done??);
    }
    Ok(all)
}

async fn fill(task: Task) -> Result<Durability> {
    let producer = task.client.producer(&task.name).open();
    let mut last = None;
    for number in 0..u64::from(task.items) {
        last = Some(producer.send(Item::new(body(number, task.payload))).await?);
    }
    producer.close().await?;
    let last = last.context("a queue gets items")?;
    Ok(last.await?.durability)
}

/// Takes every item and acknowledges it: all of them, in order, nothing else.
async fn drain(task: Task) -> Result<()> {
    let queue = task.client.queue(&task.name);
    let mut came = Vec::new();
    while (came.len() as u64) < u64::from(task.items) {
        let deliveries = queue.lease(task.items, WAIT).await?;
        ensure!(
            !deliveries.is_empty(),
            "wrong result: {} gave {} of its {} items",
            task.name,
            came.len(),
            task.items
        );
        for delivery in deliveries {
            let number = delivery.payload().first_chunk();
            came.push(number.map_or(u64::MAX, |bytes| u64::from_be_bytes(*bytes)));
            delivery.ack().await?;
        }
    }
    ensure!(
        came.iter().copied().eq(0..u64::from(task.items)),
        "wrong result: {} gave {came:?}",
        task.name
    );
    Ok(())
}
