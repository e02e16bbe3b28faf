//! What is printed.

use std::io::Write as _;

pub(crate) fn line(text: &str) {
    // Whoever closed the pipe does not want to know.
    drop(writeln!(std::io::stdout().lock(), "{text}"));
}

/// A figure of several runs.
#[derive(Debug, Default)]
pub(crate) struct Figure {
    values: Vec<f64>,
}

impl Figure {
    pub(crate) fn add(&mut self, value: f64) {
        self.values.push(value);
        self.values.sort_by(f64::total_cmp);
    }

    /// "median (min-max)".
    pub(crate) fn text(&self, decimals: usize) -> String {
        let (Some(min), Some(max)) = (self.values.first(), self.values.last()) else {
            return "not measured".into();
        };
        let median = self.values[self.values.len() / 2];
        format!("{median:.decimals$} ({min:.decimals$}-{max:.decimals$})")
    }
}
