//! The named parts of an item's time. One name each, in spans, histograms, the command line and the API.

use std::fmt;

/// A named part of an item's time, in the order of its life; the last two overlap the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Made by the producer -> received by the broker. Two clocks.
    Publish,
    /// Received -> durable. The broker's clock.
    Store,
    /// Durable, or failed -> due: delayed, or backing off. The broker's clock.
    Scheduled,
    /// Ready -> leased, per attempt. The broker's clock.
    Queue,
    /// Leased -> received by the consumer, per attempt. Two clocks.
    Deliver,
    /// Received by the consumer -> its handler began, per attempt. The consumer's clock.
    Prefetch,
    /// Handler began -> handler ended, per attempt. The consumer's clock.
    Process,
    /// Handler ended -> its settle is durable, per attempt. Two clocks.
    Settle,
    /// Made by the producer -> settled for good. The producer's clock against the broker's.
    Total,
    /// Of an attempt's wait, the part in which nobody was allowed to take the item: scheduled, or the queue was paused.
    NotAllowed,
    /// Of an attempt's wait, the part in which nobody was there to take it: no consumer, or none with credit.
    NoWorker,
}

impl Stage {
    /// All of them, in order.
    pub const ALL: [Self; 11] = [
        Self::Publish,
        Self::Store,
        Self::Scheduled,
        Self::Queue,
        Self::Deliver,
        Self::Prefetch,
        Self::Process,
        Self::Settle,
        Self::Total,
        Self::NotAllowed,
        Self::NoWorker,
    ];

    /// As it is called everywhere.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Store => "store",
            Self::Scheduled => "scheduled",
            Self::Queue => "queue",
            Self::Deliver => "deliver",
            Self::Prefetch => "prefetch",
            Self::Process => "process",
            Self::Settle => "settle",
            Self::Total => "total",
            Self::NotAllowed => "not_allowed",
            Self::NoWorker => "no_worker",
        }
    }

    /// Its place in [`Stage::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Whether the parts of this kind, one after the other, make an item's total.
    #[must_use]
    pub const fn is_part(self) -> bool {
        !matches!(self, Self::Total | Self::NotAllowed | Self::NoWorker)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_has_its_place_and_a_name_of_its_own() {
        let mut names: Vec<_> = Stage::ALL.iter().map(|stage| stage.name()).collect();
        assert!(
            Stage::ALL
                .iter()
                .enumerate()
                .all(|(index, stage)| stage.index() == index)
        );
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Stage::ALL.len());
    }
}
