//! Producers that publish as fast as they can, until a limit.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinSet;

use crate::args::Shape;
use crate::driver::{Driver, Producer as _};
use crate::items::PayloadMaker;

/// When producers stop: whichever comes first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    pub(super) time: Duration,
    pub(super) items: u64,
}

/// Publishes ids 0, 1, 2, ... until the limit, all confirmed; returns how many.
pub(super) async fn publish_all<D: Driver>(driver: &D, shape: Shape, limit: Limit) -> Result<u64> {
    let next = Arc::new(AtomicU64::new(0));
    let mut producers = Vec::new();
    for _ in 0..shape.active_producers() {
        producers.push(driver.producer(shape.window_each(), None).await?);
    }
    let maker = PayloadMaker::new(shape.payload);
    let end = Instant::now() + limit.time;
    let mut tasks = JoinSet::<Result<()>>::new();
    for mut producer in producers {
        let (next, maker) = (next.clone(), maker.clone());
        tasks.spawn(async move {
            while Instant::now() < end {
                let id = next.fetch_add(1, Relaxed);
                if id >= limit.items {
                    break;
                }
                producer.publish(id, maker.make(id)).await?;
            }
            producer.flush().await
        });
    }
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    Ok(next.load(Relaxed).min(limit.items))
}
