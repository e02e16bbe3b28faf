//! The spans that clients did not write, since nobody had asked them to: the broker knows when they happened.

use std::sync::Arc;

use baton_telemetry::names;
use baton_telemetry::otlp::{SpanKind, Value};
use baton_telemetry::trace_context::{ItemSpan, SpanId};

use super::Scene;
use super::draft::{Draft, Output, service};
use super::timeline::Interval;
use crate::account::{Attempt, AttemptOutcome};
use crate::party::Party;

impl<'a> Scene<'a> {
    /// All of them that are in the timeline, in the order of the item's life.
    pub(super) fn write_clients(&self, output: &mut Output) {
        if let Some(during) = self.timeline.create {
            let producer = self.account.producer.as_ref();
            self.write(&self.create(during), Some(&service(producer)), output);
        }
        for (attempt, times) in self.account.attempts.iter().zip(&self.timeline.attempts) {
            let process = times.process.map(|it| self.process(attempt, it));
            let ack = times.ack.map(|it| self.ack(attempt, it));
            for draft in process.into_iter().chain(ack) {
                let consumer = attempt.consumer.as_ref();
                self.write(&draft, Some(&service(consumer)), output);
            }
        }
    }

    /// Of the `create` that is made up, or that the producer had the id of.
    pub(super) fn create_id(&self) -> SpanId {
        let made_up = || self.context.span(ItemSpan::Create, 0);
        self.context.creation.unwrap_or_else(made_up)
    }

    fn create(&self, during: Interval) -> Draft<'a> {
        let operation = names::OPERATION_CREATE;
        let mut draft = self.draft(operation, SpanKind::Producer, self.create_id(), during);
        draft.set_synthesized(operation, self.account.producer.as_ref());
        draft
    }

    fn process(&self, attempt: &'a Attempt, during: Interval) -> Draft<'a> {
        let operation = names::OPERATION_PROCESS;
        let span = (ItemSpan::Process, attempt);
        let mut draft = self.of_attempt(operation, SpanKind::Consumer, span, during);
        draft.set_synthesized(operation, attempt.consumer.as_ref());
        draft.set_failure(attempt);
        self.set_delivery(&mut draft, attempt);
        draft
    }

    fn ack(&self, attempt: &'a Attempt, during: Interval) -> Draft<'a> {
        let acked = |end| end == AttemptOutcome::Acked;
        let operation = match &attempt.end {
            Some(end) if acked(end.outcome) => names::OPERATION_ACK,
            _ => names::OPERATION_NACK,
        };
        let span = (ItemSpan::Ack, attempt);
        let mut draft = self.of_attempt(operation, SpanKind::Client, span, during);
        draft.set_synthesized(names::OPERATION_SETTLE, attempt.consumer.as_ref());
        self.set_delivery(&mut draft, attempt);
        draft
    }

    /// Within the attempt's `deliver`, and about what the producer made.
    fn set_delivery(&self, draft: &mut Draft<'a>, attempt: &Attempt) {
        draft.parent = Some(self.context.span(ItemSpan::Deliver, attempt.number));
        draft.link = self.creation_link();
    }
}

impl<'a> Draft<'a> {
    /// `operation_type`: in OpenTelemetry's words.
    fn set_synthesized(&mut self, operation_type: &'a str, client: Option<&'a Arc<Party>>) {
        self.parent_is_remote = true;
        self.set_text(names::MESSAGING_OPERATION_TYPE, operation_type);
        self.set_client(client);
        self.set(names::MESSAGING_BATON_SYNTHESIZED, Value::Bool(true));
    }
}
