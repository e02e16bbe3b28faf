//! Items in consumers' hands.
//!
//! A leased run has consecutive item ids and consecutive numbers ("seqs") in its session, so that a range of deliveries
//! finds its items by runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::id::{ItemId, SessionId};
use crate::run::{Index, Phase, Run};
use crate::time::Timestamp;

/// A consumer has it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lease {
    pub(crate) session: SessionId,
    pub(crate) first_seq: u64,
    pub(crate) consumer: Arc<str>,
    pub(crate) ready_at: Timestamp,
    pub(crate) leased_at: Timestamp,
    pub(crate) deadline: Timestamp,
    /// Its session has ended, and nobody has extended the lease since.
    pub(crate) orphaned: bool,
}

/// Leased runs by deadline and by seq.
#[derive(Clone, Debug, Default)]
pub(crate) struct LeaseIndex {
    pub(crate) deadlines: BTreeSet<(Timestamp, ItemId)>,
    seqs: BTreeMap<(SessionId, u64), (u64, ItemId)>,
}

/// Leases of a session with consecutive seqs and item ids.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SeqRun {
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    pub(crate) first: ItemId,
}

impl SeqRun {
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.last_seq - self.first_seq + 1)
            .expect("a run counts its items in 32 bits")
    }
}

impl LeaseIndex {
    /// Whether so many runs have no lease number in common.
    pub(crate) fn are_apart(&self, runs: usize) -> bool {
        let after = self.seqs.iter().skip(1);
        let mut pairs = self.seqs.iter().zip(after);
        let apart =
            pairs.all(|((one, (last_seq, _)), (two, _))| one.0 != two.0 || *last_seq < two.1);
        apart && self.seqs.len() == runs
    }

    /// The live leases of a session within `first..=last`, cut to fit, ascending.
    pub(crate) fn within(&self, session: SessionId, first: u64, last: u64) -> Vec<SeqRun> {
        if first > last {
            return Vec::new();
        }
        let before = self.seqs.range((session, 0)..(session, first)).next_back();
        let inside = self.seqs.range((session, first)..=(session, last));
        before
            .into_iter()
            .chain(inside)
            .filter(|(_, (last_seq, _))| *last_seq >= first)
            .map(|(&(_, run_first), &(run_last, item))| {
                let first_seq = run_first.max(first);
                let last_seq = run_last.min(last);
                SeqRun {
                    first_seq,
                    last_seq,
                    first: item.plus(first_seq - run_first),
                }
            })
            .collect()
    }
}

impl Phase for Lease {
    type Index = LeaseIndex;

    /// Items that fail together must be told to expire, or not, together.
    const MIXES_EXPIRIES: bool = false;

    fn skip(&self, offset: u32) -> Self {
        Self {
            first_seq: self.first_seq + u64::from(offset),
            ..self.clone()
        }
    }

    fn continues(&self, count: u32, next: &Self) -> bool {
        self.first_seq + u64::from(count) == next.first_seq
            && self.session == next.session
            && (self.ready_at, self.leased_at, self.deadline, self.orphaned)
                == (next.ready_at, next.leased_at, next.deadline, next.orphaned)
            && self.consumer == next.consumer
    }
}

impl Index<Lease> for LeaseIndex {
    fn add(&mut self, run: &Run<Lease>) {
        let first_seq = run.phase.first_seq;
        let last_seq = first_seq + u64::from(run.items.count) - 1;
        self.deadlines.insert((run.phase.deadline, run.items.first));
        self.seqs
            .insert((run.phase.session, first_seq), (last_seq, run.items.first));
    }

    fn remove(&mut self, run: &Run<Lease>) {
        self.deadlines
            .remove(&(run.phase.deadline, run.items.first));
        self.seqs.remove(&(run.phase.session, run.phase.first_seq));
    }
}
