#![expect(clippy::cast_possible_truncation, reason = "small numbers, made here")]

use hdrhistogram::Histogram as HdrHistogram;
use proptest::collection::vec;
use proptest::prelude::*;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::*;

/// Half a bucket.
const ERROR: f64 = 0.0219;

const QUANTILES: [f64; 13] = [
    0.01, 0.05, 0.07, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999,
];

fn of(values: &[u64]) -> Histogram {
    let mut histogram = Histogram::new();
    for value in values {
        histogram.record(*value);
    }
    histogram
}

/// Any u64, with every magnitude equally likely.
fn magnitudes() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => (any::<u64>(), 0..64_u32).prop_map(|(value, shift)| value >> shift),
        1 => Just(0),
        1 => Just(u64::MAX),
        1 => (-480..550_i32, 0..3_u64)
            .prop_map(|(index, more)| upper_bound_ns(index).saturating_add(more)),
    ]
}

fn uniform(random: &mut SmallRng) -> f64 {
    random.random_range(1e-12..1.0)
}

/// Named samples of very different shapes.
fn samples() -> Vec<(&'static str, Vec<u64>)> {
    let random = &mut SmallRng::seed_from_u64(7);
    let mut make = |value: fn(&mut SmallRng) -> f64| -> Vec<u64> {
        (0..20_000).map(|_| value(random) as u64).collect()
    };
    vec![
        (
            "heavy-tailed",
            make(|random| 50e3 * uniform(random).powf(-1.1)),
        ),
        ("log-uniform", make(|random| (uniform(random) * 40.0).exp())),
        ("uniform", make(|random| 1e6 + uniform(random) * 1e9)),
        ("constant", vec![1_234_567; 20_000]),
        ("tiny", make(|random| uniform(random) * 40.0)),
        ("huge", make(|random| 1e18 + uniform(random) * 1.7e19)),
        (
            "two humps",
            make(|random| if uniform(random) < 0.8 { 2e5 } else { 3e10 }),
        ),
        ("few", vec![5, 1_000, 1_000_000]),
    ]
}

fn assert_near(found: u64, wanted: u64, error: f64, what: &str) {
    let allowed = wanted as f64 * error + 1.0;
    let off = found.abs_diff(wanted) as f64;
    assert!(off <= allowed, "{what}: {found} instead of {wanted}");
}

#[test]
fn quantiles_are_within_half_a_bucket_of_the_sorted_values() {
    for (name, mut values) in samples() {
        let histogram = of(&values);
        values.sort_unstable();
        for q in QUANTILES {
            let rank = (values.len() as f64 * q - 1e-6).ceil() as usize;
            let wanted = values[rank.max(1) - 1];
            assert_near(
                histogram.quantile_ns(q),
                wanted,
                ERROR,
                &format!("{name} {q}"),
            );
        }
    }
}

#[test]
fn quantiles_agree_with_an_hdr_histogram() {
    for (name, values) in samples() {
        let mut hdr = HdrHistogram::<u64>::new_with_bounds(1, u64::MAX / 2, 3).unwrap();
        for value in &values {
            hdr.saturating_record(*value);
        }
        if name == "huge" {
            continue; // Beyond its range.
        }
        let histogram = of(&values);
        for q in QUANTILES {
            let wanted = hdr.value_at_quantile(q);
            assert_near(
                histogram.quantile_ns(q),
                wanted,
                ERROR + 0.001,
                &format!("{name} {q}"),
            );
        }
    }
}

#[test]
fn the_ends_are_exact_and_nothing_is_beyond_them() {
    for (name, values) in samples() {
        let histogram = of(&values);
        let (min, max) = (*values.iter().min().unwrap(), *values.iter().max().unwrap());
        assert_eq!(
            (histogram.min_ns(), histogram.max_ns()),
            (min, max),
            "{name}"
        );
        assert_eq!(histogram.quantile_ns(0.0), min, "{name}");
        assert_eq!(histogram.quantile_ns(1.0), max, "{name}");
        for q in QUANTILES {
            assert!((min..=max).contains(&histogram.quantile_ns(q)), "{name}");
        }
        assert_eq!(histogram.count(), values.len() as u64);
        assert_eq!(
            histogram.sum_ns(),
            values.iter().map(|value| u128::from(*value)).sum()
        );
    }
}

#[test]
fn ranks_are_rounded_up_but_not_by_the_error_of_a_float() {
    let histogram = of(&(0..100).map(|power| 1 << (power / 2)).collect::<Vec<_>>());
    assert_eq!(
        histogram.quantile_ns(0.08),
        8,
        "rank 8 is 2^3, rank 9 would be 2^4"
    );
    // 0.07 * 100.0 > 7.
    let mut steps = Histogram::new();
    steps.record_n(10, 7);
    steps.record_n(1_000, 93);
    assert_eq!(steps.quantile_ns(0.07), 10);
    assert!(steps.quantile_ns(0.071) > 900);
}

#[test]
fn odd_quantiles_are_taken_as_the_nearest_end() {
    let histogram = of(&[10, 20, 30]);
    assert_eq!(histogram.quantile_ns(-1.0), 10);
    assert_eq!(histogram.quantile_ns(f64::NAN), 10);
    assert_eq!(histogram.quantile_ns(f64::INFINITY), 30);
}

#[test]
fn an_empty_one_owns_nothing_and_says_zero() {
    let mut histogram = Histogram::new();
    histogram.record_n(5, 0);
    histogram.merge(&Histogram::new());
    histogram.add_sealed(&Histogram::new().seal());
    assert!(histogram.is_empty());
    assert_eq!(histogram.bytes(), 0);
    assert_eq!(histogram.seal().bytes(), 0);
    assert_eq!(
        (
            histogram.min_ns(),
            histogram.max_ns(),
            histogram.quantile_ns(0.5)
        ),
        (0, 0, 0)
    );
    assert_eq!(histogram.cumulative_le(-1..=1).last(), Some((1, 0)));
    assert_eq!(histogram, Histogram::default());
}

#[test]
fn zero_has_a_bucket_of_its_own_that_is_below_every_bound() {
    let histogram = of(&[0, 0, 0, 1_000_000_000]);
    assert_eq!(index_of(0), None);
    assert_eq!(histogram.zero_count(), 3);
    assert_eq!(histogram.count(), 4);
    assert_eq!(histogram.buckets().collect::<Vec<_>>(), [(-1, 1)]);
    assert_eq!(
        (histogram.quantile_ns(0.5), histogram.quantile_ns(0.75)),
        (0, 0)
    );
    assert_eq!(histogram.cumulative_le(-40..=-40).next(), Some((-40, 3)));
}

#[test]
fn bounds_of_whole_powers_of_two_are_exact_and_closed_above() {
    let second = 1_000_000_000_u64;
    for exponent in -9..=34_i32 {
        // Down to 2^-9 s a power of two is a whole number of nanoseconds.
        let bound = if exponent < 0 {
            second >> -exponent
        } else {
            second << exponent
        };
        assert_eq!(upper_bound_ns(exponent * 16 - 1), bound);
        assert_eq!(index_of(bound), Some(exponent * 16 - 1));
        assert_eq!(index_of(bound + 1), Some(exponent * 16));
        assert_eq!(le_exponent(bound), Some(exponent));
        assert_eq!(le_exponent(bound + 1), Some(exponent + 1));
    }
}

#[test]
fn sixteen_buckets_merge_into_one_power_of_two() {
    for exponent in -29..=34 {
        let octave = (exponent - 1) * 16..exponent * 16;
        let (low, high) = (
            upper_bound_ns(octave.start - 1),
            upper_bound_ns(octave.end - 1),
        );
        for value in [low + 1, low + (high - low).div_ceil(2), high] {
            let index = index_of(value).unwrap();
            assert!(
                octave.contains(&index),
                "{value} in {index}, not in {octave:?}"
            );
        }
    }
}

#[test]
fn all_of_u64_has_an_index() {
    assert_eq!(index_of(1), Some(-479));
    assert_eq!(index_of(u64::MAX), Some(545));
    assert_eq!(upper_bound_ns(545), u64::MAX);
    assert_eq!(upper_bound_ns(-480), 0);
    assert_eq!(upper_bound_ns(i32::MIN), 0);
    assert_eq!(upper_bound_ns(i32::MAX), u64::MAX);
    assert_eq!(index::position(u64::MAX), index::LAST_POSITION);
}

#[test]
fn values_beside_every_bound_are_in_the_right_bucket() {
    for index in -479..=544 {
        let bound = upper_bound_ns(index);
        assert!(
            index_of(bound).unwrap() <= index,
            "{bound} is not above bucket {index}"
        );
        assert!(
            index_of(bound + 1).unwrap() > index,
            "{} is above bucket {index}",
            bound + 1
        );
    }
}

/// Product of a little-endian number and a small one.
fn times(number: &[u32], factor: u64) -> Vec<u32> {
    let mut carry = 0_u128;
    let mut product: Vec<u32> = Vec::new();
    let mut rest = number.iter();
    loop {
        match rest.next() {
            Some(digit) => carry += u128::from(*digit) * u128::from(factor),
            None if carry == 0 => return product,
            None => {}
        }
        product.push(carry as u32);
        carry >>= 32;
    }
}

fn power_16(number: u64) -> Vec<u32> {
    (0..16).fold(vec![1], |product, _| times(&product, number))
}

fn is_at_most(left: &[u32], right: &[u32]) -> bool {
    left.len()
        .cmp(&right.len())
        .then_with(|| left.iter().rev().cmp(right.iter().rev()))
        .is_le()
}

#[test]
fn mantissas_are_the_sixteenth_roots_of_two_exactly() {
    // (10^9 * 2^(j/16))^16 = 10^144 * 2^j, at 2^63 per unit and brought into the octave: 10^144 * 2^(530 + k).
    for (k, mantissa) in index::MANTISSAS.into_iter().enumerate() {
        let exact = (0..530 + k).fold(power_16(1_000_000_000), |number, _| times(&number, 2));
        assert!(
            is_at_most(&power_16(mantissa), &exact),
            "mantissa {k} is too great"
        );
        assert!(
            !is_at_most(&power_16(mantissa + 1), &exact),
            "mantissa {k} is too small"
        );
    }
}

#[test]
fn cumulative_counts_are_exact() {
    for (name, values) in samples() {
        let histogram = of(&values);
        for (exponent, count) in histogram.cumulative_le(-9..=36) {
            let bound = 1e9 * f64::from(exponent).exp2();
            let wanted = values
                .iter()
                .filter(|value| **value as f64 <= bound)
                .count();
            assert_eq!(count, wanted as u64, "{name} le 2^{exponent}");
        }
        let ends = histogram.cumulative_le(i32::MIN..=i32::MIN).next();
        assert_eq!(ends, Some((i32::MIN, histogram.zero_count())));
        let ends = histogram.cumulative_le(i32::MAX..=i32::MAX).next();
        assert_eq!(ends, Some((i32::MAX, histogram.count())));
    }
}

#[test]
fn clearing_keeps_the_memory_and_nothing_else() {
    let mut histogram = of(&[0, 3, 70_000, 900_000_000]);
    let bytes = histogram.bytes();
    histogram.clear();
    assert_eq!(histogram, Histogram::new());
    assert_eq!(histogram.bytes(), bytes);
    histogram.record(70_001);
    assert_eq!(histogram, of(&[70_001]));
}

#[test]
fn counts_and_sums_saturate() {
    let mut histogram = Histogram::new();
    for _ in 0..3 {
        histogram.record_n(u64::MAX, u64::MAX);
        histogram.record_n(0, u64::MAX);
    }
    let mut twice = histogram.clone();
    twice.merge(&histogram);
    twice.add_sealed(&histogram.seal());
    assert_eq!(twice.count(), u64::MAX);
    assert_eq!(twice.sum_ns(), u128::MAX);
    assert_eq!(histogram.seal().count(), u64::MAX);
    assert_eq!(twice.cumulative_le(40..=40).next(), Some((40, u64::MAX)));
}

#[test]
fn memory_is_bounded_by_the_range() {
    assert_eq!(of(&[1_000_000]).bytes(), 128);
    assert!(of(&[1, u64::MAX]).bytes() <= 65 * 128);
}

#[test]
fn a_coarsened_one_keeps_its_counts_and_le_bounds() {
    for (name, mut values) in samples() {
        let fine = of(&values);
        values.sort_unstable();
        let mut sealed = fine.seal();
        assert_eq!(sealed.scale(), SCALE);
        for (scale, above, below) in [(3, 0.068, 0.022), (2, 0.115, 0.064), (2, 0.115, 0.064)] {
            sealed = sealed.coarsened();
            assert_eq!(
                (sealed.scale(), sealed.count()),
                (scale, fine.count()),
                "{name}"
            );
            let mut coarse = Histogram::new();
            coarse.add_sealed(&sealed);
            assert_eq!(coarse.sum_ns(), fine.sum_ns());
            assert_eq!(
                (coarse.min_ns(), coarse.max_ns()),
                (fine.min_ns(), fine.max_ns())
            );
            assert!(
                coarse
                    .cumulative_le(-30..=36)
                    .eq(fine.cumulative_le(-30..=36)),
                "{name}"
            );
            for q in QUANTILES {
                let rank = (values.len() as f64 * q - 1e-6).ceil() as usize;
                let exact = values[rank.max(1) - 1] as f64;
                let found = coarse.quantile_ns(q) as f64;
                let what = format!("{name} {q}: {found} for {exact} at scale {scale}");
                assert!(found <= exact * (1.0 + above) + 1.0, "{what}");
                assert!(found >= exact * (1.0 - below) - 1.0, "{what}");
            }
        }
    }
}

#[test]
fn coarsening_frees_memory() {
    for (name, values) in samples() {
        let sealed = of(&values).seal();
        assert!(sealed.coarsened().bytes() <= sealed.bytes(), "{name}");
    }
    let wide = of(&(1..60)
        .flat_map(|e| [1 << e, 5 << e, 9 << e])
        .collect::<Vec<_>>())
    .seal();
    assert!(wide.coarsened().coarsened().bytes() < wide.bytes());
    assert!(Histogram::new().seal().coarsened().is_empty());
}

#[test]
fn the_ends_of_the_range_survive_coarsening() {
    let sealed = of(&[1, u64::MAX]).seal().coarsened().coarsened();
    let mut histogram = Histogram::new();
    histogram.add_sealed(&sealed);
    assert_eq!(histogram.quantile_ns(0.5), 1);
    assert_eq!(
        histogram
            .buckets()
            .map(|(index, _)| index)
            .collect::<Vec<_>>(),
        [-478, 545]
    );
}

proptest! {
    #[test]
    fn every_value_lies_within_its_bucket(ns in magnitudes()) {
        if let Some(index) = index_of(ns) {
            prop_assert!(ns <= upper_bound_ns(index));
            prop_assert!(ns > upper_bound_ns(index - 1));
            prop_assert!(ns as f64 <= index::middle_ns(index) as f64 * (1.0 + ERROR) + 1.0);
            prop_assert!(ns as f64 >= index::middle_ns(index) as f64 * (1.0 - ERROR) - 1.0);
        } else {
            prop_assert_eq!(ns, 0);
        }
    }

    #[test]
    fn a_greater_value_never_has_a_smaller_index(a in magnitudes(), b in magnitudes()) {
        prop_assert!(index_of(a.min(b)) <= index_of(a.max(b)));
    }

    #[test]
    fn merging_is_recording_everything_in_one(
        parts in vec(vec((magnitudes(), 0..1000_u64), 0..20), 0..6),
    ) {
        let mut merged = Histogram::new();
        let mut unsealed = Histogram::new();
        let mut one = Histogram::new();
        for part in &parts {
            let mut histogram = Histogram::new();
            for (value, n) in part {
                histogram.record_n(*value, *n);
                one.record_n(*value, *n);
            }
            merged.merge(&histogram);
            unsealed.add_sealed(&histogram.seal());
        }
        prop_assert_eq!(&merged, &one);
        prop_assert_eq!(&unsealed, &one);
        prop_assert_eq!(one.seal().count(), one.count());
        prop_assert_eq!(merged.seal(), one.seal());
    }

    #[test]
    fn buckets_are_ascending_not_empty_and_complete(values in vec(magnitudes(), 0..50)) {
        let histogram = of(&values);
        let buckets: Vec<_> = histogram.buckets().collect();
        prop_assert!(buckets.is_sorted_by(|left, right| left.0 < right.0));
        prop_assert!(buckets.iter().all(|(_, count)| *count > 0));
        let sum: u64 = buckets.iter().map(|(_, count)| count).sum();
        prop_assert_eq!(sum + histogram.zero_count(), values.len() as u64);
        for (index, count) in buckets {
            let wanted = values.iter().filter(|value| index_of(**value) == Some(index)).count();
            prop_assert_eq!(count, wanted as u64);
        }
    }
}
