//! Runs a program's work on a runtime of its own until it is done or told twice to stop.

use std::fmt::Display;
use std::future::Future;
use std::io;
use std::process::ExitCode;

use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use super::exit::Exit;
use super::output::complain;
use super::signals::Signals;

/// When work is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasts {
    /// It has an end of its own; a signal cuts it off.
    UntilDone,
    /// It goes on until it is told to stop: then SIGTERM is no mishap, and container engines and service managers want to see 0.
    UntilStopped,
}

/// Runs `work`, which gets the token that asks it to finish what is in hand. Work that is done after a signal ends as
/// the signal wants it, unless it was for SIGTERM to end it.
pub fn launch<F>(
    program: &'static str,
    lasts: Lasts,
    work: impl FnOnce(CancellationToken) -> F,
) -> ExitCode
where
    F: Future<Output = Exit>,
{
    let runtime = match Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(program, error),
    };
    let exit = run(program, lasts, &runtime, work);
    // A read of stdin cannot be cancelled: its thread would keep the runtime from ending.
    runtime.shutdown_background();
    exit.map_or_else(|error| fail(program, error), ExitCode::from)
}

fn run<F>(
    program: &'static str,
    lasts: Lasts,
    runtime: &Runtime,
    work: impl FnOnce(CancellationToken) -> F,
) -> io::Result<Exit>
where
    F: Future<Output = Exit>,
{
    runtime.block_on(async {
        let signals = Signals::listen(program)?;
        let done = tokio::select! {
            biased;
            () = signals.abort().cancelled() => None,
            exit = work(signals.stop().clone()) => Some(exit),
        };
        Ok(ended(lasts, done, signals.exit()))
    })
}

/// `done`: how the work ended; none: it was cut off.
fn ended(lasts: Lasts, done: Option<Exit>, signalled: Option<Exit>) -> Exit {
    match (done, signalled) {
        (Some(Exit::Done), Some(Exit::Terminated)) if lasts == Lasts::UntilStopped => Exit::Done,
        (None | Some(Exit::Done), Some(signalled)) => signalled,
        (done, _) => done.unwrap_or(Exit::Done),
    }
}

fn fail(program: &str, error: impl Display) -> ExitCode {
    complain(program, error);
    Exit::Failed.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_work_without_an_end_of_its_own_ends_well_by_sigterm() {
        let (done, terminated) = (Some(Exit::Done), Some(Exit::Terminated));
        assert_eq!(ended(Lasts::UntilDone, done, terminated), Exit::Terminated);
        assert_eq!(ended(Lasts::UntilStopped, done, terminated), Exit::Done);
        let interrupted = ended(Lasts::UntilStopped, done, Some(Exit::Interrupted));
        assert_eq!(interrupted, Exit::Interrupted);
    }

    #[test]
    fn what_failed_or_was_cut_off_says_so_whatever_the_signal() {
        for lasts in [Lasts::UntilDone, Lasts::UntilStopped] {
            let terminated = Some(Exit::Terminated);
            assert_eq!(ended(lasts, Some(Exit::Failed), terminated), Exit::Failed);
            assert_eq!(ended(lasts, None, terminated), Exit::Terminated);
            assert_eq!(ended(lasts, Some(Exit::Failed), None), Exit::Failed);
        }
    }
}
