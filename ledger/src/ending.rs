//! The end of attempts and items: every stage is recorded, and what is worth it is kept.

use std::sync::Arc;

use baton_telemetry::stage::Stage;
use baton_telemetry::windows::Exemplar;

use crate::account::{Account, AttemptOutcome, Outcome};
use crate::budget::Dropped;
use crate::finished::Ended;
use crate::ledger::{KeptAccounts, Ledger};
use crate::sampling::Kept;
use crate::slowest::{Entry, Times};
use crate::stamps;

/// What one item's attempt took, as far as it is the item's own.
#[derive(Clone, Copy, Debug, Default)]
struct Own {
    publish: u64,
    deliver: u64,
    prefetch: u64,
    process: u64,
    settle: u64,
    total: u64,
    error: u64,
}

impl Ended {
    /// How long its producer wanted it to wait, as far as this attempt is the one that did.
    fn asked_delay(&self) -> u64 {
        let facts = &self.run.facts;
        if facts.number == 1 {
            facts.wait.scheduled_ns()
        } else {
            0
        }
    }
}

impl Ledger {
    /// The ending of leased items is durable.
    pub(crate) fn finish(&mut self, mut ended: Ended, now: u64, kept: &mut KeptAccounts) {
        let end = ended.run.end();
        while ended.run.first < end {
            let (first, number) = (ended.run.first, ended.run.facts.number);
            let (arrival, to) = self.arrivals.stretch(first, end);
            ended.arrival = arrival.cloned();
            let (floor, to) = self.floor_alike(number, first, to);
            if to == end {
                ended.settle(floor, now);
                return self.finish_alike(ended, kept);
            }
            let rest = ended.cut(to);
            ended.settle(floor, now);
            self.finish_alike(ended, kept);
            ended = rest;
        }
    }

    /// Items that came together, and whose last wait began together.
    fn finish_alike(&mut self, ended: Ended, kept: &mut KeptAccounts) {
        let (now, facts) = (ended.durable, &ended.run.facts);
        let mut shared = Times::default();
        if let Some(arrival) = ended.arrival.as_ref().filter(|_| facts.forgiven == 0) {
            shared[Stage::Store.index()] = arrival.durable.saturating_sub(arrival.received);
        }
        shared[Stage::Scheduled.index()] = facts.wait.scheduled_ns();
        shared[Stage::Queue.index()] = facts.wait.queued_ns();
        let (mut error_ns, mut publish_ns) = (0, 0);
        for index in 0..ended.run.count as usize {
            let own = self.record(&ended, index);
            error_ns = own.error.max(error_ns);
            publish_ns = own.publish.max(publish_ns);
            self.judge((&ended, index), &shared, own, kept);
        }
        for stage in [Stage::Deliver, Stage::Settle] {
            self.series.note_error(stage, now, error_ns);
        }
        let arrival = ended.arrival.as_ref();
        let origin = arrival.map_or(facts.origin, |arrival| arrival.clock);
        let error_ns = origin.map_or(0, |clock| clock.error_before(publish_ns));
        self.series.note_error(Stage::Total, now, error_ns);
        if ended.how.item == Some(Outcome::Acked) {
            self.arrivals.acked(ended.run.first, ended.run.count);
        }
        if ended.how.item.is_some() {
            self.finished.push(ended, self.shared.finished_max);
        }
    }

    /// Records one item's own stages.
    fn record(&mut self, ended: &Ended, index: usize) -> Own {
        let (now, run) = (ended.durable, &ended.run);
        let leased = run.facts.wait.leased;
        let mut own = Own::default();
        let handled = run.report.as_ref().and_then(|report| {
            stamps::handled(report.stamps.at(index), report.clock, (leased, ended.at))
        });
        match handled {
            Some(handled) => {
                own.deliver = handled.received - leased;
                own.prefetch = handled.started - handled.received;
                own.process = handled.ended - handled.started;
                own.settle = now - handled.ended;
                own.error = handled.error_ns;
                self.series.record(Stage::Deliver, now, (own.deliver, 1));
                self.series.record(Stage::Prefetch, now, (own.prefetch, 1));
                self.series.record(Stage::Process, now, (own.process, 1));
                self.series.record(Stage::Settle, now, (own.settle, 1));
            }
            // Its consumer never answered: that is no work, as far as anyone knows.
            None if ended.how.attempt.is_some_and(AttemptOutcome::is_lost) => {
                own.deliver = now - leased;
                self.series.record(Stage::Deliver, now, (own.deliver, 1));
            }
            // It said nothing of its time: all of the lease counts as its work.
            None => {
                own.process = now - leased;
                self.series.record(Stage::Process, now, (own.process, 1));
            }
        }
        let (begin, received) = self.began(ended, index);
        own.publish = received - begin;
        own.total = now.saturating_sub(begin);
        if ended.how.item == Some(Outcome::Acked) {
            self.series.record(Stage::Total, now, (own.total, 1));
        }
        own
    }

    /// When an item began, and when it was received, which is the same where its producer said nothing. A redriven one
    /// began when it was redriven.
    fn began(&self, ended: &Ended, index: usize) -> (u64, u64) {
        let run = &ended.run;
        if run.facts.forgiven > 0 {
            let first = self.earlier.of(run.first + index as u64).first();
            let redriven = first.map_or(run.facts.wait.since, |first| first.since);
            return (redriven, redriven);
        }
        let (received, clock) = match &ended.arrival {
            Some(arrival) => (arrival.received, arrival.clock),
            None => (run.facts.taken_in, run.facts.origin),
        };
        let created = stamps::created(run.created.at(index), clock, received);
        (created.map_or(received, |(at, _)| at), received)
    }

    /// Keeps what is worth it.
    fn judge(
        &mut self,
        (ended, index): (&Ended, usize),
        shared: &Times,
        own: Own,
        kept: &mut KeptAccounts,
    ) {
        let item = ended.run.first + index as u64;
        let Some(outcome) = ended.how.item else {
            if self.shared.budget.is_over() {
                self.shared.budget.drop_some(Dropped::Attempt, 1);
            } else {
                self.earlier.push(item, ended.attempt(index));
            }
            return;
        };
        let mut times = *shared;
        for (stage, ns) in [
            (Stage::Publish, own.publish),
            (Stage::Deliver, own.deliver),
            (Stage::Prefetch, own.prefetch),
            (Stage::Process, own.process),
            (Stage::Settle, own.settle),
            (Stage::Total, own.total),
        ] {
            times[stage.index()] = ns;
        }
        let undelayed = own.total.saturating_sub(ended.asked_delay());
        let reason = self.reason(ended, index, outcome, undelayed);
        let mut ranked = times;
        ranked[Stage::Total.index()] = undelayed;
        let slow = self.slowest.wants(&ranked);
        let troubled = ended.run.facts.number > 1 || outcome == Outcome::Dead;
        let traceable = reason.is_some() && self.shared.sampling.is_some();
        if !(slow || troubled || traceable) {
            return;
        }
        self.keep((ended, index), (&times, slow, troubled), reason, kept);
    }

    fn keep(
        &mut self,
        (ended, index): (&Ended, usize),
        (times, slow, troubled): (&Times, bool, bool),
        reason: Option<Kept>,
        kept: &mut KeptAccounts,
    ) {
        let now = ended.durable;
        // Before an account is made: a flag that is set on everything must not cost more than this.
        let reason = reason.filter(|_| self.shared.sampling.is_some());
        let traced = reason.is_some_and(|reason| self.shared.limit.take(reason, now));
        if !(slow || troubled || traced) {
            return;
        }
        let account = Arc::new(self.account_of(ended, index));
        if let Some(reason) = reason.filter(|_| traced) {
            self.exemplify(&account, times, now);
            kept.push((Arc::clone(&account), reason));
        }
        if troubled {
            self.troubled.push(&account);
        }
        // Of several attempts the sum counts.
        let mut times = if account.attempts.len() > 1 {
            account.times(now)
        } else {
            *times
        };
        let total = &mut times[Stage::Total.index()];
        *total = total.saturating_sub(account.asked_delay());
        if slow || self.slowest.wants(&times) {
            self.slowest.offer(&times, &Entry { account, traced });
        }
    }

    fn reason(
        &mut self,
        ended: &Ended,
        index: usize,
        outcome: Outcome,
        total: u64,
    ) -> Option<Kept> {
        let settings = self.shared.sampling?;
        let context = ended.run.contexts.at(index);
        if context.is_some_and(|context| context.sampled) {
            return Some(Kept::Head);
        }
        match outcome {
            Outcome::Acked => {}
            Outcome::Dead => return Some(Kept::DeadLetter),
            _ => return Some(Kept::Error),
        }
        if ended.run.facts.number > 1 {
            return Some(Kept::Retry);
        }
        if u128::from(total) > settings.slow.as_nanos() {
            return Some(Kept::Slow);
        }
        self.baseline = self.baseline.saturating_add(1);
        if settings.baseline == 0 || self.baseline < settings.baseline {
            return None;
        }
        self.baseline = 0;
        Some(Kept::Baseline)
    }

    /// Makes an item with a trace the example of what it took.
    pub(crate) fn exemplify(&mut self, account: &Account, times: &Times, now: u64) {
        let Some(context) = account.context else {
            return;
        };
        let acked = account.end.is_some_and(|end| end.outcome == Outcome::Acked);
        for (stage, value_ns) in Stage::ALL.into_iter().zip(times) {
            // An example of a value that was recorded.
            if *value_ns == 0 || (stage == Stage::Total && !acked) {
                continue;
            }
            self.series.exemplar(
                stage,
                Exemplar {
                    trace_id: context.trace_id.bytes(),
                    item: account.item,
                    value_ns: *value_ns,
                    at_ns: now,
                },
            );
        }
    }

    /// What is known of attempts at items that are gone is of no use any more.
    pub fn forget(&mut self, first: u64, count: u32) {
        let end = first.saturating_add(u64::from(count));
        self.earlier.forget(first, end);
        self.resumed.forget(first, end, |_| ());
    }
}
