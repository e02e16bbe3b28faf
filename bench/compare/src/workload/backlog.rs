//! A long queue without consumers; kill -9; restart; drain.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::Serialize;

use super::Bench;
use super::drain::Drain;
use super::publish::{Limit, publish_all};
use crate::args::{Backlog, Shape};
use crate::driver::{Consumer as _, Driver};
use crate::items::{Ledger, PayloadMaker};

/// Garbage collectors settle meanwhile.
const SETTLE: Duration = Duration::from_secs(2);
/// The longest that a server may take to come back with a delivery.
const RECOVERY: Duration = Duration::from_secs(120);
/// For one attempt to connect; long enough not to give up on a server that recovers, since an abandoned consumer might
/// still be handed an item.
const CONNECT: Duration = Duration::from_secs(100);
const RETRY: Duration = Duration::from_millis(5);

#[derive(Debug, Serialize)]
struct Record {
    #[serde(flatten)]
    shape: Shape,
    items: u64,
    fill_seconds: f64,
    fill_per_s: f64,
    rss_empty: u64,
    rss_full: u64,
    rss_per_item: f64,
    disk_full: u64,
    disk_per_item: f64,
    /// From the start command to the first item received by a client that retries every 5 ms.
    restart_to_first_item_s: f64,
    rss_restarted: u64,
    drain_seconds: f64,
    drain_per_s: f64,
    disk_drained: u64,
    verified: bool,
    fault: Option<String>,
}

fn sh(command: &str) -> Result<()> {
    let status = Command::new("sh").args(["-c", command]).status()?;
    ensure!(status.success(), "{command}: {status}");
    Ok(())
}

pub(crate) async fn run<D: Driver>(bench: &Bench, args: Backlog) -> Result<()> {
    let (shape, probe) = (args.shape, &bench.probe);
    let driver = bench.fresh::<D>().await?;
    let rss_empty = probe.rss()?;

    let limit = Limit {
        time: Duration::from_secs_f64(args.fill_seconds),
        items: args.items,
    };
    let start = Instant::now();
    let items = publish_all(&driver, shape, limit).await?;
    let fill_seconds = start.elapsed().as_secs_f64();
    tokio::time::sleep(SETTLE).await;
    let (rss_full, disk_full) = (probe.rss()?, probe.disk_bytes());
    drop(driver);

    sh(&args.kill)?;
    let ledger = Arc::new(Ledger::new(items));
    let start = Instant::now();
    sh(&args.start)?;
    let driver = first_item::<D>(bench, shape, &ledger).await?;
    let restart = start.elapsed();

    let start = Instant::now();
    let already = ledger.distinct.load(Relaxed);
    let drain = Drain::start(&driver, shape, ledger.clone(), None).await?;
    let rss_restarted = probe.rss()?;
    let drained = drain.finish(&driver, items).await?;
    let drain_seconds = (drained.settled - start).as_secs_f64();

    let fault = ledger.fault(items, drained.close(&driver).await?);
    let record = Record {
        shape,
        items,
        fill_seconds,
        fill_per_s: items as f64 / fill_seconds,
        rss_empty,
        rss_full,
        rss_per_item: rss_full.saturating_sub(rss_empty) as f64 / items as f64,
        disk_full,
        disk_per_item: disk_full as f64 / items as f64,
        restart_to_first_item_s: restart.as_secs_f64(),
        rss_restarted,
        drain_seconds,
        drain_per_s: (items - already) as f64 / drain_seconds,
        disk_drained: probe.disk_bytes(),
        verified: fault.is_none(),
        fault,
    };
    bench.output.emit("backlog", &record)
}

/// Connects as soon as the server lets it and waits for a delivery; acknowledges what came.
async fn first_item<D: Driver>(bench: &Bench, shape: Shape, ledger: &Ledger) -> Result<D> {
    let give_up = Instant::now() + RECOVERY;
    let maker = PayloadMaker::new(shape.payload);
    loop {
        let connect = async {
            let driver = D::connect(&bench.url).await?;
            let consumer = driver.consumer(1).await?;
            anyhow::Ok((driver, consumer))
        };
        match tokio::time::timeout(CONNECT, connect).await {
            Ok(Ok((driver, mut consumer))) => {
                let mut batch = Vec::new();
                while batch.is_empty() && Instant::now() < give_up {
                    consumer
                        .receive(Duration::from_secs(10), &mut batch)
                        .await?;
                }
                ensure!(!batch.is_empty(), "up again, but nothing delivered");
                for payload in &batch {
                    ledger.see(maker.check(payload));
                }
                consumer.ack().await?;
                consumer.close().await?;
                return Ok(driver);
            }
            failed => ensure!(Instant::now() < give_up, "not up again: {:?}", failed.err()),
        }
        tokio::time::sleep(RETRY).await;
    }
}
