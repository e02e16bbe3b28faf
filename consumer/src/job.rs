//! What is done with one item: shown, after some pretended work, or given to a command.
//!
//! Called by `consume` for each delivery; `report` gets what comes out.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use baton_client::Delivery;
use baton_telemetry::program::flags::OutputForm;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, JobConfig};
use crate::exec::{Broken, Exec, Finished, Sink, Task};
use crate::verdict::Verdict;

/// What to do with each item.
#[derive(Debug)]
pub(crate) enum Job {
    Print { work: Duration },
    Exec(Box<Exec>),
}

/// An item whose job is over, not yet settled.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) delivery: Delivery,
    /// From its publish until its job began.
    pub(crate) latency: Duration,
    /// From the beginning of its job to the end.
    pub(crate) took: Duration,
    pub(crate) verdict: Verdict,
    pub(crate) broken: Option<Broken>,
}

impl Job {
    /// # Errors
    ///
    /// If the command to run does not exist.
    pub(crate) fn prepare(config: &Config) -> Result<Self, String> {
        let (command, arguments, kill_after) = match &config.job {
            JobConfig::Print { work, .. } => return Ok(Self::Print { work: *work }),
            JobConfig::Exec {
                command,
                arguments,
                kill_after,
            } => (command, arguments, kill_after),
        };
        let (stdout, on_terminal): (Sink, _) = match config.output.output {
            OutputForm::Text => (Box::new(io::stdout()), io::stdout().is_terminal()),
            OutputForm::Json => (Box::new(io::stderr()), io::stderr().is_terminal()),
        };
        Exec::find(&config.queue, (command, arguments), *kill_after, stdout)
            .map(|exec| Self::Exec(Box::new(exec.on_terminal(on_terminal))))
    }

    /// Does it. Cancelling `stop` cuts a command short, but not pretended work.
    pub(crate) async fn perform(&self, delivery: Delivery, stop: &CancellationToken) -> Outcome {
        delivery.start();
        let (latency, started) = (delivery.latency(), Instant::now());
        let Finished { verdict, broken } = match self {
            Self::Print { work } => {
                if !work.is_zero() {
                    tokio::time::sleep(*work).await;
                }
                Finished {
                    verdict: Verdict::Done,
                    broken: None,
                }
            }
            Self::Exec(exec) => {
                let task = Task::from(&delivery);
                exec.run(&task, stop).await
            }
        };
        Outcome {
            delivery,
            latency,
            took: started.elapsed(),
            verdict,
            broken,
        }
    }
}
