//! Everything that a program writes for its user: lines, JSON objects, payloads. Nothing else writes to stdout.
//!
//! Invariants: what was added is written whole and in order by `flush`, in as few system calls as possible; colour codes
//! are written only where they are wanted. One owner per program, which is the task that reports.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::thread;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, fstat};
use rustix::io::Errno;
use serde::Serialize;
use tokio::sync::oneshot;

use super::flags::Colour;
use super::progress::{Progress, Stderr, beside_bar};

/// Enough to make system calls rare, little enough to appear at once.
const FLUSH_BYTES: usize = 64 * 1024;

/// Where the output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// What the program was asked for.
    Stdout,
    /// The report, where stdout belongs to someone else.
    Stderr,
}

/// What kind of thing a line reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A producer let an item go.
    Published,
    /// A consumer is done with an item.
    Processed,
    /// Something did not work.
    Trouble,
}

impl Mark {
    const fn text(self) -> &'static str {
        match self {
            Self::Published => " --",
            Self::Processed => " +++",
            Self::Trouble => " !!!",
        }
    }

    const fn style(self) -> Style {
        let colour = match self {
            Self::Published => AnsiColor::Yellow,
            Self::Processed => AnsiColor::Green,
            Self::Trouble => AnsiColor::Red,
        };
        colour.on_default()
    }
}

/// Collects output and writes it.
#[derive(Debug)]
pub struct Output {
    target: Target,
    coloured: bool,
    pending: Vec<u8>,
    progress: Progress,
}

impl Output {
    /// Writes to `target`, in colour as `colour` and the terminal have it.
    #[must_use]
    pub fn new(target: Target, colour: Colour) -> Self {
        let coloured = match colour {
            Colour::Auto => match target {
                Target::Stdout => AutoStream::choice(&io::stdout()) != ColorChoice::Never,
                Target::Stderr => AutoStream::choice(&io::stderr()) != ColorChoice::Never,
            },
            Colour::Always => true,
            Colour::Never => false,
        };
        Self {
            target,
            coloured,
            pending: Vec::new(),
            progress: Progress::hidden(),
        }
    }

    /// Shows `progress` below the lines from now on.
    pub fn show(&mut self, progress: Progress) {
        self.progress = progress;
    }

    /// The bar, or what stands for it.
    #[must_use]
    pub const fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Adds a line about one item, ` -- generated item 3`.
    pub fn item(&mut self, mark: Mark, text: impl fmt::Display) {
        if self.coloured {
            let style = mark.style();
            self.line(format_args!("{style}{} {text}{style:#}", mark.text()));
        } else {
            self.line(format_args!("{} {text}", mark.text()));
        }
    }

    /// Adds a line.
    pub fn line(&mut self, text: impl fmt::Display) {
        let mut line = String::new();
        // Writing to a String cannot fail unless `text` itself does, and then there is nothing to show.
        if writeln!(line, "{text}").is_ok() {
            self.pending.extend_from_slice(line.as_bytes());
        }
    }

    /// Adds a JSON object as one line.
    pub fn object(&mut self, object: &impl Serialize) {
        let complete = self.pending.len();
        if serde_json::to_writer(&mut self.pending, object).is_ok() {
            self.pending.push(b'\n');
        } else {
            self.pending.truncate(complete);
        }
    }

    /// Adds bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// What was added and not written yet.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        &self.pending
    }

    /// Whether so much has gathered that it should be written before more is added.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.pending.len() >= FLUSH_BYTES
    }

    /// Writes what was added. Within a multi-threaded runtime, since a slow reader may hold it up.
    ///
    /// # Errors
    ///
    /// Those of the target; `BrokenPipe` if its reader went away.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        let target = self.target;
        let written = tokio::task::block_in_place(|| beside_bar(|| target.write(&pending)));
        self.pending = pending;
        self.pending.clear();
        self.pending.shrink_to(2 * FLUSH_BYTES);
        written
    }
}

impl Target {
    fn write(self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => write_stdout(bytes),
            Self::Stderr => io::stderr().lock().write_all(bytes),
        }
    }
}

/// Writes `bytes` to stdout and does not return before they are out. Blocks.
///
/// # Errors
///
/// Those of stdout; `BrokenPipe` if its reader went away.
pub fn write_stdout(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// Ends once nobody reads stdout any more, even if nothing is written: `tool | head` should not wait for the next line.
/// Never ends where stdout is no pipe. A thread of its own waits, which the end of the process takes along.
pub async fn stdout_unread() {
    let (tell, told) = oneshot::channel();
    let watch = move || {
        let stdout = io::stdout();
        // No event is asked for, so only the reader's end is one.
        let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
        let ended = loop {
            match poll(&mut watched, None) {
                Err(Errno::INTR) => {}
                ended => break ended,
            }
        };
        // A system that cannot watch says nothing about the reader.
        if ended.is_ok() {
            let _ = tell.send(());
        }
    };
    let is_pipe = fstat(io::stdout())
        .is_ok_and(|stdout| FileType::from_raw_mode(stdout.st_mode) == FileType::Fifo);
    if is_pipe && thread::Builder::new().spawn(watch).is_ok() && told.await.is_ok() {
        return;
    }
    std::future::pending().await
}

/// Says on stderr why the program ends. A terminal that is gone is no reason to fail harder.
pub fn complain(program: &str, problem: impl fmt::Display) {
    let _ = Stderr.write_all(format!("{program}: {problem}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(colour: Colour) -> Output {
        Output::new(Target::Stdout, colour)
    }

    fn text(output: &Output) -> &str {
        std::str::from_utf8(output.pending()).unwrap()
    }

    #[test]
    fn lines_look_as_in_the_classic_demo() {
        let mut output = output(Colour::Never);
        output.item(Mark::Published, "generated item 3");
        output.item(Mark::Processed, "processed value 9 after 0.00 s");
        assert_eq!(
            text(&output),
            " -- generated item 3\n +++ processed value 9 after 0.00 s\n"
        );
    }

    #[test]
    fn colour_surrounds_the_same_text() {
        let mut output = output(Colour::Always);
        output.item(Mark::Trouble, "item 7 failed");
        assert_eq!(text(&output), "\u{1b}[31m !!! item 7 failed\u{1b}[0m\n");
    }

    #[test]
    fn an_object_is_one_line() {
        let mut output = output(Colour::Never);
        output.object(&serde_json::json!({"text": "a\nb"}));
        output.bytes(b"raw");
        assert_eq!(text(&output), "{\"text\":\"a\\nb\"}\nraw");
    }

    #[test]
    fn output_is_full_only_when_a_write_is_worth_it() {
        let mut output = output(Colour::Never);
        output.bytes(&[0; FLUSH_BYTES - 1]);
        assert!(!output.is_full());
        output.bytes(&[0]);
        assert!(output.is_full());
    }
}
