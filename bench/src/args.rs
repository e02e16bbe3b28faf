//! The flags.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Measures a Baton broker on this machine. Figures depend on the machine: quote medians with min-max, and compare
/// only what ran in turn.
#[derive(Debug, Parser)]
#[command(name = "baton-bench", version)]
pub(crate) struct Args {
    /// Measure this broker instead of starting one
    #[arg(long, value_name = "URL", global = true)]
    pub(crate) broker: Option<String>,

    /// The broker to start [default: baton-broker beside this program]
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) broker_binary: Option<PathBuf>,

    /// Runs of which minimum, median and maximum are printed
    #[arg(long, default_value_t = 5, global = true, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) runs: u32,

    #[command(subcommand)]
    pub(crate) workload: Workload,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Workload {
    /// Items a second: publish, deliver and acknowledge, all at once
    Throughput(Throughput),
    /// One producer that waits for each confirm before the next item
    PingPong(PingPong),
    /// Memory of a broker with items that nobody takes
    Backlog(Backlog),
}

#[derive(Debug, Parser)]
pub(crate) struct Throughput {
    /// Bytes of a payload, at least 8
    #[arg(long, default_value_t = 100)]
    pub(crate) payload: usize,
    /// Items of a run
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) items: u64,
    /// Producers, each with a stream of its own
    #[arg(long, default_value_t = 4)]
    pub(crate) producers: usize,
    /// Consumers, each with a stream of its own
    #[arg(long, default_value_t = 4)]
    pub(crate) consumers: usize,
    /// Items that each producer may have unconfirmed
    #[arg(long, default_value_t = 4096)]
    pub(crate) window: usize,
    /// Items that each consumer has credit for
    #[arg(long, default_value_t = 4096)]
    pub(crate) credit: u32,
}

#[derive(Debug, Parser)]
pub(crate) struct PingPong {
    /// Bytes of a payload
    #[arg(long, default_value_t = 100)]
    pub(crate) payload: usize,
    /// Items of a run
    #[arg(long, default_value_t = 10_000)]
    pub(crate) items: u64,
}

#[derive(Debug, Parser)]
pub(crate) struct Backlog {
    /// Bytes of a payload
    #[arg(long, default_value_t = 100)]
    pub(crate) payload: usize,
    /// Items that wait
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) items: u64,
}
