//! What becomes of an item once its job is over.

use std::time::Duration;

use baton_client::{Delivery, Nack, Settling};

/// The most that a broker keeps of an error.
pub(crate) const ERROR_MAX_BYTES: usize = 1024;

/// A job's word on its item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Acknowledged.
    Done,
    /// Tried again after the queue's back-off.
    Failed { error: String },
    /// Tried again at once: it is not the item's fault.
    Interrupted { error: String },
    /// No further attempt can help.
    DeadLetter { error: String },
    /// Nothing was done with it; the attempt does not count.
    Untouched,
}

impl Verdict {
    /// Tells the broker.
    pub(crate) fn settle(&self, delivery: Delivery) -> Settling {
        match self {
            Self::Done => delivery.ack(),
            Self::Failed { error } => delivery.nack(Nack::retry().error(error)),
            Self::Interrupted { error } => {
                delivery.nack(Nack::retry().delay(Duration::ZERO).error(error))
            }
            Self::DeadLetter { error } => delivery.nack(Nack::dead_letter(error)),
            Self::Untouched => delivery.nack(Nack::unstarted()),
        }
    }

    /// Why the item is not done.
    pub(crate) fn error(&self) -> Option<&str> {
        match self {
            Self::Done | Self::Untouched => None,
            Self::Failed { error } | Self::Interrupted { error } | Self::DeadLetter { error } => {
                Some(error)
            }
        }
    }
}
