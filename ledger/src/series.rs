//! How long each stage took, over all items of a queue.

use std::time::Duration;

use baton_telemetry::histogram::Histogram;
use baton_telemetry::stage::Stage;
use baton_telemetry::windows::{Exemplar, Windows};

const HOUR_NS: u64 = 3600 * 1_000_000_000;

/// One series a stage, each from its first value on.
#[derive(Debug, Default)]
pub struct Series {
    stages: [Option<Box<StageSeries>>; Stage::ALL.len()],
}

#[derive(Debug, Default)]
struct StageSeries {
    windows: Windows,
    error: LargestError,
}

/// The largest error of the hour and of the one before.
#[derive(Debug, Default)]
struct LargestError {
    hour: u64,
    now: u64,
    before: u64,
}

impl LargestError {
    fn note(&mut self, now: u64, error_ns: u64) {
        let hour = now / HOUR_NS;
        if hour != self.hour {
            self.before = if hour == self.hour + 1 { self.now } else { 0 };
            (self.hour, self.now) = (hour, 0);
        }
        self.now = self.now.max(error_ns);
    }
}

/// A stage over a window.
#[derive(Clone, Debug)]
pub struct StageLatency {
    /// Which.
    pub stage: Stage,
    /// Its values in the window.
    pub histogram: Histogram,
    /// No value of this hour or the one before is further off than this, nanoseconds. 0: exact.
    pub error_ns: u64,
}

impl Series {
    /// `count` items took `ns` each.
    pub(crate) fn record(&mut self, stage: Stage, now: u64, (ns, count): (u64, u64)) {
        let series = self.stages[stage.index()].get_or_insert_default();
        series.windows.record_n(now, ns, count);
    }

    /// What was recorded of a stage may be off by this.
    pub(crate) fn note_error(&mut self, stage: Stage, now: u64, error_ns: u64) {
        if let Some(series) = self.stages[stage.index()].as_mut().filter(|_| error_ns > 0) {
            series.error.note(now, error_ns);
        }
    }

    pub(crate) fn exemplar(&mut self, stage: Stage, exemplar: Exemplar) {
        if let Some(series) = &mut self.stages[stage.index()] {
            series.windows.exemplar(exemplar);
        }
    }

    /// The stages that have values in the window, and how much time they cover.
    #[must_use]
    pub fn over(&self, now: u64, window: Duration) -> (Vec<StageLatency>, Duration) {
        let mut covered = window;
        let mut found = Vec::new();
        for (stage, series) in self.each() {
            let (histogram, span) = series.windows.merged(now, window);
            covered = span;
            if !histogram.is_empty() {
                let error_ns = series.error.now.max(series.error.before);
                found.push(StageLatency {
                    stage,
                    histogram,
                    error_ns,
                });
            }
        }
        (found, covered)
    }

    /// All values since the beginning, with examples.
    pub fn totals(&self) -> impl Iterator<Item = (Stage, Histogram, Vec<Exemplar>)> + '_ {
        self.each().map(|(stage, series)| {
            let exemplars = series.windows.exemplars().copied().collect();
            (stage, series.windows.total(), exemplars)
        })
    }

    fn each(&self) -> impl Iterator<Item = (Stage, &StageSeries)> {
        let series = Stage::ALL.into_iter().zip(&self.stages);
        series.filter_map(|(stage, series)| Some((stage, series.as_deref()?)))
    }

    pub(crate) fn bytes(&self) -> usize {
        let each =
            |(_, series): (Stage, &StageSeries)| size_of::<StageSeries>() + series.windows.bytes();
        self.each().map(each).sum()
    }

    pub(crate) fn expire(&mut self, now: u64) {
        self.stages
            .iter_mut()
            .flatten()
            .for_each(|series| series.windows.expire(now));
    }

    /// Gives some memory back by getting coarser; how many stages did, 0: there is none left to give.
    pub(crate) fn coarsen(&mut self) -> u64 {
        let stages = self.stages.iter_mut().flatten();
        stages
            .filter_map(|series| (series.windows.coarsen() > 0).then_some(1))
            .sum()
    }
}
