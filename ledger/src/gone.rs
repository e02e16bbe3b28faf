//! Items that waited and are gone: their time to live ran out, or someone cancelled them.
//!
//! Their waits count like those that ended with a hand-out: without them a queue that lets everything expire would look fast.
//! They are remembered by runs, like others that ended; those whose stamps are told get an account of their own.

use std::sync::Arc;

use crate::account::Outcome;
use crate::arrivals::Arrival;
use crate::column::Column;
use crate::finished::{Ended, How};
use crate::leases::{Facts, Run};
use crate::ledger::{KeptAccounts, Ledger};
use crate::party::Party;
use crate::pending::Pending;
use crate::sampling::Kept;
use crate::told::Gone;

/// What was told of items that are gone, and is not durable yet.
#[derive(Debug)]
pub(crate) struct GoneItems {
    /// Nobody had them: their wait ended when they were gone.
    run: Run,
    /// Those at the beginning of which there are accounts.
    told: u32,
    outcome: Outcome,
}

impl GoneItems {
    pub(crate) const fn first(&self) -> u64 {
        self.run.first
    }

    pub(crate) fn bytes(&self) -> usize {
        self.run.bytes() + size_of::<Self>() - size_of::<Run>()
    }
}

impl Ledger {
    /// Items that waited are gone.
    pub fn gone(&mut self, gone: &Gone<'_>) {
        let end = gone.first.saturating_add(u64::from(gone.count));
        let told = gone.items.len().min(gone.count as usize);
        let mut from = gone.first;
        while from < end {
            let at = usize::try_from(from - gone.first).expect("within a run");
            // Those of which there are no accounts apart.
            let until = if at < told {
                gone.first.saturating_add(told as u64).min(end)
            } else {
                end
            };
            let waited = (gone.since, gone.ready.min(gone.now), gone.now);
            let (wait, to) = self.waited_alike(gone.number, waited, from, until);
            let count = u32::try_from(to - from).expect("within a run");
            let items = gone.items.get(at..).unwrap_or_default();
            let items = &items[..items.len().min(count as usize)];
            let run = Run {
                first: from,
                count,
                facts: Arc::new(Facts {
                    number: gone.number,
                    forgiven: gone.forgiven,
                    taken_in: gone.taken_in,
                    wait,
                    consumer: Arc::new(Party::named("")),
                    origin: gone.origin,
                }),
                created: Column::of(items, |item| item.created_ns),
                contexts: Column::of(items, |item| item.context),
                report: None,
            };
            self.note(Pending::Gone(Box::new(GoneItems {
                run,
                told: u32::try_from(items.len()).expect("within a run"),
                outcome: gone.outcome,
            })));
            from = to;
        }
    }

    /// That is durable.
    pub(crate) fn finish_gone(&mut self, gone: GoneItems, kept: &mut KeptAccounts) {
        let GoneItems {
            mut run,
            mut told,
            outcome,
        } = gone;
        let (first, end) = (run.first, run.end());
        while run.count > 0 {
            let (arrival, to) = self.arrivals.stretch(run.first, end);
            let arrival = arrival.cloned();
            let (floor, to) = self.floor_alike(run.facts.number, run.first, to);
            let rest = run.cut(to);
            let of_these = told.min(run.count);
            self.finish_gone_alike((run, of_these), (arrival, floor), outcome, kept);
            told -= of_these;
            run = rest;
        }
        let count = u32::try_from(end - first).expect("within a run");
        self.forget(first, count);
    }

    /// Items that came together, and whose wait began together.
    fn finish_gone_alike(
        &mut self,
        (run, told): (Run, u32),
        (arrival, floor): (Option<Arrival>, u64),
        outcome: Outcome,
        kept: &mut KeptAccounts,
    ) {
        let mut ended = Ended {
            run,
            arrival,
            how: How {
                attempt: None,
                item: Some(outcome),
            },
            at: 0,
            durable: 0,
            error: Arc::default(),
        };
        ended.settle(floor, 0);
        let (facts, count) = (Arc::clone(&ended.run.facts), ended.run.count);
        self.record_wait(&facts.wait, u64::from(count), ended.durable);
        for index in 0..told as usize {
            self.judge_gone(&ended, index, outcome, kept);
        }
        // Of others that were tried before it would be half of the truth.
        if told > 0 || facts.number <= facts.forgiven.saturating_add(1) {
            self.remember_some(ended);
        }
    }

    /// A purge must not cost all else that is remembered.
    fn remember_some(&mut self, mut ended: Ended) {
        let most = (self.shared.finished_max / 4) as u64;
        if u64::from(ended.run.count) > most {
            ended.cut(ended.run.first + most);
        }
        if ended.run.count > 0 {
            self.finished.push(ended, self.shared.finished_max);
        }
    }

    fn judge_gone(
        &mut self,
        ended: &Ended,
        index: usize,
        outcome: Outcome,
        kept: &mut KeptAccounts,
    ) {
        let context = ended.run.contexts.at(index);
        let sampled = context.is_some_and(|context| context.sampled);
        let troubled = outcome == Outcome::Expired;
        let facts = &ended.run.facts;
        let tried = facts.number > facts.forgiven.saturating_add(1);
        let reason = match (sampled, troubled) {
            (true, _) => Kept::Head,
            (false, true) => Kept::Error,
            // That it was cancelled is nobody's trouble, but it was tried before.
            (false, false) if tried => Kept::Retry,
            (false, false) => return,
        };
        let account = Arc::new(self.account_of(ended, index));
        self.offer_trace(&account, reason, ended.durable, kept);
        if troubled || tried {
            self.troubled.push(&account);
        }
    }
}
