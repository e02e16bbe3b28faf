//! When a failed item is tried again, and when it is given up.

use std::time::Duration;

use crate::config::{Backoff, Config};
use crate::event::{Dues, Next};
use crate::history::FailureReason;
use crate::id::ItemId;
use crate::time::{Timestamp, nanos};

/// Items that fail together, and what decides on their future.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    pub(crate) first: ItemId,
    pub(crate) count: u32,
    /// Attempts that count against the allowance, this one too.
    pub(crate) spent: u32,
    pub(crate) reason: FailureReason,
    /// Asked for by the consumer; None: the queue's back-off.
    pub(crate) delay: Option<Duration>,
}

/// What becomes of items after a failure. `random` gives the jitter: the same number, the same times.
pub(crate) fn next(config: &Config, now: Timestamp, failure: Failure, random: u64) -> Next {
    if failure.reason == FailureReason::Rejected || failure.spent >= config.max_attempts {
        return Next::Dead;
    }
    match failure.delay {
        Some(delay) if delay.is_zero() => Next::Ready,
        Some(delay) => Next::Scheduled(Dues::All(now.saturating_add(delay))),
        None => back_off(config.backoff, now, failure, random),
    }
}

fn back_off(backoff: Backoff, now: Timestamp, failure: Failure, random: u64) -> Next {
    let ceiling = ceiling(backoff, failure.spent);
    if ceiling.is_zero() {
        return Next::Ready;
    }
    let due = |offset: u32| {
        let item = failure.first.plus(u64::from(offset));
        now.saturating_add(jitter(ceiling, random, item))
    };
    if failure.count == 1 {
        return Next::Scheduled(Dues::All(due(0)));
    }
    Next::Scheduled(Dues::Each((0..failure.count).map(due).collect()))
}

/// min(max, initial * 2^(attempts-1)).
fn ceiling(backoff: Backoff, attempts: u32) -> Duration {
    let factor = 1_u32
        .checked_shl(attempts.saturating_sub(1))
        .unwrap_or(u32::MAX);
    backoff.initial.saturating_mul(factor).min(backoff.max)
}

/// A time between 0 and `ceiling`, never the same for two items that fail together.
fn jitter(ceiling: Duration, random: u64, item: ItemId) -> Duration {
    let fraction = splitmix64(random ^ splitmix64(item.get()));
    let scaled = (u128::from(nanos(ceiling)) * u128::from(fraction)) >> 64;
    Duration::from_nanos(u64::try_from(scaled).unwrap_or(u64::MAX))
}

/// Sebastiano Vigna's mixer: neighbours in, unrelated numbers out.
const fn splitmix64(seed: u64) -> u64 {
    let mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000_000_000);

    fn failure(spent: u32) -> Failure {
        Failure {
            first: ItemId(10),
            count: 1000,
            spent,
            reason: FailureReason::Nacked,
            delay: None,
        }
    }

    #[test]
    fn the_ceiling_doubles_up_to_its_maximum() {
        let backoff = Backoff::default();
        let seconds = [1, 2, 3, 10, 11, 40, 10_000].map(|n| ceiling(backoff, n).as_secs());
        assert_eq!(seconds, [1, 2, 4, 512, 600, 600, 600]);
    }

    #[test]
    fn jitter_spreads_items_over_the_whole_range() {
        let Next::Scheduled(Dues::Each(dues)) = next(&Config::default(), NOW, failure(4), 42)
        else {
            panic!("backs off");
        };
        let waits = dues.iter().map(|due| due.saturating_since(NOW).as_millis());
        let (low, high) = waits.fold((u128::MAX, 0), |(low, high), w| (low.min(w), high.max(w)));
        assert!(
            low < 100 && (7_900..=8_000).contains(&high),
            "{low} to {high} ms"
        );
    }

    #[test]
    fn spent_and_rejected_items_are_given_up() {
        let config = Config {
            max_attempts: 3,
            ..Config::default()
        };
        assert_ne!(next(&config, NOW, failure(2), 1), Next::Dead);
        assert_eq!(next(&config, NOW, failure(3), 1), Next::Dead);
        let rejected = Failure {
            reason: FailureReason::Rejected,
            ..failure(1)
        };
        assert_eq!(next(&config, NOW, rejected, 1), Next::Dead);
    }

    #[test]
    fn a_delay_that_was_asked_for_wins_over_the_back_off() {
        let asked = |delay| Failure {
            delay: Some(delay),
            ..failure(1)
        };
        let config = Config::default();
        let hour = Duration::from_secs(3600);
        let due = NOW.saturating_add(hour);
        assert_eq!(
            next(&config, NOW, asked(hour), 1),
            Next::Scheduled(Dues::All(due))
        );
        assert_eq!(next(&config, NOW, asked(Duration::ZERO), 1), Next::Ready);
    }
}
