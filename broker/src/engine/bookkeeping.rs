//! What a queue's actor tells its ledger: who came, who has it, how it ended, and what it waits for.
//!
//! The ledger hears of everything in the order in which it happened: before items are handed out again, it knows how their
//! last attempt ended. That something is durable it hears after the clients who wait for that, and before the next turn.
//! What is worth a trace goes to the sink of [`Accounting`].

use std::fmt;
use std::sync::Arc;

use baton_ledger::account::{Account, AttemptOutcome, Outcome};
use baton_ledger::party::{Party, Shift};
use baton_ledger::sampling::Kept;
use baton_ledger::waits::Stall;
use baton_ledger::{Arrived, Failed, Gone, ItemStamps, Leased, Ledger, Stamps};
use baton_proto::item_scan::provenance;
use baton_queue::{
    Event, FailureReason, ItemId, LeasedRun, Next, Origin, Queue, SessionId, Timestamp,
};
use baton_telemetry::trace_context::ItemContext;

use super::actor::QueueActor;
use super::bodies::Bodies;
use super::commit::CommitPosition;
use super::request::{Delivered, Sending};
use super::settling::Report;
use super::shared::Shared;
use super::token::Epoch;

/// Items of one event that are gone without an attempt whose bodies are read for what they say of themselves, as for their
/// traces; the others are counted and remembered without.
const GONE_STAMPS_MAX: usize = 16;

/// Where traces go. Never blocks, and leaves work to others: what it cannot take is its own loss.
pub trait TraceSink: fmt::Debug + Send + Sync {
    /// An item that is worth a trace.
    fn keep(&self, account: Arc<Account>, kept: Kept);
}

/// How all queues account for their items' time.
#[derive(Debug, Clone)]
pub struct Accounting {
    /// What their ledgers share.
    pub ledgers: Arc<baton_ledger::Shared>,
    /// None: nobody takes traces.
    pub sink: Option<Arc<dyn TraceSink>>,
}

impl Shared {
    /// The ledger of a queue; none: nobody wants to know.
    pub(super) fn ledger(&self, queue: &Arc<str>, epoch: Epoch) -> Option<Box<Ledger>> {
        let accounting = self.accounting.as_ref()?;
        let ledgers = Arc::clone(&accounting.ledgers);
        let opened = self.clock.now().0;
        Some(Box::new(Ledger::new(
            Arc::clone(queue),
            ledgers,
            epoch.0,
            opened,
        )))
    }
}

impl QueueActor {
    /// New items from `first` on, which are those at `at` of what was sent.
    pub(super) fn account_arrival(
        &mut self,
        first: u64,
        (at, count): (usize, u32),
        sending: &Sending,
    ) {
        let Some(ledger) = &mut self.ledger else {
            return;
        };
        let none;
        let end = at + count as usize;
        let created = match sending.created.get(at..end) {
            Some(created) => created,
            None => {
                none = vec![0; count as usize];
                &none
            }
        };
        let received = match sending.received.0 {
            0 => self.now.0,
            received => received,
        };
        ledger.arrived(&Arrived {
            first,
            received,
            created,
            clock: sending.clock,
            producer: sending.producer.clone(),
        });
    }

    /// Items that were handed out just now.
    pub(super) fn account_lease(
        &mut self,
        run: &LeasedRun,
        consumer: &Arc<Party>,
        batch: &mut [Delivered],
    ) {
        self.account_events();
        let Some(ledger) = &mut self.ledger else {
            return;
        };
        let queue = &self.name;
        self.stamps.clear();
        for delivered in batch {
            let stamps = stamps(&delivered.body, queue, delivered.item);
            if let Some(context) = stamps.context.filter(|_| run.forgiven > 0) {
                delivered.traceparent = context.redriven(run.forgiven).as_parent().to_string();
            }
            self.stamps.push(stamps);
        }
        ledger.leased(&Leased {
            first: run.first.0,
            items: &self.stamps,
            number: run.attempt,
            forgiven: run.forgiven,
            taken_in: run.published_at.0,
            since: run.waiting_since.0,
            ready: run.ready_at.0,
            now: self.now.0,
            consumer: Arc::clone(consumer),
            origin: run.origin.map(shift),
        });
    }

    /// What a consumer says of attempts that are about to end.
    pub(super) fn account_report(
        &mut self,
        session: SessionId,
        (first, last): (u64, u64),
        report: Report<'_>,
    ) {
        let Some(ledger) = &mut self.ledger else {
            return;
        };
        let received = match report.received.0 {
            0 => self.now.0,
            received => received,
        };
        for (first_seq, item, count) in self.queue.live_leases_within(session, first, last) {
            let stamps = match report.stamps {
                [] => continue,
                [only] => Stamps::Same(*only),
                each => {
                    let from = usize::try_from(first_seq - first).unwrap_or(usize::MAX);
                    let within = each.get(from..).and_then(|each| each.get(..count as usize));
                    let Some(within) = within else { continue };
                    Stamps::Each(within)
                }
            };
            ledger.handled((item.0, count), &stamps, report.clock, received);
        }
    }

    /// Tells the ledger of what happened since it was told last.
    pub(super) fn account_events(&mut self) {
        let Some(ledger) = &mut self.ledger else {
            // Nobody asks.
            while self.queue.poll_gone().is_some() {}
            return;
        };
        let mut gone = GoneItems {
            queue: &mut self.queue,
            bodies: &self.bodies,
            name: &self.name,
        };
        for event in &self.events[self.accounted..] {
            match event {
                Event::Acked { at, first, count } => ledger.acked(first.0, *count, at.0),
                Event::Failed(failed) => ledger.failed(&Failed {
                    first: failed.first.0,
                    count: failed.count,
                    now: failed.at.0,
                    outcome: attempt_outcome(failed.reason),
                    error: Arc::clone(&failed.error),
                    dead: failed.next == Next::Dead,
                }),
                Event::Released { first, count, .. } => ledger.released(first.0, *count),
                Event::Expired { at, first, count } => {
                    let items = (first.0, *count);
                    gone.account(ledger, (*at, Outcome::Expired), items);
                }
                Event::Cancelled { at, first, count } => {
                    let items = (first.0, *count);
                    gone.account(ledger, (*at, Outcome::Cancelled), items);
                }
                Event::Discarded { first, count, .. } | Event::Redriven { first, count, .. } => {
                    ledger.forget(first.0, *count);
                }
                _ => {}
            }
        }
        self.accounted = self.events.len();
    }

    /// The last word of a turn.
    pub(super) fn account_turn(&mut self) {
        self.account_events();
        let stall = self.stall();
        if let Some(ledger) = &mut self.ledger {
            ledger.stalled(self.now.0, stall);
        }
    }

    /// Why what is ready is not handed out.
    fn stall(&self) -> Option<Stall> {
        if self.queue.ready_items() == 0 {
            return None;
        }
        let demand = self.consumers.demand();
        if self.queue.config().paused {
            Some(Stall::Paused)
        } else if demand.consumers == 0 && self.waiting.is_empty() {
            Some(Stall::NoConsumer)
        } else if demand.credit == 0 && self.waiting.is_empty() {
            Some(Stall::NoCredit)
        } else {
            None
        }
    }

    /// Everything up to here is durable since `now`.
    pub(super) fn account_durable(&mut self, durable: CommitPosition, now: Timestamp) {
        if durable == self.accounted_to {
            return;
        }
        self.accounted_to = durable;
        let Some(ledger) = &mut self.ledger else {
            return;
        };
        let oldest = self.queue.oldest_unsettled().0;
        ledger.durable(durable.0, now.0, oldest, &mut self.kept);
        self.active.note(now);
        self.give_traces();
    }

    /// Hands on what is worth a trace.
    pub(super) fn give_traces(&mut self) {
        let sink = self
            .shared
            .accounting
            .as_ref()
            .and_then(|accounting| accounting.sink.as_ref());
        for (account, kept) in self.kept.drain(..) {
            if let Some(sink) = sink {
                sink.keep(account, kept);
            }
        }
    }
}

/// Where items that are gone without an attempt are asked for.
struct GoneItems<'a> {
    queue: &'a mut Queue,
    /// As long as they are there.
    bodies: &'a Bodies,
    name: &'a str,
}

impl GoneItems<'_> {
    fn account(
        &mut self,
        ledger: &mut Ledger,
        (at, outcome): (Timestamp, Outcome),
        (first, count): (u64, u32),
    ) {
        let end = first + u64::from(count);
        let mut left = GONE_STAMPS_MAX;
        while let Some(run) = self.queue.poll_gone_within(ItemId(first), ItemId(end)) {
            let ids = (run.first.0..).take(left.min(run.count as usize));
            let read = |item| {
                let body = self.bodies.get(item);
                body.map(|body| stamps(&body, self.name, ItemId(item)))
            };
            let items: Vec<_> = ids.map(|item| read(item).unwrap_or_default()).collect();
            left -= items.len();
            ledger.gone(&Gone {
                first: run.first.0,
                count: run.count,
                items: &items,
                outcome,
                number: run.attempts + 1,
                forgiven: run.forgiven,
                taken_in: run.published_at.0,
                since: run.waiting_since.0,
                ready: run.ready_at.0,
                now: at.0,
                origin: run.origin.map(shift),
            });
        }
    }
}

/// What an item says of itself.
pub(super) fn stamps(body: &[u8], queue: &str, item: ItemId) -> ItemStamps {
    let provenance = provenance(body);
    let traced = !provenance.traceparent.is_empty();
    let read = || ItemContext::read(provenance.traceparent, provenance.tracestate, queue, item.0);
    ItemStamps {
        created_ns: provenance.created_ns,
        context: traced.then(read).flatten(),
    }
}

pub(super) const fn shift(origin: Origin) -> Shift {
    Shift {
        ns: origin.shift_ns,
        error_ns: origin.error_ns,
    }
}

pub(super) const fn attempt_outcome(reason: FailureReason) -> AttemptOutcome {
    match reason {
        FailureReason::Nacked => AttemptOutcome::Nacked,
        FailureReason::LeaseExpired => AttemptOutcome::LeaseExpired,
        FailureReason::ConsumerGone => AttemptOutcome::ConsumerGone,
        FailureReason::Rejected => AttemptOutcome::Rejected,
        FailureReason::BrokerRestarted => AttemptOutcome::BrokerRestarted,
    }
}
