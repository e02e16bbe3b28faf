//! Runs a command for an item: payload on stdin, facts in the environment, the exit status is the verdict.
//!
//! Owns the child from its start until it is reaped, with everything in its process group. Nothing here knows the
//! broker: a [`Task`] goes in, a [`Finished`] comes out. Called by `job`.

mod child;
mod environment;
mod group;
mod outcome;
mod stderr;
mod stdout;

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use baton_client::Delivery;
use baton_telemetry::program::otel::headers;
use bytes::Bytes;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::verdict::Verdict;
use stdout::SharedStdout;
pub(crate) use stdout::Sink;

/// What to run, found and ready.
#[derive(Debug)]
pub(crate) struct Exec {
    queue: String,
    program: PathBuf,
    arguments: Vec<OsString>,
    kill_after: Duration,
    stdout: SharedStdout,
}

/// One item as a command sees it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Task {
    pub(crate) item_id: u64,
    pub(crate) attempt: u32,
    pub(crate) payload: Bytes,
    pub(crate) attributes: HashMap<String, String>,
    pub(crate) last_error: String,
    pub(crate) traceparent: String,
    pub(crate) tracestate: String,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) verdict: Verdict,
    /// Why no further command can be run, or none of them heard.
    pub(crate) broken: Option<Broken>,
}

/// What makes going on pointless.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The command cannot be started.
    Start(io::Error),
    /// Our stdout takes no more.
    Stdout(io::Error),
}

impl Exec {
    /// Looks the command up, so that no item is leased for one that does not exist.
    ///
    /// # Errors
    ///
    /// A sentence, if it does not exist or cannot be executed.
    pub(crate) fn find(
        queue: &str,
        (command, arguments): (&OsString, &[OsString]),
        kill_after: Duration,
        stdout: Sink,
    ) -> Result<Self, String> {
        let program = which::which(command).map_err(|_| {
            let command = command.display();
            format!("cannot run {command}: there is no such command, or it may not be executed")
        })?;
        Ok(Self {
            queue: queue.to_owned(),
            program,
            arguments: arguments.to_vec(),
            kill_after,
            stdout: SharedStdout::new(stdout),
        })
    }

    /// The commands' stdout leads to a terminal, or does not, as before.
    #[must_use]
    pub(crate) fn on_terminal(self, on_terminal: bool) -> Self {
        Self {
            stdout: self.stdout.on_terminal(on_terminal),
            ..self
        }
    }

    /// Runs the command for one item. Cancelling `stop` asks it to end; dropping this kills it.
    pub(crate) async fn run(&self, task: &Task, stop: &CancellationToken) -> Finished {
        match self.command(task).spawn() {
            Ok(child) => child::attend(child, task, self, stop).await,
            Err(error) => Finished {
                verdict: Verdict::Untouched,
                broken: Some(Broken::Start(error)),
            },
        }
    }

    fn command(&self, task: &Task) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for us: we ask the children ourselves, and them and their children alike.
            .process_group(0);
        environment::set(&mut command, &self.queue, task);
        command
    }
}

impl From<&Delivery> for Task {
    fn from(delivery: &Delivery) -> Self {
        // What the command does is a part of the delivery's `process` span.
        let context = headers(&delivery.trace_context());
        Self {
            item_id: delivery.item_id(),
            attempt: delivery.attempt(),
            payload: delivery.payload().clone(),
            attributes: delivery.attributes().clone(),
            last_error: delivery.last_error().to_owned(),
            traceparent: context.traceparent,
            tracestate: context.tracestate,
        }
    }
}

#[cfg(test)]
mod tests;
