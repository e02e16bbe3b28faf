#![expect(clippy::cast_possible_truncation, reason = "small numbers, made here")]

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

mod link;

use link::{Delay, Link, Traffic};

const MICRO: u64 = 1_000;
const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

fn links() -> Vec<Link> {
    let delays = [
        Delay {
            shortest_ns: 10 * MICRO,
            jitter_ns: 20 * MICRO,
        },
        Delay {
            shortest_ns: 200 * MICRO,
            jitter_ns: 5 * MICRO,
        },
        Delay {
            shortest_ns: MILLI,
            jitter_ns: 3 * MILLI,
        },
        Delay {
            shortest_ns: 20 * MILLI,
            jitter_ns: 10 * MILLI,
        },
    ];
    let traffics = [Traffic::Idle, Traffic::Steady, Traffic::Bursts];
    let mut links = Vec::new();
    for up in delays {
        for down in delays {
            for traffic in traffics {
                let seed = links.len() as u64;
                links.push(Link {
                    seed,
                    up,
                    down,
                    traffic,
                    ..Link::default()
                });
            }
        }
    }
    links
}

impl Reading {
    fn holds(self, truth_ns: i128) -> bool {
        let off_ns = truth_ns - i128::from(self.offset_ns);
        off_ns.unsigned_abs() <= self.error_ns.into()
    }
}

#[test]
fn the_true_offset_is_always_within_the_error() {
    let mut readings = 0;
    for link in links() {
        for seed in 0..4 {
            for moment in (Link {
                seed: link.seed * 4 + seed,
                ..link
            })
            .run()
            {
                assert!(
                    moment.reading.holds(moment.truth_ns),
                    "{moment:?} over {link:?}"
                );
                assert_eq!(moment.reading.epoch, 0, "{link:?}");
                readings += 1;
            }
        }
    }
    assert!(readings > 200_000, "{readings}");
}

#[test]
fn the_error_is_at_most_half_the_smallest_round_trip_and_drift() {
    for link in links() {
        for moment in link.run() {
            assert!(
                moment.reading.error_ns <= moment.best_ns,
                "{moment:?} over {link:?}"
            );
        }
    }
}

#[test]
fn without_jitter_the_error_is_half_the_round_trip() {
    let still = |shortest_ns| Delay {
        shortest_ns,
        jitter_ns: 0,
    };
    let link = Link {
        up: still(300 * MICRO),
        down: still(500 * MICRO),
        traffic: Traffic::Steady,
        ..Link::default()
    };
    for moment in link.run().iter().skip(100) {
        assert!(
            (400 * MICRO..405 * MICRO).contains(&moment.reading.error_ns),
            "{moment:?}"
        );
    }
}

#[test]
fn a_step_of_a_clock_begins_one_epoch_with_true_bounds() {
    for link in links() {
        for step_ns in [300 * MILLI, SECOND, 3_600 * SECOND] {
            for step_ns in [step_ns as i64, -(step_ns as i64)] {
                let link = Link { step_ns, ..link };
                let moments = link.run();
                assert_eq!(moments.last().unwrap().reading.epoch, 1, "{link:?}");
                for moment in moments.iter().filter(|moment| moment.reading.epoch == 1) {
                    assert!(
                        moment.reading.holds(moment.truth_ns),
                        "{moment:?} over {link:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_report_from_before_the_epoch_is_ignored() {
    let mut estimator = Estimator::new();
    estimator.upstream(1_000, 2_000);
    estimator.downstream_leg(0, 2_000, 0);
    // The client's clock is set forward by 1000 s: the offset falls.
    estimator.upstream(1_000 * SECOND, 3_000);
    assert_eq!(estimator.reading(3_000), None);
    estimator.downstream_leg(10, 4_000, 2_000);
    assert_eq!(estimator.reading(4_000), None);
    // Received in one go with the message that told: sent before or after it.
    estimator.downstream_leg(10, 4_500, 3_000);
    assert_eq!(estimator.reading(4_500), None);
    estimator.downstream_leg(1_000 * SECOND as i64, 5_000, 3_001);
    let reading = estimator.reading(5_000).unwrap();
    assert_eq!(reading.epoch, 1);
    assert!(reading.holds(-1_000 * i128::from(SECOND)), "{reading:?}");
}

#[test]
fn a_report_that_was_long_on_its_way_is_aged_from_when_it_was_taken() {
    // The offset falls by the greatest drift; the client reports at 0 s and at 20 s, the first one is 10 s under way.
    let offset_ns = |broker_ns: u64| -((broker_ns / 10_000) as i64);
    let client_ns = |broker_ns: u64| broker_ns.strict_add_signed(-offset_ns(broker_ns));
    let at = |seconds: u64| 1_000 * SECOND + seconds * SECOND;
    let mut estimator = Estimator::new();
    estimator.upstream(client_ns(at(0)), at(10));
    estimator.downstream_leg(
        client_ns(at(0)) as i64 - at(0) as i64 + 5_000_000,
        at(10),
        at(0),
    );
    let mut leg = DownLeg::new();
    leg.received(at(0) + 1, client_ns(at(0) + 1));
    estimator.upstream(client_ns(at(20)), at(20));
    estimator.downstream_leg(leg.take().unwrap(), at(20), at(10));
    let reading = estimator.reading(at(20)).unwrap();
    assert!(
        reading.holds(offset_ns(at(20)).into()),
        "{reading:?} {}",
        offset_ns(at(20))
    );
}

#[test]
fn there_is_no_reading_before_both_sides_were_seen() {
    let mut estimator = Estimator::new();
    assert_eq!(estimator.reading(0), None);
    estimator.upstream(100, 350);
    assert_eq!(estimator.reading(400), None);
    estimator.downstream_leg(-50, 350, 350);
    let reading = estimator.reading(350).unwrap();
    assert_eq!(
        reading,
        Reading {
            offset_ns: 150,
            error_ns: 100,
            epoch: 0
        }
    );
    let mut other = Estimator::new();
    other.downstream_leg(-50, 350, 350);
    assert_eq!(other.reading(350), None);
}

#[test]
fn an_error_is_rounded_up_and_both_ends_are_inclusive() {
    let mut estimator = Estimator::new();
    estimator.upstream(0, 7);
    estimator.downstream_leg(-4, 7, 7);
    let reading = estimator.reading(7).unwrap();
    assert_eq!(reading.error_ns, 2);
    assert!(reading.holds(4) && reading.holds(7));
    estimator.downstream_leg(-7, 7, 7);
    assert_eq!(
        estimator.reading(7),
        Some(Reading {
            offset_ns: 7,
            error_ns: 0,
            epoch: 0
        })
    );
}

#[test]
fn a_reading_grows_by_the_drift_and_never_goes_away() {
    let mut estimator = Estimator::new();
    estimator.upstream(0, 1_000);
    estimator.downstream_leg(1_000, 1_000, 1_000);
    let error_ns = |seconds: u64| {
        estimator
            .reading(1_000 + seconds * SECOND)
            .unwrap()
            .error_ns
    };
    assert_eq!(error_ns(0), 1_000);
    assert_eq!(error_ns(10), 1_000 + MILLI);
    assert_eq!(error_ns(10_000), 1_000 + SECOND);
}

#[test]
fn a_reading_for_an_earlier_time_grows_as_well() {
    let mut estimator = Estimator::new();
    estimator.upstream(10 * SECOND, 10 * SECOND + 500);
    estimator.downstream_leg(500, 10 * SECOND + 500, 10 * SECOND + 500);
    assert_eq!(estimator.reading(10 * SECOND + 500).unwrap().error_ns, 500);
    assert_eq!(estimator.reading(500).unwrap().error_ns, MILLI + 500);
}

#[test]
fn an_offset_beyond_its_type_is_the_nearest_with_an_error_to_match() {
    let now_ns = 8_000_000_000 * SECOND;
    let mut estimator = Estimator::new();
    estimator.downstream_leg(i64::MAX, now_ns, 0);
    estimator.upstream(now_ns + (1 << 63) + 400_000 * SECOND, now_ns);
    let reading = estimator.reading(now_ns).unwrap();
    assert_eq!((reading.offset_ns, reading.epoch), (i64::MIN, 0));
    assert_eq!(reading.error_ns, 800_000 * SECOND - 1);
}

#[test]
fn the_message_that_tells_of_a_step_counts_in_the_new_epoch() {
    let mut estimator = Estimator::new();
    estimator.upstream(2 * SECOND, 2 * SECOND + 100);
    estimator.downstream_leg(50, 2 * SECOND + 100, 2 * SECOND);
    // The client's clock is set back by a second: the offset rises.
    estimator.upstream(2 * SECOND, 3 * SECOND + 100);
    estimator.downstream_leg(60 - SECOND as i64, 3 * SECOND + 100, 3 * SECOND);
    assert_eq!(estimator.reading(3 * SECOND + 100), None);
    estimator.upstream(2 * SECOND + 200, 3 * SECOND + 300);
    let reading = estimator.reading(3 * SECOND + 300).unwrap();
    assert_eq!(reading.epoch, 1);
    assert!(reading.holds(SECOND.into()), "{reading:?}");
}

#[test]
fn samples_leave_the_window() {
    let mut estimator = Estimator::new();
    estimator.downstream_leg(0, 0, 0);
    estimator.upstream(1_000, 1_010);
    let error_ns = |estimator: &Estimator, now_ns| estimator.reading(now_ns).unwrap().error_ns;
    for number in 1..64 {
        estimator.upstream(1_000 + number, 2_000 + number);
        assert_eq!(error_ns(&estimator, 2_000 + number), 6);
    }
    estimator.upstream(2_000, 3_000);
    assert!(error_ns(&estimator, 3_000) >= 500, "the 64th after it");
    estimator.upstream(4_000, 4_010);
    assert_eq!(error_ns(&estimator, 4_010), 6);
    let late_ns = 4_010 + WINDOW_NS;
    estimator.upstream(WINDOW_NS - 20 * MILLI, late_ns);
    // By then the other side is looser by 6 ms as well.
    assert!(
        error_ns(&estimator, late_ns) < 7 * MILLI,
        "just 60 s after it"
    );
    estimator.upstream(WINDOW_NS - 20 * MILLI, late_ns + 1);
    assert!(
        error_ns(&estimator, late_ns + 1) > 10 * MILLI,
        "more than 60 s after it"
    );
}

#[test]
fn a_down_leg_keeps_the_smallest_since_the_last_report() {
    let mut leg = DownLeg::new();
    assert_eq!(leg.take(), None);
    leg.received(100, 90);
    leg.received(200, 150);
    leg.received(300, 350);
    assert_eq!(leg.take(), Some(-50));
    assert_eq!(leg.take(), None);
    leg.received(u64::MAX, 0);
    assert_eq!(leg.take(), Some(i64::MIN));
    leg.received(0, u64::MAX);
    assert_eq!(leg.take(), Some(i64::MAX));
}

#[test]
fn a_clients_own_bound_holds_the_truth_too() {
    let mut readings = 0;
    for link in links() {
        for moment in link.run_at_client() {
            readings += 1;
            assert!(moment.reading.holds(moment.truth_ns), "{link:?} {moment:?}");
            // No proof could be better, but for what is lost between two clocks' seconds.
            let error_ns = moment.reading.error_ns;
            assert!(error_ns + MICRO >= moment.best_ns, "{moment:?}");
        }
    }
    assert!(readings > 10_000, "{readings}");
}

#[test]
fn an_answer_makes_a_clients_bound_as_tight_as_its_round_trip() {
    let mut clock = BrokerClock::new();
    let ahead_ns = 1_000 * SECOND;
    clock.received(ahead_ns + 5 * SECOND, 5 * SECOND + 10 * MICRO);
    assert_eq!(clock.reading(6 * SECOND), None, "nothing went up");
    clock.answered(
        6 * SECOND,
        ahead_ns + 6 * SECOND + 20 * MICRO,
        6 * SECOND + MILLI,
    );
    clock.received(ahead_ns + 6 * SECOND, 6 * SECOND + 10 * MICRO);
    let reading = clock.reading(6 * SECOND + MILLI).unwrap();
    assert!(
        reading.holds(ahead_ns.into()) && reading.error_ns < 16 * MICRO,
        "{reading:?}"
    );
    // The broker's clock was set: what went before says nothing of it.
    clock.received(2 * ahead_ns, 7 * SECOND);
    assert_eq!(clock.reading(7 * SECOND), None);
    clock.answered(6 * SECOND, ahead_ns + 6 * SECOND, 8 * SECOND);
    assert_eq!(clock.reading(8 * SECOND), None, "sent before");
    clock.answered(8 * SECOND, 2 * ahead_ns + SECOND, 9 * SECOND);
    let reading = clock.reading(9 * SECOND).unwrap();
    assert_eq!(reading.epoch, 1);
    assert!(
        reading.holds((2 * ahead_ns - 7 * SECOND).into()),
        "{reading:?}"
    );
}

/// Stamps that somebody may send us.
fn stamps() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        Just(u64::MAX),
        any::<u64>(),
        0..100_u64,
        0..10 * SECOND
    ]
}

fn legs() -> impl Strategy<Value = i64> {
    prop_oneof![
        Just(0),
        Just(i64::MIN),
        Just(i64::MAX),
        any::<i64>(),
        -100..100_i64
    ]
}

proptest! {
    #[test]
    fn hostile_stamps_do_no_harm(
        messages in vec((stamps(), legs(), stamps(), stamps(), any::<bool>()), 0..300),
    ) {
        let mut estimator = Estimator::new();
        let mut epoch = 0;
        for (stamp, leg_ns, now_ns, since_ns, reports) in messages {
            estimator.upstream(stamp, now_ns);
            if reports {
                estimator.downstream_leg(leg_ns, now_ns, since_ns);
            }
            for at_ns in [0, now_ns, stamp, u64::MAX] {
                let reading = estimator.reading(at_ns);
                prop_assert!(reading.is_none_or(|reading| reading.epoch >= epoch));
            }
            epoch = estimator.epoch;
            prop_assert!(estimator.upper.len() <= 64 && estimator.lower.len() <= 64);
        }
    }

    #[test]
    fn a_side_is_the_smallest_of_its_window(
        samples in vec((-1_000_000..1_000_000_i64, 0..1_500 * MILLI), 1..200),
    ) {
        let mut side = Side::default();
        let mut all: Vec<(i128, u64)> = Vec::new();
        let mut now_ns = 0;
        for (bound_ns, waited_ns) in samples {
            now_ns += waited_ns;
            side.push(bound_ns.into(), now_ns.into(), now_ns);
            all.push((bound_ns.into(), now_ns));
            let naive = all
                .iter()
                .rev()
                .take(64)
                .take_while(|(_, at_ns)| now_ns - at_ns <= WINDOW_NS)
                .map(|(bound_ns, at_ns)| bound_ns + i128::from((now_ns - at_ns).div_ceil(10_000)))
                .min();
            prop_assert_eq!(side.tightest_ns(now_ns.into()), naive);
        }
    }
}
