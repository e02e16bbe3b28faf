//! A command's process group: the command and whatever it started.
//!
//! Invariant: no signal is sent once the command was reaped, because its number may belong to someone else then.

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Child;

/// Killed when dropped before the command was reaped.
#[derive(Debug)]
pub(super) struct ProcessGroup {
    leader: Option<Pid>,
}

impl ProcessGroup {
    /// The group that `child` leads.
    pub(super) fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self {
            leader: id.and_then(Pid::from_raw),
        }
    }

    /// Asks all of it to end.
    pub(super) fn ask(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends all of it.
    pub(super) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// The command was waited for.
    pub(super) const fn reaped(&mut self) {
        self.leader = None;
    }

    fn signal(&self, signal: Signal) {
        if let Some(leader) = self.leader
            && let Err(error) = kill_process_group(leader, signal)
        {
            // It ended by itself a moment ago.
            tracing::debug!(%error, "command already gone");
        }
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.kill();
    }
}
