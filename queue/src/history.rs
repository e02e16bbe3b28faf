//! What went wrong with an item so far.
//!
//! Items that fail together share one history, so a run that fails costs what one item costs.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::limits::{ERROR_BYTES_MAX, FAILED_ATTEMPTS_KEPT};
use crate::time::Timestamp;

/// Why an attempt ended without an acknowledgement.
// Kept on disk by position (see `codec`): never reordered or removed, new ones go last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureReason {
    /// The consumer said that it failed.
    Nacked,
    /// The lease ran out.
    LeaseExpired,
    /// The consumer's session ended and nobody settled its leases in time.
    ConsumerGone,
    /// The consumer said that no further attempt can help.
    Rejected,
    /// The broker was restarted while a consumer had the item.
    BrokerRestarted,
}

impl FailureReason {
    /// Nobody settled the lease: it was taken away.
    pub const fn is_loss(self) -> bool {
        matches!(
            self,
            Self::LeaseExpired | Self::ConsumerGone | Self::BrokerRestarted
        )
    }
}

/// One delivery of an item that did not end in an acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedAttempt {
    /// From 1.
    pub attempt: u32,
    /// Who had it.
    pub consumer: Arc<str>,
    /// When it was leased.
    pub leased_at: Timestamp,
    /// When the attempt ended.
    pub ended_at: Timestamp,
    /// What ended it.
    pub reason: FailureReason,
    /// What the consumer said of it; may be empty.
    pub error: Arc<str>,
}

/// The failed attempts of an item: the first and the latest ones. Never empty.
// `Eq` lets an `Arc` of it compare by address first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct History {
    failed: Vec<Arc<FailedAttempt>>,
}

impl History {
    /// `earlier` and one more failure.
    pub(crate) fn after(earlier: Option<&Self>, failure: FailedAttempt) -> Self {
        let mut failed = earlier.map_or_else(Vec::new, |history| history.failed.clone());
        if failed.len() == FAILED_ATTEMPTS_KEPT {
            failed.remove(1);
        }
        failed.push(Arc::new(failure));
        Self { failed }
    }

    /// Oldest first.
    pub(crate) fn failed(&self) -> impl Iterator<Item = &FailedAttempt> {
        self.failed.iter().map(AsRef::as_ref)
    }

    /// As it is shared.
    pub(crate) fn attempts(&self) -> &[Arc<FailedAttempt>] {
        &self.failed
    }

    /// The history of these attempts, with as many as are kept now; None: there are none.
    pub(crate) fn of(mut failed: Vec<Arc<FailedAttempt>>) -> Option<Self> {
        if let Some(surplus) = failed.len().checked_sub(FAILED_ATTEMPTS_KEPT) {
            failed.drain(1..=surplus);
        }
        (!failed.is_empty()).then_some(Self { failed })
    }

    /// When the last attempt ended.
    pub(crate) fn last_ended_at(&self) -> Option<Timestamp> {
        self.failed.last().map(|failure| failure.ended_at)
    }

    /// What the consumer of the attempt before said, if anything.
    pub(crate) fn last_error(&self) -> Option<&Arc<str>> {
        self.failed
            .last()
            .map(|failure| &failure.error)
            .filter(|error| !error.is_empty())
    }
}

/// The first [`ERROR_BYTES_MAX`] bytes of an error, or a little less so that no character is cut in two.
pub(crate) fn cut_error(error: &str) -> &str {
    &error[..error.floor_char_boundary(ERROR_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(attempt: u32) -> FailedAttempt {
        FailedAttempt {
            attempt,
            consumer: "c".into(),
            leased_at: Timestamp(1),
            ended_at: Timestamp(2),
            reason: FailureReason::Nacked,
            error: format!("e{attempt}").into(),
        }
    }

    #[test]
    fn the_first_and_the_latest_failures_are_kept() {
        let mut history = History::after(None, failure(1));
        for attempt in 2..=40 {
            history = History::after(Some(&history), failure(attempt));
        }
        let kept: Vec<u32> = history.failed().map(|failure| failure.attempt).collect();
        let expected: Vec<u32> = std::iter::once(1).chain(26..=40).collect();
        assert_eq!(kept, expected);
        assert_eq!(history.last_error().unwrap().as_ref(), "e40");
    }

    #[test]
    fn an_error_is_cut_between_characters() {
        let error = format!("{}ä", "x".repeat(ERROR_BYTES_MAX - 1));
        assert_eq!(cut_error(&error).len(), ERROR_BYTES_MAX - 1);
        assert_eq!(cut_error("short"), "short");
    }
}
