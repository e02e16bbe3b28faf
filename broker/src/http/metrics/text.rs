//! Metrics as text, in two dialects that differ in counters' names, exemplars, units and the end.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/> and OpenMetrics 1.0.

use std::fmt::{self, Write as _};

use baton_telemetry::histogram::le_exponent;
use baton_telemetry::windows::Exemplar;

use super::distribution::{Distribution, LE_BUCKETS, LE_EXPONENTS};
use super::family::{Family, Kind, Labels, Sample, Value};
use super::number::{BOUNDS, Number};

/// Which text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// 0.0.4.
    Plain,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

/// All families that have a series.
pub(super) fn write(families: &[Family], dialect: Dialect) -> String {
    let mut writer = Writer {
        out: String::new(),
        dialect,
    };
    let written = families
        .iter()
        .filter(|family| !family.samples.is_empty())
        .try_for_each(|family| writer.family(family));
    written.expect("a string takes everything");
    if dialect == Dialect::OpenMetrics {
        writer.out.push_str("# EOF\n");
    }
    writer.out
}

struct Writer {
    out: String,
    dialect: Dialect,
}

impl Writer {
    fn family(&mut self, family: &Family) -> fmt::Result {
        let name = match self.dialect {
            Dialect::Plain => family.name,
            Dialect::OpenMetrics => family.stem(),
        };
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        writeln!(self.out, "# HELP {name} {}", Escaped(family.help))?;
        writeln!(self.out, "# TYPE {name} {kind}")?;
        if let Some(unit) = family
            .unit()
            .filter(|_| self.dialect == Dialect::OpenMetrics)
        {
            writeln!(self.out, "# UNIT {name} {unit}")?;
        }
        let mut samples = family.samples.iter();
        samples.try_for_each(|sample| self.sample(family.name, sample))
    }

    fn sample(&mut self, name: &str, Sample { labels, value }: &Sample) -> fmt::Result {
        let labels = inner(labels)?;
        match value {
            Value::Whole(number) => writeln!(self.out, "{name}{} {number}", Braced(&labels)),
            Value::Real(number) => {
                let number = Number(*number);
                writeln!(self.out, "{name}{} {number}", Braced(&labels))
            }
            Value::Times(distribution, exemplars) => {
                self.histogram(name, &labels, distribution, exemplars)
            }
        }
    }

    fn histogram(
        &mut self,
        name: &str,
        labels: &str,
        distribution: &Distribution,
        exemplars: &[Exemplar],
    ) -> fmt::Result {
        let bounds = match self.dialect {
            Dialect::Plain => &BOUNDS.plain,
            Dialect::OpenMetrics => &BOUNDS.open_metrics,
        };
        let examples = match self.dialect {
            Dialect::Plain => [None; LE_BUCKETS + 1],
            Dialect::OpenMetrics => by_bucket(exemplars),
        };
        let comma = if labels.is_empty() { "" } else { "," };
        let count = distribution.count();
        let bounds = bounds.iter().map(String::as_str).chain(["+Inf"]);
        let counts = distribution.cumulative().into_iter().chain([count]);
        for ((bound, within), example) in bounds.zip(counts).zip(examples) {
            write!(
                self.out,
                "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {within}"
            )?;
            if let Some(example) = example {
                self.example(example)?;
            }
            self.out.push('\n');
        }
        let (labels, sum) = (Braced(labels), Number(distribution.sum_seconds()));
        writeln!(self.out, "{name}_sum{labels} {sum}")?;
        writeln!(self.out, "{name}_count{labels} {count}")
    }

    fn example(&mut self, example: &Exemplar) -> fmt::Result {
        let trace_id = u128::from_be_bytes(example.trace_id);
        let value = Number(example.value_ns as f64 / 1e9);
        let ms = example.at_ns / 1_000_000;
        write!(
            self.out,
            " # {{trace_id=\"{trace_id:032x}\",item_id=\"{}\"}} {value} {}.{:03}",
            example.item,
            ms / 1000,
            ms % 1000,
        )
    }
}

/// The latest example of each classic bucket.
pub(super) fn by_bucket(exemplars: &[Exemplar]) -> [Option<&Exemplar>; LE_BUCKETS + 1] {
    let mut buckets = [None::<&Exemplar>; LE_BUCKETS + 1];
    for exemplar in exemplars {
        let exponent = le_exponent(exemplar.value_ns).unwrap_or(i32::MIN);
        let exponent = exponent.clamp(*LE_EXPONENTS.start(), LE_EXPONENTS.end() + 1);
        let place = usize::try_from(exponent - LE_EXPONENTS.start()).unwrap_or(0);
        let bucket = &mut buckets[place];
        if bucket.is_none_or(|known| known.at_ns <= exemplar.at_ns) {
            *bucket = Some(exemplar);
        }
    }
    buckets
}

/// What stands between the braces.
fn inner(labels: &Labels) -> Result<String, fmt::Error> {
    let mut text = String::new();
    for (name, value) in labels.iter().flatten() {
        if !text.is_empty() {
            text.push(',');
        }
        write!(text, "{name}=\"{}\"", Escaped(value.as_str()))?;
    }
    Ok(text)
}

struct Braced<'a>(&'a str);

impl fmt::Display for Braced<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => Ok(()),
            labels => write!(f, "{{{labels}}}"),
        }
    }
}

/// Quotes too, which help texts need in OpenMetrics only and have none of.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            match char {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::family::{Text, seconds};
    use super::*;
    use baton_telemetry::histogram::Histogram;

    fn families() -> [Family; 3] {
        let mut items = Family::gauge("x_items", "Items, by \"state\"");
        let queue = Text::Shared("a\\b\"c\n".into());
        items.push(
            [
                Some(("queue", queue)),
                Some(("state", Text::Fixed("ready"))),
            ],
            Value::Whole(u64::MAX),
        );
        [
            items,
            Family::counter("x_waits_seconds_total", "Waits").of(seconds(1_500_000_000)),
            Family::gauge("x_nothing", "Has no series"),
        ]
    }

    #[test]
    fn plain_text_has_names_as_they_are_stored() {
        let expected = "# HELP x_items Items, by \\\"state\\\"\n# TYPE x_items gauge\n\
            x_items{queue=\"a\\\\b\\\"c\\n\",state=\"ready\"} 18446744073709551615\n\
            # HELP x_waits_seconds_total Waits\n# TYPE x_waits_seconds_total counter\n\
            x_waits_seconds_total 1.5\n";
        assert_eq!(write(&families(), Dialect::Plain), expected);
    }

    #[test]
    fn open_metrics_names_counters_without_total_and_has_units_and_an_end() {
        let text = write(&families(), Dialect::OpenMetrics);
        let counter = "# HELP x_waits_seconds Waits\n# TYPE x_waits_seconds counter\n\
            # UNIT x_waits_seconds seconds\nx_waits_seconds_total 1.5\n# EOF\n";
        assert!(text.ends_with(counter), "{text}");
    }

    fn exemplar(value_ns: u64, at_ns: u64) -> Exemplar {
        Exemplar {
            trace_id: [0xab; 16],
            item: 7,
            value_ns,
            at_ns,
        }
    }

    #[test]
    fn a_histogram_has_cumulative_buckets_and_open_metrics_an_example_in_its_own() {
        let mut histogram = Histogram::new();
        [1, 500_000_000, 500_000_001, u64::MAX]
            .iter()
            .for_each(|ns| histogram.record(*ns));
        let times = || {
            let exemplars = vec![exemplar(500_000_001, 1_700_000_000_123_456_789)];
            Value::Times(Distribution::of(&histogram), exemplars)
        };
        let family = [Family::histogram("x_seconds", "X").of(times())];
        let plain = write(&family, Dialect::Plain);
        assert!(plain.contains("x_seconds_bucket{le=\"0.25\"} 1\nx_seconds_bucket{le=\"0.5\"} 2\nx_seconds_bucket{le=\"1\"} 3\n"));
        assert!(plain.contains(
            "x_seconds_bucket{le=\"4096\"} 3\nx_seconds_bucket{le=\"+Inf\"} 4\nx_seconds_sum "
        ));
        assert!(plain.ends_with("x_seconds_count 4\n"));
        let open = write(&family, Dialect::OpenMetrics);
        let id = "ab".repeat(16);
        let example = format!(
            "x_seconds_bucket{{le=\"1.0\"}} 3 # {{trace_id=\"{id}\",item_id=\"7\"}} 0.500000001 1700000000.123\n"
        );
        assert!(open.contains(&example), "{open}");
        assert_eq!(open.matches('#').count(), 5);
    }

    #[test]
    fn the_latest_example_of_a_bucket_is_shown() {
        let exemplars = [
            exemplar(0, 1),
            exemplar(1, 3),
            exemplar(600, 2),
            exemplar(1_000_000_000, 4),
            exemplar(u64::MAX, 5),
            exemplar(5_000_000_000_000, 9),
        ];
        let buckets = by_bucket(&exemplars);
        let found: Vec<_> = buckets
            .iter()
            .enumerate()
            .filter_map(|(place, found)| Some((place, found.as_ref()?.at_ns)))
            .collect();
        assert_eq!(found, [(0, 3), (20, 4), (LE_BUCKETS, 9)]);
    }
}
