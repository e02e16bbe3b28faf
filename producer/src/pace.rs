//! When the next generated item is due. Arithmetic only: the clock and the random numbers are arguments.

use std::time::Duration;

use baton_telemetry::program::problems::parse_duration;
use rand::{Rng, RngExt};
use tokio::time::Instant;

/// How items follow each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// A pause after each item, drawn evenly from both ends and all between.
    Interval {
        shortest: Duration,
        longest: Duration,
    },
    /// So many a second, counted from the first: items that come late do not move those after them.
    Rate { items_per_second: f64 },
}

impl Pace {
    /// Parses `500ms` or `500ms..1500ms`.
    pub(crate) fn parse_interval(text: &str) -> Result<Self, String> {
        let Some((shortest, longest)) = text.split_once("..") else {
            let interval = parse_duration(text)?;
            return Ok(Self::Interval {
                shortest: interval,
                longest: interval,
            });
        };
        let (shortest, longest) = (parse_duration(shortest)?, parse_duration(longest)?);
        if shortest > longest {
            return Err(format!(
                "{text} is an empty range: its start is longer than its end"
            ));
        }
        Ok(Self::Interval { shortest, longest })
    }
}

/// The course of one run.
#[derive(Debug)]
pub(crate) struct Schedule<R> {
    pace: Pace,
    random: R,
    started: Instant,
    previous: Option<Instant>,
}

impl<R: Rng> Schedule<R> {
    pub(crate) const fn new(pace: Pace, random: R, started: Instant) -> Self {
        Self {
            pace,
            random,
            started,
            previous: None,
        }
    }

    /// When item `index` is due. Called for one item after the other, with the time at which it is asked.
    pub(crate) fn due(&mut self, index: u64, now: Instant) -> Instant {
        let due = match (self.pace, self.previous) {
            (Pace::Rate { items_per_second }, _) => self.started + offset(index, items_per_second),
            (Pace::Interval { .. }, None) => now,
            (Pace::Interval { shortest, longest }, Some(previous)) => {
                // From when the item before was asked for, or due if that was later.
                previous + self.random.random_range(shortest..=longest)
            }
        };
        self.previous = Some(due.max(now));
        due
    }
}

/// From the first item to item `index`; computed anew each time, so errors do not add up.
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 items")]
fn offset(index: u64, items_per_second: f64) -> Duration {
    Duration::try_from_secs_f64(index as f64 / items_per_second).unwrap_or(Duration::MAX / 4)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn schedule(pace: Pace) -> (Schedule<SmallRng>, Instant) {
        let started = Instant::now();
        (
            Schedule::new(pace, SmallRng::seed_from_u64(7), started),
            started,
        )
    }

    #[test]
    fn an_interval_is_a_duration_or_a_range() {
        let interval = |shortest, longest| Pace::Interval { shortest, longest };
        assert_eq!(
            Pace::parse_interval("2s"),
            Ok(interval(2000 * MS, 2000 * MS))
        );
        assert_eq!(
            Pace::parse_interval("0s..1500ms"),
            Ok(interval(Duration::ZERO, 1500 * MS))
        );
        assert_eq!(
            Pace::parse_interval("1s..1s"),
            Ok(interval(1000 * MS, 1000 * MS))
        );
    }

    #[test]
    fn an_interval_that_makes_no_sense_is_refused() {
        for text in [
            "",
            "5",
            "..",
            "1s..",
            "..1s",
            "1s..2s..3s",
            "1s...2s",
            "soon",
            "-1s..1s",
        ] {
            assert!(
                Pace::parse_interval(text)
                    .unwrap_err()
                    .contains("is no duration"),
                "{text}"
            );
        }
        let error = Pace::parse_interval("2s..1s").unwrap_err();
        assert!(error.contains("empty range"), "{error}");
    }

    #[test]
    fn a_rate_does_not_drift() {
        let (mut schedule, started) = schedule(Pace::Rate {
            items_per_second: 3.0,
        });
        let late = started + 5000 * MS;
        assert_eq!(schedule.due(0, started), started);
        assert_eq!(schedule.due(3, late), started + 1000 * MS);
        assert_eq!(
            schedule.due(3_000_000, late),
            started + Duration::from_secs(1_000_000)
        );
    }

    #[test]
    fn a_rate_too_slow_for_the_clock_is_merely_far_away() {
        let (mut schedule, started) = schedule(Pace::Rate {
            items_per_second: 1e-300,
        });
        assert!(schedule.due(1, started) > started + Duration::from_secs(1 << 40));
    }

    #[test]
    fn the_first_item_is_due_at_once_and_the_others_after_a_pause() {
        let interval = Pace::Interval {
            shortest: 500 * MS,
            longest: 500 * MS,
        };
        let (mut schedule, started) = schedule(interval);
        assert_eq!(schedule.due(0, started), started);
        assert_eq!(schedule.due(1, started + 20 * MS), started + 500 * MS);
        // Asked late: the pause is kept from then on, nothing is made up for.
        assert_eq!(schedule.due(2, started + 4000 * MS), started + 1000 * MS);
        assert_eq!(schedule.due(3, started + 4001 * MS), started + 4500 * MS);
    }

    #[test]
    fn pauses_fill_the_whole_range() {
        let (shortest, longest) = (500 * MS, 1500 * MS);
        let (mut schedule, started) = schedule(Pace::Interval { shortest, longest });
        let due: Vec<Instant> = (0..2000)
            .map(|index| schedule.due(index, started))
            .collect();
        let pauses: Vec<Duration> = due.windows(2).map(|two| two[1] - two[0]).collect();
        assert!(
            pauses
                .iter()
                .all(|pause| (shortest..=longest).contains(pause))
        );
        assert!(pauses.iter().any(|pause| *pause < 510 * MS));
        assert!(pauses.iter().any(|pause| *pause > 1490 * MS));
    }
}
