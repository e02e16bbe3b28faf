//! The flags.

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::{Parser, Subcommand, ValueEnum};
use serde::Serialize;

/// Measures a Baton broker on this machine. Figures depend on the machine: quote medians with min-max, and compare
/// only what ran in turn.
///
/// Ends with 1 when a result is wrong: an item lost, delivered twice or out of order.
#[derive(Debug, Parser)]
#[command(name = "baton-bench", version)]
pub(crate) struct Args {
    /// Measure this broker instead of starting one
    #[arg(long, value_name = "URL", global = true)]
    pub(crate) broker: Option<String>,

    /// The broker to start [default: baton-broker beside this program]
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) broker_binary: Option<PathBuf>,

    /// What the broker keeps items in
    #[arg(long, value_enum, default_value_t = Engine::Data, global = true)]
    pub(crate) engine: Engine,

    /// Where the broker gets a fresh directory for its data, removed afterwards; not in RAM, as /tmp may be
    #[arg(
        long,
        value_name = "DIR",
        default_value = "target/baton-bench",
        global = true
    )]
    pub(crate) dir: PathBuf,

    /// Passed on to a broker with a data directory
    #[arg(long, value_name = "BYTES", global = true)]
    pub(crate) memory_budget: Option<ByteSize>,

    /// Passed on to a broker with a data directory
    #[arg(long, value_name = "BYTES", global = true)]
    pub(crate) segment_size: Option<ByteSize>,

    /// One more argument for the broker that is started, as in --broker-arg=--latency-budget=0; may come several times
    #[arg(
        long,
        value_name = "ARGUMENT",
        global = true,
        allow_hyphen_values = true
    )]
    pub(crate) broker_arg: Vec<String>,

    /// Runs, each with a new broker, of which the median, minimum and maximum are printed [default: 5 of throughput and
    /// ping-pong, 1 of the others]
    #[arg(long, global = true, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) runs: Option<u32>,

    /// Print one line of JSON instead of a table
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) workload: Workload,
}

impl Args {
    pub(crate) fn runs(&self) -> u32 {
        self.runs.unwrap_or(match self.workload {
            Workload::Throughput(_) | Workload::PingPong(_) => 5,
            Workload::Latency(_)
            | Workload::Backlog(_)
            | Workload::Steady(_)
            | Workload::Queues(_) => 1,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// On disk: OK means synced
    Data,
    /// In memory: a restart loses them
    Memory,
}

impl Engine {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Memory => "memory",
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Workload {
    /// Items a second: publish, deliver and acknowledge, all at once
    Throughput(Throughput),
    /// Latency of items that come at a fixed rate, whatever the broker does
    Latency(Latency),
    /// One producer that waits for each confirm before the next item
    PingPong(PingPong),
    /// Items that nobody takes: memory, disk, a restart, and draining them
    Backlog(Backlog),
    /// Publish and deliver at full speed with many items waiting: is the rate steady, what does the disk write?
    Steady(Steady),
    /// A restart with many small queues
    Queues(Queues),
}

#[derive(Debug, Parser, Serialize)]
pub(crate) struct Throughput {
    /// Bytes of a payload, at least 8
    #[arg(long, default_value_t = 100, value_parser = payload)]
    pub(crate) payload: usize,
    /// Items of a run
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) items: u64,
    /// Queues, over which producers and consumers are spread evenly; no more than either
    #[arg(long, default_value_t = 1, value_parser = parties)]
    pub(crate) queues: u64,
    /// Items a second, of all producers together; 0: as many as can be. For what an item costs at a rate, not for latency
    #[arg(long, default_value_t = 0)]
    pub(crate) rate: u64,
    /// Producers, each with a stream of its own
    #[arg(long, default_value_t = 4, value_parser = parties)]
    pub(crate) producers: u64,
    /// Consumers, each with a stream of its own
    #[arg(long, default_value_t = 4, value_parser = parties)]
    pub(crate) consumers: u64,
    /// Items that each producer may have unconfirmed
    #[arg(long, default_value_t = 4096)]
    pub(crate) window: usize,
    /// Items that each consumer has credit for
    #[arg(long, default_value_t = 4096)]
    pub(crate) credit: u32,
    /// One item in so many comes with a trace context whose sampled flag is set; 0: none. Where OTEL_EXPORTER_OTLP_ENDPOINT
    /// is set, the broker exports them
    #[arg(long, default_value_t = 0)]
    pub(crate) traced_every: u64,
}

#[derive(Debug, Parser, Serialize)]
pub(crate) struct Latency {
    /// Items a second, of all producers together
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) rate: u64,
    /// Bytes of a payload, at least 8
    #[arg(long, default_value_t = 1024, value_parser = payload)]
    pub(crate) payload: usize,
    /// How long to measure
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) seconds: u64,
    /// Before that: the same, not measured
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub(crate) warm_up: u64,
    /// Producers, each with a connection of its own
    #[arg(long, default_value_t = 2, value_parser = parties)]
    pub(crate) producers: u64,
    /// Consumers, each with a connection of its own
    #[arg(long, default_value_t = 2, value_parser = parties)]
    pub(crate) consumers: u64,
    /// Items that each consumer has credit for
    #[arg(long, default_value_t = 4096)]
    pub(crate) credit: u32,
}

#[derive(Debug, Parser, Serialize)]
pub(crate) struct PingPong {
    /// Bytes of a payload, at least 8
    #[arg(long, default_value_t = 100, value_parser = payload)]
    pub(crate) payload: usize,
    /// Items of a run
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) items: u64,
}

#[derive(Debug, Parser, Serialize)]
pub(crate) struct Backlog {
    /// Bytes of a payload, at least 8
    #[arg(long, default_value_t = 100, value_parser = payload)]
    pub(crate) payload: usize,
    /// Items that wait
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) items: u64,
    /// Kill the broker (SIGKILL) once they wait, and start it again
    #[arg(long)]
    pub(crate) kill: bool,
    /// Producers, each with a stream of its own
    #[arg(long, default_value_t = 4, value_parser = parties)]
    pub(crate) producers: u64,
    /// Consumers that drain it, each with a connection of its own
    #[arg(long, default_value_t = 4, value_parser = parties)]
    pub(crate) consumers: u64,
    /// Items that each producer may have unconfirmed
    #[arg(long, default_value_t = 4096)]
    pub(crate) window: usize,
    /// Items that each consumer has credit for
    #[arg(long, default_value_t = 4096)]
    pub(crate) credit: u32,
}

#[derive(Debug, Parser, Serialize)]
pub(crate) struct Steady {
    /// Items that wait; held within a quarter by letting whoever is faster pause
    #[arg(long, default_value_t = 600_000, value_parser = clap::value_parser!(u64).range(1000..))]
    pub(crate) waiting: u64,
    /// How long to measure
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(5..=86_400))]
    pub(crate) seconds: u64,
    /// Bytes of a payload, at least 8
    #[arg(long, default_value_t = 1024, value_parser = payload)]
    pub(crate) payload: usize,
    /// Producers, each with a connection of its own
    #[arg(long, default_value_t = 2, value_parser = parties)]
    pub(crate) producers: u64,
    /// Consumers, each with a connection of its own
    #[arg(long, default_value_t = 2, value_parser = parties)]
    pub(crate) consumers: u64,
    /// Items that each producer may have unconfirmed
    #[arg(long, default_value_t = 4096)]
    pub(crate) window: usize,
    /// Items that each consumer has credit for
    #[arg(long, default_value_t = 4096)]
    pub(crate) credit: u32,
}

#[derive(Debug, Parser, Serialize)]
pub(crate) struct Queues {
    /// How many
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub(crate) queues: u64,
    /// Items in each
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) items: u32,
    /// Bytes of a payload, at least 8
    #[arg(long, default_value_t = 100, value_parser = payload)]
    pub(crate) payload: usize,
}

/// An item carries its number.
fn payload(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(bytes) if bytes >= 8 => Ok(bytes),
        Ok(_) => Err("at least 8: an item carries its number".into()),
        Err(_) => Err("not a number of bytes".into()),
    }
}

fn parties(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(count @ 1..=2048) => Ok(count),
        Ok(_) | Err(_) => Err("not a number from 1 to 2048".into()),
    }
}
