//! The ledger of one queue: told what happens, in order, by the queue's actor.
//!
//! Within a turn: [`Ledger::arrived`], [`Ledger::leased`], [`Ledger::handled`] and the endings, then [`Ledger::end_turn`] with
//! the position of the turn's commit. [`Ledger::durable`] with a position makes everything up to it count: stages are
//! recorded then, since each ends or begins with something that has to be durable.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use baton_telemetry::stage::Stage;

use crate::account::{Account, AttemptOutcome, Outcome};
use crate::arrivals::{Arrival, Arrivals};
use crate::budget::Budget;
use crate::by_item::ByItem;
use crate::column::Column;
use crate::earlier::Earlier;
use crate::finished::{Ended, Finished, How};
use crate::leases::{Leases, Report};
use crate::party::Shift;
use crate::pending::Pending;
use crate::recent_waits::RecentWaits;
use crate::sampling::{Kept, SamplingSettings, TraceLimit};
use crate::series::Series;
use crate::slowest::Slowest;
use crate::told::{Arrived, Failed, Stamps};
use crate::troubled::Troubled;
use crate::waits::{Stall, WaitClock, Waits};

/// Finished items of a queue that are remembered one by one, unless set otherwise: some seconds of a busy queue.
pub const FINISHED_MAX: usize = 10_000;

/// Items that are worth a trace.
pub(crate) type KeptAccounts = Vec<(Arc<Account>, Kept)>;

/// What all ledgers of a broker share.
#[derive(Debug)]
pub struct Shared {
    /// Memory.
    pub budget: Budget,
    /// Traces in a second.
    pub limit: TraceLimit,
    /// Which items get one. None: nobody takes traces.
    pub sampling: Option<SamplingSettings>,
    /// Finished items of a queue that are remembered one by one.
    pub finished_max: usize,
}

/// See the module. Times are nanoseconds since the Unix epoch, on the broker's clock.
#[derive(Debug)]
pub struct Ledger {
    pub(crate) queue: Arc<str>,
    pub(crate) shared: Arc<Shared>,
    /// Makes up trace ids.
    pub(crate) seed: u64,
    /// What came before this is from before a restart. 0: nothing is.
    pub(crate) opened: u64,
    pub(crate) series: Series,
    pub(crate) arrivals: Arrivals,
    pub(crate) leases: Leases,
    pub(crate) finished: Finished,
    pub(crate) slowest: Slowest,
    pub(crate) troubled: Troubled,
    pub(crate) earlier: Earlier,
    /// Items that came back untouched: since when they wait, and since when they were ready.
    pub(crate) resumed: ByItem<(u64, u64)>,
    pub(crate) clock: WaitClock,
    /// What the waits of handed out items were for, all together.
    pub(crate) baseline: u32,
    pub(crate) pending: VecDeque<(u64, Pending)>,
    pub(crate) noted: Vec<Pending>,
    /// Of both.
    pub(crate) pending_bytes: usize,
    pub(crate) ended_waits: RecentWaits,
    /// What the budget knows of.
    pub(crate) counted: usize,
    /// Until then the histograms have nothing more to give.
    pub(crate) coarse_until: u64,
}

impl Ledger {
    /// An empty one. `opened`: when the queue was read from disk; 0: it is new. `seed` differs between the lives of a queue.
    #[must_use]
    pub fn new(queue: Arc<str>, shared: Arc<Shared>, seed: u64, opened: u64) -> Self {
        Self {
            queue,
            shared,
            seed,
            opened,
            series: Series::default(),
            arrivals: Arrivals::default(),
            leases: Leases::default(),
            finished: Finished::default(),
            slowest: Slowest::default(),
            troubled: Troubled::default(),
            earlier: Earlier::default(),
            resumed: ByItem::default(),
            clock: WaitClock::new(opened),
            baseline: 0,
            pending: VecDeque::new(),
            noted: Vec::new(),
            pending_bytes: 0,
            ended_waits: RecentWaits::default(),
            counted: 0,
            coarse_until: 0,
        }
    }

    /// New items were taken in.
    pub fn arrived(&mut self, arrived: &Arrived<'_>) {
        let &Arrived {
            first,
            received,
            created,
            clock,
            ..
        } = arrived;
        let Some(count) = u32::try_from(created.len()).ok().filter(|count| *count > 0) else {
            return;
        };
        let mut largest_error = 0;
        for created_ns in created {
            if let Some((at, error_ns)) = crate::stamps::created(*created_ns, clock, received) {
                largest_error = error_ns.max(largest_error);
                self.series
                    .record(Stage::Publish, received, (received - at, 1));
            }
        }
        self.series
            .note_error(Stage::Publish, received, largest_error);
        self.arrivals.push(Arrival {
            first,
            count,
            left: count,
            received,
            durable: 0,
            producer: arrived.producer.clone(),
            clock,
        });
        self.note(Pending::Arrived {
            first,
            count,
            received,
        });
    }

    /// What a consumer says of its attempts at items in a row, received just now; an ending for them follows.
    pub fn handled(
        &mut self,
        (first, count): (u64, u32),
        stamps: &Stamps<'_>,
        clock: Option<Shift>,
        now: u64,
    ) {
        let end = first.saturating_add(u64::from(count));
        let stamps = match stamps {
            Stamps::Same(stamps) => Column::Same(*stamps),
            Stamps::Each(stamps) if stamps.len() < count as usize => return,
            Stamps::Each(stamps) => Column::of(stamps, |stamps| *stamps),
        };
        self.leases.change(first, end, |run| {
            let skipped = usize::try_from(run.first - first).expect("within the stamps");
            run.report = Some(Box::new(Report {
                stamps: stamps.part(skipped, run.count as usize),
                clock,
                received: now,
            }));
        });
    }

    /// Leased items are done.
    pub fn acked(&mut self, first: u64, count: u32, now: u64) {
        let how = How {
            attempt: Some(AttemptOutcome::Acked),
            item: Some(Outcome::Acked),
        };
        self.end_leases((first, count), how, now, &Arc::default());
    }

    /// Attempts failed.
    pub fn failed(&mut self, failed: &Failed) {
        let how = How {
            attempt: Some(failed.outcome),
            item: failed.dead.then_some(Outcome::Dead),
        };
        self.end_leases((failed.first, failed.count), how, failed.now, &failed.error);
    }

    fn end_leases(&mut self, (first, count): (u64, u32), how: How, at: u64, error: &Arc<str>) {
        let (noted, bytes) = (&mut self.noted, &mut self.pending_bytes);
        let end = first.saturating_add(u64::from(count));
        self.leases.take(first, end, |run| {
            let ended = Ended {
                run,
                arrival: None,
                how,
                at,
                durable: 0,
                error: Arc::clone(error),
            };
            let pending = Pending::Ended(Box::new(ended));
            *bytes += pending.bytes();
            noted.push(pending);
        });
    }

    /// Leased items were given back untouched: they wait on as if nothing had been. Their hand-out counts as one all the
    /// same, and the next one with all of the wait.
    pub fn released(&mut self, first: u64, count: u32) {
        let (resumed, over) = (&mut self.resumed, self.shared.budget.is_over());
        let end = first.saturating_add(u64::from(count));
        self.leases.take(first, end, |run| {
            let wait = (run.facts.wait.since, run.facts.wait.ready);
            for item in (run.first..run.end()).filter(|_| !over) {
                *resumed.entry(item) = wait;
            }
        });
    }

    /// What ready items wait for from now on; None: nothing, or others.
    pub fn stalled(&mut self, now: u64, stall: Option<Stall>) {
        self.clock.note(now, stall);
    }

    pub(crate) fn offer_trace(
        &mut self,
        account: &Arc<Account>,
        reason: Kept,
        now: u64,
        kept: &mut Vec<(Arc<Account>, Kept)>,
    ) {
        if self.shared.sampling.is_some() && self.shared.limit.take(reason, now) {
            // Of several attempts no sum was recorded.
            if let ([_], Some(end)) = (account.attempts.as_slice(), account.end) {
                self.exemplify(account, &account.times(end.at), end.at);
            }
            kept.push((Arc::clone(account), reason));
        }
    }

    /// Each stage over a window up to now.
    #[must_use]
    pub const fn series(&self) -> &Series {
        &self.series
    }

    /// Since when the oldest lease is held.
    #[must_use]
    pub fn oldest_lease(&self) -> Option<u64> {
        self.leases.oldest()
    }

    /// For how long ready items have waited for something, since the beginning.
    #[must_use]
    pub fn stalls(&self, now: u64) -> Waits {
        self.clock.sums(now)
    }

    /// What the waits that ended within the window were for, and how long they were, all items together.
    #[must_use]
    pub fn waits_over(&self, now: u64, window: Duration) -> (Waits, u64) {
        self.ended_waits.over(now, window)
    }
}
