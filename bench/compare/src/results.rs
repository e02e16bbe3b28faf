//! What is measured, as JSON lines: one a measurement.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::{Map, Value};

/// Prints a line.
pub(crate) fn line(text: &str) {
    // Whoever closed the pipe does not want to know.
    drop(writeln!(std::io::stdout().lock(), "{text}"));
}

/// Where results go.
#[derive(Debug, Clone, Default)]
pub(crate) struct Output {
    pub(crate) file: Option<PathBuf>,
    /// Fields that every record of the run has.
    pub(crate) common: Map<String, Value>,
}

impl Output {
    pub(crate) fn emit(&self, kind: &str, record: &impl Serialize) -> Result<()> {
        let mut fields = self.common.clone();
        fields.insert("kind".into(), kind.into());
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        fields.insert("when".into(), now.as_secs().into());
        if let Value::Object(own) = serde_json::to_value(record)? {
            fields.extend(own);
        }
        let text = serde_json::to_string(&fields)?;
        line(&text);
        if let Some(path) = &self.file {
            let mut file = OpenOptions::new().create(true).append(true).open(path)?;
            writeln!(file, "{text}")?;
        }
        Ok(())
    }
}

pub(crate) fn load(path: &Path) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(path);
    let text = text.with_context(|| format!("no results in {}", path.display()))?;
    parse(&text)
}

pub(crate) fn parse(text: &str) -> Result<Vec<Value>> {
    let parsed = text.lines().enumerate().map(|(index, line)| {
        serde_json::from_str(line).with_context(|| format!("line {}", index + 1))
    });
    parsed.collect()
}

/// A distribution of latencies in microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) n: u64,
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

/// Of nanoseconds.
pub(crate) type Histogram = hdrhistogram::Histogram<u64>;

/// Three significant digits, up to ten minutes.
pub(crate) fn histogram() -> Histogram {
    Histogram::new_with_bounds(1, 600_000_000_000, 3).expect("the bounds are in order")
}

impl From<&Histogram> for Quantiles {
    fn from(h: &Histogram) -> Self {
        let us = |ns: f64| (ns / 100.0).round() / 10.0;
        let at = |quantile| us(h.value_at_quantile(quantile) as f64);
        Self {
            n: h.len(),
            mean: us(h.mean()),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: us(h.max() as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_line_is_named() {
        assert_eq!(parse("{\"a\":1}\n{\"a\":2}\n").unwrap().len(), 2);
        let error = parse("{}\n{\"a\"").unwrap_err();
        assert_eq!(error.to_string(), "line 2");
    }

    #[test]
    fn quantiles_are_microseconds() {
        let mut latencies = histogram();
        (1..=100).for_each(|n| latencies.record(n * 1000).unwrap());
        let quantiles = Quantiles::from(&latencies);
        assert_eq!(
            (quantiles.n, quantiles.p50, quantiles.max),
            (100, 50.0, 100.0)
        );
    }
}
