//! The loop of the program: takes deliveries, has each one's job done, reports and settles them.
//!
//! Invariants: never more than `concurrency` jobs at a time; an item is settled only after its line was written, so what
//! nobody read is given back; every settle is waited for. One task does all of it. Called by `main`.

use std::io;

use baton_client::{Consumer, Delivery, Error, Settled};
use baton_telemetry::program::exit::Exit;
use baton_telemetry::program::output::stdout_unread;
use futures_util::future::ready;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio_util::sync::CancellationToken;

use crate::exec::Broken;
use crate::job::{Job, Outcome};
use crate::report::Report;
use crate::verdict::Verdict;

/// Enough to write and settle many small items at once, few enough that the first of them is not kept waiting.
const BATCH_ITEMS: usize = 512;

/// Why consuming ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// The queue is at its end, as many items as wanted were processed, or a signal came.
    Complete,
    /// The broker is gone, or refuses everything.
    Failed(Error),
    /// The command cannot be started any more.
    CannotStart(io::Error),
    /// Nobody reads the output, or it cannot be written.
    OutputGone(io::Error),
}

impl Ending {
    /// Whether the broker is worth another question.
    pub(crate) const fn is_orderly(&self) -> bool {
        !matches!(self, Self::Failed(_))
    }

    /// Whether nobody reads any more what we have to say, which is their right.
    pub(crate) fn is_unread(&self) -> bool {
        matches!(self, Self::OutputGone(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// What to tell the user; nothing where all is well.
    pub(crate) fn problem(&self) -> Option<String> {
        match self {
            Self::Complete => None,
            Self::Failed(error) => Some(error.to_string()),
            Self::CannotStart(error) => Some(format!("cannot start the command: {error}")),
            Self::OutputGone(_) if self.is_unread() => None,
            Self::OutputGone(error) => Some(format!("cannot write the output: {error}")),
        }
    }

    /// How the program ends.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Complete => Exit::Done,
            Self::Failed(_) | Self::CannotStart(_) => Exit::Failed,
            Self::OutputGone(_) if self.is_unread() => Exit::Done,
            Self::OutputGone(_) => Exit::Failed,
        }
    }
}

impl From<Broken> for Ending {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Start(error) => Self::CannotStart(error),
            Broken::Stdout(error) => Self::OutputGone(error),
        }
    }
}

/// How many items, and how many at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) concurrency: usize,
    pub(crate) count: Option<u64>,
}

/// Consumes until the end of the queue, of `limits`, or `stop`.
pub(crate) async fn consume(
    consumer: Consumer,
    job: &Job,
    limits: Limits,
    report: &mut Report,
    stop: &CancellationToken,
) -> Ending {
    let mut run = Run::new(consumer, job, limits, report, stop);
    while run.step().await {}
    run.finish().await
}

/// The state of one run.
struct Run<'a> {
    consumer: Consumer,
    job: &'a Job,
    limits: Limits,
    report: &'a mut Report,
    stop: &'a CancellationToken,
    /// Jobs begun; `limits.count` bounds it.
    begun: u64,
    /// No more deliveries will come.
    ended: bool,
    at_work: FuturesUnordered<Work<'a>>,
    /// Reported, but the report is not written yet.
    unwritten: Vec<Outcome>,
    settling: FuturesUnordered<Settle>,
    ending: Ending,
    /// Ends when nobody reads what stdout is for.
    unread: Unread,
}

type Unread = std::pin::Pin<Box<dyn Future<Output = ()>>>;
type Work<'a> = std::pin::Pin<Box<dyn Future<Output = Outcome> + 'a>>;
/// An item and its attempt, what became of it, and how the broker took that.
type Told = ((u64, u32), Verdict, Result<Settled, Error>);
type Settle = std::pin::Pin<Box<dyn Future<Output = Told>>>;

impl<'a> Run<'a> {
    fn new(
        consumer: Consumer,
        job: &'a Job,
        limits: Limits,
        report: &'a mut Report,
        stop: &'a CancellationToken,
    ) -> Self {
        Self {
            consumer,
            job,
            limits,
            report,
            stop,
            begun: 0,
            ended: false,
            at_work: FuturesUnordered::new(),
            unwritten: Vec::new(),
            settling: FuturesUnordered::new(),
            ending: Ending::Complete,
            unread: unread(job),
        }
    }

    /// One event. False once nothing is left that could bring one.
    async fn step(&mut self) -> bool {
        let takes_more = !self.ended && self.at_work.len() < self.limits.concurrency;
        tokio::select! {
            biased;
            () = self.stop.cancelled(), if !self.ended => self.take_no_more(),
            Some(outcome) = self.at_work.next() => self.note(outcome),
            Some((delivery, verdict, settled)) = self.settling.next() => {
                self.report.settled(delivery, &verdict, &settled);
            }
            arrival = self.consumer.next(), if takes_more => self.take(arrival),
            () = &mut self.unread, if !self.ended => self.end_unread(),
            // Only when nothing else is at hand: what came together is written together.
            () = ready(()), if !self.unwritten.is_empty() || self.report.has_pending() => self.write(),
            else => return false,
        }
        if self.unwritten.len() >= BATCH_ITEMS || self.report.is_full() {
            self.write();
        }
        true
    }

    fn take(&mut self, arrival: Option<Result<Delivery, Error>>) {
        match arrival {
            None => self.ended = true,
            Some(Err(error)) => self.end_with(Ending::Failed(error)),
            Some(Ok(delivery)) => {
                self.begun += 1;
                if self.limits.count.is_some_and(|count| self.begun >= count) {
                    self.take_no_more();
                }
                self.at_work
                    .push(Box::pin(self.job.perform(delivery, self.stop)));
            }
        }
    }

    /// What was prefetched goes back to the queue; what is at work is finished.
    fn take_no_more(&mut self) {
        self.ended = true;
        self.consumer.shutdown();
    }

    /// The first reason to end is the one that counts.
    fn end_with(&mut self, ending: Ending) {
        self.take_no_more();
        if matches!(self.ending, Ending::Complete) {
            self.ending = ending;
        }
    }

    fn end_unread(&mut self) {
        self.end_with(Ending::OutputGone(io::ErrorKind::BrokenPipe.into()));
    }

    fn note(&mut self, mut outcome: Outcome) {
        self.report.finished(&outcome);
        if let Some(broken) = outcome.broken.take() {
            self.end_with(broken.into());
        }
        self.unwritten.push(outcome);
    }

    /// Writes the report, then settles what it is about.
    fn write(&mut self) {
        let written = self.report.flush();
        // To print an item is to have it read; a command has done its work whether or not we can say so.
        let unread = written.is_err() && matches!(self.job, Job::Print { .. });
        for outcome in std::mem::take(&mut self.unwritten) {
            let verdict = if unread {
                Verdict::Untouched
            } else {
                outcome.verdict
            };
            let delivery = (outcome.delivery.item_id(), outcome.delivery.attempt());
            let settling = verdict.settle(outcome.delivery);
            self.settling
                .push(Box::pin(async move { (delivery, verdict, settling.await) }));
        }
        if let Err(error) = written {
            self.end_with(Ending::OutputGone(error));
        }
    }

    /// Everything is settled: ends the stream.
    async fn finish(self) -> Ending {
        match (self.ending, self.consumer.close().await) {
            (Ending::Complete, Err(error)) => Ending::Failed(error),
            (ending, _) => ending,
        }
    }
}

/// To print is to have it read. A command does its work all the same, and may have nothing to say.
fn unread(job: &Job) -> Unread {
    match job {
        Job::Print { .. } => Box::pin(stdout_unread()),
        Job::Exec(_) => Box::pin(std::future::pending()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ending_has_its_exit_code_and_its_words() {
        let gone = |kind: io::ErrorKind| Ending::OutputGone(kind.into());
        for (ending, exit, says) in [
            (Ending::Complete, Exit::Done, None),
            (gone(io::ErrorKind::BrokenPipe), Exit::Done, None),
            (
                gone(io::ErrorKind::StorageFull),
                Exit::Failed,
                Some("cannot write the output"),
            ),
            (Ending::Failed(Error::Closed), Exit::Failed, Some("closed")),
            (
                Ending::CannotStart(io::ErrorKind::NotFound.into()),
                Exit::Failed,
                Some("cannot start the command"),
            ),
        ] {
            assert_eq!(ending.exit(), exit, "{ending:?}");
            let problem = ending.problem();
            assert_eq!(problem.is_some(), says.is_some(), "{ending:?}");
            assert!(
                problem
                    .unwrap_or_default()
                    .starts_with(says.unwrap_or_default())
            );
        }
    }
}
