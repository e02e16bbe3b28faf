//! A queue's life in few words, one turn and one commit after the other.

use std::sync::Arc;

use baton_ledger::account::{Account, AttemptOutcome, Outcome};
use baton_ledger::budget::Budget;
use baton_ledger::party::{Party, Shift};
use baton_ledger::sampling::{Kept, SamplingSettings, TraceLimit};
use baton_ledger::{
    Arrived, FINISHED_MAX, Failed, Gone, HandlerStamps, ItemStamps, Leased, Ledger, Shared, Stamps,
};

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1000 * MS;
/// Some day, at the beginning of an hour.
pub(crate) const BEGIN: u64 = 500_000 * 3600 * SECOND;
/// Of the clients of these tests.
pub(crate) const CLOCK: Shift = Shift {
    ns: 1 << 50,
    error_ns: 40_000,
};

pub(crate) struct Story {
    pub(crate) ledger: Ledger,
    pub(crate) shared: Arc<Shared>,
    pub(crate) now: u64,
    pub(crate) kept: Vec<(Arc<Account>, Kept)>,
    position: u64,
}

/// Memory without end, and the usual traces.
pub(crate) fn shared() -> Shared {
    Shared {
        budget: Budget::new(1 << 40),
        limit: TraceLimit::new(100),
        sampling: Some(SamplingSettings::default()),
        finished_max: FINISHED_MAX,
    }
}

impl Story {
    pub(crate) fn new() -> Self {
        Self::with(shared(), 0)
    }

    pub(crate) fn with(shared: Shared, opened: u64) -> Self {
        let shared = Arc::new(shared);
        Self {
            ledger: Ledger::new("orders".into(), Arc::clone(&shared), 7, opened),
            shared,
            now: BEGIN,
            kept: Vec::new(),
            position: 0,
        }
    }

    pub(crate) fn wait(&mut self, ns: u64) {
        self.now += ns;
    }

    /// `count` items, made a millisecond ago.
    pub(crate) fn arrive(&mut self, first: u64, count: usize) {
        self.ledger.arrived(&Arrived {
            first,
            received: self.now,
            created: &vec![(self.now - MS).wrapping_sub(CLOCK.ns); count],
            clock: Some(CLOCK),
            producer: Some(Arc::new(Party::named("producer"))),
        });
    }

    /// For the first time, since they came just now.
    pub(crate) fn lease(&mut self, first: u64, count: usize) {
        let created_ns = (self.now - MS).wrapping_sub(CLOCK.ns);
        let context = None;
        let stamps = ItemStamps {
            created_ns,
            context,
        };
        self.lease_as(first, &vec![stamps; count], 1, (self.now, self.now));
    }

    pub(crate) fn lease_as(
        &mut self,
        first: u64,
        items: &[ItemStamps],
        number: u32,
        (taken_in, since): (u64, u64),
    ) {
        self.ledger.leased(&Leased {
            first,
            items,
            number,
            forgiven: 0,
            taken_in,
            since,
            ready: since,
            now: self.now,
            consumer: Arc::new(Party::named("consumer")),
            origin: Some(CLOCK),
        });
    }

    /// Their handlers began at once, and ended `ns` ago.
    pub(crate) fn handled(&mut self, (first, count): (u64, u32), leased: u64, ns: u64) {
        let stamps = HandlerStamps {
            received_ns: leased.wrapping_sub(CLOCK.ns),
            started_ns: leased.wrapping_sub(CLOCK.ns),
            ended_ns: (self.now - ns).wrapping_sub(CLOCK.ns),
        };
        self.ledger
            .handled((first, count), &Stamps::Same(stamps), Some(CLOCK), self.now);
    }

    pub(crate) fn ack(&mut self, first: u64, count: u32) {
        self.ledger.acked(first, count, self.now);
    }

    pub(crate) fn fail(&mut self, first: u64, count: u32, dead: bool) {
        self.ledger.failed(&Failed {
            first,
            count,
            now: self.now,
            outcome: AttemptOutcome::Nacked,
            error: "no".into(),
            dead,
        });
    }

    /// Items that waited for an attempt since then are gone.
    pub(crate) fn gone_as(
        &mut self,
        (first, count): (u64, u32),
        items: &[ItemStamps],
        (number, since): (u32, u64),
        outcome: Outcome,
    ) {
        let gone = Gone {
            first,
            count,
            items,
            outcome,
            number,
            forgiven: 0,
            taken_in: since,
            since,
            ready: since,
            now: self.now,
            origin: Some(CLOCK),
        };
        self.ledger.gone(&gone);
    }

    /// All that was said is durable now. Nothing is known to have ended.
    pub(crate) fn commit(&mut self) {
        self.position += 1;
        self.ledger.end_turn(self.position);
        let kept = &mut self.kept;
        self.ledger.durable(self.position, self.now, 0, kept);
    }

    /// One item that took so long from its lease on, with nothing before.
    pub(crate) fn item(&mut self, id: u64, ns: u64) {
        self.arrive(id, 1);
        self.lease(id, 1);
        self.commit();
        self.wait(ns);
        self.ack(id, 1);
        self.commit();
    }
}
