//! The spans that are the broker's own.

use baton_telemetry::names;
use baton_telemetry::otlp::{SpanKind, Value};
use baton_telemetry::stage::Stage;
use baton_telemetry::trace_context::ItemSpan;

use super::draft::{Draft, ItemSpanOf, Output};
use super::timeline::Interval;
use super::{Kept, Scene, failure};
use crate::account::{Attempt, Handled, Outcome};
use crate::verdict::Reason;

/// Why an item expired: the only reason there is.
const TIME_TO_LIVE: &str = "time_to_live";

impl<'a> Scene<'a> {
    /// All of them, in the order of the item's life; `item` first.
    pub(super) fn write_brokers(&self, kept: Option<Kept>, output: &mut Output) {
        self.write(&self.item(kept), None, output);
        let store = self.timeline.store.map(|during| self.store(during));
        let last = self.timeline.last.map(|during| self.last(during));
        let attempts = self.account.attempts.iter().zip(&self.timeline.attempts);
        let attempts = attempts.flat_map(|(attempt, times)| {
            let scheduled = times.scheduled.map(|it| self.scheduled(attempt, it));
            let queue = times.queue.map(|it| self.queue(attempt, it));
            let deliver = times.deliver.map(|it| self.deliver(attempt, it));
            let settle = times.settle.map(|it| self.settle(attempt, it));
            [scheduled, queue, deliver, settle].into_iter().flatten()
        });
        for draft in store.into_iter().chain(attempts).chain(last) {
            self.write(&draft, None, output);
        }
    }

    fn item(&self, kept: Option<Kept>) -> Draft<'a> {
        let account = self.account;
        let during = self.timeline.item;
        let operation = names::OPERATION_ITEM;
        let mut draft = self.draft(operation, SpanKind::Internal, self.context.item, during);
        // The ambient span of an item that is not sampled is recorded nowhere.
        draft.parent = self.context.parent.filter(|_| self.context.sampled);
        draft.parent_is_remote = true;
        draft.set_client(account.producer.as_ref());
        let outcome = self.end.outcome;
        draft.set_text(names::MESSAGING_BATON_OUTCOME, outcome.name());
        draft.set_number(names::MESSAGING_BATON_ATTEMPTS, self.attempts());
        if let Some(kept) = kept {
            draft.set_text(names::MESSAGING_BATON_SAMPLED_BY, kept.name());
        }
        for stage in Stage::ALL {
            draft.set_ms(names::stage_ms(stage), account.stage_ns(stage, self.end.at));
        }
        let error_us = self.error_ns().div_ceil(1000);
        let error_us = i64::try_from(error_us).unwrap_or(i64::MAX);
        draft.set_number(names::MESSAGING_BATON_CLOCK_ERROR_US, error_us);
        if account.restarted.is_some_and(|at| account.begin() < at) {
            draft.set(names::MESSAGING_BATON_CLOCK_APPROXIMATE, Value::Bool(true));
        }
        if outcome != Outcome::Acked {
            draft.set_text(names::ERROR_TYPE, outcome.name());
            draft.error = Some(outcome.name().to_owned());
        }
        draft.link = account.before_redrive.map(|context| ItemSpanOf {
            context,
            span_id: context.item,
        });
        draft
    }

    /// How often it was handed out.
    fn attempts(&self) -> u32 {
        let leased = |attempt: &&Attempt| attempt.leased.is_some();
        let last = self.account.attempts.iter().rfind(leased);
        last.map_or(0, |attempt| attempt.number)
    }

    /// No part of the item is further off.
    fn error_ns(&self) -> u64 {
        let handled = self.account.attempts.iter().filter_map(|it| it.handled);
        let created = self.account.created.map_or(0, |(_, error)| error);
        let errors = handled.map(|handled: Handled| handled.error_ns);
        errors.fold(created, u64::max)
    }

    fn store(&self, during: Interval) -> Draft<'a> {
        let id = self.context.span(ItemSpan::Store, 0);
        let mut draft = self.draft(names::OPERATION_STORE, SpanKind::Server, id, during);
        draft.set_client(self.account.producer.as_ref());
        draft.event = Some(names::EVENT_DURABLE);
        draft.link = self.creation_link();
        draft
    }

    pub(super) fn creation_link(&self) -> Option<ItemSpanOf> {
        let context = self.context;
        self.creation()
            .map(|span_id| ItemSpanOf { context, span_id })
    }

    /// Of one attempt.
    pub(super) fn of_attempt(
        &self,
        operation: &'static str,
        kind: SpanKind,
        (span, attempt): (ItemSpan, &Attempt),
        during: Interval,
    ) -> Draft<'a> {
        let id = self.context.span(span, attempt.number);
        let mut draft = self.draft(operation, kind, id, during);
        draft.set_number(names::MESSAGING_BATON_ATTEMPT, attempt.number);
        draft
    }

    fn scheduled(&self, attempt: &'a Attempt, during: Interval) -> Draft<'a> {
        let span = (ItemSpan::Scheduled, attempt);
        self.of_attempt(names::OPERATION_SCHEDULED, SpanKind::Internal, span, during)
    }

    fn queue(&self, attempt: &'a Attempt, during: Interval) -> Draft<'a> {
        let span = (ItemSpan::Queue, attempt);
        let mut draft = self.of_attempt(names::OPERATION_QUEUE, SpanKind::Internal, span, during);
        let waited = attempt.leased.unwrap_or(self.end.at);
        let wait_ns = waited.saturating_sub(attempt.ready);
        let shares = Reason::shares(&attempt.waits, wait_ns.into());
        let reason = shares[0].0.name();
        draft.set_text(names::MESSAGING_BATON_WAIT_REASON, reason);
        for (reason, ns) in shares {
            let ns = u64::try_from(ns).unwrap_or(u64::MAX);
            draft.set_ms(reason.attribute(), ns);
        }
        draft
    }

    fn deliver(&self, attempt: &'a Attempt, during: Interval) -> Draft<'a> {
        let span = (ItemSpan::Deliver, attempt);
        let mut draft = self.of_attempt(names::OPERATION_DELIVER, SpanKind::Client, span, during);
        draft.set_client(attempt.consumer.as_ref());
        draft.set_outcome(attempt);
        draft
    }

    fn settle(&self, attempt: &'a Attempt, during: Interval) -> Draft<'a> {
        let span = (ItemSpan::Settle, attempt);
        let mut draft = self.of_attempt(names::OPERATION_SETTLE, SpanKind::Server, span, during);
        draft.set_client(attempt.consumer.as_ref());
        if let Some(end) = &attempt.end {
            draft.set_text(names::MESSAGING_BATON_OUTCOME, end.outcome.name());
        }
        draft
    }

    fn last(&self, during: Interval) -> Draft<'a> {
        let last = self.account.attempts.last();
        let failed = last.and_then(|attempt| attempt.end.as_ref());
        let (operation, span, reason) = match self.end.outcome {
            Outcome::Expired => (
                names::OPERATION_EXPIRE,
                ItemSpan::Expire,
                Some(TIME_TO_LIVE),
            ),
            _ => (
                names::OPERATION_DEAD_LETTER,
                ItemSpan::DeadLetter,
                failed.map(|end| end.outcome.name()),
            ),
        };
        let id = self.context.span(span, 0);
        let mut draft = self.draft(operation, SpanKind::Internal, id, during);
        if let Some(reason) = reason {
            draft.set_text(names::MESSAGING_BATON_REASON, reason);
        }
        draft.set_number(names::MESSAGING_BATON_ATTEMPTS, self.attempts());
        draft
    }
}

impl<'a> Draft<'a> {
    /// What became of the attempt; an error unless it was acknowledged.
    fn set_outcome(&mut self, attempt: &'a Attempt) {
        let Some(end) = &attempt.end else { return };
        self.set_text(names::MESSAGING_BATON_OUTCOME, end.outcome.name());
        self.set_failure(attempt);
    }

    /// Nothing, where it was acknowledged.
    pub(super) fn set_failure(&mut self, attempt: &'a Attempt) {
        let Some(end) = &attempt.end else { return };
        self.error = failure(end);
        if self.error.is_some() {
            self.set_text(names::ERROR_TYPE, end.outcome.name());
        }
    }
}
