//! The latency summary that the programs print when they end: every value is recorded, percentiles come out.
//!
//! Owns one HDR histogram: 3 significant digits from 1 µs to 1 day in about 200 KiB. What is shorter or longer counts as
//! the nearest of both, so no value is ever lost. Called by the programs and the benchmarks.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

const SHORTEST_US: u64 = 1;
const LONGEST_US: u64 = 24 * 60 * 60 * 1_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;

/// Latencies of many items, summed up. `Display` is for people, `Serialize` gives seconds.
#[derive(Clone, Debug)]
pub struct LatencySummary {
    histogram: Histogram<u64>,
}

impl LatencySummary {
    /// An empty summary.
    #[must_use]
    pub fn new() -> Self {
        let histogram = Histogram::new_with_bounds(SHORTEST_US, LONGEST_US, SIGNIFICANT_DIGITS)
            .expect("constant bounds that hdrhistogram allows");
        Self { histogram }
    }

    /// Adds one latency.
    pub fn record(&mut self, latency: Duration) {
        let latency_us = u64::try_from(latency.as_micros()).unwrap_or(LONGEST_US);
        self.histogram
            .saturating_record(latency_us.clamp(SHORTEST_US, LONGEST_US));
    }

    /// How many latencies were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The shortest; zero if none was recorded, as for all that follow.
    #[must_use]
    pub fn min(&self) -> Duration {
        Duration::from_micros(self.histogram.min())
    }

    /// Half of all took no longer.
    #[must_use]
    pub fn p50(&self) -> Duration {
        self.quantile(0.5)
    }

    /// Nine in ten took no longer.
    #[must_use]
    pub fn p90(&self) -> Duration {
        self.quantile(0.9)
    }

    /// 99 in 100 took no longer.
    #[must_use]
    pub fn p99(&self) -> Duration {
        self.quantile(0.99)
    }

    /// The longest.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_micros(self.histogram.max())
    }

    fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_micros(self.histogram.value_at_quantile(quantile))
    }

    fn rows(&self) -> [(&'static str, Duration); 5] {
        [
            ("min", self.min()),
            ("p50", self.p50()),
            ("p90", self.p90()),
            ("p99", self.p99()),
            ("max", self.max()),
        ]
    }
}

impl Default for LatencySummary {
    fn default() -> Self {
        Self::new()
    }
}

/// A duration in the unit that suits it, to as many digits as the histogram can tell apart.
pub(crate) struct Shown(pub(crate) Duration);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        if self.0 < Duration::from_micros(100) {
            return write!(f, "{:.0} µs", seconds * 1e6);
        }
        let (number, unit) = if self.0 < Duration::from_secs(1) {
            (seconds * 1e3, "ms")
        } else {
            (seconds, "s")
        };
        let decimals = match number {
            100.0.. => 0,
            10.0.. => 1,
            _ => 2,
        };
        write!(f, "{number:.decimals$} {unit}")
    }
}

impl fmt::Display for LatencySummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.count() == 0 {
            return f.write_str("no latency measured");
        }
        for (index, (name, value)) in self.rows().into_iter().enumerate() {
            let gap = if index == 0 { "" } else { "  " };
            write!(f, "{gap}{name} {}", Shown(value))?;
        }
        Ok(())
    }
}

impl Serialize for LatencySummary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let measured = self.count() > 0;
        let seconds = |value: Duration| measured.then_some(value.as_secs_f64());
        let mut fields = serializer.serialize_struct("LatencySummary", 6)?;
        fields.serialize_field("count", &self.count())?;
        fields.serialize_field("min_seconds", &seconds(self.min()))?;
        fields.serialize_field("p50_seconds", &seconds(self.p50()))?;
        fields.serialize_field("p90_seconds", &seconds(self.p90()))?;
        fields.serialize_field("p99_seconds", &seconds(self.p99()))?;
        fields.serialize_field("max_seconds", &seconds(self.max()))?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(latencies_us: impl IntoIterator<Item = u64>) -> LatencySummary {
        let mut summary = LatencySummary::new();
        for latency_us in latencies_us {
            summary.record(Duration::from_micros(latency_us));
        }
        summary
    }

    #[test]
    fn percentiles_are_right_to_three_digits() {
        let summary = summary((1..=1000).map(|ms| ms * 1000));
        assert_eq!(summary.count(), 1000);
        for (found, wanted_ms) in [
            (summary.min(), 1.0),
            (summary.p50(), 500.0),
            (summary.p99(), 990.0),
        ] {
            let error = (found.as_secs_f64() * 1e3 / wanted_ms - 1.0).abs();
            assert!(error <= 0.001, "{found:?} is not {wanted_ms} ms");
        }
    }

    #[test]
    fn values_beyond_the_bounds_count_as_the_bounds() {
        let mut summary = summary([0]);
        summary.record(Duration::from_secs(60 * 60 * 24 * 365));
        assert_eq!(summary.count(), 2);
        assert_eq!(summary.min(), Duration::from_micros(1));
        let days = summary.max().as_secs_f64() / 86_400.0;
        assert!((days - 1.0).abs() < 0.001, "{days}");
    }

    #[test]
    fn people_read_each_value_in_a_unit_that_suits_it() {
        let cases: [(&[u64], &str); 4] = [
            (
                &[42, 400, 1_200, 25_000, 2_500_000],
                "min 42 µs  p50 1.20 ms  p90 2.50 s  p99 2.50 s  max 2.50 s",
            ),
            (
                &[25_000; 3],
                "min 25.0 ms  p50 25.0 ms  p90 25.0 ms  p99 25.0 ms  max 25.0 ms",
            ),
            (
                &[250_000],
                "min 250 ms  p50 250 ms  p90 250 ms  p99 250 ms  max 250 ms",
            ),
            (&[], "no latency measured"),
        ];
        for (latencies_us, wanted) in cases {
            assert_eq!(summary(latencies_us.iter().copied()).to_string(), wanted);
        }
    }

    #[test]
    fn json_is_in_seconds_and_null_where_nothing_was_measured() {
        let json = serde_json::to_value(summary([1000])).unwrap();
        assert_eq!(
            (&json["count"], &json["p99_seconds"]),
            (&1.into(), &0.001.into())
        );
        let empty = serde_json::to_value(summary([])).unwrap();
        assert_eq!(
            (&empty["count"], &empty["max_seconds"]),
            (&0.into(), &serde_json::Value::Null)
        );
    }
}
