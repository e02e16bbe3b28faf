//! Points in time, as the queue sees them.
//!
//! The queue has no clock: every input brings its `now`. The engine anchors a monotonic clock to the wall clock, so that
//! timestamps compare across restarts.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Nanoseconds since the Unix epoch.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Later than every other.
    pub const MAX: Self = Self(u64::MAX);

    /// Nanoseconds since the Unix epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time `duration` later; stops at [`Timestamp::MAX`].
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }

    /// How long after `earlier` this is; zero where it is not.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:09}",
            self.0 / 1_000_000_000,
            self.0 % 1_000_000_000
        )
    }
}

impl Timestamp {
    /// The distance from `base`, small where the two are close, whichever is the later one.
    #[must_use]
    pub(crate) const fn distance_from(self, base: Self) -> Self {
        let distance = self.0.wrapping_sub(base.0).cast_signed();
        Self(((distance << 1) ^ (distance >> 63)).cast_unsigned())
    }

    /// The time whose distance from `base` this is.
    #[must_use]
    pub(crate) const fn onto_base(self, base: Self) -> Self {
        let distance = (self.0 >> 1).cast_signed() ^ -(self.0 & 1).cast_signed();
        Self(base.0.wrapping_add(distance.cast_unsigned()))
    }
}

/// A duration in nanoseconds; 584 years and more are all the same.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_lead_back_to_every_time() {
        let times = [0, 1, 5, 1 << 62, 1 << 63, u64::MAX - 1, u64::MAX].map(Timestamp);
        for time in times {
            for base in times {
                assert_eq!(time.distance_from(base).onto_base(base), time);
            }
        }
        assert_eq!(Timestamp(4).distance_from(Timestamp(6)), Timestamp(3));
    }

    #[test]
    fn time_stops_at_its_end_instead_of_wrapping() {
        assert_eq!(Timestamp(5).saturating_add(Duration::MAX), Timestamp::MAX);
        assert_eq!(Timestamp(5).saturating_since(Timestamp(9)), Duration::ZERO);
        assert_eq!(
            Timestamp(9).saturating_since(Timestamp(5)),
            Duration::from_nanos(4)
        );
    }
}
