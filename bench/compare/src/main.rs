//! `baton-compare`: Baton beside other durable queues, on the same work, and beside what this machine could do.
//!
//! A number counts only if every item was confirmed, came exactly once and intact, was acknowledged, and nothing was left
//! on the server; what a confirm means stands beside it. docs/BENCH.md says how to run it.

mod args;
mod driver;
mod drivers;
mod floor;
mod items;
mod machine;
mod probe;
mod report;
mod results;
mod workload;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Parser as _;
use serde_json::Map;

use crate::args::{Args, Command, Target};
use crate::driver::Driver as _;
use crate::drivers::with_driver;
use crate::probe::Probe;
use crate::results::Output;
use crate::workload::{Bench, backlog, latency, throughput};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long a server may take to answer first.
const READY: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let outcome = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        let outcome = runtime.block_on(run(args));
        runtime.shutdown_background();
        outcome
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            results::line(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<()> {
    let out = Output {
        file: args.out,
        common: Map::new(),
    };
    match args.command {
        Command::Throughput { target, args } => {
            let bench = bench(&target, out).await?;
            with_driver!(target.driver, D => throughput::run::<D>(&bench, args).await)
        }
        Command::Latency { target, args } => {
            let bench = bench(&target, out).await?;
            with_driver!(target.driver, D => latency::run::<D>(&bench, args).await)
        }
        Command::Backlog { target, args } => {
            let bench = bench(&target, out).await?;
            with_driver!(target.driver, D => backlog::run::<D>(&bench, args).await)
        }
        Command::Ready { target } => ready(&target).await,
        Command::Machine { dir, seconds, reps } => machine::run(&out, &dir, seconds, reps),
        Command::DiskFloor {
            file,
            peer,
            dir,
            seconds,
        } => floor::disk::run(&file, &peer, &dir, seconds),
        Command::Floor { listen } => floor::server::serve(listen).await,
        Command::Report { files, svg } => report::print(&files, svg.as_deref()),
    }
}

async fn bench(target: &Target, out: Output) -> Result<Bench> {
    let version = with_driver!(target.driver, D => D::connect(&target.url).await?.version().await?);
    let mut common = Map::new();
    common.insert("peer".into(), target.peer.as_str().into());
    common.insert("version".into(), version.into());
    common.insert("durability".into(), target.durability.as_str().into());
    common.insert("syncs".into(), target.syncs.into());
    Ok(Bench {
        url: target.url.clone(),
        probe: Probe {
            pid_file: target.pid_file.clone(),
            data_dir: target.data_dir.clone(),
        },
        output: Output {
            file: out.file,
            common,
        },
    })
}

async fn ready(target: &Target) -> Result<()> {
    let give_up = Instant::now() + READY;
    let probe = Probe {
        pid_file: target.pid_file.clone(),
        data_dir: target.data_dir.clone(),
    };
    loop {
        match with_driver!(target.driver, D => D::connect(&target.url).await.map(drop)) {
            // Somebody else's server may have its port.
            Ok(()) => return probe.rss().map(drop).context("another server answers"),
            Err(error) if Instant::now() > give_up => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}
