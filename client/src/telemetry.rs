//! Spans and metrics of the library, through OpenTelemetry's API: whoever installs an SDK gets them, for all others they
//! cost next to nothing.
//!
//! Owns what one client needs for them: the tracer, if there is one, the instruments, the ratio, and what is known of the
//! broker's own tracing. What is common to one queue is in [`scope`]; how an item gets its context in [`creation`], and how
//! a consumer gets it out in [`work`]. The ids of spans are those of `baton_telemetry::trace_context`.

mod attributes;
mod broker;
mod broker_time;
mod creation;
mod flight;
mod header;
mod instruments;
mod sampling;
mod scope;
mod settling;
mod work;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use baton_telemetry::names;
use opentelemetry::global::{self, BoxedTracer, ObjectSafeTracerProvider};
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId,
    TraceState, Tracer as _, TracerProvider,
};
use opentelemetry::{Context, InstrumentationScope};

pub(crate) use broker::BrokerTracing;
use broker_time::BrokerTime;
pub(crate) use creation::Outgoing;
pub(crate) use flight::Flight;
use instruments::Instruments;
pub(crate) use sampling::Ratio;
pub(crate) use scope::Scope;
pub(crate) use settling::Settlement;
pub(crate) use work::{Subject, Verdict, Work};

use crate::clock::now_ns;

const LIBRARY: &str = env!("CARGO_PKG_NAME");

/// Most links of a span: what SDKs keep by default.
const LINKS_MAX: usize = 128;

/// Where spans and metrics go; by default where the process has set it up globally.
#[derive(Clone)]
pub(crate) struct Providers {
    tracer: Option<Arc<dyn ObjectSafeTracerProvider + Send + Sync>>,
    meter: Option<Arc<dyn MeterProvider + Send + Sync>>,
    pub(crate) ratio: Ratio,
}

impl Providers {
    pub(crate) fn global() -> Self {
        Self {
            tracer: None,
            meter: None,
            ratio: Ratio::from_env(),
        }
    }

    pub(crate) fn trace_with<P>(&mut self, provider: P)
    where
        P: TracerProvider + Send + Sync + 'static,
        P::Tracer: Send + Sync + 'static,
        <P::Tracer as opentelemetry::trace::Tracer>::Span: Send + Sync + 'static,
    {
        self.tracer = Some(Arc::new(provider));
    }

    pub(crate) fn meter_with(&mut self, provider: impl MeterProvider + Send + Sync + 'static) {
        self.meter = Some(Arc::new(provider));
    }
}

impl fmt::Debug for Providers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Providers")
            .field("tracer", &self.tracer.is_some())
            .field("meter", &self.meter.is_some())
            .field("ratio", &self.ratio)
            .finish()
    }
}

/// What a client's spans and metrics are made with.
#[derive(Debug)]
pub(crate) struct Telemetry {
    /// None: nobody traces here.
    tracer: Option<BoxedTracer>,
    instruments: Instruments,
    ratio: Ratio,
}

impl Telemetry {
    /// Looks for an SDK, once.
    pub(crate) fn new(providers: &Providers) -> Self {
        let library = || {
            InstrumentationScope::builder(LIBRARY)
                .with_version(env!("CARGO_PKG_VERSION"))
                .with_schema_url(names::SCHEMA_URL)
                .build()
        };
        let tracer = match &providers.tracer {
            Some(provider) => BoxedTracer::new(provider.boxed_tracer(library())),
            None => global::tracer_with_scope(library()),
        };
        let meter = match &providers.meter {
            Some(provider) => provider.meter_with_scope(library()),
            None => global::meter_with_scope(library()),
        };
        Self {
            tracer: makes_spans(&tracer).then_some(tracer),
            instruments: Instruments::new(&meter),
            ratio: providers.ratio,
        }
    }
}

/// Whether an SDK is behind a tracer. Asked without a span that somebody could get to see: telemetry is suppressed for it,
/// so an SDK answers with an empty context, where the API's own stand-in passes its parent on.
fn makes_spans(tracer: &BoxedTracer) -> bool {
    let parent = SpanContext::new(
        TraceId::from(1),
        SpanId::from(1),
        TraceFlags::NOT_SAMPLED,
        true,
        TraceState::NONE,
    );
    let passed_on = parent.span_id();
    let context = Context::new()
        .with_remote_span_context(parent)
        .with_telemetry_suppressed();
    let span = tracer.build_with_context(SpanBuilder::from_name("probe"), &context);
    span.span_context().span_id() != passed_on
}

/// The span around us, if it has ids.
fn ambient() -> Option<SpanContext> {
    Context::map_current(|context| {
        if !context.has_active_span() {
            return None;
        }
        let span = context.span();
        let context = span.span_context();
        context.is_valid().then(|| context.clone())
    })
}

/// The system's clock at a stamp of ours, for spans: those of users around them are on it too.
fn wall_time(stamp_ns: u64) -> SystemTime {
    let ago = Duration::from_nanos(now_ns().saturating_sub(stamp_ns));
    let now = SystemTime::now();
    now.checked_sub(ago).unwrap_or(now)
}

/// Seconds between two stamps of ours, for histograms.
fn seconds(from_ns: u64, to_ns: u64) -> f64 {
    Duration::from_nanos(to_ns.saturating_sub(from_ns)).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::noop::NoopTracerProvider;
    use opentelemetry_sdk::trace::{InMemorySpanExporter, Sampler, SdkTracerProvider};

    use super::*;

    fn telemetry(provider: impl FnOnce(&mut Providers)) -> Telemetry {
        let mut providers = Providers::global();
        provider(&mut providers);
        Telemetry::new(&providers)
    }

    #[test]
    fn an_sdk_is_found_whatever_it_samples_and_exports_nothing_for_it() {
        for sampler in [Sampler::AlwaysOn, Sampler::AlwaysOff] {
            let exporter = InMemorySpanExporter::default();
            let sdk = SdkTracerProvider::builder()
                .with_sampler(sampler)
                .with_simple_exporter(exporter.clone())
                .build();
            let found = telemetry(|providers| providers.trace_with(sdk));
            assert!(found.tracer.is_some());
            assert_eq!(exporter.get_finished_spans().unwrap().len(), 0);
        }
    }

    #[test]
    fn nobody_traces_without_an_sdk() {
        assert!(telemetry(|_| {}).tracer.is_none());
        let noop = telemetry(|providers| providers.trace_with(NoopTracerProvider::new()));
        assert!(noop.tracer.is_none());
    }
}
