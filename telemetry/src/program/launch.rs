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

/// Runs `work`, which gets the token that asks it to finish what is in hand. Work that is done after a signal ends as
/// the signal wants it.
pub fn launch<F>(program: &'static str, work: impl FnOnce(CancellationToken) -> F) -> ExitCode
where
    F: Future<Output = Exit>,
{
    let runtime = match Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(program, error),
    };
    let exit = run(program, &runtime, work);
    // A read of stdin cannot be cancelled: its thread would keep the runtime from ending.
    runtime.shutdown_background();
    exit.map_or_else(|error| fail(program, error), ExitCode::from)
}

fn run<F>(
    program: &'static str,
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
            () = signals.abort().cancelled() => Exit::Done,
            exit = work(signals.stop().clone()) => exit,
        };
        Ok(match (done, signals.exit()) {
            (Exit::Done, Some(signalled)) => signalled,
            (exit, _) => exit,
        })
    })
}

fn fail(program: &str, error: impl Display) -> ExitCode {
    complain(program, error);
    Exit::Failed.into()
}
