//! The writer thread: takes what has gathered in the mailbox, commits it, and tells the queues.

use std::sync::Arc;
use std::time::{Duration, Instant};

use baton_journal::{Batch, Error, Writer};
use tokio_util::sync::CancellationToken;
use tracing::{error, trace, warn};

use super::commit_times::CommitTimes;
use super::link::Links;
use super::mailbox::{Mail, Mailbox, Submission};
use crate::limits::COMMIT_BYTES;

/// How long the writer sleeps when nothing comes: it is woken, so this only bounds a lost wake.
const IDLE_WAIT: Duration = Duration::from_secs(5);
/// How long it waits for the keeper before it looks again.
const KEEPER_WAIT: Duration = Duration::from_millis(20);
/// Looks after which a missing segment is worth a line in the log: 2 s.
const LOOKS_BEFORE_WARNING: u32 = 100;

/// See the module.
#[derive(Debug)]
pub(in crate::engine) struct WriterLoop {
    writer: Writer,
    mailbox: Arc<Mailbox>,
    links: Arc<Links>,
    failed: CancellationToken,
    batch: Batch,
    times: Arc<CommitTimes>,
    /// Taken, and not written yet.
    taken: Vec<Submission>,
    looks: u32,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Written {
    /// A commit.
    Commit,
    /// Nothing: there is no segment to write to.
    NoSegment,
    /// Nothing: there was nothing to write.
    Nothing,
    /// Nothing more will be.
    End,
}

impl WriterLoop {
    pub(super) fn new(
        writer: Writer,
        mailbox: Arc<Mailbox>,
        links: Arc<Links>,
        failed: CancellationToken,
    ) -> Self {
        let (batch, taken) = (Batch::default(), Vec::new());
        Self {
            writer,
            mailbox,
            links,
            failed,
            batch,
            times: Arc::default(),
            taken,
            looks: 0,
        }
    }

    /// Where it notes how long commits took.
    pub(super) fn times(&self) -> Arc<CommitTimes> {
        Arc::clone(&self.times)
    }

    /// Runs until the mailbox is closed and empty, or the journal fails.
    pub(super) fn run(mut self) {
        loop {
            match self.step(IDLE_WAIT) {
                Written::Commit | Written::Nothing => self.looks = 0,
                Written::NoSegment => self.wait_for_segment(),
                Written::End => return,
            }
        }
    }

    fn wait_for_segment(&mut self) {
        self.looks += 1;
        if self.looks == LOOKS_BEFORE_WARNING {
            warn!("nothing can be stored: no segment is free; is the disk full?");
        }
        self.mailbox.wait_kept(KEEPER_WAIT);
    }

    /// One commit. Waits up to `wait` for something to do.
    pub(in crate::engine) fn step(&mut self, wait: Duration) -> Written {
        if self.taken.is_empty() {
            match self.mailbox.take(COMMIT_BYTES, wait) {
                Mail::Commit(taken) => self.gather(taken),
                Mail::Forward(forward) => {
                    let done = self.writer.forward(forward);
                    // Where there is no room for copies, the keeper will offer them again.
                    return match done {
                        Ok(()) => {
                            // There may be more of them.
                            self.mailbox.tell_kept();
                            Written::Commit
                        }
                        Err(Error::NoSegment) => Written::Nothing,
                        Err(error) => self.fail(&error),
                    };
                }
                Mail::Nothing => return Written::Nothing,
                Mail::End => return Written::End,
            }
        }
        let begun = Instant::now();
        match self.writer.commit(&self.batch) {
            Ok(()) => {
                // Without records nothing was written.
                if !self.batch.records.is_empty() {
                    let took = begun.elapsed();
                    self.times.record(took);
                    tell_time(took);
                }
                self.tell_durable();
            }
            Err(Error::NoSegment) => return Written::NoSegment,
            Err(error) => return self.fail(&error),
        }
        Written::Commit
    }

    fn gather(&mut self, mut taken: Vec<Submission>) {
        self.batch.clear();
        for submission in &mut taken {
            self.batch.records.append(&mut submission.records);
            self.batch.released.append(&mut submission.released);
        }
        self.taken = taken;
    }

    /// Each queue is told once, of its last commit.
    fn tell_durable(&mut self) {
        self.batch.clear();
        for submission in &self.taken {
            self.mailbox.written(submission);
        }
        let mut told = rustc_hash::FxHashSet::default();
        for submission in self.taken.drain(..).rev() {
            if told.insert(submission.link.stream) {
                submission.link.durable(submission.position);
            }
        }
    }

    /// Once: everyone who waits has an unknown outcome.
    fn fail(&mut self, error: &Error) -> Written {
        error!(%error, "the journal failed: nothing more is stored; restart the broker to recover what is");
        for submission in self.taken.drain(..).chain(self.mailbox.fail()) {
            self.mailbox.written(&submission);
        }
        self.failed.cancel();
        self.links.fail_all();
        Written::End
    }
}

/// A commit that everyone waited for is worth a word.
fn tell_time(took: Duration) {
    /// A disk that is well takes a hundredth of it.
    const SLOW: Duration = Duration::from_secs(1);
    if took >= SLOW {
        warn!(
            ?took,
            "the disk was slow to sync a commit; all publishes and settles waited"
        );
    } else {
        trace!(?took, "commit");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::commit::{Commit, CommitPosition, CommitProgress, CommitTarget as _};
    use crate::engine::storage::{Kept, Storage};
    use baton_journal::Settings;
    use baton_journal::fs::FaultFs;
    use baton_queue::{Config, Event, Timestamp};

    #[test]
    fn without_a_segment_a_commit_waits_and_nobody_is_told() {
        let mut settings = Settings::new(|| 1);
        settings.segment_bytes = 256 * 1024;
        let fs = Arc::new(FaultFs::new(1));
        let (opened, mut loops) = Storage::over(fs, settings, 1 << 20).unwrap();
        let mut target = opened.storage.create(&"q".parse().unwrap());
        let progress = target.progress();
        let mut submit = |position| {
            let (at, config) = (Timestamp(1), Config::default());
            let commit = Commit {
                position: CommitPosition(position),
                events: vec![Event::ConfigChanged { at, config }; 500],
                ..Commit::default()
            };
            drop(target.submit(commit));
        };
        let durable = |n| CommitProgress::Durable(CommitPosition(n));
        let mut last = 1;
        submit(last);
        while loops.writer.step(Duration::ZERO) == Written::Commit {
            assert_eq!(*progress.borrow(), durable(last));
            last += 1;
            submit(last);
        }
        // The keeper has prepared no segment for it: it waits, and so does everyone who is told of it.
        assert_eq!(loops.writer.step(Duration::ZERO), Written::NoSegment);
        assert_eq!(*progress.borrow(), durable(last - 1));
        while loops.keeper.step() == Kept::Something {}
        assert_eq!(loops.writer.step(Duration::ZERO), Written::Commit);
        assert_eq!(*progress.borrow(), durable(last));
    }
}
