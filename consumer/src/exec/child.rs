//! A running command: feeds it, listens to it, waits for it, and ends it if we have to end.

use std::process::ExitStatus;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::group::ProcessGroup;
use super::{Broken, Exec, Finished, Task, outcome, stderr};
use crate::verdict::Verdict;

pub(super) const READ_BYTES: usize = 16 * 1024;

/// How long a pipe may stay silent after the command has ended. It is open then only if the command left something
/// running behind, which is no reason to wait for ever.
const SILENCE: Duration = Duration::from_secs(1);

/// How much is read after that. The command's own last words fit: a pipe holds 64 KiB, and 1 MiB at the most.
const LAST_WORDS_BYTES: usize = 1 << 20;

/// A pipe from a command: read until its end, or for a little while after the command's.
#[derive(Debug)]
pub(super) struct Pipe<R> {
    reader: Option<R>,
    ended: CancellationToken,
    last_words_bytes: usize,
}

impl<R: AsyncRead + Unpin> Pipe<R> {
    pub(super) const fn new(reader: Option<R>, ended: CancellationToken) -> Self {
        Self {
            reader,
            ended,
            last_words_bytes: LAST_WORDS_BYTES,
        }
    }

    /// How many bytes came; none at the end.
    pub(super) async fn read(&mut self, chunk: &mut [u8]) -> Option<usize> {
        let has_ended = self.ended.is_cancelled();
        let reader = self.reader.as_mut().filter(|_| self.last_words_bytes > 0)?;
        let silence = async {
            self.ended.cancelled().await;
            tokio::time::sleep(SILENCE).await;
        };
        let read = tokio::select! {
            biased;
            // A pipe that cannot be read is as good as one at its end.
            read = reader.read(chunk) => read.ok().filter(|read| *read > 0)?,
            () = silence => return None,
        };
        if has_ended {
            self.last_words_bytes = self.last_words_bytes.saturating_sub(read);
        }
        Some(read)
    }
}

/// Stays with `child` until it has ended and everything it said was passed on.
pub(super) async fn attend(
    mut child: Child,
    task: &Task,
    exec: &Exec,
    stop: &CancellationToken,
) -> Finished {
    let group = ProcessGroup::of(&child);
    let ended = CancellationToken::new();
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let waited = async {
        let waited = wait(&mut child, group, exec.kill_after, stop).await;
        ended.cancel();
        waited
    };
    let (waited, (), passed_on, stderr_tail) = tokio::join!(
        waited,
        feed(stdin, task, &ended),
        exec.stdout.pass_on(Pipe::new(stdout, ended.clone())),
        stderr::pass_on(Pipe::new(stderr, ended.clone())),
    );
    let verdict = match waited {
        Ok((status, asked_to_stop)) => outcome::verdict(status, asked_to_stop, &stderr_tail),
        Err(error) => Verdict::Failed {
            error: format!("lost track of the command: {error}"),
        },
    };
    Finished {
        verdict,
        broken: passed_on.err().map(Broken::Stdout),
    }
}

/// Waits for the end, asking for it once we have to end. Says whether we asked.
async fn wait(
    child: &mut Child,
    mut group: ProcessGroup,
    kill_after: Duration,
    stop: &CancellationToken,
) -> std::io::Result<(ExitStatus, bool)> {
    let by_itself = tokio::select! {
        biased;
        status = child.wait() => Some(status?),
        () = stop.cancelled() => None,
    };
    let status = match by_itself {
        Some(status) => status,
        None => {
            group.ask();
            match timeout(kill_after, child.wait()).await {
                Ok(status) => status?,
                Err(_) => {
                    group.kill();
                    child.wait().await?
                }
            }
        }
    };
    group.reaped();
    Ok((status, by_itself.is_none()))
}

/// Writes the payload. A command need not read it, nor all of it.
async fn feed(stdin: Option<ChildStdin>, task: &Task, ended: &CancellationToken) {
    let Some(mut stdin) = stdin else { return };
    tokio::select! {
        biased;
        written = stdin.write_all(&task.payload) => if let Err(error) = written {
            tracing::debug!(item_id = task.item_id, %error, "command did not read all of its payload");
        },
        () = ended.cancelled() => {}
    }
}
