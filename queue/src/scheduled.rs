//! Items that are not to be delivered before a given time: delayed by their producer, or backing off after a failure.

use std::collections::BTreeSet;

use crate::id::ItemId;
use crate::ready::Expiries;
use crate::run::{Index, Phase, Run};
use crate::time::Timestamp;

/// Waits for its time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scheduled {
    pub(crate) since: Timestamp,
    pub(crate) due: Timestamp,
}

/// Scheduled runs by age, by due time and by expiry.
#[derive(Clone, Debug, Default)]
pub(crate) struct ScheduledIndex {
    pub(crate) ages: BTreeSet<(Timestamp, ItemId)>,
    pub(crate) dues: BTreeSet<(Timestamp, ItemId)>,
    pub(crate) expiries: Expiries,
}

impl Phase for Scheduled {
    type Index = ScheduledIndex;

    fn skip(&self, _: u32) -> Self {
        self.clone()
    }

    fn continues(&self, _: u32, next: &Self) -> bool {
        self == next
    }
}

impl Index<Scheduled> for ScheduledIndex {
    fn add(&mut self, run: &Run<Scheduled>) {
        self.ages.insert((run.phase.since, run.items.first));
        self.dues.insert((run.phase.due, run.items.first));
        self.expiries.add(&run.items);
    }

    fn remove(&mut self, run: &Run<Scheduled>) {
        self.ages.remove(&(run.phase.since, run.items.first));
        self.dues.remove(&(run.phase.due, run.items.first));
        self.expiries.remove(&run.items);
    }
}
