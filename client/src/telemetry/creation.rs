//! How an item gets its trace context, and the span of its creation.
//!
//! ```text
//! traced here?  ambient span   the item gets
//! -             -              what its user set, if anything
//! no            none           nothing
//! no            any            the ambient context: somebody else's traces go on
//! yes           unsampled      ids of its own in that trace (none: in a new one), not sampled; no span is made
//! yes           sampled        `create` and a member that names `item`, the broker's span around the item's whole life
//! ```
//!
//! Without an ambient span the ratio decides. `item`'s id is drawn here and its span is made by the broker, as is known to
//! all parties from `baton_telemetry::trace_context`; of a broker that does not trace, `create` is no child, and no member
//! is sent. `create` begins when the item was made and ends with its confirm.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use opentelemetry::Context as OtelContext;
use opentelemetry::global::{BoxedSpan, BoxedTracer};
use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, SpanKind, TraceContextExt as _, TraceFlags, TraceId,
    TraceState, Tracer as _,
};

use super::attributes::{Operation, error_type, message_id};
use super::header::{self, Member};
use super::scope::{Scope, end_at};
use super::{BrokerTime, ambient, wall_time};
use crate::error::Error;
use crate::item::Item;

/// `error.type` of a publish that was given up before it had an outcome.
const CANCELLED: &str = "CANCELLED";

/// An item on its way: encoded, and with its `create` span, if it has one.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) bytes: Bytes,
    pub(crate) created: Option<Box<Created>>,
}

impl Outgoing {
    /// The item's fate is known: its id, or why it has none.
    pub(crate) fn end(&mut self, at: SystemTime, outcome: Result<u64, &Error>) {
        if let Some(created) = self.created.take() {
            created.end(at, outcome);
        }
    }
}

/// A `create` span under way.
#[derive(Debug)]
pub(crate) struct Created {
    span: BoxedSpan,
    broker_time: Arc<BrokerTime>,
    ended: bool,
}

impl Created {
    /// The creation context, which the item carries.
    pub(super) fn context(&self) -> &SpanContext {
        self.span.span_context()
    }

    fn end(mut self, at: SystemTime, outcome: Result<u64, &Error>) {
        self.ended = true;
        if let Ok(item_id) = outcome
            && item_id > 0
        {
            self.span.set_attribute(message_id(item_id));
        }
        self.span.set_attributes(self.broker_time.attributes());
        end_at(&mut self.span, at, outcome.err());
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        if !self.ended {
            let status = opentelemetry::trace::Status::error("the publish was dropped");
            self.span.set_attribute(error_type(CANCELLED));
            self.span.set_status(status);
        }
    }
}

impl Scope {
    /// Gives an item its trace context and encodes it. Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`Error::ItemTooLarge`].
    pub(crate) async fn outgoing(&self, mut item: Item) -> Result<Outgoing, Error> {
        let created = match self.give_context(&mut item) {
            None => None,
            // Boxed: the others need not carry what only these need.
            Some((tracer, seed)) => Box::pin(self.create(tracer, &mut item, seed)).await,
        };
        let (bytes, failed) = match item.encode() {
            Ok(bytes) => (bytes, None),
            Err(error) => (Bytes::new(), Some(error)),
        };
        let mut outgoing = Outgoing { bytes, created };
        match failed {
            None => Ok(outgoing),
            Some(error) => {
                outgoing.end(SystemTime::now(), Err(&error));
                Err(error)
            }
        }
    }

    /// Gives the item what needs no span. Some: it is sampled.
    fn give_context(&self, item: &mut Item) -> Option<(&BoxedTracer, Seed)> {
        if item.has_trace_context() {
            return None;
        }
        let ambient = ambient();
        let Some(tracer) = self.tracer() else {
            if let Some(ambient) = ambient {
                let state = header::tracestate(None, ambient.trace_state());
                item.set_trace_context(header::of(&ambient), state);
            }
            return None;
        };
        let trace = ambient
            .as_ref()
            .map_or_else(new_trace, SpanContext::trace_id);
        if self.is_sampled(ambient.as_ref(), trace) {
            let item = None;
            let seed = Seed {
                trace,
                item,
                ambient,
            };
            return Some((tracer, seed));
        }
        let state = ambient
            .as_ref()
            .map_or(&TraceState::NONE, SpanContext::trace_state);
        let parent = header::traceparent(trace, new_span(), TraceFlags::NOT_SAMPLED);
        item.set_trace_context(parent, header::tracestate(None, state));
        None
    }

    async fn create(
        &self,
        tracer: &BoxedTracer,
        item: &mut Item,
        mut seed: Seed,
    ) -> Option<Box<Created>> {
        if self.context.broker_tracing().ask(&self.context).await {
            seed.item = Some(new_span());
        }
        self.start(tracer, item, seed)
    }

    fn is_sampled(&self, ambient: Option<&SpanContext>, trace: TraceId) -> bool {
        let (ratio, broker) = (self.telemetry().ratio, self.context.broker_tracing());
        match ambient {
            Some(ambient) => ambient.is_sampled(),
            // A root of the SDK's own: it draws by the same ratio, and that would be twice.
            None if broker.known() == Some(false) && !ratio.is_ours => true,
            None => ratio.takes(trace),
        }
    }

    fn start(&self, tracer: &BoxedTracer, item: &mut Item, seed: Seed) -> Option<Box<Created>> {
        let mut builder = self.span(Operation::CREATE, SpanKind::Producer);
        builder.start_time = Some(wall_time(item.created_ns()));
        let current = OtelContext::current();
        let context = match seed.item {
            Some(id) => current.with_remote_span_context(seed.item_span(id)),
            None => current,
        };
        let span = tracer.build_with_context(builder, &context);
        let created = span.span_context();
        // Telemetry is suppressed here, or the SDK has been shut down.
        if !created.is_valid() {
            return None;
        }
        let parent = seed.ambient.as_ref().map(SpanContext::span_id);
        let member = seed.item.map(|item| Member { item, parent });
        // The SDK has the last word: what it does not record has no `item` span either.
        let member = member.filter(|_| created.is_sampled());
        let state = header::tracestate(member, created.trace_state());
        item.set_trace_context(header::of(created), state);
        let is_sampled = created.is_sampled();
        let created = Created {
            span,
            broker_time: Arc::clone(&self.broker_time),
            ended: false,
        };
        is_sampled.then(|| Box::new(created))
    }
}

/// What an item's spans begin with.
#[derive(Debug)]
struct Seed {
    trace: TraceId,
    /// None: the broker makes no `item` span.
    item: Option<SpanId>,
    ambient: Option<SpanContext>,
}

impl Seed {
    fn item_span(&self, id: SpanId) -> SpanContext {
        let ambient = self.ambient.as_ref();
        let flags = ambient.map_or(TraceFlags::SAMPLED, SpanContext::trace_flags);
        let state = ambient.map_or(TraceState::NONE, |ambient| ambient.trace_state().clone());
        SpanContext::new(self.trace, id, flags, true, state)
    }
}

fn new_trace() -> TraceId {
    // 0 is no id.
    TraceId::from(rand::random::<u128>().max(1))
}

fn new_span() -> SpanId {
    SpanId::from(rand::random::<u64>().max(1))
}

#[cfg(test)]
mod tests {
    use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};

    use super::*;
    use crate::backoff::Backoff;
    use crate::context::{Context, Settings};
    use crate::telemetry::{Providers, Ratio};

    /// Whether an item has a span, where the ratio takes none and the SDK takes all.
    async fn is_created(ratio: Ratio, broker_traces: bool) -> bool {
        let sdk = SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOn);
        let mut providers = Providers::global();
        providers.trace_with(sdk.build());
        providers.ratio = ratio;
        let settings = Settings {
            url: "http://h:1".to_owned(),
            client_id: "me".to_owned(),
            service_name: "me".to_owned(),
            give_up_after: std::time::Duration::ZERO,
            reconnect: Backoff::default(),
            providers,
        };
        let context = Arc::new(Context::new(settings).unwrap());
        context.broker_tracing().note(broker_traces);
        let scope = Scope::new(context, "orders");
        let outgoing = scope.outgoing(Item::new("a")).await.unwrap();
        outgoing.created.is_some()
    }

    #[tokio::test]
    async fn roots_of_the_sdk_are_drawn_by_the_sdk_alone() {
        let from_variables = Ratio {
            share: 0.0,
            is_ours: false,
        };
        assert!(is_created(from_variables, false).await);
        assert!(!is_created(from_variables, true).await, "no root of its");
        assert!(
            !is_created(Ratio::given(0.0), false).await,
            "nor known to it"
        );
    }
}
