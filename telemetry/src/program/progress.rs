//! A progress bar on stderr for long work with a known end; nothing where nobody would see it.
//!
//! Owns the process's one visible bar, so that whatever else writes to the terminal can step around it.

use std::io::{self, IsTerminal, Write, stderr};
use std::sync::{Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressStyle, WeakProgressBar};

/// The bar that is on the terminal now.
static SHOWN: Mutex<Option<WeakProgressBar>> = Mutex::new(None);

/// Shorter work is over before a bar says anything.
const WORTH_A_BAR: u64 = 100;

/// How far the work is, shown or not.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Shows nothing.
    #[must_use]
    pub fn hidden() -> Self {
        Self {
            bar: ProgressBar::hidden(),
        }
    }

    /// A bar for `total` items, if there is a terminal to show it and it is worth one.
    #[must_use]
    pub fn items(total: u64) -> Self {
        Self::bar(total, total >= WORTH_A_BAR, "{human_pos}/{human_len} items")
    }

    /// A bar for `total` bytes of input.
    #[must_use]
    pub fn bytes(total: u64) -> Self {
        Self::bar(total, total > 0, "{binary_bytes}/{binary_total_bytes}")
    }

    fn bar(total: u64, wanted: bool, position: &str) -> Self {
        if !wanted || !stderr().is_terminal() {
            return Self::hidden();
        }
        let template = format!("{{bar:30}} {position}, {{eta}} left");
        let style = ProgressStyle::with_template(&template).expect("a constant template");
        let bar = ProgressBar::new(total).with_style(style);
        *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.downgrade());
        Self { bar }
    }

    /// Adds to what is done.
    pub fn advance(&self, by: u64) {
        self.bar.inc(by);
    }

    /// Takes the bar away for good.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Takes the bar, if there is one, off the terminal while `write` writes there. Not to be called by `write` itself.
pub fn beside_bar<T>(write: impl FnOnce() -> T) -> T {
    let shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let bar = shown.as_ref().and_then(WeakProgressBar::upgrade);
    drop(shown);
    match bar {
        Some(bar) if !bar.is_hidden() => bar.suspend(write),
        _ => write(),
    }
}

/// stderr, beside the bar.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        beside_bar(|| stderr().lock().write_all(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}
