//! Tells the user, once, that exports fail, and once that they work again: the SDK says nothing by itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use crate::outage::Outage;

/// An exporter, and how it fares.
#[derive(Debug)]
pub(super) struct Told<E> {
    exporter: E,
    /// Held for a comparison, once per export.
    outage: Mutex<Outage>,
    exports: Arc<Exports>,
}

/// How the exports of a signal fare.
#[derive(Debug)]
pub(super) struct Exports {
    /// The signal.
    pub(super) what: &'static str,
    /// The last one failed.
    fails: AtomicBool,
    /// Nobody waits for them any more: all has been told.
    over: AtomicBool,
}

impl Exports {
    pub(super) fn fail(&self) -> bool {
        self.fails.load(Ordering::Relaxed)
    }

    pub(super) fn are_over(&self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

impl<E> Told<E> {
    pub(super) fn new(exporter: E, what: &'static str) -> Self {
        let (fails, over) = (AtomicBool::new(false), AtomicBool::new(false));
        Self {
            exporter,
            outage: Mutex::default(),
            exports: Arc::new(Exports { what, fails, over }),
        }
    }

    pub(super) fn exports(&self) -> Arc<Exports> {
        Arc::clone(&self.exports)
    }

    fn tell(&self, result: OTelSdkResult) -> OTelSdkResult {
        let Exports { what, fails, over } = &*self.exports;
        fails.store(result.is_err(), Ordering::Relaxed);
        if over.load(Ordering::Relaxed) {
            return result;
        }
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        match &result {
            Ok(()) if outage.worked() => tracing::warn!("{what} are exported again"),
            Err(error) if outage.failed(Instant::now()) => {
                tracing::warn!("cannot export {what}, which are lost: {error}");
            }
            Ok(()) | Err(_) => {}
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
