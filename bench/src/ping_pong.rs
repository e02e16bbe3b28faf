//! One producer that waits for each confirm before it publishes the next item: the floor of a publish's latency.

use std::time::Instant;

use anyhow::Result;
use baton_client::Item;

use crate::args::{Args, PingPong};
use crate::broker::Broker;
use crate::latencies::Latencies;
use crate::load::{QUEUE, body};
use crate::report::{Metric, Report};
use crate::stated::Stated;

/// Items before the clock runs: connections open, caches fill.
const WARM_UP: u64 = 1000;

const FIGURES: [Metric; 5] = [
    Metric::millis("confirm_p50_seconds", "publish to confirm, p50"),
    Metric::millis("confirm_p90_seconds", "publish to confirm, p90"),
    Metric::millis("confirm_p99_seconds", "publish to confirm, p99"),
    Metric::millis("confirm_p999_seconds", "publish to confirm, p99.9"),
    Metric::millis("confirm_max_seconds", "publish to confirm, max"),
];

pub(crate) async fn run(args: &Args, workload: &PingPong) -> Result<()> {
    let mut report = Report::new("ping-pong", workload);
    let mut stated = Stated::default();
    for _ in 0..args.runs() {
        let broker = Broker::start(args).await?;
        let producer = broker.client()?.producer(QUEUE).open();
        let mut latencies = Latencies::new();
        for number in 0..WARM_UP + workload.items {
            let item = Item::new(body(number, workload.payload));
            let begun = Instant::now();
            let receipt = producer.publish(item).await?;
            if number >= WARM_UP {
                latencies.record(begun.elapsed());
            }
            stated.add(receipt.durability)?;
        }
        producer.close().await?;
        latencies.report(&mut report, &FIGURES);
    }
    report.print(&stated.about(args)?, args.json);
    Ok(())
}
