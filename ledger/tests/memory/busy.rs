//! A queue that is kept busy, in few words.

use std::sync::Arc;

use baton_ledger::account::{Account, AttemptOutcome};
use baton_ledger::budget::Budget;
use baton_ledger::party::{Party, Shift};
use baton_ledger::sampling::{Kept, SamplingSettings, TraceLimit};
use baton_ledger::{Arrived, Failed, HandlerStamps, ItemStamps, Leased, Ledger, Shared, Stamps};
use baton_telemetry::trace_context::ItemContext;

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1000 * MS;
pub(crate) const HOUR: u64 = 3600 * SECOND;
const BEGIN: u64 = 500_000 * HOUR;
const CLOCK: Shift = Shift {
    ns: 1 << 50,
    error_ns: 40_000,
};

pub(crate) fn shared(limit: usize, finished_max: usize) -> Arc<Shared> {
    Arc::new(Shared {
        budget: Budget::new(limit),
        limit: TraceLimit::new(100),
        sampling: Some(SamplingSettings::default()),
        finished_max,
    })
}

pub(crate) struct Busy {
    pub(crate) ledger: Ledger,
    pub(crate) now: u64,
    /// Items come with contexts.
    pub(crate) contexts: bool,
    pub(crate) sampled: bool,
    pub(crate) oldest: u64,
    kept: Vec<(Arc<Account>, Kept)>,
    party: Arc<Party>,
    position: u64,
    random: u64,
}

impl Busy {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            ledger: Ledger::new("orders".into(), Arc::clone(shared), 7, 0),
            now: BEGIN,
            contexts: false,
            sampled: false,
            oldest: 0,
            kept: Vec::new(),
            party: Arc::new(Party::named("client")),
            position: 0,
            random: 88_172_645_463_325_252,
        }
    }

    pub(crate) fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    pub(crate) fn arrive(&mut self, first: u64, count: u64) {
        let created: Vec<_> = (0..count).map(|_| self.made()).collect();
        self.ledger.arrived(&Arrived {
            first,
            received: self.now,
            created: &created,
            clock: Some(CLOCK),
            producer: Some(Arc::clone(&self.party)),
        });
    }

    fn made(&mut self) -> u64 {
        let ago = self.random(5 * MS);
        (self.now - ago).wrapping_sub(CLOCK.ns)
    }

    pub(crate) fn lease(&mut self, first: u64, count: u64, number: u32) {
        let (contexts, sampled) = (self.contexts, self.sampled);
        let context = |item| ItemContext {
            sampled,
            ..ItemContext::made_up(1, "orders", item)
        };
        let stamps = (first..first + count).map(|item| ItemStamps {
            created_ns: self.made(),
            context: contexts.then(|| context(item)),
        });
        let items: Vec<_> = stamps.collect();
        self.ledger.leased(&Leased {
            first,
            items: &items,
            number,
            forgiven: 0,
            taken_in: self.now,
            since: self.now - self.now % MS,
            ready: self.now,
            now: self.now,
            consumer: Arc::clone(&self.party),
            origin: Some(CLOCK),
        });
    }

    pub(crate) fn handled(&mut self, first: u64, count: u32) {
        let stamps = (0..count).map(|_| {
            let received_ns = (self.now - self.random(MS)).wrapping_sub(CLOCK.ns);
            HandlerStamps {
                received_ns,
                started_ns: received_ns,
                ended_ns: received_ns,
            }
        });
        let stamps: Vec<_> = stamps.collect();
        let stamps = Stamps::Each(&stamps);
        self.ledger
            .handled((first, count), &stamps, Some(CLOCK), self.now);
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
            error: "the payment service did not answer in time".into(),
            dead,
        });
    }

    pub(crate) fn end_turn(&mut self) {
        self.position += 1;
        self.ledger.end_turn(self.position);
    }

    pub(crate) fn durable(&mut self) {
        self.ledger
            .durable(self.position, self.now, self.oldest, &mut self.kept);
        // Nobody holds on to them.
        self.kept.clear();
    }

    pub(crate) fn commit(&mut self) {
        self.end_turn();
        self.durable();
    }

    /// `count` items are published and handed out `each` at a time.
    pub(crate) fn in_flight(&mut self, first: u64, count: u64, each: u64) {
        for first in (first..first + count).step_by(usize::try_from(each).expect("small")) {
            self.arrive(first, each);
            self.lease(first, each, 1);
            self.commit();
            self.now += MS / 10;
        }
    }
}
