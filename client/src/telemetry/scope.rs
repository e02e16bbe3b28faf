//! One queue, as seen by one client: what its spans and metrics have in common.
//!
//! Owns the attributes, made on first use. Shared by a producer or a consumer and its driver, and by the calls of a
//! [`Queue`](crate::Queue).

use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use baton_proto::opaque::{ClockDomain, Pong};
use opentelemetry::global::BoxedTracer;
use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanKind, TraceContextExt as _, Tracer as _,
};
use opentelemetry::{Context as OtelContext, KeyValue};

use super::attributes::{
    Attributes, Operation, error_type, fail, message_count, message_id, name_of,
};
use super::work::Verdict;
use super::{BrokerTime, LINKS_MAX, Telemetry, seconds, wall_time};
use crate::clock::now_ns;
use crate::context::Context;
use crate::delivery::Delivery;
use crate::error::Error;

#[derive(Debug)]
pub(crate) struct Scope {
    pub(crate) context: Arc<Context>,
    pub(crate) queue: Arc<str>,
    ready: OnceLock<Ready>,
    /// What the stream of a producer or a consumer learns.
    pub(super) broker_time: Arc<BrokerTime>,
}

/// What is not made before it is needed: an SDK may be installed after a queue was named.
#[derive(Debug)]
struct Ready {
    attributes: Attributes,
    publish: Vec<KeyValue>,
    receive: Vec<KeyValue>,
    process: Vec<KeyValue>,
    settle: Vec<KeyValue>,
}

impl Scope {
    pub(crate) fn new(context: Arc<Context>, queue: &str) -> Self {
        Self {
            context,
            queue: queue.into(),
            ready: OnceLock::new(),
            broker_time: Arc::default(),
        }
    }

    /// A stream has begun: what the broker says of its clock. True: pings are wanted.
    pub(crate) fn began(&self, clock: Option<&ClockDomain>, wall_shift_ns: Option<u64>) -> bool {
        self.tracer().is_some() && self.broker_time.began(clock, wall_shift_ns)
    }

    /// A message of the stream came, which may answer a ping.
    pub(crate) fn timed(&self, sent_ns: u64, received_ns: u64, pong: Option<&Pong>) {
        if self.tracer().is_some() {
            self.broker_time.received(sent_ns, received_ns);
            if let Some(pong) = pong {
                self.broker_time.answered(pong, received_ns);
            }
        }
    }

    fn ready(&self) -> &Ready {
        self.ready.get_or_init(|| {
            let context = &self.context;
            let attributes = Attributes::new(&self.queue, context.peer(), context.client_id());
            Ready {
                publish: attributes.of_metric(Operation::PUBLISH),
                receive: attributes.of_metric(Operation::RECEIVE),
                process: attributes.of_metric(Operation::PROCESS),
                settle: attributes.of_metric(Operation::SETTLE),
                attributes,
            }
        })
    }

    pub(super) fn telemetry(&self) -> &Telemetry {
        self.context.telemetry()
    }

    /// None: nobody traces here.
    pub(super) fn tracer(&self) -> Option<&BoxedTracer> {
        self.telemetry().tracer.as_ref()
    }

    /// What every span of ours begins with. Everything that a sampler may want to know is there from the start.
    pub(super) fn span(&self, operation: Operation, kind: SpanKind) -> SpanBuilder {
        let mut span = SpanBuilder::from_name(format!("{} {}", operation.name, self.queue));
        span.span_kind = Some(kind);
        span.attributes = Some(self.ready().attributes.of_span(operation));
        span
    }

    /// Counts items whose publish has ended.
    pub(crate) fn sent(&self, items: u64, error: Option<&Error>) {
        if items == 0 {
            return;
        }
        let sent = &self.telemetry().instruments.sent;
        with_error(&self.ready().publish, error.map(name_of), |attributes| {
            sent.add(items, attributes);
        });
    }

    /// Counts items that were handed to the user.
    pub(crate) fn consumed(&self, items: u64) {
        if items > 0 {
            let consumed = &self.telemetry().instruments.consumed;
            consumed.add(items, &self.ready().receive);
        }
    }

    /// One batch was published, from its flush to the last of its confirms.
    pub(super) fn published(&self, flushed_ns: u64, error: Option<&Error>) {
        self.took(&self.ready().publish, flushed_ns, error);
    }

    /// One batch of settles was answered.
    pub(crate) fn settled(&self, sent_ns: u64, error: Option<&Error>) {
        self.took(&self.ready().settle, sent_ns, error);
    }

    fn took(&self, attributes: &[KeyValue], from_ns: u64, error: Option<&Error>) {
        let duration = &self.telemetry().instruments.operation_duration;
        let seconds = seconds(from_ns, now_ns());
        with_error(attributes, error.map(name_of), |attributes| {
            duration.record(seconds, attributes);
        });
    }

    /// One handler ended.
    pub(crate) fn processed(&self, (from_ns, to_ns): (u64, u64), verdict: Verdict<'_>) {
        if matches!(verdict, Verdict::Unstarted) {
            return;
        }
        let duration = &self.telemetry().instruments.process_duration;
        with_error(&self.ready().process, verdict.error_type(), |attributes| {
            duration.record(seconds(from_ns, to_ns), attributes);
        });
    }

    /// A call for items does not say whether the broker traces: what is not known is asked before it. Cancel-safe.
    pub(crate) async fn prepare_to_receive(&self) {
        if self.tracer().is_some() {
            Box::pin(self.context.broker_tracing().ask(&self.context)).await;
        }
    }

    /// One call for items has returned; one that brought nothing makes no span.
    pub(crate) fn received(&self, called_ns: u64, received: Result<&[Delivery], &Error>) {
        self.took(&self.ready().receive, called_ns, received.err());
        let deliveries = received.unwrap_or_default();
        let Some(tracer) = self.tracer() else { return };
        if received.is_ok_and(<[_]>::is_empty) {
            return;
        }
        let links = deliveries.iter().filter_map(Delivery::creation_link);
        let mut span = self.span(Operation::RECEIVE, SpanKind::Client);
        span.start_time = Some(wall_time(called_ns));
        span.links = Some(links.take(LINKS_MAX).collect::<Vec<Link>>());
        let mut span = tracer.build_with_context(span, &OtelContext::current());
        match received {
            Ok([delivery]) => span.set_attribute(message_id(delivery.item_id())),
            Ok(deliveries) => span.set_attribute(message_count(deliveries.len())),
            Err(error) => fail(&mut span, error),
        }
        span.end();
    }

    /// A child of a span that has its ids only, like those of the broker.
    pub(super) fn start_below(
        &self,
        tracer: &BoxedTracer,
        span: SpanBuilder,
        parent: opentelemetry::trace::SpanContext,
    ) -> opentelemetry::global::BoxedSpan {
        let context = OtelContext::new().with_remote_span_context(parent);
        tracer.build_with_context(span, &context)
    }
}

/// Ends a span now, and says of what use that was.
pub(super) fn end_at(
    span: &mut impl opentelemetry::trace::Span,
    at: SystemTime,
    error: Option<&Error>,
) {
    if let Some(error) = error {
        fail(span, error);
    }
    span.end_with_timestamp(at);
}

/// Failures are rare: only they pay for a set of attributes of their own.
fn with_error<E>(attributes: &[KeyValue], error: Option<E>, record: impl FnOnce(&[KeyValue]))
where
    E: Into<opentelemetry::StringValue>,
{
    match error {
        None => record(attributes),
        Some(error) => {
            let failed = [attributes, &[error_type(error)]].concat();
            record(&failed);
        }
    }
}
