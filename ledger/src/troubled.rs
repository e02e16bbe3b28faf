//! Failed, retried and given up items that have ended, the latest ones: they outlive the others.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::account::{Account, End, Outcome};

/// Items of a queue.
const TROUBLED_MAX: usize = 256;

/// Oldest first.
#[derive(Debug, Default)]
pub(crate) struct Troubled {
    accounts: VecDeque<Arc<Account>>,
    bytes: usize,
}

impl Troubled {
    pub(crate) fn push(&mut self, account: &Arc<Account>) {
        if self.accounts.len() == TROUBLED_MAX {
            self.pop();
        }
        self.bytes += account.bytes();
        self.accounts.push_back(Arc::clone(account));
    }

    fn pop(&mut self) -> bool {
        let oldest = self.accounts.pop_front();
        self.bytes -= oldest.as_ref().map_or(0, |account| account.bytes());
        oldest.is_some()
    }

    /// Drops what ended before, but for dead letters: someone will come and ask why.
    pub(crate) fn forget_before(&mut self, at: u64) {
        let stays = |End { outcome, at: ended }: End| outcome == Outcome::Dead || ended >= at;
        self.accounts
            .retain(|account| account.end.is_some_and(stays));
        self.bytes = self.accounts.iter().map(|account| account.bytes()).sum();
        self.give_room_back();
    }

    fn give_room_back(&mut self) {
        if self.accounts.is_empty() {
            self.accounts = VecDeque::new();
        }
    }

    /// The latest end of an item.
    pub(crate) fn find(&self, item: u64) -> Option<&Arc<Account>> {
        let mut latest_first = self.accounts.iter().rev();
        latest_first.find(|account| account.item == item)
    }

    /// Drops the older half; how many that were.
    pub(crate) fn shrink(&mut self) -> u64 {
        let half = self.accounts.len().div_ceil(2);
        let dropped = (0..half).filter(|_| self.pop()).count();
        self.give_room_back();
        dropped as u64
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }
}
