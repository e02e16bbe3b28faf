//! When each span of an item begins and ends, in whole microseconds.
//!
//! Jaeger's critical path takes a span for what the next one waited for only if it ends *before* that begins, and its clock
//! ticks microseconds. So each stage ends one microsecond before the next one begins. A stage that is too short for that
//! gets the one microsecond it begins in, and what follows moves on by as much as is needed; the next longer stage takes
//! that up. So nothing is off by more than a microsecond for each short stage in a row, order and nesting always hold, and
//! the exact times are in the attributes of `item`.

use crate::account::{Account, Attempt, AttemptEnd, AttemptOutcome, End, Outcome};

const NS_PER_US: u64 = 1000;

/// Whole microseconds since the Unix epoch; a span may begin and end in the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interval {
    start: u64,
    end: u64,
}

impl Interval {
    pub(super) const fn start_ns(self) -> u64 {
        self.start.saturating_mul(NS_PER_US)
    }

    pub(super) const fn end_ns(self) -> u64 {
        self.end.saturating_mul(NS_PER_US)
    }
}

/// See the module. None: there is no such span.
#[derive(Debug)]
pub(super) struct Timeline {
    pub(super) item: Interval,
    pub(super) create: Option<Interval>,
    pub(super) store: Option<Interval>,
    /// In the account's order.
    pub(super) attempts: Vec<AttemptTimeline>,
    /// `dead-letter` or `expire`.
    pub(super) last: Option<Interval>,
}

/// Of one attempt.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AttemptTimeline {
    pub(super) scheduled: Option<Interval>,
    pub(super) queue: Option<Interval>,
    pub(super) deliver: Option<Interval>,
    pub(super) process: Option<Interval>,
    pub(super) ack: Option<Interval>,
    pub(super) settle: Option<Interval>,
}

/// A child of `item`, before it was fitted in between its siblings.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    what: What,
    start_ns: u64,
    end_ns: u64,
}

/// Of attempts: with the place in the account.
#[derive(Clone, Copy, Debug)]
enum What {
    Create,
    Store,
    Scheduled(usize),
    Queue(usize),
    Deliver(usize),
    Settle(usize),
    Last,
}

impl Timeline {
    /// `with_clients`: the spans that clients did not write, too.
    pub(super) fn of(account: &Account, end: End, with_clients: bool) -> Self {
        let begin = us(account.begin());
        let mut timeline = Self {
            item: Interval {
                start: begin,
                end: us(end.at).max(begin),
            },
            create: None,
            store: None,
            attempts: vec![AttemptTimeline::default(); account.attempts.len()],
            last: None,
        };
        let stretches = stretches(account, end, with_clients);
        let mut free = begin;
        for (index, stretch) in stretches.iter().enumerate() {
            let next = stretches.get(index + 1);
            let until = next.map_or(u64::MAX, |next| us(next.start_ns).saturating_sub(1));
            let start = us(stretch.start_ns).max(free);
            let end = us(stretch.end_ns).min(until).max(start);
            let mut placed = Interval { start, end };
            if let (What::Deliver(index), true) = (stretch.what, with_clients) {
                let attempt = &mut timeline.attempts[index];
                placed = attempt.fit_clients(&account.attempts[index], stretch.end_ns, placed);
            }
            *timeline.place(stretch.what) = Some(placed);
            timeline.item.end = timeline.item.end.max(placed.end);
            free = placed.end + 1;
        }
        if with_clients && is_created_here(account) {
            let until = |store: Interval| Interval {
                start: begin,
                end: store.end,
            };
            timeline.create = timeline.create.or_else(|| timeline.store.map(until));
        }
        timeline
    }

    /// How many there are.
    pub(super) fn spans(&self) -> u64 {
        let of_item = [self.create, self.store, self.last];
        let of_attempts = self.attempts.iter().flat_map(|of| {
            let brokers = [of.scheduled, of.queue, of.deliver, of.settle];
            brokers.into_iter().chain([of.process, of.ack])
        });
        let others = of_item.into_iter().chain(of_attempts).flatten();
        1 + others.count() as u64
    }

    const fn place(&mut self, what: What) -> &mut Option<Interval> {
        match what {
            What::Create => &mut self.create,
            What::Store => &mut self.store,
            What::Scheduled(index) => &mut self.attempts.as_mut_slice()[index].scheduled,
            What::Queue(index) => &mut self.attempts.as_mut_slice()[index].queue,
            What::Deliver(index) => &mut self.attempts.as_mut_slice()[index].deliver,
            What::Settle(index) => &mut self.attempts.as_mut_slice()[index].settle,
            What::Last => &mut self.last,
        }
    }
}

impl AttemptTimeline {
    /// Fits `process` and `ack` into `deliver`, which grows where they need it. `over_ns`: the attempt's end.
    fn fit_clients(&mut self, attempt: &Attempt, over_ns: u64, deliver: Interval) -> Interval {
        let Some(handled) = attempt.handled else {
            return deliver;
        };
        let started = us(handled.started.min(over_ns)).max(deliver.start);
        let ended = us(handled.ended.min(over_ns));
        let process = if attempt.end.as_ref().is_some_and(is_settled) {
            let sent = ended.max(started + 1);
            let ack = Interval {
                start: sent,
                end: deliver.end.max(sent),
            };
            self.ack = Some(ack);
            Interval {
                start: started,
                end: sent - 1,
            }
        } else {
            Interval {
                start: started,
                end: ended.max(started),
            }
        };
        self.process = Some(process);
        let last = self.ack.unwrap_or(process);
        Interval {
            start: deliver.start,
            end: deliver.end.max(last.end),
        }
    }
}

const fn us(ns: u64) -> u64 {
    ns / NS_PER_US
}

/// Whether its consumer said how it went.
pub(super) const fn is_settled(end: &AttemptEnd) -> bool {
    matches!(
        end.outcome,
        AttemptOutcome::Acked | AttemptOutcome::Nacked | AttemptOutcome::Rejected
    )
}

/// A redriven item was created in another trace.
const fn is_created_here(account: &Account) -> bool {
    account.created.is_some() && account.before_redrive.is_none()
}

/// Children of `item` that follow each other, in order.
fn stretches(account: &Account, end: End, with_clients: bool) -> Vec<Stretch> {
    let mut stretches = Vec::with_capacity(3 + 4 * account.attempts.len());
    let mut add = |what, start_ns, end_ns| {
        stretches.push(Stretch {
            what,
            start_ns,
            end_ns,
        });
    };
    match (account.durable, account.created) {
        (Some(durable), _) => add(What::Store, account.received, durable),
        (None, Some((created, _))) if with_clients && is_created_here(account) => {
            add(What::Create, created, account.received);
        }
        (None, _) => {}
    }
    let mut over = end.at;
    for (index, attempt) in account.attempts.iter().enumerate() {
        over = add_attempt(index, attempt, end.at, &mut add);
    }
    if matches!(
        end.outcome,
        Outcome::Dead | Outcome::Discarded | Outcome::Expired
    ) {
        add(What::Last, over.min(end.at), end.at);
    }
    stretches
}

/// Answers when it was over; `end`: of the item.
fn add_attempt(
    index: usize,
    attempt: &Attempt,
    end: u64,
    add: &mut impl FnMut(What, u64, u64),
) -> u64 {
    let waited = attempt.leased.unwrap_or(end);
    if attempt.ready > attempt.since {
        add(
            What::Scheduled(index),
            attempt.since,
            attempt.ready.min(waited),
        );
    }
    if attempt.leased.is_some() || waited > attempt.ready {
        add(What::Queue(index), attempt.ready, waited);
    }
    let Some(leased) = attempt.leased else {
        return end;
    };
    match &attempt.end {
        Some(over) if is_settled(over) => {
            add(What::Deliver(index), leased, over.at);
            add(What::Settle(index), over.at, over.durable);
            over.durable
        }
        Some(over) => {
            add(What::Deliver(index), leased, over.durable);
            over.durable
        }
        None => {
            add(What::Deliver(index), leased, end);
            end
        }
    }
}
