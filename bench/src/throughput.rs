//! Items a second: producers and consumers at work at once, until every item was acknowledged.
//!
//! The clock runs from the first publish until the broker has acknowledged every item.

use std::future::ready;
use std::time::Instant;

use anyhow::{Result, ensure};

use crate::args::{Args, Throughput};
use crate::broker::Broker;
use crate::load::{Consuming, Publishing};
use crate::process;
use crate::report::{Metric, Report};
use crate::seen::shares;
use crate::stated::Stated;

pub(crate) async fn run(args: &Args, workload: &Throughput) -> Result<()> {
    const RATE: Metric = Metric::rate("items_per_second", "rate").decimals(0);
    const BROKER: Metric = Metric::micros_of_item("broker_cpu_seconds_per_item", "CPU, broker");
    const CLIENTS: Metric = Metric::micros_of_item("clients_cpu_seconds_per_item", "CPU, clients");
    ensure!(
        workload.queues <= workload.producers.min(workload.consumers),
        "each queue needs a producer and a consumer"
    );
    let mut report = Report::new("throughput", workload);
    let mut stated = Stated::default();
    let own_cpu = || process::cpu_seconds(std::process::id());
    for _ in 0..args.runs() {
        let broker = Broker::start(args).await?;
        let before = (broker.cpu_seconds(), own_cpu());
        report.add(RATE, once(&broker, workload, &mut stated).await?);
        let per_item = |before: Option<f64>, after: Option<f64>| {
            Some((after? - before?) / workload.items as f64)
        };
        report.add(BROKER, per_item(before.0, broker.cpu_seconds()));
        report.add(CLIENTS, per_item(before.1, own_cpu()));
    }
    report.print(&stated.about(args)?, args.json);
    Ok(())
}

async fn once(broker: &Broker, workload: &Throughput, stated: &mut Stated) -> Result<f64> {
    let client = broker.client()?;
    let mut consuming = Consuming::new(workload.producers, workload.queues);
    for _ in 0..workload.consumers {
        consuming.add(&client, workload.credit, |_| ready(()));
    }
    let publishing = Publishing {
        producers: workload.producers,
        items: workload.items,
        payload: workload.payload,
        window: workload.window,
        traced_every: workload.traced_every,
        queues: workload.queues,
        rate: workload.rate,
    };
    let begun = Instant::now();
    publishing.run(&client, stated).await?;
    let published = shares(workload.items, workload.producers);
    let done = consuming.finish(&client, &published).await?;
    Ok(workload.items as f64 / (done - begun).as_secs_f64())
}
