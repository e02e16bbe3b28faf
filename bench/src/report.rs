//! What is printed: figures of several runs, as a table for people or a line of JSON.

use std::io::Write as _;

use serde_json::{Map, Value, json};

pub(crate) fn line(text: &str) {
    // Whoever closed the pipe does not want to know.
    drop(writeln!(std::io::stdout().lock(), "{text}"));
}

/// What a figure measures. Values are in the unit that the key ends with; people read them divided by `scale`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Metric {
    key: &'static str,
    label: &'static str,
    unit: &'static str,
    scale: f64,
    decimals: usize,
}

impl Metric {
    const fn new(key: &'static str, label: &'static str, unit: &'static str, scale: f64) -> Self {
        Self {
            key,
            label,
            unit,
            scale,
            decimals: 1,
        }
    }

    /// Of bytes, read as MB.
    pub(crate) const fn bytes(key: &'static str, label: &'static str) -> Self {
        Self::new(key, label, "MB", 1e6)
    }

    /// Of items a second, read as thousands.
    pub(crate) const fn rate(key: &'static str, label: &'static str) -> Self {
        Self::new(key, label, "k items/s", 1e3)
    }

    /// Of seconds, read as milliseconds.
    pub(crate) const fn millis(key: &'static str, label: &'static str) -> Self {
        Self::new(key, label, "ms", 1e-3).decimals(2)
    }

    /// Of seconds, read as microseconds of each item.
    pub(crate) const fn micros_of_item(key: &'static str, label: &'static str) -> Self {
        Self::new(key, label, "us/item", 1e-6).decimals(2)
    }

    /// Of anything for each of something.
    pub(crate) const fn ratio(key: &'static str, label: &'static str, unit: &'static str) -> Self {
        Self::new(key, label, unit, 1.0).decimals(2)
    }

    pub(crate) const fn unit(mut self, unit: &'static str) -> Self {
        self.unit = unit;
        self
    }

    pub(crate) const fn decimals(mut self, decimals: usize) -> Self {
        self.decimals = decimals;
        self
    }
}

/// A workload's outcome.
#[derive(Debug)]
pub(crate) struct Report {
    workload: &'static str,
    settings: Value,
    rows: Vec<(Metric, Vec<f64>)>,
    notes: Vec<String>,
}

impl Report {
    pub(crate) fn new(workload: &'static str, settings: &impl serde::Serialize) -> Self {
        Self {
            workload,
            // Numbers and flags: nothing that JSON cannot say.
            settings: serde_json::to_value(settings).unwrap_or_default(),
            rows: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Adds a run's figure; none: it could not be measured.
    pub(crate) fn add(&mut self, metric: Metric, value: impl Into<Option<f64>>) {
        let row = self
            .rows
            .iter()
            .position(|(known, _)| known.key == metric.key);
        let row = row.unwrap_or_else(|| {
            self.rows.push((metric, Vec::new()));
            self.rows.len() - 1
        });
        self.rows[row].1.extend(value.into());
    }

    /// Adds a sentence; once, whatever the number of runs.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    /// `about`: which broker, and what its replies said.
    pub(crate) fn print(&self, about: &About, as_json: bool) {
        if as_json {
            return line(&self.json(about).to_string());
        }
        let spread = if about.runs > 1 {
            format!(", {} runs, median (min-max)", about.runs)
        } else {
            String::new()
        };
        let About {
            engine, durability, ..
        } = about;
        line(&format!(
            "{}, engine {engine}, durability {durability}{spread}",
            self.workload
        ));
        line(&format!("  {}", self.settings_text()));
        let width = self.rows.iter().map(|(metric, _)| metric.label.len()).max();
        for (metric, values) in &self.rows {
            let (label, width) = (metric.label, width.unwrap_or_default());
            line(&format!("  {label:width$}  {}", text(*metric, values)));
        }
        self.notes
            .iter()
            .for_each(|note| line(&format!("  {note}")));
    }

    fn settings_text(&self) -> String {
        let settings = self.settings.as_object().into_iter().flatten();
        let texts = settings.map(|(name, value)| format!("{name} {value}"));
        texts.collect::<Vec<_>>().join(", ")
    }

    fn json(&self, about: &About) -> Value {
        let figures: Map<String, Value> = self
            .rows
            .iter()
            .map(|(metric, values)| (metric.key.to_owned(), figure(values)))
            .collect();
        json!({
            "workload": self.workload,
            "engine": about.engine,
            "durability": about.durability,
            "runs": about.runs,
            "settings": self.settings,
            "figures": figures,
            "notes": self.notes,
        })
    }
}

/// What was measured.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) engine: String,
    pub(crate) durability: String,
    pub(crate) runs: u32,
}

fn text(metric: Metric, values: &[f64]) -> String {
    let Some((min, median, max)) = spread(values) else {
        return "not measured".into();
    };
    let Metric {
        unit,
        scale,
        decimals,
        ..
    } = metric;
    let [min, median, max] = [min, median, max].map(|v| format!("{:.decimals$}", v / scale));
    match values {
        [_] => format!("{median} {unit}"),
        _ => format!("{median} ({min}-{max}) {unit}"),
    }
}

fn figure(values: &[f64]) -> Value {
    spread(values).map_or(
        Value::Null,
        |(min, median, max)| json!({ "median": median, "min": min, "max": max, "values": values }),
    )
}

/// Minimum, median, maximum.
fn spread(values: &[f64]) -> Option<(f64, f64, f64)> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (min, max) = (sorted.first()?, sorted.last()?);
    Some((*min, sorted[sorted.len() / 2], *max))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Metric = Metric::rate("items_per_second", "rate");

    #[test]
    fn several_values_have_a_spread_and_one_has_none() {
        assert_eq!(
            text(RATE, &[3000.0, 1000.0, 2500.0]),
            "2.5 (1.0-3.0) k items/s"
        );
        assert_eq!(text(RATE.decimals(0), &[3000.0]), "3 k items/s");
        assert_eq!(text(RATE, &[]), "not measured");
    }

    #[test]
    fn json_has_base_units_and_null_for_what_was_not_measured() {
        let mut report = Report::new("throughput", &json!({ "items": 5 }));
        report.add(RATE, 2000.0);
        report.add(RATE, 1000.0);
        report.add(Metric::bytes("rss_bytes", "memory"), None);
        let about = About {
            engine: "data".into(),
            durability: "FSYNCED".into(),
            runs: 2,
        };
        let json = report.json(&about);
        assert_eq!(
            json["figures"]["items_per_second"]["values"],
            json!([2000.0, 1000.0])
        );
        assert_eq!(json["figures"]["items_per_second"]["min"], 1000.0);
        assert_eq!(json["figures"]["rss_bytes"], Value::Null);
        assert_eq!(
            (&json["settings"]["items"], &json["durability"]),
            (&json!(5), &json!("FSYNCED"))
        );
    }

    #[test]
    fn a_note_of_every_run_is_printed_once() {
        let mut report = Report::new("x", &json!({}));
        report.note("mind the gap");
        report.note("mind the gap");
        assert_eq!(report.notes, ["mind the gap"]);
    }
}
