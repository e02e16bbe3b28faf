//! The flags. They carry text: [`super::settings`] parses it, so that all problems are found in one go.

use clap::{ArgAction, Parser, Subcommand};

use super::settings::{DATA, Settings};
use crate::offline::Task;

/// Baton's broker: takes items from producers, hands them to consumers, and keeps them until they are settled.
#[derive(Debug, Parser)]
#[command(name = "baton-broker", version, max_term_width = 100, after_help = AFTER_HELP)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Option<Instead>,

    /// Where gRPC is served [default: 127.0.0.1:7400]
    #[arg(long, value_name = "ADDRESS", env = "BATON_LISTEN")]
    listen: Option<String>,

    /// Where /livez and /readyz are served [default: 127.0.0.1:7401]
    #[arg(long, value_name = "ADDRESS", env = "BATON_HTTP")]
    http: Option<String>,

    /// Where items are kept: what was confirmed outlives crashes. Made if it is not there [default: ./baton-data]
    #[arg(
        long,
        value_name = "DIRECTORY",
        env = "BATON_DATA",
        conflicts_with = "memory"
    )]
    data: Option<String>,

    /// Bytes of memory for items that are on their way to the disk or to consumers, over all queues [default: 256MiB]
    #[arg(long, value_name = "BYTES", env = "BATON_MEMORY_BUDGET")]
    memory_budget: Option<String>,

    /// Bytes of one file of the journal, 8MiB to 1GiB; a few of them are kept spare [default: 64MiB]
    #[arg(long, value_name = "BYTES", env = "BATON_SEGMENT_SIZE")]
    segment_size: Option<String>,

    /// Keep items in memory only, and nothing on disk: a restart loses them
    #[arg(long, env = "BATON_MEMORY", action = ArgAction::SetTrue)]
    memory: bool,

    /// With --memory: bytes of items over all queues; beyond, publishers wait [default: 4GiB]
    #[arg(long, value_name = "BYTES", env = "BATON_MEMORY_LIMIT")]
    memory_limit: Option<String>,

    /// Bytes of one payload, at most 16MiB [default: 1MiB]
    #[arg(long, value_name = "BYTES", env = "BATON_MAX_PAYLOAD")]
    max_payload: Option<String>,

    /// Refuse queues that were not created or declared, instead of making them on first use
    #[arg(long, env = "BATON_NO_AUTO_CREATE", action = ArgAction::SetTrue)]
    no_auto_create: bool,

    /// How long a shutdown waits for items in hand to be settled, 0s to 1h [default: 10s]
    #[arg(long, value_name = "DURATION", env = "BATON_GRACE")]
    grace: Option<String>,

    /// Allow addresses that other machines reach, although there is no TLS and no authentication
    #[arg(long, env = "BATON_INSECURE", action = ArgAction::SetTrue)]
    insecure: bool,

    /// Bytes of memory for where items' time went, over all queues; 0: nobody wants to know [default: 64MiB]
    #[arg(long, value_name = "BYTES", env = "BATON_LATENCY_BUDGET")]
    latency_budget: Option<String>,

    /// Ended items that each queue remembers one by one, within that memory [default: 10000]
    #[arg(long, value_name = "NUMBER", env = "BATON_LATENCY_FINISHED")]
    latency_finished: Option<String>,

    /// Traces of items exported in a second; what is more is counted [default: 100]
    #[arg(long, value_name = "NUMBER", env = "BATON_TRACE_LIMIT")]
    trace_limit: Option<String>,

    /// Items that take longer are traced, asked for or not [default: 10s]
    #[arg(long, value_name = "DURATION", env = "BATON_TRACE_SLOW")]
    trace_slow: Option<String>,

    /// One item in so many is traced, asked for or not; 0: none [default: 10000]
    #[arg(long, value_name = "NUMBER", env = "BATON_TRACE_BASELINE")]
    trace_baseline: Option<String>,

    /// Settings and queues, as TOML
    #[arg(long, value_name = "FILE", env = "BATON_CONFIG")]
    pub(super) config: Option<String>,

    /// text or json [default: text]
    #[arg(long, value_name = "FORMAT", env = "BATON_LOG_FORMAT")]
    log_format: Option<String>,

    /// What to log: error, warn, info, debug, trace, or per module as in "info,baton_broker=debug" [default: info]
    #[arg(long, value_name = "FILTER", env = "BATON_LOG")]
    log: Option<String>,
}

/// What is done instead of serving.
#[derive(Debug, Subcommand)]
pub(super) enum Instead {
    /// Ask the broker on this machine whether it takes work: exit 0 if it does, 1 if not
    Health(Health),
    #[command(flatten)]
    Offline(Offline),
}

/// Where the broker is, as it was told itself.
#[derive(Debug, clap::Args)]
pub(super) struct Health {
    /// Where it serves HTTP [default: 127.0.0.1:7401]
    #[arg(long, value_name = "ADDRESS", env = "BATON_HTTP")]
    http: Option<String>,

    /// Its settings, as TOML
    #[arg(long, value_name = "FILE", env = "BATON_CONFIG")]
    pub(super) config: Option<String>,
}

impl Health {
    pub(super) fn settings(self) -> Settings {
        Settings {
            http: self.http,
            ..Settings::default()
        }
    }
}

/// What is done to a data directory.
#[derive(Debug, Subcommand)]
pub(super) enum Offline {
    /// Verify a data directory that no broker has, and change nothing: exit 0 if it is sound, 1 if not
    Check {
        #[command(flatten)]
        source: Source,
    },
    /// Rescue what can be read of a data directory into a new one: exit 0 if that is there
    Salvage {
        #[command(flatten)]
        source: Source,

        /// The new directory: not there, or empty
        #[arg(long, value_name = "DIRECTORY")]
        into: String,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Source {
    /// The directory [default: ./baton-data]
    #[arg(long, value_name = "DIRECTORY", env = "BATON_DATA")]
    data: Option<String>,

    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
}

impl Offline {
    /// The task, and all that is wrong with it.
    pub(super) fn task(self) -> (Task, Vec<String>) {
        let (source, into) = match self {
            Self::Check { source } => (source, None),
            Self::Salvage { source, into } => (source, Some(into)),
        };
        let data = source.data.unwrap_or_else(|| DATA.into());
        let mut problems = Vec::new();
        for (name, directory) in [("data", Some(&data)), ("into", into.as_ref())] {
            if directory.is_some_and(String::is_empty) {
                problems.push(format!("--{name} \"\": is no directory"));
            }
        }
        let (data, json) = (data.into(), source.json);
        let task = match into {
            None => Task::Check { data, json },
            Some(into) => Task::Salvage {
                data,
                into: into.into(),
                json,
            },
        };
        (task, problems)
    }
}

const AFTER_HELP: &str = "\
The TOML file takes the same names without the dashes in front, and queues:

  grace = \"30s\"
  [queues.orders]
  lease-duration = \"1m\"
  max-attempts = 5

A queue may have lease-duration, max-attempts, backoff-initial, backoff-max, dedup-window,
default-ttl, max-items, max-bytes and paused.

Traces of items go to OTEL_EXPORTER_OTLP_ENDPOINT, over gRPC, if that is set; the other OTEL_* variables for
exporters and resources are honoured too (docs/TRACING.md).

Exit codes:
  0    stopped as asked
  1    could not start, or broke
  64   used wrongly
  74   the disk failed: what was confirmed is safe, start it again
  75   stopped with items in hand; their leases are lost

SIGTERM and SIGINT drain; a second one stops at once.";

impl Args {
    pub(super) fn settings(&self) -> Settings {
        let flag = |set: bool| set.then(|| "true".to_owned());
        Settings {
            listen: self.listen.clone(),
            http: self.http.clone(),
            data: self.data.clone(),
            memory_budget: self.memory_budget.clone(),
            segment_size: self.segment_size.clone(),
            memory: flag(self.memory),
            memory_limit: self.memory_limit.clone(),
            max_payload: self.max_payload.clone(),
            no_auto_create: flag(self.no_auto_create),
            grace: self.grace.clone(),
            insecure: flag(self.insecure),
            latency_budget: self.latency_budget.clone(),
            latency_finished: self.latency_finished.clone(),
            trace_limit: self.trace_limit.clone(),
            trace_slow: self.trace_slow.clone(),
            trace_baseline: self.trace_baseline.clone(),
            log_format: self.log_format.clone(),
            log: self.log.clone(),
        }
    }
}
