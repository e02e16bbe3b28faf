//! Items are handed out: how long they waited, and what for.

use std::sync::Arc;

use baton_telemetry::trace_context::ItemContext;

use crate::budget::Dropped;
use crate::column::Column;
use crate::leases::{Facts, Run};
use crate::ledger::Ledger;
use crate::pending::Pending;
use crate::told::{ItemStamps, Leased};
use crate::wait::Wait;
use crate::waits::Waits;

impl Ledger {
    /// Items were handed out.
    pub fn leased(&mut self, leased: &Leased<'_>) {
        let end = leased.first.saturating_add(leased.items.len() as u64);
        // None, unless the queue forgot to say how their last lease ended.
        self.leases.take(leased.first, end, drop);
        let mut from = leased.first;
        while from < end {
            let waited = (leased.since, leased.ready, leased.now);
            let (wait, to) = self.waited_alike(leased.number, waited, from, end);
            let at = usize::try_from(from - leased.first).expect("within the items");
            let count = usize::try_from(to - from).expect("within the items");
            self.leased_alike(leased, wait, (from, &leased.items[at..][..count]));
            from = to;
        }
    }

    fn leased_alike(
        &mut self,
        leased: &Leased<'_>,
        wait: Wait,
        (first, items): (u64, &[ItemStamps]),
    ) {
        let Ok(count) = u32::try_from(items.len()) else {
            return;
        };
        let facts = Arc::new(Facts {
            number: leased.number,
            forgiven: leased.forgiven,
            taken_in: leased.taken_in,
            wait,
            consumer: Arc::clone(&leased.consumer),
            origin: leased.origin,
        });
        self.leases.insert(Run {
            first,
            count,
            facts: Arc::clone(&facts),
            created: Column::of(items, |item| item.created_ns),
            contexts: self.contexts(items),
            report: None,
        });
        self.note(Pending::Leased {
            first,
            count,
            facts,
        });
    }

    /// The wait of the items from `from` on for an attempt, as the queue has it: since when, ready, and over. And how far it
    /// was the same.
    pub(crate) fn waited_alike(
        &mut self,
        number: u32,
        (since, ready, over): (u64, u64, u64),
        from: u64,
        end: u64,
    ) -> (Wait, u64) {
        let (floor, to) = self.floor_alike(number, from, end);
        let ((since, ready), to) = self.resume((since, ready), from, to);
        let wait = Wait {
            since,
            ready,
            leased: over,
            waits: Waits::default(),
        };
        let wait = wait.not_before(floor);
        let waits = self.clock.between(wait.ready, over);
        (Wait { waits, ..wait }, to)
    }

    /// What the attempts of items follow from was durable then: they themselves, or the end of their attempt before. 0: not
    /// yet, or not known. And how far that is the same.
    pub(crate) fn floor_alike(&self, number: u32, from: u64, end: u64) -> (u64, u64) {
        match number {
            0 | 1 => self.arrivals.alike(from, end),
            number => self.earlier.alike(number - 1, from, end),
        }
    }

    /// Where items came back untouched, their wait goes on from where it was.
    fn resume(&mut self, wait: (u64, u64), from: u64, end: u64) -> ((u64, u64), u64) {
        if self.resumed.is_empty() {
            return (wait, end);
        }
        let first = self.resumed.get(from).copied();
        let other = |item: &u64| self.resumed.get(*item) != first.as_ref();
        let to = (from + 1..end).find(other).unwrap_or(end);
        if first.is_some() {
            self.resumed.forget(from, to, |_| ());
        }
        (first.unwrap_or(wait), to)
    }

    /// All of a run or none: a few among many take as much as all of them.
    fn contexts(&self, items: &[ItemStamps]) -> Column<Option<ItemContext>> {
        let contexts = items.iter().filter_map(|item| item.context);
        let budget = &self.shared.budget;
        if budget.is_tight() && !contexts.clone().any(|context| context.sampled) {
            budget.drop_some(Dropped::Context, contexts.count() as u64);
            return Column::Same(None);
        }
        Column::of(items, |item| item.context)
    }
}
