//! `baton-bench`: how fast a broker is, on this machine, with both ends on it.
//!
//! Each workload starts a broker of its own beside this process (or takes `--broker URL`), pushes real items through the
//! client library, checks that each came exactly once and was acknowledged, and prints what it measured. A run whose
//! check fails prints no figure.

mod args;
mod backlog;
mod broker;
mod ping_pong;
mod report;
mod throughput;

use std::process::ExitCode;

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
        runtime.block_on(async {
            match &args.workload {
                Workload::Throughput(workload) => throughput::run(&args, workload).await,
                Workload::PingPong(workload) => ping_pong::run(&args, workload).await,
                Workload::Backlog(workload) => backlog::run(&args, workload).await,
            }
        })
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::line(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
