//! Tells the user, once, that exports fail, and once that they work again: the SDK says nothing by itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

/// An exporter, and whether it fails.
#[derive(Debug)]
pub(super) struct Told<E> {
    exporter: E,
    what: &'static str,
    fails: AtomicBool,
}

impl<E> Told<E> {
    pub(super) const fn new(exporter: E, what: &'static str) -> Self {
        Self {
            exporter,
            what,
            fails: AtomicBool::new(false),
        }
    }

    fn tell(&self, result: OTelSdkResult) -> OTelSdkResult {
        let (fails, what) = (result.is_err(), self.what);
        if self.fails.swap(fails, Ordering::Relaxed) != fails {
            match &result {
                Ok(()) => tracing::warn!("{what} are exported again"),
                Err(error) => tracing::warn!("cannot export {what}, which are lost: {error}"),
            }
        }
        result
    }
}

impl<E: SpanExporter> SpanExporter for Told<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.tell(self.exporter.export(batch).await)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Told<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.tell(self.exporter.export(metrics).await)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}
