//! Items in consumers' hands: what is known of their current attempt, by runs that were handed out together.

use std::collections::BTreeMap;
use std::sync::Arc;

use baton_telemetry::trace_context::ItemContext;

use crate::column::Column;
use crate::party::{Party, Shift};
use crate::stamps::HandlerStamps;
use crate::wait::Wait;

/// What the items of a run have in common.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// Which attempt, from 1.
    pub(crate) number: u32,
    /// Attempts before the last redrive.
    pub(crate) forgiven: u32,
    /// Taken in by the queue.
    pub(crate) taken_in: u64,
    /// As far as it was known when they were handed out.
    pub(crate) wait: Wait,
    pub(crate) consumer: Arc<Party>,
    /// Of their producer, where the arrival is forgotten.
    pub(crate) origin: Option<Shift>,
}

/// What a consumer said of its attempts.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) stamps: Column<HandlerStamps>,
    pub(crate) clock: Option<Shift>,
    /// When it came.
    pub(crate) received: u64,
}

/// Items that were handed out together.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) first: u64,
    pub(crate) count: u32,
    pub(crate) facts: Arc<Facts>,
    /// Their producers' stamps; 0: none.
    pub(crate) created: Column<u64>,
    pub(crate) contexts: Column<Option<ItemContext>>,
    pub(crate) report: Option<Box<Report>>,
}

/// The two counts of an [`Arc`].
const FACTS_COUNTS: usize = 2 * size_of::<usize>();

impl Run {
    pub(crate) const fn end(&self) -> u64 {
        self.first.saturating_add(self.count as u64)
    }

    /// Keeps the items before `at`, which is within, and returns the others.
    pub(crate) fn cut(&mut self, at: u64) -> Self {
        let kept = u32::try_from(at - self.first).expect("within a run");
        let rest = self.part(kept, self.count - kept);
        *self = self.part(0, kept);
        rest
    }

    fn part(&self, skipped: u32, count: u32) -> Self {
        let (from, items) = (skipped as usize, count as usize);
        let report = self.report.as_ref();
        Self {
            first: self.first + u64::from(skipped),
            count,
            facts: Arc::clone(&self.facts),
            created: self.created.part(from, items),
            contexts: self.contexts.part(from, items),
            report: report.map(|report| {
                Box::new(Report {
                    stamps: report.stamps.part(from, items),
                    ..**report
                })
            }),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        /// A map's entry where the map is two thirds full, and a share of the facts.
        const RUN_BYTES: usize =
            size_of::<(u64, Run)>() * 3 / 2 + (size_of::<Facts>() + FACTS_COUNTS) / 2;
        let count = self.count as usize;
        let report = self
            .report
            .as_ref()
            .map_or(0, |report| size_of::<Report>() + report.stamps.bytes(count));
        RUN_BYTES + self.created.bytes(count) + self.context_bytes() + report
    }

    /// What its contexts take of it.
    fn context_bytes(&self) -> usize {
        self.contexts.bytes(self.count as usize)
    }
}

/// Memory of runs, bytes.
#[derive(Debug, Default)]
struct Held {
    all: usize,
    /// Of it.
    contexts: usize,
}

impl Held {
    fn add(&mut self, run: &Run) {
        self.all += run.bytes();
        self.contexts += run.context_bytes();
    }

    fn remove(&mut self, run: &Run) {
        self.all -= run.bytes();
        self.contexts -= run.context_bytes();
    }
}

/// Runs by their first item.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    runs: BTreeMap<u64, Run>,
    held: Held,
}

impl Leases {
    /// Items that are not in any run.
    pub(crate) fn insert(&mut self, run: Run) {
        self.held.add(&run);
        self.runs.insert(run.first, run);
    }

    /// The runs within `first..end`, cut to fit, taken out.
    pub(crate) fn take(&mut self, first: u64, end: u64, mut each: impl FnMut(Run)) {
        self.cut(first);
        self.cut(end);
        for (_, run) in self.runs.extract_if(first..end, |_, _| true) {
            self.held.remove(&run);
            each(run);
        }
    }

    /// The runs within `first..end`, cut to fit.
    pub(crate) fn change(&mut self, first: u64, end: u64, mut each: impl FnMut(&mut Run)) {
        self.cut(first);
        self.cut(end);
        for run in self.runs.range_mut(first..end).map(|(_, run)| run) {
            self.held.remove(run);
            each(run);
            self.held.add(run);
        }
    }

    /// No run goes from before an item to after it.
    fn cut(&mut self, at: u64) {
        let before = self.runs.range_mut(..at).next_back();
        let Some((_, run)) = before.filter(|(_, run)| run.end() > at) else {
            return;
        };
        self.held.remove(run);
        let rest = run.cut(at);
        self.held.add(run);
        self.insert(rest);
    }

    pub(crate) fn find(&self, item: u64) -> Option<&Run> {
        let (_, run) = self.runs.range(..=item).next_back()?;
        (run.end() > item).then_some(run)
    }

    /// Since when the oldest lease is held.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.runs.values().map(|run| run.facts.wait.leased).min()
    }

    /// Drops the contexts of the newest runs until at most `bytes` are held; of how many items that were. What counts in
    /// histograms stays.
    pub(crate) fn strip(&mut self, bytes: usize) -> u64 {
        let mut dropped = 0;
        for run in self.runs.values_mut().rev() {
            if self.held.all <= bytes || self.held.contexts == 0 {
                break;
            }
            if run.context_bytes() > 0 {
                self.held.remove(run);
                run.contexts = Column::Same(None);
                self.held.add(run);
                dropped += u64::from(run.count);
            }
        }
        dropped
    }

    /// Drops the newest runs until at most `bytes` are held; how many items that were. Those that were there for long are
    /// the ones that someone will ask for.
    pub(crate) fn shrink(&mut self, bytes: usize) -> u64 {
        let mut dropped = 0;
        while self.held.all > bytes
            && let Some((_, run)) = self.runs.pop_last()
        {
            self.held.remove(&run);
            dropped += u64::from(run.count);
        }
        dropped
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.held.all
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn facts() -> Facts {
        Facts {
            number: 1,
            forgiven: 0,
            taken_in: 5,
            wait: Wait::default(),
            consumer: Arc::new(Party::named("c")),
            origin: None,
        }
    }

    fn run(first: u64, count: u32) -> Run {
        let created: Vec<u64> = (first..).take(count as usize).collect();
        Run {
            first,
            count,
            facts: Arc::new(facts()),
            created: Column::of(&created, |created| *created),
            contexts: Column::Same(None),
            report: None,
        }
    }

    fn leases() -> Leases {
        let mut leases = Leases::default();
        for run in [run(1, 10), run(11, 5), run(20, 5)] {
            leases.insert(run);
        }
        leases
    }

    fn left(leases: &Leases) -> Vec<(u64, u32, u64)> {
        let bytes: usize = leases.runs.values().map(Run::bytes).sum();
        assert_eq!(leases.bytes(), bytes);
        let runs = leases.runs.values();
        runs.map(|run| (run.first, run.count, run.created.at(0)))
            .collect()
    }

    #[test]
    fn a_range_takes_parts_of_runs_and_leaves_the_others() {
        let mut leases = leases();
        let mut taken = Vec::new();
        leases.take(5, 23, |run| {
            taken.push((run.first, run.count, run.created.at(0)));
        });
        assert_eq!(taken, [(5, 6, 5), (11, 5, 11), (20, 3, 20)]);
        assert_eq!(left(&leases), [(1, 4, 1), (23, 2, 23)]);
        assert!(leases.find(4).is_some() && leases.find(5).is_none() && leases.find(24).is_some());
        leases.take(1, u64::MAX, drop);
        assert_eq!(leases.bytes(), 0);
    }

    #[test]
    fn a_range_within_a_run_cuts_it_in_three() {
        let mut leases = leases();
        leases.change(4, 6, |run| run.created = Column::Same(7));
        let expected = [(1, 3, 1), (4, 2, 7), (6, 5, 6), (11, 5, 11), (20, 5, 20)];
        assert_eq!(left(&leases), expected);
    }

    #[test]
    fn the_newest_runs_are_dropped_first() {
        let mut leases = leases();
        let bytes = leases.bytes();
        assert_eq!(leases.shrink(bytes - 1), 5);
        assert_eq!(left(&leases), [(1, 10, 1), (11, 5, 11)]);
        assert_eq!((leases.shrink(0), leases.bytes()), (15, 0));
    }

    #[test]
    fn contexts_are_dropped_and_what_is_counted_stays() {
        let mut leases = leases();
        let before = leases.bytes();
        let context = |item| Some(ItemContext::made_up(1, "q", item));
        for (first, end) in [(1, 11), (20, 25)] {
            let contexts: Vec<_> = (first..end).map(context).collect();
            let contexts = Column::of(&contexts, |context| *context);
            leases.change(first, end, |run| run.contexts = contexts.clone());
        }
        let all = leases.bytes();
        assert_eq!(leases.strip(all - 1), 5, "the newest first");
        assert_eq!(leases.strip(0), 10);
        assert_eq!(leases.strip(0), 0);
        assert_eq!(leases.bytes(), before);
        assert_eq!(left(&leases), [(1, 10, 1), (11, 5, 11), (20, 5, 20)]);
    }
}
