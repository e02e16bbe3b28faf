//! One wait for a consumer, as it counts: nothing begins before what it follows from was durable.

use crate::waits::Waits;

/// See the module. `since <= ready <= leased`, and no more was waited for than there was time between the latter two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wait {
    /// It began.
    pub(crate) since: u64,
    /// They could be handed out.
    pub(crate) ready: u64,
    pub(crate) leased: u64,
    /// What for, between `ready` and `leased`.
    pub(crate) waits: Waits,
}

impl Wait {
    /// Where what it follows from was durable at `floor` only, which may be long before it.
    pub(crate) fn not_before(self, floor: u64) -> Self {
        let since = self.since.max(floor);
        let ready = self.ready.max(since);
        let leased = self.leased.max(ready);
        Self {
            since,
            ready,
            leased,
            waits: self.waits.within(leased - ready),
        }
    }

    pub(crate) const fn scheduled_ns(&self) -> u64 {
        self.ready - self.since
    }

    pub(crate) const fn queued_ns(&self) -> u64 {
        self.leased - self.ready
    }
}
