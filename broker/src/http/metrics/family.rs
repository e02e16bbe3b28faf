//! Metrics as they are written, whatever the form.

use std::sync::Arc;

use baton_telemetry::windows::Exemplar;

use super::distribution::Distribution;

/// A metric, with all its series.
#[derive(Debug)]
pub(super) struct Family {
    /// As it is stored; a counter's ends in `_total`.
    pub(super) name: &'static str,
    /// What it means, without a full stop.
    pub(super) help: &'static str,
    pub(super) kind: Kind,
    pub(super) samples: Vec<Sample>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// One series.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) labels: Labels,
    pub(super) value: Value,
}

/// Two are the most that a series has here.
pub(super) type Labels = [Option<(&'static str, Text)>; 2];

/// A label's value.
#[derive(Debug, Clone)]
pub(super) enum Text {
    Fixed(&'static str),
    Shared(Arc<str>),
}

impl Text {
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Fixed(text) => text,
            Self::Shared(text) => text,
        }
    }
}

#[derive(Debug)]
pub(super) enum Value {
    Whole(u64),
    Real(f64),
    Times(Distribution, Vec<Exemplar>),
}

impl Family {
    pub(super) const fn counter(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, Kind::Counter)
    }

    pub(super) const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, Kind::Gauge)
    }

    pub(super) const fn histogram(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, Kind::Histogram)
    }

    const fn new(name: &'static str, help: &'static str, kind: Kind) -> Self {
        Self {
            name,
            help,
            kind,
            samples: Vec::new(),
        }
    }

    /// Adds a series.
    pub(super) fn push(&mut self, labels: Labels, value: Value) {
        self.samples.push(Sample { labels, value });
    }

    /// With its only series.
    pub(super) fn of(mut self, value: Value) -> Self {
        self.push([None, None], value);
        self
    }

    /// With a series for each value of a label.
    pub(super) fn by(
        mut self,
        label: &'static str,
        values: impl IntoIterator<Item = (&'static str, Value)>,
    ) -> Self {
        for (text, value) in values {
            self.push([Some((label, Text::Fixed(text))), None], value);
        }
        self
    }

    /// What its values are counted in, if its name says so.
    pub(super) fn unit(&self) -> Option<&'static str> {
        let stem = self.stem();
        ["seconds", "bytes"].into_iter().find(|unit| {
            stem.strip_suffix(unit)
                .is_some_and(|rest| rest.ends_with('_'))
        })
    }

    /// Its name without what says that it is a counter.
    pub(super) fn stem(&self) -> &'static str {
        match self.kind {
            Kind::Counter => self.name.strip_suffix("_total").unwrap_or(self.name),
            Kind::Gauge | Kind::Histogram => self.name,
        }
    }
}

/// Nanoseconds as the seconds that all metrics are in.
pub(super) fn seconds(ns: u64) -> Value {
    Value::Real(ns as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_its_unit_and_whether_it_counts() {
        let unit = |family: Family| (family.stem(), family.unit());
        assert_eq!(
            unit(Family::counter("x_seconds_total", "")),
            ("x_seconds", Some("seconds"))
        );
        assert_eq!(
            unit(Family::gauge("x_bytes", "")),
            ("x_bytes", Some("bytes"))
        );
        assert_eq!(unit(Family::gauge("x_total", "")), ("x_total", None));
        assert_eq!(
            unit(Family::gauge("milliseconds", "")),
            ("milliseconds", None)
        );
    }
}
