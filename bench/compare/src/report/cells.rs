//! Records into cells: those of one peer on one workload, and what is said of them.

use std::collections::BTreeMap;

use serde_json::Value;

pub(super) fn text<'a>(record: &'a Value, key: &str) -> &'a str {
    record[key].as_str().unwrap_or_default()
}

/// By its path, as in `confirm_us.p99`; NaN where there is none.
pub(super) fn number(record: &Value, path: &str) -> f64 {
    let found = path.split('.').fold(record, |value, key| &value[key]);
    found.as_f64().unwrap_or(f64::NAN)
}

/// Minimum, median and maximum of those that are numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    pub(super) low: f64,
    pub(super) median: f64,
    pub(super) high: f64,
    count: usize,
}

impl Spread {
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.filter(|v| v.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = match values[..] {
            [] => return None,
            _ if values.len() % 2 == 1 => values[middle],
            _ => f64::midpoint(values[middle - 1], values[middle]),
        };
        Some(Self {
            low: values[0],
            median,
            high: values[values.len() - 1],
            count: values.len(),
        })
    }

    fn text(self) -> String {
        let Self { low, high, .. } = self;
        match self.count {
            1 => short(self.median),
            _ => format!("{} ({}-{})", short(self.median), short(low), short(high)),
        }
    }
}

/// Three significant digits, with k and M.
pub(super) fn short(x: f64) -> String {
    let (x, unit) = match x.abs() {
        a if !a.is_finite() => return "-".into(),
        a if a >= 999_500.0 => (x / 1e6, "M"),
        a if a >= 9_995.0 => (x / 1e3, "k"),
        _ => (x, ""),
    };
    let decimals = match x.abs() {
        a if !(0.000_005..99.95).contains(&a) => 0,
        a if a >= 9.995 => 1,
        a if a < 0.00995 => 5,
        _ => 2,
    };
    format!("{x:.decimals$}{unit}")
}

/// The records of one cell.
#[derive(Debug, Clone, Default)]
pub(super) struct Cell<'a>(pub(super) Vec<&'a Value>);

impl<'a> Cell<'a> {
    pub(super) fn spread(&self, path: &str) -> Option<Spread> {
        Spread::of(self.0.iter().map(|r| number(r, path)))
    }

    /// Median with min-max.
    pub(super) fn all(&self, path: &str) -> String {
        self.spread(path).map_or_else(|| "-".into(), Spread::text)
    }

    pub(super) fn median(&self, path: &str) -> f64 {
        self.spread(path).map_or(f64::NAN, |s| s.median)
    }

    pub(super) fn middle(&self, path: &str) -> String {
        short(self.median(path))
    }

    /// In MB.
    pub(super) fn megabytes(&self, path: &str) -> String {
        short(self.median(path) / 1e6)
    }

    pub(super) fn per_item(&self, path: &str) -> String {
        let values = self.0.iter().map(|r| number(r, path) / number(r, "items"));
        short(Spread::of(values).map_or(f64::NAN, |s| s.median))
    }

    pub(super) fn only(&self, keep: impl Fn(&Value) -> bool) -> Self {
        Self(self.0.iter().copied().filter(|r| keep(r)).collect())
    }

    pub(super) fn any(&self, is: impl Fn(&Value) -> bool) -> bool {
        self.0.iter().any(|r| is(r))
    }

    /// The peer's name, with what is to be said against the figures.
    pub(super) fn name(&self) -> String {
        let peer = self.0.first().map_or("", |r| text(r, "peer"));
        let wrong = self.any(|r| r["verified"] == false);
        match (wrong, self.any(super::is_noisy)) {
            (true, _) => format!("{peer} **(FAULT)**"),
            (false, true) => format!("{peer} (noisy)"),
            (false, false) => peer.into(),
        }
    }

    /// What its confirms come after.
    pub(super) fn syncs(&self) -> &'static str {
        match self.any(|r| r["syncs"] == true) {
            true => "sync",
            false => "no sync",
        }
    }

    pub(super) fn peer(&self) -> &'a str {
        self.0.first().map_or("", |r| text(r, "peer"))
    }
}

/// Cells by what identifies them. Numbers in a key are padded, so that they sort.
pub(super) fn cells<'a>(
    all: &'a [Value],
    kind: &str,
    key: impl Fn(&Value) -> Vec<String>,
) -> BTreeMap<Vec<String>, Cell<'a>> {
    let mut cells = BTreeMap::<_, Cell<'a>>::new();
    for record in all.iter().filter(|r| text(r, "kind") == kind) {
        cells.entry(key(record)).or_default().0.push(record);
    }
    cells
}

pub(super) fn padded(record: &Value, key: &str) -> String {
    format!("{:>12.0}", number(record, key))
}

/// The cell of one peer's end-to-end throughput.
pub(super) fn e2e<'a>(all: &'a [Value], peer: &str, payload: f64, window: f64) -> Cell<'a> {
    let of = |r: &&Value| {
        text(r, "kind") == "throughput" && text(r, "phase") == "e2e" && text(r, "peer") == peer
    };
    let at = |r: &&Value| number(r, "payload") == payload && number(r, "window") == window;
    Cell(all.iter().filter(of).filter(at).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_short() {
        let texts = [
            0.000_001,
            0.0123,
            0.002,
            2.71,
            54_321.0,
            1_234_567.0,
            f64::NAN,
        ]
        .map(short);
        assert_eq!(
            texts,
            ["0", "0.01", "0.00200", "2.71", "54.3k", "1.23M", "-"]
        );
    }

    #[test]
    fn a_cell_tells_median_and_extremes() {
        let records = [3.0, 1.0, 2.0].map(|n| json!({"a": {"b": n}, "items": 2}));
        let cell = Cell(records.iter().collect());
        assert_eq!(cell.all("a.b"), "2.00 (1.00-3.00)");
        assert_eq!(
            (cell.middle("a.b"), cell.per_item("a.b")),
            ("2.00".into(), "1.00".into())
        );
        assert_eq!(
            (cell.all("c"), cell.median("c").is_nan()),
            ("-".into(), true)
        );
        assert_eq!(Spread::of([1.0, 2.0].into_iter()).unwrap().median, 1.5);
    }
}
