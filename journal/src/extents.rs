//! Which of a stream's items are still needed, and where their bodies are: runs of ids, merged and cut.

use std::collections::BTreeMap;

/// Items that are needed, up to `end`, and the segment that has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    end: u64,
    segment: u64,
}

/// The items of a stream that are needed, by first id. Runs do not overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extents {
    runs: BTreeMap<u64, Run>,
}

/// A part of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) first: u64,
    pub(crate) end: u64,
    pub(crate) segment: u64,
}

impl Part {
    pub(crate) const fn items(&self) -> u64 {
        self.end - self.first
    }
}

impl Extents {
    /// The items from `first` up to `end` are in `segment`. None of them is here yet.
    pub(crate) fn insert(&mut self, first: u64, end: u64, segment: u64) {
        if first >= end {
            return;
        }
        let mut run = Run { end, segment };
        let mut from = first;
        if let Some((&before, part)) = self.runs.range(..first).next_back()
            && part.end == first
            && part.segment == segment
        {
            from = before;
        }
        if let Some(after) = self.runs.get(&end)
            && after.segment == segment
        {
            run.end = after.end;
            self.runs.remove(&end);
        }
        self.runs.insert(from, run);
    }

    /// Takes the items from `first` up to `end` out, and tells which they were.
    pub(crate) fn remove(&mut self, first: u64, end: u64, mut removed: impl FnMut(Part)) {
        while let Some(part) = self.next(first, end) {
            let (&start, &run) = self
                .runs
                .range(..=part.first)
                .next_back()
                .expect("the part is of a run");
            self.runs.remove(&start);
            if start < part.first {
                let left = Run {
                    end: part.first,
                    ..run
                };
                self.runs.insert(start, left);
            }
            if part.end < run.end {
                self.runs.insert(part.end, run);
            }
            removed(part);
        }
    }

    /// The first part with items from `first` up to `end`.
    pub(crate) fn next(&self, first: u64, end: u64) -> Option<Part> {
        self.parts(first, end).next()
    }

    /// The parts with items from `first` up to `end`.
    pub(crate) fn parts(&self, first: u64, end: u64) -> impl Iterator<Item = Part> + '_ {
        let before = self.runs.range(..first).next_back();
        // An empty or reversed range is asked for where bytes from disk are odd; BTreeMap would panic.
        let from = self.runs.range(first.min(end)..end);
        before
            .into_iter()
            .chain(from)
            .map(move |(&start, run)| Part {
                first: start.max(first),
                end: run.end.min(end),
                segment: run.segment,
            })
            .filter(|part| part.first < part.end)
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = Part> + '_ {
        self.parts(0, u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(extents: &Extents) -> Vec<(u64, u64, u64)> {
        let parts = extents.all();
        parts
            .map(|part| (part.first, part.end, part.segment))
            .collect()
    }

    #[test]
    fn neighbours_in_a_segment_are_one_run() {
        let mut extents = Extents::default();
        extents.insert(1, 3, 1);
        extents.insert(5, 7, 1);
        extents.insert(3, 5, 1);
        extents.insert(7, 8, 2);
        assert_eq!(runs(&extents), [(1, 7, 1), (7, 8, 2)]);
    }

    #[test]
    fn a_run_is_cut_where_items_go() {
        let mut extents = Extents::default();
        extents.insert(1, 11, 1);
        extents.insert(11, 21, 2);
        let mut gone = Vec::new();
        extents.remove(4, 6, |part| gone.push((part.items(), part.segment)));
        extents.remove(9, 13, |part| gone.push((part.items(), part.segment)));
        extents.remove(9, 13, |part| gone.push((part.items(), part.segment)));
        assert_eq!(gone, [(2, 1), (2, 1), (2, 2)]);
        assert_eq!(runs(&extents), [(1, 4, 1), (6, 9, 1), (13, 21, 2)]);
        assert_eq!(extents.next(4, 6), None);
        assert_eq!(extents.next(9, 3), None);
        let part = extents.next(5, 8).unwrap();
        assert_eq!((part.first, part.end), (6, 8));
    }
}
