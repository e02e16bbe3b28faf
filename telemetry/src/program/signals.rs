//! Ctrl-C and SIGTERM: the first asks the program to finish what is in hand, the second ends it at once.
//!
//! Owns the one task that listens. Called by `main`, which hands the tokens on.

use std::io;
use std::process;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::exit::Exit;
use super::output::complain;

/// How long `main` has to end by itself after the second signal. A write to a stuck pipe may keep it from doing so.
const LAST_GRACE: Duration = Duration::from_millis(500);

/// How long the end may take before the user is told how to hasten it.
const HINT_AFTER: Duration = Duration::from_secs(1);

/// The signals that end a program, as tokens.
#[derive(Debug)]
pub struct Signals {
    stop: CancellationToken,
    abort: CancellationToken,
    first: Arc<OnceLock<Exit>>,
    _listener: JoinSet<()>,
}

impl Signals {
    /// Takes SIGINT and SIGTERM over from the system. Within a runtime only.
    ///
    /// # Errors
    ///
    /// If the system refuses to register the handlers.
    pub fn listen(program: &'static str) -> io::Result<Self> {
        let received = Received {
            interrupts: signal(SignalKind::interrupt())?,
            terminations: signal(SignalKind::terminate())?,
        };
        let (stop, abort) = (CancellationToken::new(), CancellationToken::new());
        let first = Arc::new(OnceLock::new());
        let mut listener = JoinSet::new();
        let tokens = (stop.clone(), abort.clone());
        listener.spawn(relay(program, received, tokens, Arc::clone(&first)));
        Ok(Self {
            stop,
            abort,
            first,
            _listener: listener,
        })
    }

    /// Cancelled by the first signal: finish what is in hand.
    #[must_use]
    pub const fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Cancelled by the second signal: end at once.
    #[must_use]
    pub const fn abort(&self) -> &CancellationToken {
        &self.abort
    }

    /// How the first signal wants the program to end, if there was one.
    #[must_use]
    pub fn exit(&self) -> Option<Exit> {
        self.first.get().copied()
    }
}

struct Received {
    interrupts: Signal,
    terminations: Signal,
}

impl Received {
    async fn next(&mut self) -> Exit {
        tokio::select! {
            _ = self.interrupts.recv() => Exit::Interrupted,
            _ = self.terminations.recv() => Exit::Terminated,
        }
    }
}

async fn relay(
    program: &'static str,
    mut received: Received,
    (stop, abort): (CancellationToken, CancellationToken),
    first: Arc<OnceLock<Exit>>,
) {
    let exit = received.next().await;
    first.get_or_init(|| exit);
    stop.cancel();
    if timeout(HINT_AFTER, received.next()).await.is_err() {
        complain(
            program,
            "finishing what is in hand; a second signal ends at once",
        );
        received.next().await;
    }
    abort.cancel();
    tokio::time::sleep(LAST_GRACE).await;
    process::exit(exit.code().into());
}
