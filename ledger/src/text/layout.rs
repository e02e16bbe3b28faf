//! The waterfall's columns and bars.

use std::fmt::Write as _;

use super::{Nanos, WIDTH, about, is_from_before_a_restart};
use crate::account::{Account, Part};

/// A line of the waterfall.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Line {
    /// A stage, and its attempt where that begins.
    Stage(Option<u32>, Part),
    /// Something about the attempt, and its number where it has no stage.
    Note(Option<u32>, String),
    /// Something about attempts that are not there.
    Gap(String),
}

/// Where notes begin: below the stages' names, and further in.
pub(super) const INDENT: usize = ATTEMPT.len() + 2 * GAP.len();

const ATTEMPT: &str = "attempt";
/// The longest name of a stage.
const STAGE_CHARS: usize = "scheduled".len();
const GAP: &str = "  ";

/// Of the columns that hold times: start, length, error.
struct Columns {
    widths: [usize; 3],
    bar: usize,
    begin: u64,
    total: u64,
    approximate: bool,
}

/// Appends all lines, below a header.
pub(super) fn write(lines: &[Line], account: &Account, now: u64, text: &mut String) {
    let columns = Columns::of(lines, account, now);
    push_line(text, &columns.header());
    for line in lines {
        push_line(text, &columns.line(line));
    }
}

fn push_line(text: &mut String, line: &str) {
    text.push_str(line.trim_end());
    text.push('\n');
}

impl Columns {
    fn of(lines: &[Line], account: &Account, now: u64) -> Self {
        let mut columns = Self {
            widths: [5, 4, 0],
            bar: 0,
            begin: account.begin(),
            total: account.total(now).0,
            approximate: is_from_before_a_restart(account),
        };
        for line in lines {
            let Line::Stage(_, part) = line else { continue };
            let cells = columns.cells(part);
            for (width, cell) in columns.widths.iter_mut().zip(cells) {
                *width = cell.chars().count().max(*width);
            }
        }
        columns.bar = WIDTH - columns.row("", "", &Default::default()).chars().count();
        columns
    }

    fn cells(&self, part: &Part) -> [String; 3] {
        let start = part.start.saturating_sub(self.begin);
        let error = match part.error_ns {
            0 => String::new(),
            ns => Nanos(ns).to_string(),
        };
        [
            format!("{}{}", about(self.approximate && start > 0), Nanos(start)),
            format!("{}{}", about(part.approximate), Nanos(part.ns())),
            error,
        ]
    }

    /// All but the bar.
    fn row(&self, attempt: &str, stage: &str, [start, time, error]: &[String; 3]) -> String {
        let [start_width, time_width, error_width] = self.widths;
        let mut row = format!(
            "{attempt:>width$}{GAP}{stage:<STAGE_CHARS$}{GAP}{start:>start_width$}{GAP}{time:>time_width$}{GAP}",
            width = ATTEMPT.len(),
        );
        if error_width > 0 {
            // Writing to a String cannot fail.
            let _ = write!(row, "{error:>error_width$}{GAP}");
        }
        row
    }

    fn header(&self) -> String {
        let total = format!("{}{}", about(self.approximate), Nanos(self.total));
        let dashes = self
            .bar
            .saturating_sub("|0  |".len() + 1 + total.chars().count());
        let dashes = "-".repeat(dashes);
        let cells = ["start", "time", "±"].map(str::to_owned);
        let row = self.row(ATTEMPT, "stage", &cells);
        format!("{row}|0 {dashes} {total}|")
    }

    fn line(&self, line: &Line) -> String {
        let number = |attempt: &Option<u32>| attempt.map_or_else(String::new, |it| it.to_string());
        match line {
            Line::Stage(attempt, part) => {
                let row = self.row(&number(attempt), part.stage.name(), &self.cells(part));
                row + &self.bar_of(part)
            }
            Line::Note(attempt, note) => {
                format!(
                    "{:>width$}{GAP}{GAP}{note}",
                    number(attempt),
                    width = ATTEMPT.len()
                )
            }
            Line::Gap(gap) => format!("{:>width$}{GAP}{gap}", "…", width = ATTEMPT.len()),
        }
    }

    /// At least one cell wide; its last cell is an arrow while it grows.
    fn bar_of(&self, part: &Part) -> String {
        let cell = |ns: u64, round_up: u64| {
            let cells = (u128::from(ns) * self.bar as u128 + u128::from(round_up))
                / u128::from(self.total.max(1));
            usize::try_from(cells).unwrap_or(self.bar).min(self.bar)
        };
        let first = cell(part.start.saturating_sub(self.begin), 0).min(self.bar - 1);
        let after = cell(
            part.end.saturating_sub(self.begin),
            self.total.saturating_sub(1),
        )
        .max(first + 1);
        let tip = if part.running { ">" } else { "#" };
        format!(
            "{}{}{tip}",
            " ".repeat(first),
            "#".repeat(after - first - 1)
        )
    }
}
