//! The flags.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use serde::Serialize;

use crate::drivers::DriverKind;

/// Measures durable work queues on the same work. `run.sh` beside the source runs whole comparisons.
#[derive(Debug, Parser)]
#[command(name = "baton-compare", version)]
pub(crate) struct Args {
    /// Append the results to this file as JSON lines; they are printed too
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) out: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The server under test; `peers.sh args NAME` prints these.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Target {
    #[arg(long, value_enum)]
    pub(crate) driver: DriverKind,
    #[arg(long)]
    pub(crate) url: String,
    /// Name of the peer and its configuration in the tables
    #[arg(long)]
    pub(crate) peer: String,
    /// What a confirmed item survives in this configuration
    #[arg(long)]
    pub(crate) durability: String,
    /// Whether a confirm comes after a sync of the disk
    #[arg(long)]
    pub(crate) syncs: bool,
    #[arg(long)]
    pub(crate) pid_file: PathBuf,
    #[arg(long)]
    pub(crate) data_dir: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Publish, consume, both at once
    Throughput {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        args: Throughput,
    },
    /// Latency at a constant rate
    Latency {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        args: Latency,
    },
    /// A long queue, kill -9, restart, drain
    Backlog {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        args: Backlog,
    },
    /// Waits until the server answers, for up to a minute
    Ready {
        #[command(flatten)]
        target: Target,
    },
    /// The machine's own limits: disk, loopback, memory
    Machine {
        /// Where to write; not in RAM, as /tmp may be
        #[arg(long)]
        dir: PathBuf,
        #[arg(long, default_value_t = 1.0)]
        seconds: f64,
        #[arg(long, default_value_t = 1)]
        reps: u32,
    },
    /// The bare disk under the batches that a peer synced in these results
    DiskFloor {
        /// Results with that peer's throughput; the floors are appended to them
        file: PathBuf,
        /// Whose batches
        #[arg(long, default_value = "baton")]
        peer: String,
        /// Where to write; not in RAM, as /tmp may be
        #[arg(long)]
        dir: PathBuf,
        #[arg(long, default_value_t = 1.0)]
        seconds: f64,
    },
    /// Serves a bare stream: items from producers to consumers, without a queue or a disk behind it
    Floor {
        /// Address to listen on
        #[arg(long)]
        listen: std::net::SocketAddr,
    },
    /// Prints results as Markdown
    Report {
        files: Vec<PathBuf>,
        /// Also draw this SVG
        #[arg(long)]
        svg: Option<PathBuf>,
    },
}

/// Who works, and how much is in flight.
#[derive(Debug, Clone, Copy, clap::Args, Serialize)]
pub(crate) struct Shape {
    /// Producers, one connection each
    #[arg(long, default_value_t = 4)]
    pub(crate) producers: usize,
    /// Consumers, one connection each
    #[arg(long, default_value_t = 4)]
    pub(crate) consumers: usize,
    /// Unconfirmed items in flight, all producers together
    #[arg(long, default_value_t = 256)]
    pub(crate) window: usize,
    /// Unacknowledged items that each consumer may hold
    #[arg(long, default_value_t = 256)]
    pub(crate) prefetch: usize,
    /// Bytes of a payload, at least 16
    #[arg(long, default_value_t = 1024)]
    pub(crate) payload: usize,
}

impl Shape {
    /// With a window smaller than the producers, only that many producers run.
    pub(crate) fn active_producers(&self) -> usize {
        self.producers.min(self.window).max(1)
    }

    pub(crate) fn window_each(&self) -> usize {
        self.window.div_ceil(self.active_producers())
    }
}

#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Throughput {
    #[command(flatten)]
    pub(crate) shape: Shape,
    /// Seconds of publishing in each phase
    #[arg(long, default_value_t = 4.0)]
    pub(crate) seconds: f64,
    /// Also stop publishing at this many bytes of payload
    #[arg(long, default_value_t = 1 << 30)]
    pub(crate) max_bytes: u64,
    #[arg(long, default_value_t = 1)]
    pub(crate) reps: u32,
    /// Both at once only, not each alone before
    #[arg(long)]
    pub(crate) e2e_only: bool,
}

#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Latency {
    #[command(flatten)]
    pub(crate) shape: Shape,
    /// Items a second
    #[arg(long)]
    pub(crate) rate: f64,
    #[arg(long, default_value_t = 5.0)]
    pub(crate) seconds: f64,
    /// First part of the run, which does not count
    #[arg(long, default_value_t = 1.0)]
    pub(crate) warm_up: f64,
    #[arg(long, default_value_t = 1)]
    pub(crate) reps: u32,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Backlog {
    #[command(flatten)]
    pub(crate) shape: Shape,
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) items: u64,
    /// Stop filling after so many seconds, however many items there are by then
    #[arg(long, default_value_t = 60.0)]
    pub(crate) fill_seconds: f64,
    /// Command (run by sh) that kills the server with SIGKILL
    #[arg(long)]
    pub(crate) kill: String,
    /// Command (run by sh) that starts it again; may return before the server is ready
    #[arg(long)]
    pub(crate) start: String,
}
