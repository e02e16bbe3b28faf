//! What was said and is not durable yet; what becomes of it when it is.

use std::sync::Arc;

use baton_telemetry::stage::Stage;

use crate::account::Account;
use crate::finished::Ended;
use crate::gone::GoneItems;
use crate::leases::Facts;
use crate::ledger::Ledger;
use crate::sampling::Kept;
use crate::wait::Wait;

/// What counts once it is durable.
#[derive(Debug)]
pub(crate) enum Pending {
    Arrived {
        first: u64,
        count: u32,
        received: u64,
    },
    Leased {
        first: u64,
        count: u32,
        facts: Arc<Facts>,
    },
    Ended(Box<Ended>),
    Gone(Box<GoneItems>),
}

impl Pending {
    fn first(&self) -> u64 {
        match self {
            Self::Arrived { first, .. } | Self::Leased { first, .. } => *first,
            Self::Ended(ended) => ended.run.first,
            Self::Gone(gone) => gone.first(),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        let inside = match self {
            Self::Ended(ended) => ended.bytes(),
            Self::Gone(gone) => gone.bytes(),
            Self::Arrived { .. } | Self::Leased { .. } => 0,
        };
        size_of::<(u64, Self)>() + inside
    }
}

impl Ledger {
    pub(crate) fn note(&mut self, pending: Pending) {
        self.pending_bytes += pending.bytes();
        self.noted.push(pending);
    }

    /// All that was said since the last turn is part of this commit.
    pub fn end_turn(&mut self, position: u64) {
        self.pending
            .extend(self.noted.drain(..).map(|noted| (position, noted)));
    }

    /// Commits up to `position` are durable at `now`; every item before `oldest` has ended. Items that are worth a trace are
    /// added to `kept`.
    pub fn durable(
        &mut self,
        position: u64,
        now: u64,
        oldest: u64,
        kept: &mut Vec<(Arc<Account>, Kept)>,
    ) {
        while let Some((_, pending)) = self.pending.pop_front_if(|(at, _)| *at <= position) {
            self.pending_bytes -= pending.bytes();
            match pending {
                Pending::Arrived {
                    first,
                    count,
                    received,
                } => {
                    self.arrivals.durable(first, now);
                    let stored = (now.saturating_sub(received), u64::from(count));
                    self.series.record(Stage::Store, now, stored);
                }
                Pending::Leased {
                    first,
                    count,
                    facts,
                } => self.record_waits(first, count, &facts, now),
                Pending::Ended(ended) => self.finish(*ended, now, kept),
                Pending::Gone(gone) => self.finish_gone(*gone, kept),
            }
        }
        self.forget_before(oldest);
        self.keep_house(now, kept);
    }

    /// Items before `oldest` have ended, but for what is not durable yet.
    fn forget_before(&mut self, oldest: u64) {
        if self.arrivals.oldest_end().is_none_or(|end| end > oldest) {
            return;
        }
        let pending = self.pending.iter().map(|(_, pending)| pending);
        let needed = pending.chain(&self.noted).map(Pending::first).min();
        self.arrivals
            .forget_before(needed.map_or(oldest, |needed| oldest.min(needed)));
    }

    fn record_waits(&mut self, first: u64, count: u32, facts: &Facts, now: u64) {
        let end = first.saturating_add(u64::from(count));
        let mut from = first;
        while from < end {
            let (floor, to) = self.floor_alike(facts.number, from, end);
            self.record_wait(&facts.wait.not_before(floor), to - from, now);
            from = to;
        }
    }

    pub(crate) fn record_wait(&mut self, wait: &Wait, count: u64, now: u64) {
        let Wait { waits, .. } = wait;
        let scheduled = wait.scheduled_ns();
        if scheduled > 0 {
            self.series
                .record(Stage::Scheduled, now, (scheduled, count));
        }
        self.series
            .record(Stage::Queue, now, (wait.queued_ns(), count));
        let not_allowed = scheduled.saturating_add(waits.paused);
        if not_allowed > 0 {
            self.series
                .record(Stage::NotAllowed, now, (not_allowed, count));
        }
        if waits.no_worker() > 0 {
            self.series
                .record(Stage::NoWorker, now, (waits.no_worker(), count));
        }
        self.ended_waits.add(now, waits, wait.queued_ns(), count);
    }
}
