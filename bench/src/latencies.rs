//! Latencies of many items, in a histogram.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::report::{Metric, Report};

/// 10 min; what is longer counts as that.
const LONGEST_NS: u64 = 600_000_000_000;

/// What is told of them, as the kinds of figures in a report.
const QUANTILES: [f64; 4] = [0.5, 0.9, 0.99, 0.999];

#[derive(Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(crate) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST_NS, 3);
        Self(histogram.expect("constant bounds that hdrhistogram allows"))
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        let ns = u64::try_from(latency.as_nanos()).unwrap_or(LONGEST_NS);
        self.0.saturating_record(ns.min(LONGEST_NS));
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        let merged = self.0.add(&other.0);
        merged.expect("both histograms have the same bounds");
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// p50, p90, p99, p99.9 and the maximum, in seconds.
    pub(crate) fn report(&self, report: &mut Report, figures: &[Metric; 5]) {
        let quantiles = QUANTILES.map(|quantile| self.0.value_at_quantile(quantile));
        let values = quantiles.into_iter().chain([self.0.max()]);
        for (figure, ns) in figures.iter().zip(values) {
            report.add(*figure, ns as f64 / 1e9);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_latencies_are_all_counted_and_the_longest_is_kept() {
        let (mut all, mut other) = (Latencies::new(), Latencies::new());
        (0..99).for_each(|_| all.record(Duration::from_micros(100)));
        other.record(Duration::from_secs(7200));
        all.merge(&other);
        assert_eq!(all.count(), 100);
        let near = |ns: u64, expected: u64| ns.abs_diff(expected) * 1000 <= expected;
        assert!(near(all.0.value_at_quantile(0.5), 100_000));
        assert!(near(all.0.max(), LONGEST_NS));
    }
}
