//! How long commits took, all of them. Locked by the writer thread for a record, once a commit, and by whoever asks for a copy.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use baton_telemetry::histogram::Histogram;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct CommitTimes {
    times: Mutex<Histogram>,
}

impl CommitTimes {
    pub(super) fn record(&self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.lock().record(ns);
    }

    pub(super) fn so_far(&self) -> Histogram {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Histogram> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
