//! Dead letters: items that were given up on and stay until somebody redrives or discards them.

use std::collections::BTreeSet;

use crate::history::FailureReason;
use crate::id::ItemId;
use crate::run::{Index, Phase, Run};
use crate::time::Timestamp;

/// Given up on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Dead {
    pub(crate) since: Timestamp,
    pub(crate) reason: FailureReason,
}

/// Dead letters by age; else they are looked up by id only.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeadIndex {
    pub(crate) ages: BTreeSet<(Timestamp, ItemId)>,
}

impl Phase for Dead {
    type Index = DeadIndex;

    fn skip(&self, _: u32) -> Self {
        self.clone()
    }

    fn continues(&self, _: u32, next: &Self) -> bool {
        self == next
    }
}

impl Index<Dead> for DeadIndex {
    fn add(&mut self, run: &Run<Dead>) {
        self.ages.insert((run.phase.since, run.items.first));
    }

    fn remove(&mut self, run: &Run<Dead>) {
        self.ages.remove(&(run.phase.since, run.items.first));
    }
}
