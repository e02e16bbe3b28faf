//! Where the time went, stage by stage: the table below both programs' summaries.
//!
//! Pure: what the broker said goes in, text or JSON comes out.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::latency::Shown;
use crate::stage_latency::StageLatency;

/// Fewer items make no summary worth a table.
pub const WORTH_A_TABLE: u64 = 10;

/// Of fewer values the 99th percentile is the longest, and would seem to say more.
const WORTH_A_P99: u64 = 100;

const HEADINGS: [&str; 7] = ["stage", "n", "p50", "p90", "p99", "max", "±"];

/// All of it. `Display` is for people and ends without a line end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageTable {
    /// Whose items.
    pub queue: String,
    /// How far back it reaches.
    pub window: Duration,
    /// In the order of an item's life.
    pub rows: Vec<StageLatency>,
    /// What the broker makes of it; empty: nothing.
    pub verdict: String,
}

impl StageTable {
    /// Whether there is nothing to show.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.iter().all(|row| row.count == 0)
    }

    /// Those of them that are shown, as the summary's array.
    #[must_use]
    pub fn objects(&self) -> Vec<StageObject> {
        let rows = self.rows.iter().filter(|row| row.count > 0);
        rows.map(StageObject::from).collect()
    }

    fn cells(&self) -> Vec<[String; 7]> {
        let rows = self.rows.iter().filter(|row| row.count > 0);
        let mut cells = vec![HEADINGS.map(str::to_owned)];
        cells.extend(rows.map(cells_of));
        cells
    }
}

fn cells_of(row: &StageLatency) -> [String; 7] {
    let p99 = match row.count {
        WORTH_A_P99.. => Shown(row.p99).to_string(),
        _ => "–".to_owned(),
    };
    let error = row.error.filter(|error| !error.is_zero());
    [
        row.stage.to_string(),
        row.count.to_string(),
        Shown(row.p50).to_string(),
        Shown(row.p90).to_string(),
        p99,
        Shown(row.max).to_string(),
        error.map_or_else(|| "0".to_owned(), |error| Shown(error).to_string()),
    ]
}

impl fmt::Display for StageTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (queue, window) = (&self.queue, Window(self.window));
        write!(
            f,
            "where the time went (queue {queue}, last {window}, all clients)"
        )?;
        let cells = self.cells();
        let width = |column: usize| {
            let widths = cells.iter().map(|row| row[column].chars().count());
            widths.max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..7).map(width).collect();
        for row in &cells {
            write!(f, "\n  {:<1$}", row[0], widths[0])?;
            for (cell, width) in row.iter().zip(&widths).skip(1) {
                write!(f, "  {cell:>width$}")?;
            }
        }
        match self.verdict.as_str() {
            "" => Ok(()),
            verdict => write!(f, "\n{verdict}"),
        }
    }
}

/// As people say it; the broker's windows are whole seconds, minutes or hours.
struct Window(Duration);

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Rounded up: no less than this is covered.
        let seconds = self.0.as_millis().div_ceil(1000);
        match seconds {
            hours @ 3600.. if hours.is_multiple_of(3600) => write!(f, "{} h", hours / 3600),
            minutes @ 120.. if minutes.is_multiple_of(60) => write!(f, "{} min", minutes / 60),
            seconds => write!(f, "{seconds} s"),
        }
    }
}

/// As JSON: times in seconds, null where a percentile says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct StageObject {
    stage: &'static str,
    count: u64,
    p50_seconds: f64,
    p90_seconds: f64,
    p99_seconds: Option<f64>,
    max_seconds: f64,
    error_seconds: f64,
}

impl From<&StageLatency> for StageObject {
    fn from(row: &StageLatency) -> Self {
        let p99 = row.p99.as_secs_f64();
        Self {
            stage: row.stage.name(),
            count: row.count,
            p50_seconds: row.p50.as_secs_f64(),
            p90_seconds: row.p90.as_secs_f64(),
            p99_seconds: (row.count >= WORTH_A_P99).then_some(p99),
            max_seconds: row.max.as_secs_f64(),
            error_seconds: row.error.unwrap_or_default().as_secs_f64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::Stage;

    fn row(stage: Stage, count: u64, longest_us: u64, error_us: Option<u64>) -> StageLatency {
        let part = |of_hundred| Duration::from_micros(longest_us * of_hundred / 100);
        StageLatency {
            stage,
            count,
            p50: part(50),
            p90: part(90),
            p99: part(99),
            p999: part(100),
            max: part(100),
            sum: part(100),
            error: error_us.map(Duration::from_micros),
        }
    }

    fn table() -> StageTable {
        StageTable {
            queue: "demo".to_owned(),
            window: Duration::from_secs(25),
            rows: vec![
                row(Stage::Publish, 1040, 1_300, Some(42)),
                row(Stage::Store, 1040, 80, None),
                row(Stage::Scheduled, 0, 0, None),
                row(Stage::Queue, 99, 12_500_000, Some(0)),
            ],
            verdict: "88 % queue wait: no consumer had credit".to_owned(),
        }
    }

    #[test]
    fn columns_line_up_and_only_what_was_measured_is_shown() {
        let wanted = "\
where the time went (queue demo, last 25 s, all clients)
  stage       n      p50      p90      p99      max      ±
  publish  1040  0.65 ms  1.17 ms  1.29 ms  1.30 ms  42 µs
  store    1040    40 µs    72 µs    79 µs    80 µs      0
  queue      99   6.25 s   11.2 s        –   12.5 s      0
88 % queue wait: no consumer had credit";
        assert_eq!(table().to_string(), wanted);
    }

    #[test]
    fn a_window_is_said_in_its_own_unit() {
        for (seconds, text) in [
            (5, "5 s"),
            (60, "60 s"),
            (120, "2 min"),
            (125, "125 s"),
            (7200, "2 h"),
        ] {
            assert_eq!(Window(Duration::from_secs(seconds)).to_string(), text);
        }
        assert_eq!(Window(Duration::from_millis(1570)).to_string(), "2 s");
    }

    #[test]
    fn without_a_verdict_the_table_is_all() {
        let table = StageTable {
            verdict: String::new(),
            ..table()
        };
        assert!(table.to_string().ends_with("12.5 s      0"));
        assert!(!table.is_empty());
        let rows = vec![row(Stage::Queue, 0, 0, None)];
        assert!(StageTable { rows, ..table }.is_empty());
    }

    #[test]
    fn json_is_in_seconds_and_null_where_a_percentile_says_nothing() {
        let rows = serde_json::to_value(table().objects()).unwrap();
        assert_eq!(rows[0]["stage"], "publish");
        assert_eq!(
            (&rows[0]["max_seconds"], &rows[0]["error_seconds"]),
            (&0.0013.into(), &0.000_042.into())
        );
        assert_eq!(rows[2]["p99_seconds"], serde_json::Value::Null);
    }
}
