//! `baton-bench`: how fast a broker is, on this machine, with both ends on it.
//!
//! Each workload starts a broker of its own beside this process (or takes `--broker URL`), with a fresh directory of its
//! own, pushes real items through the client library, checks that each came exactly once, in order, and was acknowledged, and
//! prints what it measured. A run whose check fails prints no figure.

mod args;
mod backlog;
mod broker;
mod latencies;
mod latency;
mod load;
mod ping_pong;
mod queues;
mod report;
mod seen;
mod stated;
mod steady;
mod throughput;

use std::process::ExitCode;

use anyhow::{Result, bail};
use baton_bench::{disk, process};
use clap::Parser as _;

use crate::args::{Args, Workload};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let outcome = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        let outcome = runtime.block_on(run(&args));
        // A thread that publishes on a schedule does not know that somebody has had enough.
        runtime.shutdown_background();
        outcome
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::line(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Until it is done or somebody has had enough; either way, nothing is left behind.
async fn run(args: &Args) -> Result<()> {
    tokio::select! {
        outcome = measure(args) => outcome,
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
    }
}

async fn measure(args: &Args) -> Result<()> {
    match &args.workload {
        Workload::Throughput(workload) => throughput::run(args, workload).await,
        Workload::Latency(workload) => latency::run(args, workload).await,
        Workload::PingPong(workload) => ping_pong::run(args, workload).await,
        Workload::Backlog(workload) => backlog::run(args, workload).await,
        Workload::Steady(workload) => steady::run(args, workload).await,
        Workload::Queues(workload) => queues::run(args, workload).await,
    }
}
