//! One producer that waits for each confirm before it publishes the next item: the floor of a publish's latency.

use std::time::Instant;

use anyhow::Result;
use baton_client::Item;

use crate::args::{Args, PingPong};
use crate::broker::Broker;
use crate::report::{Figure, line};
use crate::throughput::body;

/// Items before the clock runs: connections open, caches fill.
const WARM_UP: u64 = 1000;

pub(crate) async fn run(args: &Args, workload: &PingPong) -> Result<()> {
    let (mut p50, mut p99) = (Figure::default(), Figure::default());
    for _ in 0..args.runs {
        let broker = Broker::start(args).await?;
        let producer = broker.client()?.producer("bench").open();
        let mut micros = Vec::new();
        for number in 0..WARM_UP + workload.items {
            let item = Item::new(body(number, workload.payload.max(8)));
            let begun = Instant::now();
            producer.publish(item).await?;
            if number >= WARM_UP {
                micros.push(begun.elapsed().as_nanos() as f64 / 1000.0);
            }
        }
        producer.close().await?;
        micros.sort_by(f64::total_cmp);
        p50.add(micros[micros.len() / 2]);
        p99.add(micros[micros.len() * 99 / 100]);
    }
    line(&format!(
        "ping-pong publish, {} B, {} runs, median (min-max):",
        workload.payload, args.runs
    ));
    line(&format!("  p50 {} us, p99 {} us", p50.text(0), p99.text(0)));
    Ok(())
}
