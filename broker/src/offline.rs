//! What is done to a data directory that no broker has: `check` verifies it, `salvage` rescues what can be read of a damaged
//! one into a new one.
//!
//! ```text
//! files --- journal::scan ---> Evidence (all that can be read, per stream) ---> Rescue (a queue that fits it)
//!   |                                                                              |            |
//!   +--- journal::recover ---> what a broker would find ---> check ---> Report <---+   salvage: a new journal
//! ```
//!
//! Neither changes the directory that it reads. Called by the binary; blocks.

mod check;
mod endings;
mod evidence;
mod names;
mod ranges;
mod report;
mod rescue;
mod salvage;
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use baton_journal::fs::{FileSystem, RealFs};
use baton_journal::{Error, Settings};
use baton_queue::Timestamp;
use thiserror::Error;

use self::check::check;
use self::report::Report;
use self::salvage::salvage;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Verify a directory.
    Check {
        /// Which.
        data: PathBuf,
        /// Report as JSON.
        json: bool,
    },
    /// Rescue what can be read of a directory.
    Salvage {
        /// Which.
        data: PathBuf,
        /// The new one: not there, or empty.
        into: PathBuf,
        /// Report as JSON.
        json: bool,
    },
}

/// What came of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// In one word.
    pub verdict: Verdict,
    /// What to print.
    pub text: String,
    /// It is a report, not a reason why there is none.
    pub is_report: bool,
}

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The directory is sound; or the new one is there.
    Sound,
    /// It is damaged, or could not be read.
    Unsound,
    /// The task makes no sense.
    Usage,
}

/// Why there is no report.
#[derive(Debug, Error)]
enum Failure {
    #[error("{0}")]
    Usage(String),
    #[error("there is no journal in {0}")]
    Nothing(PathBuf),
    #[error("cannot {action} {path}: {source}")]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(transparent)]
    Journal(#[from] Error),
    #[error("the disk has no room for the new directory")]
    NoSpace,
    #[error("the directory changed while it was read; read it while nothing writes to it")]
    Changed,
    #[error("what was rescued does not verify: {0}; the new directory was not made")]
    Unsound(String),
}

/// Does it.
#[must_use]
pub fn run(task: &Task) -> Outcome {
    let (done, json) = match task {
        Task::Check { data, json } => (check_directory(data), json),
        Task::Salvage { data, into, json } => {
            let mut settings = Settings::new(rand::random);
            // A broker makes more when it starts; here room may be short.
            settings.spares = 1;
            (salvage_directory(data, into, settings), json)
        }
    };
    match done {
        Ok((verdict, report)) => Outcome {
            verdict,
            text: printed(&report, *json),
            is_report: true,
        },
        Err(failure) => Outcome {
            verdict: match failure {
                Failure::Usage(_) => Verdict::Usage,
                _ => Verdict::Unsound,
            },
            text: format!("error: {failure}\n"),
            is_report: false,
        },
    }
}

fn printed(report: &Report, json: bool) -> String {
    if json {
        let text = serde_json::to_string_pretty(report);
        return text.expect("a report has text and numbers") + "\n";
    }
    report.to_string()
}

fn check_directory(data: &Path) -> Result<(Verdict, Report), Failure> {
    let report = check(&existing(data)?)?;
    let verdict = match report.sound {
        true => Verdict::Sound,
        false => Verdict::Unsound,
    };
    Ok((verdict, report))
}

/// Works under another name, so that nobody takes half a directory for a whole one.
fn salvage_directory(
    data: &Path,
    into: &Path,
    settings: Settings,
) -> Result<(Verdict, Report), Failure> {
    let from = existing(data)?;
    let work = work_directory(data, into)?;
    let target = open(&work)?;
    let done = salvage(&*from, target, settings).and_then(|report| {
        let result = check(&open(&work)?)?;
        if result.sound {
            return Ok(report);
        }
        Err(Failure::Unsound(result.verdict))
    });
    match done {
        Ok(report) => {
            move_over(&work, into)?;
            Ok((Verdict::Sound, report))
        }
        Err(failure) => {
            // It was made here, and is of no use to anybody.
            drop(fs::remove_dir_all(&work));
            Err(failure)
        }
    }
}

/// A directory with a journal. Nothing is made where there is none.
fn existing(data: &Path) -> Result<Arc<dyn FileSystem>, Failure> {
    let read = fs::read_dir(data).map_err(failed("read", data))?;
    let is_segment = |entry: io::Result<fs::DirEntry>| {
        entry.is_ok_and(|entry| entry.path().extension().is_some_and(|end| end == "seg"))
    };
    if !read.into_iter().any(is_segment) {
        return Err(Failure::Nothing(data.to_owned()));
    }
    open(data)
}

fn open(path: &Path) -> Result<Arc<dyn FileSystem>, Failure> {
    let opened = RealFs::open(path).map_err(failed("open", path))?;
    Ok(Arc::new(opened))
}

/// Beside the new directory, so that it can be moved there.
fn work_directory(data: &Path, into: &Path) -> Result<PathBuf, Failure> {
    let usage = |fault: &str| Failure::Usage(format!("--into {into:?}: {fault}"));
    match fs::read_dir(into) {
        Ok(mut read) => {
            if read.next().is_some() {
                return Err(usage("is not empty"));
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(usage(&error.to_string())),
    }
    let name = into.file_name().ok_or_else(|| usage("has no name"))?;
    let mut unfinished = name.to_owned();
    unfinished.push(".unfinished");
    let work = into.with_file_name(unfinished);
    if work.exists() {
        let fault = format!("{} is left of another attempt; remove it", work.display());
        return Err(usage(&fault));
    }
    let data = data.canonicalize().map_err(failed("find", data))?;
    let parent = work
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or_else(|| Path::new("."));
    let inside = parent
        .canonicalize()
        .is_ok_and(|parent| parent.starts_with(&data));
    if inside {
        return Err(usage("is inside of the directory that is read"));
    }
    Ok(work)
}

fn move_over(work: &Path, into: &Path) -> Result<(), Failure> {
    fs::rename(work, into).map_err(failed("name", into))?;
    let parent = into
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or_else(|| Path::new("."));
    let synced = fs::File::open(parent).and_then(|parent| parent.sync_all());
    synced.map_err(failed("sync", parent))
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Failure {
    let path = path.to_owned();
    move |source| Failure::Io {
        action,
        path,
        source,
    }
}

fn lock(fs: &dyn FileSystem) -> Result<Box<dyn Debug + Send + Sync>, Error> {
    fs.lock().map_err(|source| match source.kind() {
        ErrorKind::WouldBlock => Error::Locked,
        _ => Error::Io {
            action: "lock",
            file: "the data directory".to_owned(),
            source,
        },
    })
}

/// By the machine's clock.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let ns = since.map_or(0, |since| since.as_nanos());
    Timestamp(u64::try_from(ns).unwrap_or(u64::MAX))
}
