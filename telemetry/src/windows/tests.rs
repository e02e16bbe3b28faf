#![expect(clippy::cast_possible_truncation, reason = "small numbers, made here")]

use proptest::collection::vec;
use proptest::prelude::*;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::*;

/// Some time in 2026, in the middle of a slot, a minute and an hour.
const START_NS: u64 = 1_790_000_123_456_789_012;

const WINDOWS_S: [u64; 14] = [
    0, 1, 5, 17, 30, 59, 60, 61, 600, 3_599, 3_600, 3_601, 40_000, 86_400,
];

/// All that was recorded: when, what, how often.
#[derive(Debug, Default)]
struct Model(Vec<(u64, u64, u64)>);

impl Model {
    fn since(&self, from_ns: u64) -> Histogram {
        let mut histogram = Histogram::new();
        for (_, ns, n) in self.0.iter().filter(|(at, ..)| *at >= from_ns) {
            histogram.record_n(*ns, *n);
        }
        histogram
    }
}

#[derive(Clone, Debug)]
enum Step {
    Record { ns: u64, n: u64 },
    Wait { ns: u64 },
    Expire,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let wait = prop_oneof![
        4 => 0..6 * SECOND_NS,
        2 => 0..2 * MINUTE_NS,
        2 => 0..2 * HOUR_NS,
        1 => 0..2 * DAY_NS,
        // To the very edges of slots.
        2 => (1..25_u64).prop_map(|slots| slots * SLOT_NS),
    ];
    let step = prop_oneof![
        6 => (0..60_u32, 0..9_u64, 0..5_u64)
            .prop_map(|(shift, ns, n)| Step::Record { ns: ns << shift, n }),
        4 => wait.prop_map(|ns| Step::Wait { ns }),
        1 => Just(Step::Expire),
    ];
    vec(step, 0..120)
}

fn length_ns(window_s: u64) -> u64 {
    match window_s {
        ..=60 => SLOT_NS,
        61..=3_600 => MINUTE_NS,
        _ => HOUR_NS,
    }
}

fn of_windows(values: &[(u64, u64, u64)]) -> Windows {
    let mut windows = Windows::default();
    for (at, ns, n) in values {
        windows.record_n(*at, *ns, *n);
    }
    windows
}

/// Two days of a value every 700 ms or so, over four decades.
fn two_days() -> Windows {
    let mut random = SmallRng::seed_from_u64(3);
    let mut windows = Windows::default();
    let mut now_ns = START_NS;
    while now_ns < START_NS + 2 * DAY_NS {
        now_ns += random.random_range(0..1_400_000_000);
        windows.record_n(now_ns, 10_000_u64 << random.random_range(0..14_u32), 1);
        windows.record_n(now_ns, random.random_range(1..9_000_000), 2);
    }
    windows
}

proptest! {
    #[test]
    fn a_window_holds_exactly_what_it_covers(
        steps in steps(),
        start_ns in prop_oneof![Just(START_NS), Just(0), Just(HOUR_NS)],
    ) {
        let mut windows = Windows::default();
        let mut model = Model::default();
        let mut now_ns = start_ns;
        for step in &steps {
            match *step {
                Step::Record { ns, n } => {
                    windows.record_n(now_ns, ns, n);
                    model.0.push((now_ns, ns, n));
                }
                Step::Wait { ns } => now_ns += ns,
                Step::Expire => windows.expire(now_ns),
            }
            prop_assert_eq!(windows.total(), model.since(0));
            for window_s in WINDOWS_S {
                let (merged, covered) = windows.merged(now_ns, Duration::from_secs(window_s));
                let covered_ns = covered.as_nanos() as u64;
                prop_assert_eq!(merged, model.since(now_ns - covered_ns), "{} s", window_s);
                let window_ns = window_s * SECOND_NS;
                prop_assert!(covered_ns >= window_ns.min(now_ns));
                prop_assert!(covered_ns < window_ns + length_ns(window_s));
            }
        }
    }

    #[test]
    fn a_clock_that_goes_back_loses_nothing(
        times in vec(prop_oneof![0..20 * SECOND_NS, 0..HOUR_NS, Just(0), Just(u64::MAX)], 1..60),
    ) {
        let mut windows = Windows::default();
        for time in &times {
            windows.record_n(*time, 7, 1);
            let (merged, _) = windows.merged(*time, Duration::MAX);
            prop_assert!(merged.count() >= 1);
            prop_assert!(merged.count() <= windows.total().count());
            if *time % 3 == 0 {
                windows.expire(*time);
            }
        }
        prop_assert_eq!(windows.total().count(), times.len() as u64);
    }
}

#[test]
fn nothing_is_allocated_before_the_first_value() {
    let mut windows = Windows::default();
    windows.expire(START_NS);
    let (merged, covered) = windows.merged(START_NS, Duration::from_secs(60));
    assert!(merged.is_empty());
    assert!(covered >= Duration::from_secs(60));
    assert_eq!(windows.bytes(), 0);
    assert_eq!(windows.coarsen(), 0);
    assert!(windows.total().is_empty());
}

#[test]
fn more_than_a_day_is_a_day() {
    let windows = of_windows(&[
        (START_NS, 5, 1),
        (START_NS + 20 * HOUR_NS, 5, 1),
        (START_NS + 40 * HOUR_NS, 5, 1),
    ]);
    let day = windows.merged(START_NS + 40 * HOUR_NS, Duration::from_secs(86_400));
    assert_eq!(day.0.count(), 2);
    assert_eq!(windows.merged(START_NS + 40 * HOUR_NS, Duration::MAX), day);
}

#[test]
fn a_value_just_within_the_window_is_counted() {
    for window_ns in [MINUTE_NS, HOUR_NS, DAY_NS] {
        let windows = of_windows(&[(START_NS, 5, 1), (START_NS + window_ns, 5, 1)]);
        let (merged, _) = windows.merged(START_NS + window_ns, Duration::from_nanos(window_ns));
        assert_eq!(merged.count(), 2);
    }
}

#[test]
fn a_value_just_out_of_the_window_is_not() {
    for window_ns in [MINUTE_NS, HOUR_NS, DAY_NS] {
        let edge_ns = floor(START_NS, HOUR_NS);
        let windows = of_windows(&[(edge_ns - 1, 5, 1), (edge_ns, 5, 1)]);
        let (merged, _) = windows.merged(edge_ns + window_ns, Duration::from_nanos(window_ns));
        assert_eq!(merged.count(), 1);
    }
}

#[test]
fn an_idle_queue_keeps_its_total_only() {
    let mut windows = two_days();
    let total = windows.total();
    windows.exemplar(Exemplar {
        trace_id: [1; 16],
        item: 1,
        value_ns: 5,
        at_ns: START_NS,
    });
    while windows.coarsen() > 0 {}
    let end_ns = START_NS + 2 * DAY_NS;
    assert!(windows.bytes() > 10_000);
    windows.expire(end_ns + 26 * HOUR_NS);
    assert_eq!(windows.total(), total);
    assert_eq!(windows.bytes(), total.bytes());
    assert_eq!(windows.exemplars().count(), 0);
    windows.record_n(end_ns + 26 * HOUR_NS + 1, 8, 1);
    assert_eq!(windows.total().count(), total.count() + 1);
}

#[test]
fn memory_is_bounded() {
    let mut windows = two_days();
    let after_two_days = windows.bytes();
    assert!(after_two_days < 60_000, "{after_two_days} bytes");
    let end_ns = START_NS + 3 * DAY_NS;
    let mut random = SmallRng::seed_from_u64(4);
    for second in 0..100_000 {
        let ns = random.random::<u64>() >> random.random_range(0..64_u32);
        windows.record_n(end_ns + second * SECOND_NS, ns, 1);
    }
    assert!(windows.bytes() < 250_000, "{} bytes", windows.bytes());
}

#[test]
fn sealed_slots_are_dropped_from_the_memory_too() {
    let mut windows = Windows::default();
    let mut now_ns = START_NS;
    let mut greatest = 0;
    for slot in 0..40_000 {
        windows.record_n(now_ns, 1_000_000, 1);
        now_ns += SLOT_NS;
        if slot == 20_000 {
            greatest = windows.bytes();
        }
    }
    assert!(
        windows.bytes() <= greatest + 64,
        "{} after {greatest}",
        windows.bytes()
    );
}

#[test]
fn coarsening_frees_memory_step_by_step_and_keeps_the_counts() {
    let mut windows = two_days();
    let now_ns = START_NS + 2 * DAY_NS;
    let before: Vec<_> = WINDOWS_S
        .map(|window_s| windows.merged(now_ns, Duration::from_secs(window_s)).0)
        .into();
    let mut steps = 0;
    loop {
        let bytes = windows.bytes();
        let freed = windows.coarsen();
        assert_eq!(windows.bytes(), bytes - freed);
        if freed == 0 {
            break;
        }
        steps += 1;
    }
    assert_eq!(steps, 6, "hours, minutes and slots, twice");
    for (window_s, fine) in WINDOWS_S.into_iter().zip(before) {
        let (coarse, _) = windows.merged(now_ns, Duration::from_secs(window_s));
        assert_eq!(
            (coarse.count(), coarse.sum_ns()),
            (fine.count(), fine.sum_ns())
        );
        assert_eq!(
            (coarse.min_ns(), coarse.max_ns()),
            (fine.min_ns(), fine.max_ns())
        );
        assert!(
            coarse
                .cumulative_le(-30..=10)
                .eq(fine.cumulative_le(-30..=10))
        );
        let (coarse, fine) = (coarse.quantile_ns(0.9) as f64, fine.quantile_ns(0.9) as f64);
        assert!((coarse / fine - 1.0).abs() < 0.15, "{coarse} for {fine}");
    }
}

#[test]
fn hours_are_coarsened_before_minutes_before_slots() {
    let mut windows = two_days();
    let now_ns = START_NS + 2 * DAY_NS;
    let seen = |windows: &Windows| {
        [60, 3_600, 86_400].map(|window_s| windows.merged(now_ns, Duration::from_secs(window_s)).0)
    };
    let fine = seen(&windows);
    windows.coarsen();
    let coarse = seen(&windows);
    assert_eq!(coarse[..2], fine[..2]);
    assert_ne!(coarse[2], fine[2]);
    windows.coarsen();
    let coarse = seen(&windows);
    assert_eq!(coarse[0], fine[0]);
    assert_ne!(coarse[1], fine[1]);
}

#[test]
fn a_slot_that_would_not_shrink_keeps_its_resolution() {
    let mut windows = of_windows(&[(START_NS, 10 * SECOND_NS, 1), (START_NS + SLOT_NS, 1, 1)]);
    let (fine, _) = windows.merged(START_NS + SLOT_NS, Duration::from_secs(60));
    assert_eq!(windows.coarsen(), 0);
    assert_eq!(
        windows
            .merged(START_NS + SLOT_NS, Duration::from_secs(60))
            .0,
        fine
    );
}

#[test]
fn a_moment_before_the_live_slot_is_taken_as_its_beginning() {
    let windows = of_windows(&[(START_NS, 5, 1)]);
    let seconds = Duration::from_secs(30);
    let begun = windows.merged(floor(START_NS, SLOT_NS), seconds);
    assert_eq!(begun.0.count(), 1);
    assert_eq!(windows.merged(START_NS - 7 * SECOND_NS, seconds), begun);
    assert_eq!(windows.merged(0, seconds), begun);
}

#[test]
fn the_latest_exemplar_of_each_octave_is_kept() {
    let mut windows = Windows::default();
    let exemplar = |item, value_ns, at_ns| Exemplar {
        trace_id: [9; 16],
        item,
        value_ns,
        at_ns,
    };
    windows.exemplar(exemplar(1, 1_000_000_000, 10));
    windows.exemplar(exemplar(8, 900_000_000, 20));
    windows.exemplar(exemplar(2, 600_000_000, 20));
    windows.exemplar(exemplar(3, 700_000_000, 15));
    windows.exemplar(exemplar(4, 1_000_000_001, 5));
    windows.exemplar(exemplar(5, 0, 5));
    assert_eq!(
        windows
            .exemplars()
            .map(|kept| kept.item)
            .collect::<Vec<_>>(),
        [5, 2, 4]
    );
    for shift in 0..64 {
        windows.exemplar(exemplar(6, 1 << shift, 30));
        windows.exemplar(exemplar(7, u64::MAX >> shift, 30));
    }
    assert!(windows.exemplars().count() <= 66);
    assert!(windows.bytes() <= 128 * size_of::<Exemplar>());
}
