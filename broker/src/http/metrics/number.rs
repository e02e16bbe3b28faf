//! Numbers as Go writes them, since that is what scrapers store as a label's text, whichever form they read.

use std::fmt::{self, Display};
use std::sync::LazyLock;

use super::distribution::{LE_BUCKETS, LE_EXPONENTS};

/// A number for a value, as Go's `%v` has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number(pub(super) f64);

impl Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(value) = *self;
        let size = value.abs();
        if value.is_nan() {
            f.write_str("NaN")
        } else if value.is_infinite() {
            f.write_str(if value > 0.0 { "+Inf" } else { "-Inf" })
        } else if size == 0.0 || (1e-4..1e21).contains(&size) {
            write!(f, "{value}")
        } else {
            let text = format!("{value:e}");
            let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let digits = exponent.trim_start_matches('-');
            let sign = if exponent.starts_with('-') { '-' } else { '+' };
            write!(f, "{mantissa}e{sign}{digits:0>2}")
        }
    }
}

/// The bounds of classic buckets, as `le` has them: in OpenMetrics with a point, elsewhere without.
pub(super) struct Bounds {
    pub(super) plain: [String; LE_BUCKETS],
    pub(super) open_metrics: [String; LE_BUCKETS],
}

pub(super) static BOUNDS: LazyLock<Bounds> = LazyLock::new(|| {
    let bound = |place: usize| {
        let exponent = LE_EXPONENTS.start() + i32::try_from(place).unwrap_or(0);
        Number(f64::from(exponent).exp2()).to_string()
    };
    let pointed = |text: String| {
        let has_point = text.contains(['.', 'e']);
        if has_point { text } else { text + ".0" }
    };
    Bounds {
        plain: std::array::from_fn(bound),
        open_metrics: std::array::from_fn(|place| pointed(bound(place))),
    }
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        // From `fmt.Sprint(x)`.
        let table = [
            (0.0, "0"),
            (1.0, "1"),
            (-0.5, "-0.5"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (0.0001, "0.0001"),
            (0.00001234, "1.234e-05"),
            (9.5367431640625e-07, "9.5367431640625e-07"),
            (1.5e-100, "1.5e-100"),
            (f64::INFINITY, "+Inf"),
        ];
        for (value, text) in table {
            assert_eq!(Number(value).to_string(), text);
        }
    }

    #[test]
    fn bounds_are_powers_of_two_and_have_a_point_in_open_metrics() {
        let Bounds {
            plain,
            open_metrics,
        } = &*BOUNDS;
        assert_eq!(
            [&plain[0], &plain[19], &plain[20]],
            ["9.5367431640625e-07", "0.5", "1"]
        );
        assert_eq!(plain[LE_BUCKETS - 1], "4096");
        assert_eq!(
            [&open_metrics[0], &open_metrics[20]],
            ["9.5367431640625e-07", "1.0"]
        );
    }
}
