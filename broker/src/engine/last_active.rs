//! When a queue's ledger was told something last, so that whoever keeps house can pass by silent queues without asking them.

use std::sync::atomic::{AtomicU64, Ordering};

use baton_queue::Timestamp;

/// See the module. Written by the queue's actor alone, in its own turns; 0: its ledger holds nothing.
#[derive(Debug, Default)]
pub(crate) struct LastActive(AtomicU64);

impl LastActive {
    /// Now.
    pub(crate) fn note(&self, now: Timestamp) {
        self.0.store(now.0, Ordering::Relaxed);
    }

    /// Its ledger holds nothing any more.
    pub(crate) fn forget(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// None: its ledger holds nothing.
    pub(crate) fn at(&self) -> Option<Timestamp> {
        let at = self.0.load(Ordering::Relaxed);
        (at > 0).then_some(Timestamp(at))
    }
}
