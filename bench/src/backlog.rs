//! Memory of a broker with items that nobody takes.

use anyhow::{Context as _, Result, ensure};
use baton_client::Item;

use crate::args::{Args, Backlog};
use crate::broker::Broker;
use crate::report::{Figure, line};
use crate::throughput::body;

pub(crate) async fn run(args: &Args, workload: &Backlog) -> Result<()> {
    const MB: f64 = 1e6;
    let (mut idle, mut full) = (Figure::default(), Figure::default());
    for _ in 0..args.runs {
        let broker = Broker::start(args).await?;
        let client = broker.client()?;
        idle.add(
            broker
                .resident_bytes()
                .context("a broker of ours is needed to see its memory")? as f64
                / MB,
        );
        let producer = client.producer("bench").open();
        for number in 0..workload.items {
            drop(
                producer
                    .send(Item::new(body(number, workload.payload.max(8))))
                    .await?,
            );
        }
        producer.flush().await?;
        let waiting = client.queue("bench").stats().await?.ready;
        ensure!(waiting == workload.items, "{waiting} items wait");
        full.add(broker.resident_bytes().context("the broker is gone")? as f64 / MB);
    }
    line(&format!(
        "backlog, {} items of {} B, {} runs, median (min-max):",
        workload.items, workload.payload, args.runs
    ));
    line(&format!(
        "  idle broker {} MB, with the backlog {} MB resident",
        idle.text(1),
        full.text(1)
    ));
    Ok(())
}
