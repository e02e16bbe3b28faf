//! How a consumer gets an item's trace context out, and the span of its work.
//!
//! Owns the context of one delivery, made when it is first asked for or when a sampled item is settled. If the item is
//! sampled and somebody traces here, it holds the `process` span: from the handler's start to the settle, below the
//! broker's `deliver` span of this attempt (below the creation context where the broker does not trace), linked to the
//! creation context and to the span around the consumer. Otherwise it passes on ids that fit: a user's spans are then part
//! of the item's trace, and not roots of their own.

use std::sync::OnceLock;
use std::time::SystemTime;

use baton_telemetry::names;
use baton_telemetry::trace_context::{
    ItemContext, ItemSpan, SpanId as OwnSpanId, TRACESTATE_KEY, TraceParent,
};
use opentelemetry::global::BoxedTracer;
use opentelemetry::trace::{
    Link, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId,
    TraceState, Tracer as _,
};
use opentelemetry::{Context as OtelContext, KeyValue};

use super::ambient;
use super::attributes::{Operation, error_type, message_id};
use super::scope::Scope;
use super::settling::Settlement;
use super::wall_time;

/// A delivery, as far as it matters here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) item_id: u64,
    pub(crate) attempt: u32,
    /// The delivery's own, after a redrive; else empty.
    pub(crate) item_span: &'a str,
    /// The item's, as created.
    pub(crate) traceparent: &'a str,
    /// The item's, as created.
    pub(crate) tracestate: &'a str,
    /// The broker makes a `deliver` span.
    pub(crate) broker_traces: bool,
    /// When the handler began.
    pub(crate) started_ns: u64,
}

/// How a handler ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Verdict<'a> {
    Acked,
    Nacked {
        error_type: &'static str,
        error: &'a str,
    },
    /// No handler saw the item.
    Unstarted,
}

impl Verdict<'_> {
    pub(crate) fn error_type(self) -> Option<&'static str> {
        match self {
            Self::Nacked { error_type, .. } => Some(error_type),
            Self::Acked | Self::Unstarted => None,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Work {
    begun: OnceLock<Option<Begun>>,
}

#[derive(Debug)]
struct Begun {
    context: OtelContext,
    /// Of a `process` span of ours that is recorded, and is the context's: its parent.
    recorded_below: Option<SpanContext>,
}

impl Work {
    /// None: the item came without a trace context.
    pub(crate) fn context(&self, scope: &Scope, subject: Subject<'_>) -> Option<&OtelContext> {
        let begun = self.begun.get_or_init(|| begin(scope, subject));
        begun.as_ref().map(|begun| &begun.context)
    }

    /// The delivery is settled: ends the `process` span, and begins that of the settle.
    pub(crate) fn end(
        &self,
        scope: &Scope,
        subject: Subject<'_>,
        verdict: Verdict<'_>,
    ) -> Option<Box<Settlement>> {
        let tracer = scope.tracer()?;
        if self.begun.get().is_none() {
            if matches!(verdict, Verdict::Unstarted) || !subject.is_sampled() {
                return None;
            }
            self.context(scope, subject);
        }
        let begun = self.begun.get()?.as_ref()?;
        let parent = begun.recorded_below.clone()?;
        let process = begun.context.span();
        if let Verdict::Nacked {
            error_type: name,
            error,
        } = verdict
        {
            process.set_attribute(error_type(name));
            process.set_status(Status::error(error.to_owned()));
        }
        let clock = scope.broker_time.attributes().collect::<Vec<_>>();
        for attribute in &clock {
            process.set_attribute(attribute.clone());
        }
        process.end_with_timestamp(SystemTime::now());
        let operation = match verdict {
            Verdict::Acked => Operation::ACK,
            Verdict::Nacked { .. } | Verdict::Unstarted => Operation::NACK,
        };
        let mut span = scope.span(operation, SpanKind::Client);
        subject.describe(&mut span.attributes);
        span.attributes.get_or_insert_default().extend(clock);
        // Not below `process`, which is over: back ends drop what begins after its parent's end.
        let parent = OtelContext::new().with_remote_span_context(parent);
        let span = tracer.build_with_context(span, &parent);
        Some(Box::new(Settlement { span }))
    }
}

fn begin(scope: &Scope, subject: Subject<'_>) -> Option<Begun> {
    let item = subject.item(&scope.queue)?;
    let creation = subject.creation();
    let state = creation.as_ref().map(SpanContext::trace_state);
    let span_of_broker = |span| {
        let id = subject
            .broker_traces
            .then(|| item.span(span, subject.attempt))?;
        Some(context_of(&item, id, state.unwrap_or(&TraceState::NONE)))
    };
    if let Some(tracer) = scope.tracer().filter(|_| item.sampled) {
        let parent = span_of_broker(ItemSpan::Deliver).or_else(|| creation.clone())?;
        return Some(process(scope, tracer, subject, (parent, creation)));
    }
    // Sampled, and nobody traces here: what comes below is a child of the delivery. Unsampled: of the `process` span that
    // the broker makes up if it keeps the item after all.
    let span = match item.sampled {
        true => ItemSpan::Deliver,
        false => ItemSpan::Process,
    };
    let remote = span_of_broker(span).or_else(|| creation.clone())?;
    Some(Begun {
        context: OtelContext::current().with_remote_span_context(remote),
        recorded_below: None,
    })
}

fn process(
    scope: &Scope,
    tracer: &BoxedTracer,
    subject: Subject<'_>,
    (parent, creation): (SpanContext, Option<SpanContext>),
) -> Begun {
    let current = OtelContext::current();
    let links = [creation, ambient()]
        .into_iter()
        .flatten()
        .map(Link::with_context);
    let mut span = scope.span(Operation::PROCESS, SpanKind::Consumer);
    span.start_time = Some(wall_time(subject.started_ns));
    span.links = Some(links.collect());
    subject.describe(&mut span.attributes);
    let below = current.with_remote_span_context(parent.clone());
    let context = current.with_span(tracer.build_with_context(span, &below));
    let is_recorded = context.span().is_recording();
    Begun {
        context,
        recorded_below: is_recorded.then_some(parent),
    }
}

impl Subject<'_> {
    /// Without a look at what there is.
    pub(crate) fn has_no_context(&self) -> bool {
        self.traceparent.is_empty() && self.item_span.is_empty()
    }

    /// Without the allocations of the rest.
    fn is_sampled(&self) -> bool {
        let own = TraceParent::parse(self.item_span);
        let parent = own.or_else(|| TraceParent::parse(self.traceparent));
        parent.is_some_and(|parent| parent.sampled)
    }

    fn item(&self, queue: &str) -> Option<ItemContext> {
        let redriven = TraceParent::parse(self.item_span).map(ItemContext::of_parent);
        redriven
            .or_else(|| ItemContext::read(self.traceparent, self.tracestate, queue, self.item_id))
    }

    /// Links to the item's creation, for a span about several items.
    pub(crate) fn creation_link(&self) -> Option<Link> {
        let id = vec![message_id(self.item_id)];
        Some(Link::new(self.creation()?, id, 0))
    }

    /// The creation context. None: there is no valid one.
    fn creation(&self) -> Option<SpanContext> {
        let parent = TraceParent::parse(self.traceparent)?;
        Some(SpanContext::new(
            TraceId::from_bytes(parent.trace_id.bytes()),
            span_id(parent.span_id),
            TraceFlags::NOT_SAMPLED.with_sampled(parent.sampled),
            true,
            state_of_others(self.tracestate),
        ))
    }

    fn describe(&self, attributes: &mut Option<Vec<KeyValue>>) {
        let attempt = KeyValue::new(names::MESSAGING_BATON_ATTEMPT, i64::from(self.attempt));
        let attributes = attributes.get_or_insert_default();
        attributes.extend([message_id(self.item_id), attempt]);
    }
}

fn context_of(item: &ItemContext, span: OwnSpanId, state: &TraceState) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(item.trace_id.bytes()),
        span_id(span),
        TraceFlags::NOT_SAMPLED.with_sampled(item.sampled),
        true,
        state.clone(),
    )
}

fn span_id(id: OwnSpanId) -> SpanId {
    SpanId::from_bytes(id.bytes())
}

/// Our member is of this item: passed on, another item would take it for its own. What is not valid is dropped, as W3C
/// has it.
fn state_of_others(tracestate: &str) -> TraceState {
    let is_ours = |text: &str| {
        let rest = text.strip_prefix(TRACESTATE_KEY);
        rest.is_some_and(|rest| rest.starts_with('='))
    };
    if tracestate.is_empty() || (is_ours(tracestate) && !tracestate.contains(',')) {
        return TraceState::NONE;
    }
    let state: Result<TraceState, _> = tracestate.parse();
    let others = state.and_then(|state| state.delete(TRACESTATE_KEY));
    others.unwrap_or_default()
}
