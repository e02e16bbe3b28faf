//! `/metrics`, for Prometheus and whatever reads its formats. docs/METRICS.md says what each metric means.
//!
//! ```text
//! gather: one turn of each queue -> Snapshot -> families -> text | protobuf
//! ```
//!
//! Nothing is kept for it between scrapes but which queues have a name there (`places`): the numbers are those that queues,
//! ledgers and the journal have anyway. Queues beyond the limit are merged into one, exactly: histograms bucket by bucket.
//!
//! Written by hand: prometheus-client's encoder takes no exemplar from a collector (`Exemplar` cannot be made outside
//! that crate), writes none to native histograms, and knows OpenMetrics' text only.

mod broker;
mod distribution;
mod family;
mod gather;
mod never_back;
mod number;
mod places;
mod process;
mod protobuf;
mod queues;
mod text;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use baton_telemetry::otlp::ExportHandle;
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use self::family::Family;
use self::gather::Snapshot;
use self::places::Places;
use super::Site;
use super::accept::{self, Wanted};
use crate::engine::Engine;
use crate::limits::SCRAPES_MAX;

/// Bytes of an answer that leave at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Metrics {
    engine: Engine,
    /// Where traces go out, if they do.
    exporter: Option<ExportHandle>,
    begun: Instant,
    /// Locked while queues are asked: two scrapes at a time would ask them twice, and see them out of order.
    places: Mutex<Places>,
    scrapes: Arc<Semaphore>,
}

impl Metrics {
    pub(super) fn new(engine: Engine, exporter: Option<ExportHandle>) -> Self {
        Self {
            engine,
            exporter,
            begun: Instant::now(),
            places: Mutex::default(),
            scrapes: Arc::new(Semaphore::new(SCRAPES_MAX)),
        }
    }

    async fn snapshot(&self) -> Snapshot {
        let mut places = self.places.lock().await;
        gather::gather(&self.engine, &mut places).await
    }

    /// What is not of a queue.
    fn broker_families(&self) -> Vec<Family> {
        let mut families = broker::families(&self.engine, self.exporter.as_ref());
        families.extend(process::families(self.begun.elapsed()));
        families
    }
}

/// The forms that there are, the one for whoever does not care first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Prometheus' text format 0.0.4, without exemplars.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' messages, with native histograms.
    Protobuf,
}

impl Form {
    const ALL: [Self; 3] = [Self::Text, Self::OpenMetrics, Self::Protobuf];

    const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }

    /// Scrapers name what they want in full; stars are for people, who get text.
    fn fits(self, wanted: &Wanted<'_>) -> bool {
        let is = |name, value| wanted.parameter(name).is_none_or(|given| given == value);
        match self {
            Self::Text => wanted.includes("text/plain"),
            Self::OpenMetrics => {
                wanted
                    .kind
                    .eq_ignore_ascii_case("application/openmetrics-text")
                    && (is("version", "1.0.0") || is("version", "0.0.1"))
            }
            Self::Protobuf => {
                wanted
                    .kind
                    .eq_ignore_ascii_case("application/vnd.google.protobuf")
                    && wanted.parameter("proto") == Some("io.prometheus.client.MetricFamily")
                    && is("encoding", "delimited")
            }
        }
    }

    fn write(self, families: &[Family]) -> Bytes {
        match self {
            Self::Text => text::write(families, text::Dialect::Plain).into(),
            Self::OpenMetrics => text::write(families, text::Dialect::OpenMetrics).into(),
            Self::Protobuf => protobuf::write(families).into(),
        }
    }
}

/// `GET /metrics`.
pub(super) async fn scrape(State(site): State<Arc<Site>>, headers: HeaderMap) -> Response {
    let form = accept::best(&headers, &Form::ALL, Form::fits).unwrap_or(Form::Text);
    let scrapes = Arc::clone(&site.metrics.scrapes);
    let place = scrapes.acquire_owned().await;
    let place = place.expect("the semaphore is never closed");
    let snapshot = site.metrics.snapshot().await;
    let writing = spawn_blocking(move || {
        let mut families = queues::families(snapshot);
        families.extend(site.metrics.broker_families());
        form.write(&families)
    });
    let written = writing
        .await
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    (
        [(header::CONTENT_TYPE, form.content_type())],
        body(written, place),
    )
        .into_response()
}

/// Keeps the scrape's place until the client has all of it, or is gone.
fn body(written: Bytes, place: OwnedSemaphorePermit) -> Body {
    let chunks = stream::unfold((written, place), |(mut left, place)| async move {
        if left.is_empty() {
            return None;
        }
        let chunk = left.split_to(CHUNK_BYTES.min(left.len()));
        Some((Ok::<_, std::convert::Infallible>(chunk), (left, place)))
    });
    Body::from_stream(chunks)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Prometheus 2.42 sends.
    const PROMETHEUS: &str = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    /// The same with native histograms switched on.
    const NATIVE: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    /// What Prometheus 3 sends.
    const PROMETHEUS_3: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";

    #[test]
    fn each_scraper_gets_the_form_that_it_wants_most() {
        let table = [
            ("*/*", Some(Form::Text)),
            (
                "text/html,application/xml;q=0.9,*/*;q=0.8",
                Some(Form::Text),
            ),
            (PROMETHEUS, Some(Form::OpenMetrics)),
            (PROMETHEUS_3, Some(Form::OpenMetrics)),
            (NATIVE, Some(Form::Protobuf)),
            ("application/openmetrics-text", Some(Form::OpenMetrics)),
            ("application/openmetrics-text; version=2.0.0", None),
            ("application/vnd.google.protobuf", None),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text",
                None,
            ),
        ];
        for (accept, expected) in table {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            let form = accept::best(&headers, &Form::ALL, Form::fits);
            assert_eq!(form, expected, "{accept}");
        }
    }
}
