//! What the ledger should know, kept and added up item by item.

use std::collections::BTreeMap;

use baton_ledger::account::{AttemptOutcome, Outcome};
use baton_ledger::party::Shift;
use baton_ledger::waits::{Stall, Waits};
use baton_ledger::{HandlerStamps, ItemStamps};
use baton_telemetry::stage::Stage;

/// Stage, attempt, beginning and end.
pub(crate) type ExpectedPart = (Stage, u32, u64, u64);

#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) id: u64,
    pub(crate) received: u64,
    pub(crate) taken_in: u64,
    pub(crate) stamps: ItemStamps,
    pub(crate) clock: Option<Shift>,
    pub(crate) durable: Option<u64>,
    pub(crate) forgiven: u32,
    /// By number; those that were released do not count.
    pub(crate) tries: Vec<Try>,
    pub(crate) state: State,
    /// Parts that were finished when it was asked for last.
    pub(crate) seen: Vec<ExpectedPart>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum State {
    Waiting(Wait),
    Leased,
    Dead {
        at: u64,
    },
    Done,
    /// Without an attempt.
    Gone {
        wait: Wait,
        at: u64,
        outcome: Outcome,
    },
}

/// A wait for a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) since: u64,
    pub(crate) ready: u64,
    /// As the queue has it, which takes a release for a beginning.
    pub(crate) queue_ready: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Try {
    /// Attempts before the redrive before it.
    pub(crate) forgiven: u32,
    pub(crate) wait: Wait,
    pub(crate) leased: u64,
    pub(crate) consumer: u8,
    pub(crate) over: Option<Over>,
}

#[derive(Clone, Debug)]
pub(crate) struct Over {
    pub(crate) at: u64,
    pub(crate) outcome: AttemptOutcome,
    pub(crate) report: Option<(HandlerStamps, Option<Shift>)>,
    pub(crate) durable: Option<u64>,
}

/// A wait as it counts: nothing begins before what it follows from was durable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    pub(crate) since: u64,
    pub(crate) ready: u64,
    pub(crate) leased: u64,
}

impl Counted {
    fn after(floor: u64, wait: Wait, leased: u64) -> Self {
        let since = wait.since.max(floor);
        let ready = wait.ready.max(since);
        Self {
            since,
            ready,
            leased: leased.max(ready),
        }
    }
}

/// How many.
pub(crate) fn amount<T>(of: &[T]) -> u32 {
    u32::try_from(of.len()).expect("few")
}

/// Where an item stands, whose ids begin with 1; or an attempt, whose numbers do.
pub(crate) fn index(number: impl Into<u64>) -> usize {
    usize::try_from(number.into() - 1).expect("few")
}

impl Item {
    pub(crate) fn attempt(&self, number: u32) -> &Try {
        &self.tries[index(number)]
    }

    pub(crate) fn over(&self, number: u32) -> &Over {
        let over = self.attempt(number).over.as_ref();
        over.expect("that attempt is over")
    }

    /// Nothing comes after; of a dead letter more may.
    pub(crate) const fn has_ended(&self) -> bool {
        matches!(self.state, State::Done | State::Gone { .. })
    }

    /// When the producer made it, if that is said and can be.
    pub(crate) fn created(&self) -> Option<u64> {
        const WEEK: u64 = 7 * 24 * 3600 * 1_000_000_000;
        let clock = self.clock.filter(|_| self.stamps.created_ns != 0)?;
        let at = self.stamps.created_ns.wrapping_add(clock.ns);
        let possible = at <= self.received + clock.error_ns;
        let at = at.min(self.received);
        (possible && self.received - at <= WEEK).then_some(at)
    }

    /// When the attempt before was durable, else the item; a redrive follows from nothing.
    fn floor(&self, number: u32, forgiven: u32) -> u64 {
        match number - 1 {
            0 => self.durable.expect("it is durable by now"),
            before if before == forgiven => 0,
            before => self.over(before).durable.expect("it is durable by now"),
        }
    }

    pub(crate) fn counted(&self, number: u32) -> Counted {
        let attempt = self.attempt(number);
        self.counted_as((number, attempt.forgiven), attempt.wait, attempt.leased)
    }

    pub(crate) fn counted_as(
        &self,
        (number, forgiven): (u32, u32),
        wait: Wait,
        leased: u64,
    ) -> Counted {
        Counted::after(self.floor(number, forgiven), wait, leased)
    }

    /// Received, started, ended, settle arrived and durable of an attempt that is over.
    pub(crate) fn worked(&self, number: u32) -> (Option<[u64; 3]>, u64) {
        let leased = self.counted(number).leased;
        let over = self.over(number);
        let at = over.at.max(leased);
        let durable = over.durable.expect("it is durable by now").max(at);
        let handled = over
            .report
            .and_then(|(stamps, clock)| handled(stamps, clock, leased, at));
        (handled, durable)
    }

    pub(crate) fn begin(&self) -> u64 {
        match self.forgiven {
            0 => self.created().unwrap_or(self.received),
            forgiven => self.counted(forgiven + 1).since,
        }
    }

    /// Of an item that has ended for good.
    pub(crate) fn parts(&self) -> Vec<ExpectedPart> {
        let mut parts = Vec::new();
        if self.forgiven == 0 {
            parts.push((Stage::Publish, 0, self.begin(), self.received));
            let durable = self.durable.expect("it has ended");
            parts.push((Stage::Store, 0, self.received, durable));
        }
        for number in self.forgiven + 1..=amount(&self.tries) {
            parts.extend(self.parts_of(number));
        }
        if let State::Gone { wait, at, .. } = self.state {
            let number = amount(&self.tries) + 1;
            let counted = self.counted_as((number, self.forgiven), wait, 0);
            let ready = counted.ready.min(at);
            parts.push((Stage::Scheduled, number, counted.since, ready));
            parts.push((Stage::Queue, number, ready, at));
        }
        parts.retain(|(_, _, start, end)| start < end);
        parts
    }

    /// What an attempt counts as whose consumer said nothing of its time.
    pub(crate) fn held(&self, number: u32) -> Stage {
        match self.over(number).outcome {
            AttemptOutcome::Acked | AttemptOutcome::Nacked | AttemptOutcome::Rejected => {
                Stage::Process
            }
            _ => Stage::Deliver,
        }
    }

    fn parts_of(&self, number: u32) -> Vec<ExpectedPart> {
        let wait = self.counted(number);
        let mut parts = vec![
            (Stage::Scheduled, number, wait.since, wait.ready),
            (Stage::Queue, number, wait.ready, wait.leased),
        ];
        match self.worked(number) {
            (Some([received, started, ended]), durable) => parts.extend([
                (Stage::Deliver, number, wait.leased, received),
                (Stage::Prefetch, number, received, started),
                (Stage::Process, number, started, ended),
                (Stage::Settle, number, ended, durable),
            ]),
            (None, durable) => parts.push((self.held(number), number, wait.leased, durable)),
        }
        parts
    }
}

fn handled(
    stamps: HandlerStamps,
    clock: Option<Shift>,
    leased: u64,
    settled: u64,
) -> Option<[u64; 3]> {
    let [received, started, ended] = [stamps.received_ns, stamps.started_ns, stamps.ended_ns];
    if received == 0 || received > started || started > ended {
        return None;
    }
    let (inside, outside) = (ended - received, settled - leased);
    let slack = 100 + outside / 10_000;
    if inside > outside + slack {
        return None;
    }
    let legs = outside.saturating_sub(inside);
    let at = match clock {
        Some(clock) => received.wrapping_add(clock.ns).clamp(leased, leased + legs),
        None => leased + legs / 2,
    };
    let moved = |stamp: u64| (at + (stamp - received)).min(settled);
    Some([at, moved(started), moved(ended)])
}

/// Counts and sums by stage.
#[derive(Debug, Default)]
pub(crate) struct Sums(pub(crate) BTreeMap<Stage, (u64, u128)>);

impl Sums {
    pub(crate) fn add(&mut self, stage: Stage, ns: u64) {
        let sum = self.0.entry(stage).or_default();
        *sum = (sum.0 + 1, sum.1 + u128::from(ns));
    }

    pub(crate) fn add_some(&mut self, stage: Stage, ns: u64) {
        if ns > 0 {
            self.add(stage, ns);
        }
    }
}

/// Since when ready items wait for what.
#[derive(Debug, Default)]
pub(crate) struct Stalls(Vec<(u64, Option<Stall>)>);

impl Stalls {
    pub(crate) fn note(&mut self, now: u64, stall: Option<Stall>) {
        self.0.push((now, stall));
    }

    pub(crate) fn between(&self, from: u64, to: u64) -> Waits {
        let mut waits = Waits::default();
        let ends = self.0.iter().skip(1).map(|(at, _)| *at).chain([u64::MAX]);
        for ((start, stall), end) in self.0.iter().zip(ends) {
            let ns = end.min(to).saturating_sub((*start).max(from));
            match stall {
                Some(Stall::Paused) => waits.paused += ns,
                Some(Stall::NoConsumer) => waits.no_consumer += ns,
                Some(Stall::NoCredit) => waits.no_credit += ns,
                None => {}
            }
        }
        waits
    }
}
