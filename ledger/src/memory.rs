//! How much memory a ledger takes, and what it gives up when all of them take too much; see [`crate::budget`].

use std::sync::Arc;

use crate::account::Account;
use crate::budget::Dropped;
use crate::ledger::Ledger;
use crate::sampling::Kept;

/// Histograms that have got as coarse as can be are left alone for so long: until there are new slots.
const COARSE_NS: u64 = 5_000_000_000;
const DAY_NS: u64 = 24 * 3600 * 1_000_000_000;

impl Ledger {
    /// From time to time, or after a commit: closes minutes, forgets what is old, and keeps to the budget.
    pub fn keep_house(&mut self, now: u64, kept: &mut Vec<(Arc<Account>, Kept)>) {
        while let Some(account) = self.slowest.next_untraced(now) {
            self.offer_trace(&account, Kept::TopK, now, kept);
        }
        self.keep_to_budget(now);
    }

    /// Of an idle queue, every few minutes: what is a day old gives its memory back, but for dead letters and the
    /// histograms' totals.
    pub fn expire(&mut self, now: u64) {
        self.series.expire(now);
        self.finished.forget_before(now.saturating_sub(DAY_NS));
        self.slowest.forget_before(now);
        self.troubled.forget_before(now.saturating_sub(DAY_NS));
        self.keep_to_budget(now);
    }

    fn keep_to_budget(&mut self, now: u64) {
        self.count();
        if self.shared.budget.is_filling() {
            self.shrink_finished();
        }
        if self.shared.budget.is_over() {
            self.shrink(now);
        }
    }

    fn count(&mut self) {
        let bytes = self.bytes();
        if bytes != self.counted {
            self.shared.budget.change(self.counted, bytes);
            self.counted = bytes;
        }
    }

    /// Memory, bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let detail = self.finished.bytes()
            + self.leases.bytes()
            + self.arrivals.bytes()
            + self.earlier.bytes()
            + self.resumed.bytes()
            + self.slowest.bytes()
            + self.troubled.bytes();
        let rest = self.clock.bytes() + self.ended_waits.bytes() + self.pending_bytes;
        detail + rest + self.series.bytes()
    }

    /// What something may take so that the ledger takes no more than `share`.
    fn room(&self, share: usize, held: usize) -> usize {
        share.saturating_sub(self.bytes() - held)
    }

    /// Before anything else has to.
    fn shrink_finished(&mut self) {
        let budget = &self.shared.budget;
        let room = self.room(budget.share_filling(), self.finished.bytes());
        budget.drop_some(Dropped::Finished, self.finished.shrink(room));
        self.count();
    }

    /// Gives detail up, step by step, until this queue holds no more than its share.
    fn shrink(&mut self, now: u64) {
        let shared = Arc::clone(&self.shared);
        let budget = &shared.budget;
        let share = budget.share();
        if self.bytes() > share {
            budget.drop_some(Dropped::Attempt, self.earlier.clear());
            self.resumed = Default::default();
        }
        if self.bytes() > share {
            let room = self.room(share, self.arrivals.bytes());
            budget.drop_some(Dropped::Arrival, self.arrivals.shrink(room));
        }
        while self.bytes() > share && self.slowest.bytes() + self.troubled.bytes() > 0 {
            let dropped = self.slowest.shrink() + self.troubled.shrink();
            budget.drop_some(Dropped::Kept, dropped);
        }
        if self.bytes() > share {
            let room = self.room(share, self.leases.bytes());
            budget.drop_some(Dropped::Context, self.leases.strip(room));
        }
        while self.bytes() > share && now >= self.coarse_until {
            let coarser = self.series.coarsen();
            budget.drop_some(Dropped::Slot, coarser);
            if coarser == 0 {
                self.coarse_until = now.saturating_add(COARSE_NS);
            }
        }
        if self.bytes() > share {
            // Half of it is theirs: histograms of very many queues fill the budget by themselves.
            let room = self.room(share, self.leases.bytes()).max(share / 2);
            budget.drop_some(Dropped::Lease, self.leases.shrink(room));
        }
        self.count();
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.shared.budget.change(self.counted, 0);
    }
}
