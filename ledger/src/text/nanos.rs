//! Durations as people read them.

use std::fmt;

/// Nanoseconds, shown to three digits in the unit that suits them: `0.25 µs`, `1.27 s`, `90 min`. No trailing zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nanos(pub u64);

const SECOND: u64 = 1_000_000_000;

/// Nanoseconds of the unit, nanoseconds from which on the next one suits better, name.
const UNITS: [(u64, u64, &str); 6] = [
    (1_000, 1_000_000, "µs"),
    (1_000_000, SECOND, "ms"),
    (SECOND, 60 * SECOND, "s"),
    (60 * SECOND, 3600 * SECOND, "min"),
    (3600 * SECOND, 48 * 3600 * SECOND, "h"),
    (86_400 * SECOND, u64::MAX, "d"),
];

impl Nanos {
    /// In a unit, times 10 to the number of decimals that come with it.
    fn scaled(self, unit: u64) -> (u128, u32) {
        let decimals = match self.0 / unit {
            0 if unit == UNITS[0].0 => 3,
            0..10 => 2,
            10..100 => 1,
            _ => 0,
        };
        let scaled = u128::from(self.0) * 10_u128.pow(decimals) + u128::from(unit / 2);
        (scaled / u128::from(unit), decimals)
    }
}

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, next, name) in UNITS {
            let (scaled, decimals) = self.scaled(unit);
            let ten = 10_u128.pow(decimals);
            // Compared as it is shown: 999.9 µs is 1 ms.
            if scaled * u128::from(unit) < u128::from(next) * ten || next == u64::MAX {
                let (whole, rest) = (scaled / ten, scaled % ten);
                let rest = format!("{rest:0>width$}", width = decimals as usize);
                let rest = rest.trim_end_matches('0');
                let point = if rest.is_empty() { "" } else { "." };
                return f.pad(&format!("{whole}{point}{rest} {name}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_three_digits_and_the_unit_that_suits_it() {
        for (ns, shown) in [
            (0, "0 µs"),
            (7, "0.007 µs"),
            (250, "0.25 µs"),
            (999, "0.999 µs"),
            (1_000, "1 µs"),
            (1_275, "1.28 µs"),
            (9_996, "10 µs"),
            (100_000, "100 µs"),
            (999_499, "999 µs"),
            (999_500, "1 ms"),
            (1_270_000_000, "1.27 s"),
            (59_940_000_000, "59.9 s"),
            (59_960_000_000, "1 min"),
            (90 * SECOND, "1.5 min"),
            (3600 * SECOND, "1 h"),
            (100 * 60 * SECOND, "1.67 h"),
            (47 * 3600 * SECOND, "47 h"),
            (48 * 3600 * SECOND, "2 d"),
            (1000 * 86_400 * SECOND, "1000 d"),
            (u64::MAX, "213504 d"),
        ] {
            assert_eq!(Nanos(ns).to_string(), shown, "{ns}");
        }
        assert_eq!(
            format!("{:>7}|{:<7}|", Nanos(1_000), Nanos(1_000)),
            "   1 µs|1 µs   |"
        );
    }
}
