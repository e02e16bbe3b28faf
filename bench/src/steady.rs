//! Publish and deliver at full speed with many items waiting.
//!
//! How many wait is held within a quarter: whoever is faster, producers or consumers, pauses when it would get too far
//! ahead. So the rate is the slower one's, with as many items on disk at the end as in the beginning. Rates are the
//! broker's own counts in windows of 5 s.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use baton_client::{Client, Item};
use tokio::task::JoinSet;

use crate::args::{Args, Steady};
use crate::broker::Broker;
use crate::disk::Device;
use crate::load::{Consuming, Publishing, QUEUE, body};
use crate::report::{Metric, Report};
use crate::seen::shares;
use crate::stated::Stated;

const WINDOW: Duration = Duration::from_secs(5);
/// Items between two looks at how many wait.
const LOOK_EVERY: u64 = 64;
const PAUSE: Duration = Duration::from_millis(1);

const ACKED: Metric = Metric::rate("acked_items_per_second", "acknowledged, each 5 s");
const PUBLISHED: Metric = Metric::rate("published_items_per_second", "published, each 5 s");
const WAITING: Metric = Metric::ratio("waiting_items", "waiting, at each 5 s", "items").decimals(0);
const DEVICE: Metric = Metric::ratio("device_bytes_per_payload_byte", "device writes", "B/B");
const PROCESS: Metric = Metric::ratio("process_bytes_per_payload_byte", "broker writes", "B/B");
const BROKER: Metric = Metric::micros_of_item("broker_cpu_seconds_per_item", "CPU, broker");
const RESIDENT: Metric = Metric::bytes("rss_max_bytes", "broker, resident at most");
const DISK: Metric = Metric::bytes("disk_bytes", "data directory at the end");

pub(crate) async fn run(args: &Args, workload: &Steady) -> Result<()> {
    let mut report = Report::new("steady", workload);
    let mut stated = Stated::default();
    for _ in 0..args.runs() {
        let broker = Broker::start(args).await?;
        once(&broker, workload, &mut stated, &mut report).await?;
    }
    report.note("device writes: bytes written to the block device for each byte of payload published meanwhile, by anybody");
    report.note(
        "broker writes: the same of the broker's write_bytes, which counts overwritten pages again",
    );
    report.print(&stated.about(args)?, args.json);
    Ok(())
}

/// How far publishing is ahead of taking, and who has to wait.
#[derive(Debug)]
struct Balance {
    published: AtomicU64,
    taken: AtomicU64,
    wanted: u64,
    /// Nothing is published any more; the rest is to drain.
    over: AtomicBool,
}

impl Balance {
    const fn new(waiting: u64) -> Self {
        Self {
            published: AtomicU64::new(waiting),
            taken: AtomicU64::new(0),
            wanted: waiting,
            over: AtomicBool::new(false),
        }
    }

    fn waiting(&self) -> u64 {
        let taken = self.taken.load(Ordering::Relaxed);
        self.published.load(Ordering::Relaxed).saturating_sub(taken)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn publishing_is_ahead(&self) -> bool {
        self.waiting() > self.wanted + self.wanted / 4 && !self.is_over()
    }

    fn taking_is_ahead(&self) -> bool {
        self.waiting() < self.wanted - self.wanted / 4 && !self.is_over()
    }

    async fn before_publishing(&self) {
        let before = self.published.fetch_add(1, Ordering::Relaxed);
        while before.is_multiple_of(LOOK_EVERY) && self.publishing_is_ahead() {
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn after_taking(self: Arc<Self>) {
        let before = self.taken.fetch_add(1, Ordering::Relaxed);
        while before.is_multiple_of(LOOK_EVERY) && self.taking_is_ahead() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn once(
    broker: &Broker,
    workload: &Steady,
    stated: &mut Stated,
    report: &mut Report,
) -> Result<()> {
    let preload = Publishing {
        producers: workload.producers,
        items: workload.waiting,
        payload: workload.payload,
        window: workload.window,
        traced_every: 0,
        queues: 1,
        rate: 0,
    };
    preload.run(&broker.client()?, stated).await?;
    let balance = Arc::new(Balance::new(workload.waiting));
    let mut consuming = Consuming::new(workload.producers, 1);
    for _ in 0..workload.consumers {
        let balance = balance.clone();
        let each = move |_| balance.clone().after_taking();
        consuming.add(&broker.client()?, workload.credit, each);
    }
    let mut producing = JoinSet::new();
    for (own, before) in (0..).zip(shares(workload.waiting, workload.producers)) {
        let producer = Producing {
            own,
            before,
            preload,
            balance: balance.clone(),
        };
        producing.spawn(producer.run(broker.client()?));
    }
    measure(broker, workload, report).await?;
    balance.over.store(true, Ordering::Relaxed);
    let mut published = vec![0; usize::try_from(workload.producers)?];
    while let Some(done) = producing.join_next().await {
        let (own, items) = done??;
        published[own] = items;
    }
    consuming.finish(&broker.client()?, &published).await?;
    Ok(())
}

/// A producer that goes on where it stopped with the preload.
struct Producing {
    own: u64,
    before: u64,
    preload: Publishing,
    balance: Arc<Balance>,
}

impl Producing {
    /// Publishes until it is over: which producer it was, and how many items it has published, the preload's included.
    async fn run(self, client: Client) -> Result<(usize, u64)> {
        let Publishing {
            producers,
            payload,
            window,
            ..
        } = self.preload;
        let producer = client.producer(QUEUE).window_items(window).open();
        let mut items = self.before;
        while !self.balance.is_over() {
            self.balance.before_publishing().await;
            let number = self.own + items * producers;
            // Its outcome comes with the close.
            drop(producer.send(Item::new(body(number, payload))).await?);
            items += 1;
        }
        producer.close().await?;
        Ok((usize::try_from(self.own)?, items))
    }
}

/// What the broker and the kernel had counted at some time.
#[derive(Debug)]
struct Counts {
    at: Instant,
    published: u64,
    acked: u64,
    device: Option<u64>,
    process: Option<u64>,
    cpu_seconds: Option<f64>,
}

impl Counts {
    async fn now(broker: &Broker, client: &Client, device: Option<&Device>) -> Result<Self> {
        let stats = client.queue(QUEUE).stats().await?;
        Ok(Self {
            at: Instant::now(),
            published: stats.published_total,
            acked: stats.acked_total,
            device: device.and_then(Device::written_bytes),
            process: broker.written_bytes(),
            cpu_seconds: broker.cpu_seconds(),
        })
    }
}

async fn measure(broker: &Broker, workload: &Steady, report: &mut Report) -> Result<()> {
    let (client, device) = (broker.client()?, broker.device());
    let first = Counts::now(broker, &client, device.as_ref()).await?;
    let mut before = Counts::now(broker, &client, device.as_ref()).await?;
    let mut rates = Vec::new();
    for window in 1..=workload.seconds / WINDOW.as_secs() {
        let end = first.at + WINDOW * u32::try_from(window)?;
        tokio::time::sleep_until(end.into()).await;
        let now = Counts::now(broker, &client, device.as_ref()).await?;
        let seconds = (now.at - before.at).as_secs_f64();
        let rate = (now.acked - before.acked) as f64 / seconds;
        rates.push(format!("{:.1}", rate / 1e3));
        report.add(ACKED, rate);
        report.add(
            PUBLISHED,
            (now.published - before.published) as f64 / seconds,
        );
        report.add(WAITING, (now.published - now.acked) as f64);
        before = now;
    }
    let payload = (before.published - first.published) * workload.payload as u64;
    let share = |from: Option<u64>, to: Option<u64>| Some((to? - from?) as f64 / payload as f64);
    report.add(DEVICE, share(first.device, before.device));
    report.add(PROCESS, share(first.process, before.process));
    let cpu = |from: Option<f64>, to: Option<f64>| {
        Some((to? - from?) / (before.acked - first.acked) as f64)
    };
    report.add(BROKER, cpu(first.cpu_seconds, before.cpu_seconds));
    report.add(RESIDENT, broker.resident().map(|rss| rss.peak as f64));
    report.add(DISK, broker.directory_bytes().map(|bytes| bytes as f64));
    report.note(format!(
        "acknowledged in turn, k items/s: {}",
        rates.join(" ")
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_a_quarter_ahead_pauses_until_it_is_over() {
        let balance = Balance::new(1000);
        assert!(!balance.publishing_is_ahead() && !balance.taking_is_ahead());
        balance.published.store(1251, Ordering::Relaxed);
        assert!(balance.publishing_is_ahead() && !balance.taking_is_ahead());
        balance.taken.store(502, Ordering::Relaxed);
        assert!(!balance.publishing_is_ahead() && balance.taking_is_ahead());
        balance.over.store(true, Ordering::Relaxed);
        assert!(!balance.taking_is_ahead());
    }
}
