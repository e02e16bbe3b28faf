//! One span in the making, and those that are written.

use std::sync::Arc;

use baton_telemetry::names;
use baton_telemetry::otlp::{Attribute, Link, Span, SpanEvent, SpanKind, Spans, Value};
use baton_telemetry::trace_context::{ItemContext, SpanId};

use super::Scene;
use super::timeline::Interval;
use crate::party::Party;

/// What OpenTelemetry calls a service that did not say its name.
const UNKNOWN_SERVICE: &str = "unknown_service";

/// A span with its attributes.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) id: SpanId,
    pub(super) parent: Option<SpanId>,
    pub(super) parent_is_remote: bool,
    pub(super) operation: &'static str,
    pub(super) kind: SpanKind,
    pub(super) during: Interval,
    pub(super) event: Option<&'static str>,
    pub(super) link: Option<ItemSpanOf>,
    pub(super) error: Option<String>,
    attributes: Vec<Attribute<'a>>,
}

/// A span, maybe of another trace.
#[derive(Clone, Copy, Debug)]
pub(super) struct ItemSpanOf {
    pub(super) context: ItemContext,
    pub(super) span_id: SpanId,
}

impl<'a> Draft<'a> {
    pub(super) fn set(&mut self, key: &'a str, value: Value<'a>) {
        self.attributes.push(Attribute { key, value });
    }

    pub(super) fn set_text(&mut self, key: &'a str, text: &'a str) {
        self.set(key, Value::Str(text));
    }

    pub(super) fn set_number(&mut self, key: &'a str, number: impl Into<i64>) {
        self.set(key, Value::Int(number.into()));
    }

    /// As a fraction, so that a microsecond is still seen.
    pub(super) fn set_ms(&mut self, key: &'a str, ns: u64) {
        self.set(key, Value::Double(ns as f64 / 1e6));
    }

    /// Whose part it was, where that is known.
    pub(super) fn set_client(&mut self, client: Option<&'a Arc<Party>>) {
        if let Some(client) = client {
            self.set_text(names::MESSAGING_CLIENT_ID, &client.client_id);
        }
    }
}

impl<'a> Scene<'a> {
    /// With what all spans say of themselves; a child of `item`.
    pub(super) fn draft(
        &self,
        operation: &'static str,
        kind: SpanKind,
        id: SpanId,
        during: Interval,
    ) -> Draft<'a> {
        let mut draft = Draft {
            id,
            parent: Some(self.context.item),
            parent_is_remote: false,
            operation,
            kind,
            during,
            event: None,
            link: None,
            error: None,
            attributes: Vec::with_capacity(24),
        };
        draft.set_text(names::MESSAGING_SYSTEM, names::SYSTEM);
        draft.set_text(names::MESSAGING_DESTINATION_NAME, &self.account.queue);
        draft.set_text(names::MESSAGING_OPERATION_NAME, operation);
        draft.set_text(names::MESSAGING_MESSAGE_ID, self.item_id);
        if !self.identity.server_address.is_empty() {
            draft.set_text(names::SERVER_ADDRESS, &self.identity.server_address);
            draft.set_number(names::SERVER_PORT, self.identity.server_port);
        }
        draft
    }

    /// Encodes it among those of its service; None: the broker.
    pub(super) fn write(&self, draft: &Draft<'_>, service: Option<&Arc<str>>, output: &mut Output) {
        let end_ns = draft.during.end_ns();
        let event = draft.event.map(|name| SpanEvent {
            name,
            at_ns: end_ns,
        });
        let link = draft.link.map(|of| Link {
            trace_id: of.context.trace_id,
            span_id: of.span_id,
            attributes: &[],
        });
        output.of(service).push(&Span {
            trace_id: self.context.trace_id,
            span_id: draft.id,
            parent: draft.parent,
            parent_is_remote: draft.parent_is_remote,
            tracestate: "",
            name: (draft.operation, &self.account.queue),
            kind: draft.kind,
            start_ns: draft.during.start_ns(),
            end_ns,
            attributes: &draft.attributes,
            events: event.as_slice(),
            links: link.as_slice(),
            error: draft.error.as_deref(),
        });
    }
}

/// Under which service's name a client's spans go.
pub(super) fn service(client: Option<&Arc<Party>>) -> Arc<str> {
    match client {
        Some(client) if !client.service.is_empty() => Arc::clone(&client.service),
        _ => UNKNOWN_SERVICE.into(),
    }
}

/// Encoded spans by service, each once, in the order of their first span.
#[derive(Debug, Default)]
pub(super) struct Output {
    services: Vec<Spans>,
}

impl Output {
    fn of(&mut self, service: Option<&Arc<str>>) -> &mut Spans {
        let known = self
            .services
            .iter()
            .position(|spans| spans.service.as_ref() == service);
        let index = known.unwrap_or_else(|| {
            self.services.push(Spans::of(service.cloned()));
            self.services.len() - 1
        });
        &mut self.services[index]
    }

    pub(super) fn into_spans(self) -> Vec<Spans> {
        self.services
    }
}
