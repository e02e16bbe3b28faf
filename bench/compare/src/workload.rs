//! What is done to every server alike.

pub(crate) mod backlog;
mod drain;
pub(crate) mod latency;
mod publish;
pub(crate) mod throughput;

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::driver::Driver;
use crate::probe::{self, Probe};
use crate::results::Output;

/// Most items of one run.
const ITEMS_MAX: u64 = 1 << 25;
/// How long the machine may take to calm down before a run.
const CALM: Duration = Duration::from_secs(10);

/// The server under test and where the results go.
#[derive(Debug, Clone)]
pub(crate) struct Bench {
    pub(crate) url: String,
    pub(crate) probe: Probe,
    pub(crate) output: Output,
}

impl Bench {
    /// With an empty queue.
    async fn fresh<D: Driver>(&self) -> Result<D> {
        let driver = D::connect(&self.url).await?;
        driver.reset().await?;
        let left = driver.depth().await?;
        ensure!(left == 0, "{left} items in the queue after a reset");
        probe::quiet(CALM).await?;
        Ok(driver)
    }
}
