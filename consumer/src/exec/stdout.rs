//! The commands' stdout on its way to ours: whole per item, so that lines of two items never mix.
//!
//! Invariants: at most [`HELD_BYTES`] of an item are held; who exceeds that takes the turn and keeps it to the end,
//! while the others hold theirs back or wait.

use std::fmt;
use std::io::{self, Write};

use baton_telemetry::program::progress::beside_bar;
use tokio::io::AsyncRead;
use tokio::sync::{Mutex, MutexGuard};

use super::child::{Pipe, READ_BYTES};

/// Held per command; more is passed on as it comes. The help names it.
pub(super) const HELD_BYTES: usize = 1 << 20;

/// Where the commands' stdout goes: ours, or stderr where ours belongs to the report.
pub(crate) type Sink = Box<dyn Write + Send>;

/// The sink, for one command at a time.
pub(super) struct SharedStdout {
    sink: Mutex<Sink>,
    on_terminal: bool,
}

impl SharedStdout {
    pub(super) fn new(sink: Sink) -> Self {
        Self {
            sink: Mutex::new(sink),
            on_terminal: false,
        }
    }

    /// A terminal is shared with the report and its bar, so every item's output ends its line there.
    pub(super) fn on_terminal(self, on_terminal: bool) -> Self {
        Self {
            on_terminal,
            ..self
        }
    }

    /// Reads all of it and passes it on. Ends early if the sink takes no more: the command then gets a SIGPIPE.
    pub(super) async fn pass_on(&self, mut pipe: Pipe<impl AsyncRead + Unpin>) -> io::Result<()> {
        let mut held = Vec::new();
        let mut chunk = vec![0; READ_BYTES];
        let mut turn = None;
        let mut ends_its_line = true;
        while let Some(read) = pipe.read(&mut chunk).await {
            held.extend_from_slice(&chunk[..read]);
            ends_its_line = held.ends_with(b"\n");
            if turn.is_none() && held.len() > HELD_BYTES {
                turn = Some(self.sink.lock().await);
            }
            if let Some(sink) = &mut turn {
                self.write(sink, &held)?;
                held.clear();
            }
        }
        if self.on_terminal && !ends_its_line {
            held.push(b'\n');
        }
        if held.is_empty() {
            return Ok(());
        }
        let mut sink = match turn {
            Some(sink) => sink,
            None => self.sink.lock().await,
        };
        self.write(&mut sink, &held)
    }

    fn write(&self, sink: &mut MutexGuard<'_, Sink>, bytes: &[u8]) -> io::Result<()> {
        let mut write = || {
            sink.write_all(bytes)?;
            sink.flush()
        };
        tokio::task::block_in_place(|| {
            // The bar stands still meanwhile: not for a slow pipe, which cannot smear it.
            if self.on_terminal {
                beside_bar(write)
            } else {
                write()
            }
        })
    }
}

impl fmt::Debug for SharedStdout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedStdout").finish_non_exhaustive()
    }
}
