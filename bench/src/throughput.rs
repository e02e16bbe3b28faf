//! Items a second: producers and consumers at work at once, until every item was acknowledged.
//!
//! The clock runs from the first publish until the broker has acknowledged every item. Each payload begins with the
//! item's number; a bitmap finds losses and repeats.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Result, ensure};
use baton_client::{Client, Delivery, Item};
use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::task::JoinSet;

use crate::args::{Args, Throughput};
use crate::broker::{Broker, own_cpu_seconds};
use crate::report::{Figure, line};

const QUEUE: &str = "bench";

pub(crate) async fn run(args: &Args, workload: &Throughput) -> Result<()> {
    ensure!(
        workload.payload >= 8,
        "--payload has to be at least 8: an item carries its number"
    );
    let (mut rate, mut broker_cpu, mut client_cpu) =
        (Figure::default(), Figure::default(), Figure::default());
    for _ in 0..args.runs {
        let broker = Broker::start(args).await?;
        let (broker_before, own_before) = (broker.cpu_seconds(), own_cpu_seconds());
        let items_per_second = once(&broker.client()?, workload).await?;
        rate.add(items_per_second / 1000.0);
        let per_item = |before: Option<f64>, after: Option<f64>| {
            before
                .zip(after)
                .map(|(before, after)| (after - before) * 1e6 / workload.items as f64)
        };
        if let Some(us) = per_item(broker_before, broker.cpu_seconds()) {
            broker_cpu.add(us);
        }
        if let Some(us) = per_item(own_before, own_cpu_seconds()) {
            client_cpu.add(us);
        }
    }
    let Throughput {
        payload,
        items,
        producers,
        consumers,
        ..
    } = workload;
    line(&format!(
        "throughput, {items} items of {payload} B, {producers} producers, {consumers} consumers, {} runs, median (min-max):",
        args.runs
    ));
    line(&format!("  {}k items/s", rate.text(0)));
    line(&format!(
        "  CPU: broker {} us/item, clients {} us/item",
        broker_cpu.text(2),
        client_cpu.text(2)
    ));
    Ok(())
}

async fn once(client: &Client, workload: &Throughput) -> Result<f64> {
    let seen = Arc::new(Seen::new(workload.items));
    let mut consumers = JoinSet::new();
    for _ in 0..workload.consumers {
        let consumer = client
            .consumer(QUEUE)
            .credit_items(workload.credit)
            .credit_bytes(64 << 20)
            .open();
        consumers.spawn(consume(consumer, seen.clone()));
    }
    let begun = Instant::now();
    let mut producers = JoinSet::new();
    for first in 0..workload.producers {
        let numbers = (first as u64..workload.items).step_by(workload.producers);
        producers.spawn(publish(
            client.clone(),
            numbers,
            workload.payload,
            workload.window,
        ));
    }
    while let Some(done) = producers.join_next().await {
        done??;
    }
    let joined = client.queue(QUEUE).join().await?;
    let elapsed = begun.elapsed();
    client.queue(QUEUE).close().await?;
    while let Some(done) = consumers.join_next().await {
        done??;
    }
    ensure!(
        joined.acked == workload.items,
        "{} of {} items were acknowledged",
        joined.acked,
        workload.items
    );
    seen.check()?;
    Ok(workload.items as f64 / elapsed.as_secs_f64())
}

async fn publish(
    client: Client,
    numbers: impl Iterator<Item = u64>,
    payload: usize,
    window: usize,
) -> Result<()> {
    let producer = client.producer(QUEUE).window_items(window).open();
    for number in numbers {
        // Its outcome comes with the flush.
        drop(producer.send(Item::new(body(number, payload))).await?);
    }
    producer.flush().await?;
    producer.close().await?;
    Ok(())
}

async fn consume(mut consumer: baton_client::Consumer, seen: Arc<Seen>) -> Result<()> {
    while let Some(delivery) = consumer.next().await {
        let delivery = delivery?;
        seen.mark(&delivery);
        drop(delivery.ack());
    }
    consumer.close().await?;
    Ok(())
}

pub(crate) fn body(number: u64, payload: usize) -> Bytes {
    let mut body = BytesMut::with_capacity(payload);
    body.put_u64(number);
    body.resize(payload, b'.');
    body.freeze()
}

/// Which items came.
struct Seen {
    words: Vec<AtomicU64>,
    items: u64,
    repeats: AtomicU64,
}

impl Seen {
    fn new(items: u64) -> Self {
        let words = (0..items.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Self {
            words,
            items,
            repeats: AtomicU64::new(0),
        }
    }

    fn mark(&self, delivery: &Delivery) {
        let number = delivery
            .payload()
            .first_chunk()
            .map_or(u64::MAX, |bytes| u64::from_be_bytes(*bytes));
        let Some(word) = self.words.get((number / 64) as usize) else {
            return;
        };
        let bit = 1 << (number % 64);
        if word.fetch_or(bit, Ordering::Relaxed) & bit != 0 {
            self.repeats.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn check(&self) -> Result<()> {
        let came: u64 = self
            .words
            .iter()
            .map(|word| u64::from(word.load(Ordering::Relaxed).count_ones()))
            .sum();
        let repeats = self.repeats.load(Ordering::Relaxed);
        ensure!(
            came == self.items && repeats == 0,
            "{came} of {} items came, {repeats} of them twice",
            self.items
        );
        Ok(())
    }
}
