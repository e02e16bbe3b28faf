//! How long each stage took, over all items of a queue.

use std::collections::VecDeque;
use std::time::Duration;

use baton_telemetry::histogram::Histogram;
use baton_telemetry::stage::Stage;
use baton_telemetry::windows::{Exemplar, Windows};

const HOUR_NS: u64 = 3600 * 1_000_000_000;
const DAY_NS: u64 = 24 * HOUR_NS;
/// The one that began a day ago counts as well.
const HOURS_MAX: usize = 25;

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

/// The largest error of each of the last 24 hours in which there was one, and of the one that began so long ago.
#[derive(Debug, Default)]
struct LargestError {
    hours: VecDeque<(u64, u64)>,
}

impl LargestError {
    fn note(&mut self, now: u64, error_ns: u64) {
        let hour = now / HOUR_NS;
        match self.hours.back_mut() {
            // A clock that was set back goes on in the hour that it had got to.
            Some((last, largest)) if *last >= hour => *largest = error_ns.max(*largest),
            _ => self.hours.push_back((hour, error_ns)),
        }
        if self.hours.len() > HOURS_MAX {
            self.hours.pop_front();
        }
    }

    fn since(&self, from: u64) -> u64 {
        let within = self.hours.iter().rev();
        let within = within.take_while(|(hour, _)| *hour >= from / HOUR_NS);
        within.map(|(_, largest)| *largest).max().unwrap_or(0)
    }

    fn expire(&mut self, now: u64) {
        let first = now.saturating_sub(DAY_NS) / HOUR_NS;
        while self.hours.pop_front_if(|(hour, _)| *hour < first).is_some() {}
        if self.hours.is_empty() {
            self.hours = VecDeque::new();
        }
    }

    fn bytes(&self) -> usize {
        self.hours.capacity() * size_of::<(u64, u64)>()
    }
}

/// A stage over a window.
#[derive(Clone, Debug)]
pub struct StageLatency {
    /// Which.
    pub stage: Stage,
    /// Its values in the window.
    pub histogram: Histogram,
    /// No value of the hours that the window is in is further off than this, nanoseconds. 0: exact.
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
                let covered = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
                let error_ns = series.error.since(now.saturating_sub(covered));
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
        let each = |(_, series): (Stage, &StageSeries)| {
            size_of::<StageSeries>() + series.windows.bytes() + series.error.bytes()
        };
        self.each().map(each).sum()
    }

    pub(crate) fn expire(&mut self, now: u64) {
        for series in self.stages.iter_mut().flatten() {
            series.windows.expire(now);
            series.error.expire(now);
        }
    }

    /// Gives some memory back by getting coarser; how many stages did, 0: there is none left to give.
    pub(crate) fn coarsen(&mut self) -> u64 {
        let stages = self.stages.iter_mut().flatten();
        stages
            .filter_map(|series| (series.windows.coarsen() > 0).then_some(1))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_windows_error_is_the_largest_of_its_hours_and_no_other() {
        let mut series = Series::default();
        let begin = 500_000 * HOUR_NS;
        for hour in 0..30 {
            let now = begin + hour * HOUR_NS + 1;
            series.record(Stage::Total, now, (5, 1));
            series.note_error(Stage::Total, now, 1000 - hour);
        }
        let now = begin + 29 * HOUR_NS + HOUR_NS / 2;
        let error = |hours: u64| {
            let (stages, _) = series.over(now, Duration::from_secs(hours * 3600));
            stages[0].error_ns
        };
        // What was 24.5 hours ago may be in the window.
        assert_eq!([24, 5, 1].map(error), [1000 - 5, 1000 - 24, 1000 - 28]);
        series.expire(now + 40 * HOUR_NS);
        let error = &series.stages[Stage::Total.index()].as_ref().unwrap().error;
        assert_eq!((error.since(0), error.bytes()), (0, 0));
    }

    #[test]
    fn a_clock_that_jumps_leaves_no_more_hours_than_a_day_has() {
        let mut error = LargestError::default();
        for hour in (0..100).chain([1 << 20]).chain(100..200) {
            error.note(hour * HOUR_NS, hour);
        }
        assert_eq!(error.hours.len(), HOURS_MAX);
        assert_eq!(error.since(200 * HOUR_NS), 1 << 20);
    }
}
