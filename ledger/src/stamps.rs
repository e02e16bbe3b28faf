//! From clients' stamps to the broker's time.
//!
//! Whatever a client says, what comes out lies between the broker's own times on either side, and in order. What cannot be
//! true is dropped: the stage is then measured from the outside, on one clock.

use baton_telemetry::clock_offset::DRIFT_PPM;

use crate::account::Handled;
use crate::party::Shift;

/// The longest that an item is believed to have waited in its producer: a week.
const CREATED_AGE_MAX_NS: u64 = 7 * 24 * 3600 * 1_000_000_000;

/// A handler's time as its consumer stamped it; 0: not said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HandlerStamps {
    /// The delivery arrived.
    pub received_ns: u64,
    /// The handler began.
    pub started_ns: u64,
    /// The handler ended.
    pub ended_ns: u64,
}

/// When an item was made, and how far that may be off. None: not said, or not to be believed.
pub(crate) fn created(created_ns: u64, clock: Option<Shift>, received: u64) -> Option<(u64, u64)> {
    let clock = clock.filter(|_| created_ns != 0)?;
    let at = clock.broker_ns(created_ns);
    if at > received.saturating_add(clock.error_ns) {
        return None;
    }
    let at = at.min(received);
    let age = received - at;
    (age <= CREATED_AGE_MAX_NS).then_some((at, clock.error_before(age)))
}

/// A handler's time between `leased` and `settled`.
pub(crate) fn handled(
    stamps: HandlerStamps,
    clock: Option<Shift>,
    (leased, settled): (u64, u64),
) -> Option<Handled> {
    let HandlerStamps {
        received_ns,
        started_ns,
        ended_ns,
    } = stamps;
    if received_ns == 0 || started_ns < received_ns || ended_ns < started_ns {
        return None;
    }
    let (inside, outside) = (ended_ns - received_ns, settled.saturating_sub(leased));
    let drift = outside / 1_000_000 * DRIFT_PPM + DRIFT_PPM;
    if inside > outside.saturating_add(drift) {
        return None;
    }
    // What is left for both legs together is known exactly; only its split is not.
    let legs = outside.saturating_sub(inside);
    let (received, error_ns) = match clock {
        Some(clock) => {
            let at = clock.broker_ns(received_ns);
            let error_ns = clock.error_before(inside).min(legs);
            (at.clamp(leased, leased + legs), error_ns)
        }
        None => (leased + legs / 2, legs.div_ceil(2)),
    };
    let within = |ns: u64| received.saturating_add(ns).min(settled.max(leased));
    Some(Handled {
        received,
        started: within(started_ns - received_ns),
        ended: within(inside),
        error_ns,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: Option<Shift> = Some(Shift {
        ns: 1_000_000,
        error_ns: 50,
    });

    fn stamps(received_ns: u64, started_ns: u64, ended_ns: u64) -> HandlerStamps {
        HandlerStamps {
            received_ns,
            started_ns,
            ended_ns,
        }
    }

    #[test]
    fn stamps_are_moved_onto_the_brokers_clock() {
        let found = handled(stamps(500, 600, 900), CLOCK, (1_000_400, 1_001_000)).unwrap();
        let expected = Handled {
            received: 1_000_500,
            started: 1_000_600,
            ended: 1_000_900,
            error_ns: 50,
        };
        assert_eq!(found, expected);
        assert_eq!(created(100, CLOCK, 1_000_400), Some((1_000_100, 50)));
    }

    #[test]
    fn the_longer_ago_a_stamp_is_the_further_it_may_be_off() {
        const SECOND: u64 = 1_000_000_000;
        let received = 10 * SECOND;
        // A second before it was received: 100 us of drift.
        let made = received - SECOND - 1_000_000;
        assert_eq!(
            created(made, CLOCK, received),
            Some((received - SECOND, 100_050))
        );
        let exact = Some(Shift { ns: 0, error_ns: 0 });
        assert_eq!(
            created(SECOND, exact, received),
            Some((SECOND, 0)),
            "one clock"
        );
        let worked = stamps(SECOND, SECOND, 3 * SECOND);
        let found = handled(worked, CLOCK, (SECOND, 4 * SECOND)).unwrap();
        assert_eq!(found.error_ns, 200_050);
    }

    #[test]
    fn without_a_known_clock_the_legs_are_thought_equal() {
        let found = handled(stamps(500, 600, 900), None, (1_000, 1_601)).unwrap();
        assert_eq!(
            (found.received, found.ended, found.error_ns),
            (1_100, 1_500, 101)
        );
        assert_eq!(created(100, None, 1_000_400), None);
    }

    #[test]
    fn what_comes_out_is_in_order_and_in_bounds_whatever_was_said() {
        let odd = [
            0,
            1,
            400,
            500,
            1 << 40,
            u64::MAX / 2,
            u64::MAX - 1,
            u64::MAX,
        ];
        let clocks = odd.map(|ns| {
            Some(Shift {
                ns,
                error_ns: ns / 3,
            })
        });
        for clock in clocks.into_iter().chain([None]) {
            for (received, started, ended) in odd
                .iter()
                .flat_map(|a| odd.iter().flat_map(move |b| odd.map(|c| (*a, *b, c))))
            {
                let end = u64::MAX - 1;
                for bounds in [(10, 10), (10, 1 << 41), (1 << 60, 1 << 61), (end, end)] {
                    let Some(found) = handled(stamps(received, started, ended), clock, bounds)
                    else {
                        continue;
                    };
                    let order = [
                        bounds.0,
                        found.received,
                        found.started,
                        found.ended,
                        bounds.1,
                    ];
                    assert!(order.is_sorted(), "{order:?}");
                    assert!(found.error_ns <= bounds.1 - bounds.0);
                }
                if let Some((at, _)) = created(received, clock, started) {
                    assert!(at <= started && started - at <= CREATED_AGE_MAX_NS);
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_true_is_dropped() {
        assert_eq!(handled(stamps(0, 0, 0), CLOCK, (1, 2)), None);
        assert_eq!(handled(stamps(5, 4, 6), CLOCK, (1, 100)), None);
        assert_eq!(
            handled(stamps(1, 1, 5_000), CLOCK, (1, 100)),
            None,
            "longer than its lease"
        );
        assert_eq!(created(500, CLOCK, 1_000_000), None, "made after it came");
        assert_eq!(created(1, CLOCK, u64::MAX / 2), None, "older than a week");
    }
}
