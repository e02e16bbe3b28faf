//! The command line as clap sees it: words and numbers. `config` gives them a meaning.

use std::path::PathBuf;

use baton_telemetry::program::exit::EXIT_CODES_HELP;
use baton_telemetry::program::flags::{ConnectionFlags, OutputFlags};
use clap::error::ErrorKind;
use clap::{Args as ClapArgs, CommandFactory as _, Parser, Subcommand, ValueEnum};

/// Publish items to a queue of a Baton broker.
///
/// Every item is confirmed by the broker once it is durable; what was cut off on the way is sent again and stored once.
#[derive(Parser, Clone, Debug)]
#[command(
    name = "baton-producer",
    version,
    disable_help_subcommand = true,
    override_usage = "baton-producer [OPTIONS] <QUEUE> <COMMAND>\n       baton-producer [OPTIONS] <QUEUE> --explain <ID>",
    after_help = EXIT_CODES_HELP
)]
pub(crate) struct Args {
    /// The queue: 1 to 128 of letters, digits, '.', '_' and '-'; it comes into being on its first use
    pub(crate) queue: String,
    #[command(subcommand)]
    pub(crate) source: Option<SourceArgs>,
    /// Instead of a command: say where this item is, since when and why, and where its time went
    #[arg(long, value_name = "ID")]
    pub(crate) explain: Option<u64>,
    #[command(flatten)]
    pub(crate) items: ItemFlags,
    #[command(flatten)]
    pub(crate) connection: ConnectionFlags,
    #[command(flatten)]
    pub(crate) output: OutputFlags,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) enum Task {
    Publish(SourceArgs),
    Explain { item_id: u64 },
}

impl Args {
    /// clap knows no flag that stands for a subcommand.
    ///
    /// # Errors
    ///
    /// If both are there, or neither.
    pub(crate) fn task(&mut self) -> Result<Task, clap::Error> {
        let refuse = |kind, problem: &str| Err(Self::command().error(kind, problem));
        match (self.source.take(), self.explain) {
            (Some(source), None) => Ok(Task::Publish(source)),
            (None, Some(item_id)) => Ok(Task::Explain { item_id }),
            (None, None) => {
                let problem = "say what to do: a command, or --explain ID";
                refuse(ErrorKind::MissingSubcommand, problem)
            }
            (Some(_), Some(_)) => {
                let problem = "--explain takes no command";
                refuse(ErrorKind::ArgumentConflict, problem)
            }
        }
    }
}

#[derive(Subcommand, Clone, Debug)]
pub(crate) enum SourceArgs {
    /// Publish made-up items: item i, from 0, carries i squared as decimal text
    Generate(GenerateArgs),
    /// Publish what a file or stdin holds
    Send(SendArgs),
}

#[derive(ClapArgs, Clone, Debug)]
#[command(after_help = EXIT_CODES_HELP)]
pub(crate) struct GenerateArgs {
    /// How many items; 0: until stopped
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) count: u64,
    /// Pause between two items: a duration, or a range that each pause is drawn from, such as 500ms..1500ms
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "0s",
        conflicts_with = "rate"
    )]
    pub(crate) interval: String,
    /// Items a second, without drift: time lost to a slow broker is made up for [default: as fast as it goes]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) rate: Option<f64>,
    /// Least payload size, such as 512B or 1KiB; the number is padded with spaces [default: the number alone]
    #[arg(long, value_name = "BYTES")]
    pub(crate) size: Option<String>,
    /// Draw the same pauses again on every run [default: others each time]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
}

#[derive(ClapArgs, Clone, Debug)]
#[command(after_help = EXIT_CODES_HELP)]
pub(crate) struct SendArgs {
    /// The file; '-' is stdin
    #[arg(default_value = "-")]
    pub(crate) file: PathBuf,
    /// How the input is cut into items
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
    /// Largest payload; anything longer ends the input with an error. At most 16MiB, and no more than the broker takes
    #[arg(long, value_name = "BYTES", default_value = "1MiB")]
    pub(crate) max_payload: String,
    /// Store equal items once within the queue's dedup window: the key is the item itself, or its SHA-256 over 128 bytes
    #[arg(long)]
    pub(crate) dedup_from_line: bool,
}

#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// Each line is an item, without its line end (LF or CRLF)
    #[default]
    Lines,
    /// Each line is an item and has to be JSON; blank lines are skipped
    Ndjson,
    /// Before each item its length, 4 bytes, big-endian
    LengthPrefixed,
}

/// What every item gets.
#[derive(ClapArgs, Clone, Debug)]
#[command(next_help_heading = "Items")]
pub(crate) struct ItemFlags {
    /// Label of every item; may be given up to 64 times
    #[arg(long, value_name = "KEY=VALUE", global = true)]
    pub(crate) attribute: Vec<String>,
    /// Media type of every item, at most 128 bytes [default: none; ndjson: application/json]
    #[arg(long, value_name = "TYPE", global = true)]
    pub(crate) content_type: Option<String>,
    /// Deliver no item earlier than this after it was received, at most 365d
    #[arg(long, value_name = "DURATION", default_value = "0s", global = true)]
    pub(crate) delay: String,
    /// Deliver no item later than this after it was received, at most 365d [default: the queue's]
    #[arg(long, value_name = "DURATION", global = true)]
    pub(crate) ttl: Option<String>,
    /// At the end, wait until every item is settled, and say how
    #[arg(long, global = true)]
    pub(crate) join: bool,
    /// At the end, close the queue: nothing more comes, from anyone, and its consumers end once it has drained
    #[arg(long, global = true)]
    pub(crate) close: bool,
    /// Name of the sequence of items, 1 to 64 bytes. Running the same input again under the same name within the queue's
    /// dedup window stores nothing twice; other items need another name [default: random]
    #[arg(long, value_name = "ID", global = true)]
    pub(crate) producer_id: Option<String>,
}
