//! Spans and metrics of a command line program, to a collector that the standard `OTEL_*` variables name.
//!
//! Owns the process's global providers, from their start to their flush. Without an endpoint nothing is set up, and the
//! client library makes no spans. Invariant: a collector that is slow, gone or wrong costs telemetry and never the
//! program's work, nor more than [`FLUSH_TIMEOUT`] at its end. Called by `main`.

mod context;
mod settings;
mod told;

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::global;
use opentelemetry_otlp::{
    Compression, ExporterBuildError, MetricExporter, RetryPolicy, SpanExporter, WithExportConfig,
    WithTonicConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

use crate::environment::Destination;

pub use context::{Headers, ambient, headers};
pub use settings::Settings;
use told::Told;

/// How long the program may take longer to end for the sake of its last spans.
pub const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// And where the collector did not take the last ones before: it was not needed that long.
const FAILING_FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// For the SDK's own deadlines: ours comes first, and is told.
const NEVER: Duration = Duration::from_secs(60);

/// Spans that wait for the collector unless `OTEL_BSP_MAX_QUEUE_SIZE` says otherwise; at about 1 KB each. The SDK's 2048
/// are a tenth of a second of a fast producer, and what comes too fast is dropped without a word.
const QUEUED_SPANS: usize = 16 * 1024;

/// What runs in the background; made by [`Settings::start`].
#[derive(Debug)]
#[must_use = "what is not finished loses its last spans"]
pub struct Exports {
    tracer: Option<(SdkTracerProvider, Arc<told::Exports>)>,
    meter: Option<(SdkMeterProvider, Arc<told::Exports>)>,
}

impl Settings {
    /// Sets up what the variables ask for, for the whole process. Within a runtime, whose tasks carry the exports.
    ///
    /// # Errors
    ///
    /// For an exporter that cannot be made; no value of a variable leads to it.
    pub fn start(&self) -> Result<Exports, ExporterBuildError> {
        let resource = self.resource();
        let (traces, metrics) = (self.traces.as_ref(), self.metrics.as_ref());
        let traces = traces.map(|to| tracer(to, resource.clone()));
        let tracer = traces.transpose()?;
        let metrics = metrics.map(|to| meter(to, resource));
        let meter = metrics.transpose()?;
        if let Some((tracer, _)) = &tracer {
            global::set_tracer_provider(tracer.clone());
            global::set_text_map_propagator(TraceContextPropagator::new());
        }
        if let Some((meter, _)) = &meter {
            global::set_meter_provider(meter.clone());
        }
        Ok(Exports { tracer, meter })
    }

    fn resource(&self) -> Resource {
        Resource::builder_empty()
            .with_attributes(self.attributes())
            .with_detector(Box::new(TelemetryResourceDetector))
            .with_service_name(self.service_name().to_owned())
            .build()
    }
}

/// As we have read the variables. The SDK's own reading of them differs here and there; what it is told goes first.
fn to<B: WithTonicConfig + WithExportConfig>(exporter: B, to: &Destination) -> B {
    let exporter = exporter
        .with_endpoint(to.endpoint.to_string())
        .with_timeout(to.timeout)
        .with_metadata(to.headers.clone())
        .with_retry_policy(RetryPolicy::recommended());
    match to.gzip {
        true => exporter.with_compression(Compression::Gzip),
        // No word for none: the SDK finds it where we did.
        false => exporter,
    }
}

fn tracer(
    destination: &Destination,
    resource: Resource,
) -> Result<(SdkTracerProvider, Arc<told::Exports>), ExporterBuildError> {
    let exporter = to(SpanExporter::builder().with_tonic(), destination).build()?;
    let exporter = Told::new(exporter, "spans");
    let exports = exporter.exports();
    let batches = match settings::is_set("OTEL_BSP_MAX_QUEUE_SIZE") {
        true => BatchConfigBuilder::default(),
        false => BatchConfigBuilder::default().with_max_queue_size(QUEUED_SPANS),
    };
    let processor = BatchSpanProcessor::builder(exporter)
        .with_batch_config(batches.build())
        .build();
    let provider = SdkTracerProvider::builder()
        .with_resource(resource)
        .with_span_processor(processor)
        .build();
    Ok((provider, exports))
}

fn meter(
    destination: &Destination,
    resource: Resource,
) -> Result<(SdkMeterProvider, Arc<told::Exports>), ExporterBuildError> {
    let exporter = to(MetricExporter::builder().with_tonic(), destination).build()?;
    let exporter = Told::new(exporter, "metrics");
    let exports = exporter.exports();
    let reader = PeriodicReader::builder(exporter).build();
    let provider = SdkMeterProvider::builder()
        .with_resource(resource)
        .with_reader(reader)
        .build();
    Ok((provider, exports))
}

impl Exports {
    /// Sends what is left, for at most [`FLUSH_TIMEOUT`], or a second where it failed before. What cannot be sent by then is
    /// lost: an exporter that hangs keeps a thread, which the end of the process takes along.
    pub async fn finish(self) {
        let mut flushes = JoinSet::new();
        // Both block, and need the runtime's tasks meanwhile.
        if let Some((tracer, exports)) = self.tracer {
            let flush = spawn_blocking(move || tracer.shutdown_with_timeout(NEVER));
            flushes.spawn(within_patience(flush, exports));
        }
        if let Some((meter, exports)) = self.meter {
            let flush = spawn_blocking(move || meter.shutdown_with_timeout(NEVER));
            flushes.spawn(within_patience(flush, exports));
        }
        let late: Vec<_> = flushes.join_all().await.into_iter().flatten().collect();
        if !late.is_empty() {
            let what = late.join(" and ");
            tracing::warn!("the last {what} were not taken in time");
        }
    }
}

/// What was not flushed in time.
async fn within_patience<T>(
    flush: impl Future<Output = T>,
    exports: Arc<told::Exports>,
) -> Option<&'static str> {
    let flushed = timeout(patience(&exports), flush).await;
    exports.are_over();
    flushed.is_err().then_some(exports.what)
}

fn patience(exports: &told::Exports) -> Duration {
    if exports.fail() {
        FAILING_FLUSH_TIMEOUT
    } else {
        FLUSH_TIMEOUT
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::Key;

    use super::*;
    use crate::program::problems::Problems;

    fn settings(variables: &[(&str, &str)]) -> Settings {
        let mut problems = Problems::new();
        let value = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let settings = Settings::read("baton-test", &value, &mut problems);
        problems.finish(settings).unwrap()
    }

    #[test]
    fn a_process_says_who_it_is_and_on_which_machine() {
        let one = settings(&[]).resource();
        let get = |name: &'static str| one.get(&Key::new(name)).map(|value| value.to_string());
        assert_eq!(get("service.name").as_deref(), Some("baton-test"));
        assert!(get("host.id").is_some_and(|id| id.len() >= 32));
        let two = settings(&[("OTEL_SERVICE_NAME", "other")]).resource();
        let other = |name: &'static str| two.get(&Key::new(name)).map(|value| value.to_string());
        assert_eq!(other("service.name").as_deref(), Some("other"));
        assert_eq!(other("host.id"), get("host.id"));
        assert_ne!(other("service.instance.id"), get("service.instance.id"));
    }

    fn made(tracer: &SdkTracerProvider) {
        use opentelemetry::trace::{Tracer as _, TracerProvider as _};
        drop(tracer.tracer("test").start("lost"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_collector_that_is_not_there_does_not_keep_the_program() {
        let address = "http://127.0.0.1:1";
        let settings = settings(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", address)]);
        let traces = settings.traces.as_ref().unwrap();
        let (tracer, told) = tracer(traces, settings.resource()).unwrap();
        made(&tracer);
        let exports = Exports {
            tracer: Some((tracer, Arc::clone(&told))),
            meter: None,
        };
        exports.finish().await;
        assert!(told.fail());
    }

    /// An exporter that lost a span before, and then hangs: nothing answers a connection that nobody accepts.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_collector_that_failed_before_is_not_waited_for_long() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", silent.local_addr().unwrap());
        let settings = settings(&[
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &address),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "100"),
        ]);
        let traces = settings.traces.as_ref().unwrap();
        let (tracer, told) = tracer(traces, settings.resource()).unwrap();
        assert_eq!(patience(&told), FLUSH_TIMEOUT);
        made(&tracer);
        let flush = tracer.clone();
        let flushed = spawn_blocking(move || flush.force_flush()).await.unwrap();
        assert!(flushed.is_err() && told.fail());
        assert_eq!(patience(&told), FAILING_FLUSH_TIMEOUT);
    }
}
