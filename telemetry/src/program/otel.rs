//! Spans and metrics of a command line program, to a collector that the standard `OTEL_*` variables name.
//!
//! Owns the process's global providers, from their start to their flush. Without an endpoint nothing is set up, and the
//! client library makes no spans. Invariant: a collector that is slow, gone or wrong costs telemetry and never the
//! program's work, nor more than [`FLUSH_TIMEOUT`] at its end. Called by `main`.

mod context;
mod settings;
mod told;

use std::time::Duration;

use opentelemetry::global;
use opentelemetry_otlp::{
    ExporterBuildError, MetricExporter, RetryPolicy, SpanExporter, WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider};
use tokio::task::{JoinSet, spawn_blocking};

pub use context::{Headers, ambient, headers};
pub use settings::Settings;
use told::Told;

/// How long the program may take longer to end for the sake of its last spans.
pub const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// For the SDK's own deadlines: ours comes first, and is told.
const NEVER: Duration = Duration::from_secs(60);

/// Spans that wait for the collector unless `OTEL_BSP_MAX_QUEUE_SIZE` says otherwise; at about 1 KB each. The SDK's 2048
/// are a tenth of a second of a fast producer, and what comes too fast is dropped without a word.
const QUEUED_SPANS: usize = 16 * 1024;

/// What runs in the background; made by [`Settings::start`].
#[derive(Debug)]
#[must_use = "what is not finished loses its last spans"]
pub struct Exports {
    tracer: Option<SdkTracerProvider>,
    meter: Option<SdkMeterProvider>,
}

impl Settings {
    /// Sets up what the variables ask for, for the whole process. Within a runtime, whose tasks carry the exports.
    ///
    /// # Errors
    ///
    /// For a value that only its user understands, such as a header or a compression; says which.
    pub fn start(&self) -> Result<Exports, ExporterBuildError> {
        let resource = self.resource();
        let tracer = match self.traces {
            true => Some(tracer(resource.clone())?),
            false => None,
        };
        let meter = match self.metrics {
            true => Some(meter(resource)?),
            false => None,
        };
        if let Some(tracer) = &tracer {
            global::set_tracer_provider(tracer.clone());
            global::set_text_map_propagator(TraceContextPropagator::new());
        }
        if let Some(meter) = &meter {
            global::set_meter_provider(meter.clone());
        }
        Ok(Exports { tracer, meter })
    }

    /// Our own words first: those of the user's variables win.
    fn resource(&self) -> Resource {
        Resource::builder_empty()
            .with_attributes(self.attributes())
            .with_detectors(&[
                Box::new(TelemetryResourceDetector),
                Box::new(EnvResourceDetector::new()),
            ])
            .with_service_name(self.service_name().to_owned())
            .build()
    }
}

fn tracer(resource: Resource) -> Result<SdkTracerProvider, ExporterBuildError> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_retry_policy(RetryPolicy::recommended())
        .build()?;
    let batches = match settings::is_set("OTEL_BSP_MAX_QUEUE_SIZE") {
        true => BatchConfigBuilder::default(),
        false => BatchConfigBuilder::default().with_max_queue_size(QUEUED_SPANS),
    };
    let processor = BatchSpanProcessor::builder(Told::new(exporter, "spans"))
        .with_batch_config(batches.build())
        .build();
    Ok(SdkTracerProvider::builder()
        .with_resource(resource)
        .with_span_processor(processor)
        .build())
}

fn meter(resource: Resource) -> Result<SdkMeterProvider, ExporterBuildError> {
    let exporter = MetricExporter::builder()
        .with_tonic()
        .with_retry_policy(RetryPolicy::recommended())
        .build()?;
    let reader = PeriodicReader::builder(Told::new(exporter, "metrics")).build();
    Ok(SdkMeterProvider::builder()
        .with_resource(resource)
        .with_reader(reader)
        .build())
}

impl Exports {
    /// Sends what is left, for at most [`FLUSH_TIMEOUT`]. What cannot be sent by then is lost: an exporter that hangs
    /// keeps a thread, which the end of the process takes along.
    pub async fn finish(self) {
        let mut flushes = JoinSet::new();
        // Both block, and need the runtime's tasks meanwhile.
        if let Some(tracer) = self.tracer {
            flushes.spawn(spawn_blocking(move || tracer.shutdown_with_timeout(NEVER)));
        }
        if let Some(meter) = self.meter {
            flushes.spawn(spawn_blocking(move || meter.shutdown_with_timeout(NEVER)));
        }
        let flushed = tokio::time::timeout(FLUSH_TIMEOUT, flushes.join_all()).await;
        if flushed.is_err() {
            let seconds = FLUSH_TIMEOUT.as_secs();
            tracing::warn!("the last spans and metrics were not taken within {seconds} s");
        }
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
        let settings = Settings::read("baton-test", value, &mut problems);
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

    #[tokio::test(flavor = "multi_thread")]
    async fn a_collector_that_is_not_there_does_not_keep_the_program() {
        let exporter = SpanExporter::builder().with_tonic();
        let exporter =
            opentelemetry_otlp::WithExportConfig::with_endpoint(exporter, "http://127.0.0.1:1");
        let processor = BatchSpanProcessor::builder(Told::new(exporter.build().unwrap(), "spans"));
        let tracer = SdkTracerProvider::builder()
            .with_span_processor(processor.build())
            .build();
        {
            use opentelemetry::trace::{Tracer as _, TracerProvider as _};
            drop(tracer.tracer("test").start("lost"));
        }
        let exports = Exports {
            tracer: Some(tracer),
            meter: None,
        };
        exports.finish().await;
    }
}
