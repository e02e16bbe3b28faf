//! Items that have ended, the latest ones: by runs, a ring.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::account::{AttemptOutcome, Outcome};
use crate::arrivals::Arrival;
use crate::leases::{Facts, Run};

/// An attempt of items that ended together.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) run: Run,
    /// None: not known any more.
    pub(crate) arrival: Option<Arrival>,
    pub(crate) how: How,
    /// The settle was taken, or the lease found to be over.
    pub(crate) at: u64,
    /// That was durable.
    pub(crate) durable: u64,
    pub(crate) error: Arc<str>,
}

impl Ended {
    /// Keeps the items before `at`, which is within, and returns the others.
    pub(crate) fn cut(&mut self, at: u64) -> Self {
        Self {
            run: self.run.cut(at),
            arrival: None,
            how: self.how,
            at: self.at,
            durable: self.durable,
            error: Arc::clone(&self.error),
        }
    }

    /// All is known by now: what the attempt followed from was durable at `floor`, and its end is at `now`. Whatever the
    /// clocks said, nothing ends before it begins.
    pub(crate) fn settle(&mut self, floor: u64, now: u64) {
        let facts = &self.run.facts;
        let wait = facts.wait.not_before(floor);
        if wait != facts.wait {
            let facts = Facts {
                wait,
                ..(**facts).clone()
            };
            self.run.facts = Arc::new(facts);
        }
        let report = self.run.report.as_ref();
        let arrived = report.map_or(self.at, |report| report.received);
        self.at = arrived.max(wait.leased);
        self.durable = now.max(self.at);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.run.bytes() + size_of::<Self>() - size_of::<Run>() + self.error.len()
    }
}

/// What became of an attempt, and of its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct How {
    /// None: there was none, it waited for one.
    pub(crate) attempt: Option<AttemptOutcome>,
    /// None: it goes on.
    pub(crate) item: Option<Outcome>,
}

/// The items that ended last.
#[derive(Debug, Default)]
pub(crate) struct Finished {
    runs: VecDeque<Ended>,
    items: usize,
    bytes: usize,
}

impl Finished {
    /// Takes a run in, and drops the oldest ones beyond `items_max`.
    pub(crate) fn push(&mut self, ended: Ended, items_max: usize) {
        self.items += ended.run.count as usize;
        self.bytes += ended.bytes();
        self.runs.push_back(ended);
        while self.items > items_max && self.pop().is_some() {}
    }

    fn pop(&mut self) -> Option<Ended> {
        let ended = self.runs.pop_front()?;
        self.items -= ended.run.count as usize;
        self.bytes -= ended.bytes();
        Some(ended)
    }

    /// Drops what ended before, oldest first.
    pub(crate) fn forget_before(&mut self, at: u64) {
        while self.runs.front().is_some_and(|ended| ended.durable < at) && self.pop().is_some() {}
        self.give_room_back();
    }

    fn give_room_back(&mut self) {
        if self.runs.is_empty() {
            self.runs = VecDeque::new();
        }
    }

    /// Drops the oldest runs until at most `bytes` are held; how many items that were.
    pub(crate) fn shrink(&mut self, bytes: usize) -> u64 {
        let mut dropped = 0;
        while self.bytes > bytes
            && let Some(ended) = self.pop()
        {
            dropped += u64::from(ended.run.count);
        }
        self.give_room_back();
        dropped
    }

    /// The run that an item ended in, and its place there.
    pub(crate) fn find(&self, item: u64) -> Option<(&Ended, usize)> {
        let within = |ended: &&Ended| ended.run.first <= item && item < ended.run.end();
        let ended = self.runs.iter().rev().find(within)?;
        Some((ended, usize::try_from(item - ended.run.first).ok()?))
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }
}
