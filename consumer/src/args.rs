//! The command line as clap sees it: words and numbers. `config` gives them a meaning.

use std::ffi::OsString;

use baton_telemetry::program::exit::EXIT_CODES_HELP;
use baton_telemetry::program::flags::{ConnectionFlags, OutputFlags};
use clap::error::ErrorKind;
use clap::{Args as ClapArgs, CommandFactory as _, Parser, Subcommand};

const EXEC_HELP: &str = "\
The command gets the payload on stdin and these variables:
  BATON_QUEUE, BATON_ITEM_ID, BATON_ATTEMPT
  BATON_ATTRIBUTE_<NAME>   each attribute; letters in upper case, anything but A-Z 0-9 becomes _
  BATON_ATTRIBUTES         all of them as JSON, as they are
  BATON_LAST_ERROR         why the attempt before failed, if there was one
  TRACEPARENT, TRACESTATE  W3C trace context to go on with, if the item has one

Its exit status says what becomes of the item:
  0              done: acknowledged
  65             no further attempt can help: dead letter
  75             not now: tried again after the queue's back-off
  other, signal  failed: tried again as well, and the end of its stderr is kept with the item

Its stdout comes out here in one piece, or as it is written once it exceeds 1 MiB; the lines of the report go to stderr.
On a terminal, output that does not end its line is given a line end.
With --output json it is the other way round. Its stderr goes to stderr as it is written.
";

/// Process the items of a Baton queue.
///
/// An item is delivered again until it is acknowledged, so a command may see one twice.
#[derive(Parser, Clone, Debug)]
#[command(
    name = "baton-consumer",
    version,
    disable_help_subcommand = true,
    override_usage = "baton-consumer [OPTIONS] <QUEUE> <COMMAND>\n       baton-consumer [OPTIONS] <QUEUE> --explain <ID>",
    after_help = EXIT_CODES_HELP
)]
pub(crate) struct Args {
    /// The queue: 1 to 128 of letters, digits, '.', '_' and '-'; it comes into being on its first use
    pub(crate) queue: String,
    #[command(subcommand)]
    pub(crate) job: Option<JobArgs>,
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
    Consume(JobArgs),
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
        match (self.job.take(), self.explain) {
            (Some(job), None) => Ok(Task::Consume(job)),
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
pub(crate) enum JobArgs {
    /// Show each item and acknowledge it
    Print(PrintArgs),
    /// Run a command for each item
    Exec(ExecArgs),
}

#[derive(ClapArgs, Clone, Debug)]
#[command(after_help = EXIT_CODES_HELP)]
pub(crate) struct PrintArgs {
    /// Take this long over each item, as if there were work to do
    #[arg(long, value_name = "DURATION", default_value = "0s")]
    pub(crate) work: String,
    /// Write nothing to stdout but payloads, one a line; all else goes to stderr
    #[arg(long)]
    pub(crate) raw: bool,
}

#[derive(ClapArgs, Clone, Debug)]
#[command(after_help = format!("{EXEC_HELP}\n{EXIT_CODES_HELP}"))]
pub(crate) struct ExecArgs {
    /// On shutdown, how long a command may go on after SIGTERM before it gets SIGKILL
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub(crate) kill_after: String,
    /// The command and its arguments
    #[arg(last = true, required = true, num_args = 1.., value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// Which items, and how many at a time.
#[derive(ClapArgs, Clone, Debug)]
#[command(next_help_heading = "Items")]
pub(crate) struct ItemFlags {
    /// Items to work on at the same time, 1 to 10000
    #[arg(long, value_name = "N", default_value_t = 1, global = true)]
    pub(crate) concurrency: u32,
    /// Items to have here beyond those at work, 0 to 900000 [default: 0; 1000 for print without --work]
    #[arg(long, value_name = "N", global = true)]
    pub(crate) prefetch: Option<u32>,
    /// How long an item stays ours if nothing is heard of us, 1s to 12h; extended while it is worked on [default: the
    /// queue's, which is 30s unless set]
    #[arg(long, value_name = "DURATION", global = true)]
    pub(crate) lease: Option<String>,
    /// Stop after this many deliveries, whatever became of them; an item that is tried again counts again [default: go on]
    #[arg(long, value_name = "N", global = true)]
    pub(crate) count: Option<u64>,
    /// Stop once the queue is empty: nothing is ready, scheduled or leased to anyone
    #[arg(long, global = true, conflicts_with = "until_closed")]
    pub(crate) until_drained: bool,
    /// Stop once the queue was closed and is empty (the default, to be said aloud)
    #[arg(long, global = true)]
    pub(crate) until_closed: bool,
}
