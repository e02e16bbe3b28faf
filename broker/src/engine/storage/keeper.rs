//! The keeper thread: lets the journal prepare, index and free segments, and asks queues for the snapshots that it needs.

use std::sync::Arc;
use std::time::Duration;

use baton_journal::{Keeper, Reader, Step};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::link::Links;
use super::mailbox::Mailbox;

/// How often it looks when there is nothing to do. A segment takes 100 ms to fill at full speed, and more than one is
/// prepared.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// How often it looks whether the disk has room again.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// Looks without a commit after which the journal is idle: 1 s.
const IDLE_LOOKS: u32 = 20;

/// See the module.
#[derive(Debug)]
pub(in crate::engine) struct KeeperLoop {
    keeper: Keeper,
    journal: Reader,
    mailbox: Arc<Mailbox>,
    links: Arc<Links>,
    failed: CancellationToken,
    commits: u64,
    idle_looks: u32,
    full: bool,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Kept {
    /// There may be more to do.
    Something,
    /// There is nothing to do.
    Nothing,
    /// The disk is full.
    Full,
    /// It failed.
    End,
}

impl KeeperLoop {
    pub(super) fn new(
        (keeper, journal): (Keeper, Reader),
        mailbox: Arc<Mailbox>,
        links: Arc<Links>,
        failed: CancellationToken,
    ) -> Self {
        Self {
            keeper,
            journal,
            mailbox,
            links,
            failed,
            commits: 0,
            idle_looks: 0,
            full: false,
        }
    }

    /// Runs until it is told to stop, or fails.
    pub(super) fn run(mut self, stop: &CancellationToken) {
        while !stop.is_cancelled() && !self.failed.is_cancelled() {
            let wait = match self.step() {
                Kept::Something => continue,
                Kept::Nothing => LOOK_INTERVAL,
                Kept::Full => RETRY_INTERVAL,
                Kept::End => return,
            };
            self.look(wait);
        }
    }

    fn look(&mut self, wait: Duration) {
        self.mailbox.wait_kept(wait);
        let commits = self.journal.counters().commits;
        self.idle_looks = if commits == self.commits {
            self.idle_looks.saturating_add(1)
        } else {
            0
        };
        self.commits = commits;
        self.ask_for_snapshots(self.idle_looks >= IDLE_LOOKS);
    }

    /// Asks the queues whose facts hold segments back.
    pub(in crate::engine) fn ask_for_snapshots(&mut self, idle: bool) {
        for stream in self.keeper.wanted(idle) {
            if let Some(link) = self.links.get(stream) {
                link.want_snapshot();
            }
        }
    }

    /// One piece of work.
    pub(in crate::engine) fn step(&mut self) -> Kept {
        match self.keeper.step() {
            Ok(Step::Worked) => {
                self.tell_full(false);
                self.mailbox.tell_kept();
                Kept::Something
            }
            Ok(Step::Forward(forward)) => {
                self.mailbox.forward(forward);
                Kept::Nothing
            }
            Ok(Step::Idle) => Kept::Nothing,
            Ok(Step::NoSpace) => {
                self.tell_full(true);
                Kept::Full
            }
            Err(error) => {
                error!(%error, "the journal's segments cannot be kept in order; restart the broker to recover");
                self.failed.cancel();
                self.links.fail_all();
                Kept::End
            }
        }
    }

    fn tell_full(&mut self, full: bool) {
        if full && !self.full {
            warn!(
                "the disk is full: publishes are refused, settles go on; make room, or let consumers catch up"
            );
        } else if !full && self.full {
            info!("the disk has room again: publishes are taken");
        }
        self.full = full;
    }
}
