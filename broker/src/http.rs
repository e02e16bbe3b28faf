//! The HTTP port, for those who watch the broker. It shows and changes nothing.
//!
//! - `GET /livez`: 200 as long as the process answers.
//! - `GET /readyz`: 200 while the broker takes work, 503 with the reason while it does not: it shuts down, its disk is full, or
//!   its journal failed.
//! - `GET /metrics`: for Prometheus, see [`metrics`].
//! - `GET /api/v1/...`: queues, items and clients as JSON, see [`api`].
//!
//! Paths and queries are bounded, bodies are never read, and every refusal is a status and a small JSON object.

mod accept;
mod api;
mod json;
mod metrics;
mod query;
mod refusal;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use baton_telemetry::otlp::ExportHandle;
use tokio_util::sync::CancellationToken;

use self::metrics::Metrics;
use self::refusal::Refusal;
use crate::connections::Listener;
use crate::engine::{Engine, Readiness};
use crate::error::Error;
use crate::limits::{HTTP_PATH_BYTES_MAX, HTTP_QUERY_BYTES_MAX};
use crate::rpc::{AdminRpc, Context};
use crate::traces::TraceFiles;

/// What the port shows.
#[derive(Debug)]
pub(crate) struct Site {
    engine: Engine,
    admin: AdminRpc,
    metrics: Metrics,
    /// Writes traces for those who ask for one.
    trace_files: TraceFiles,
}

impl Site {
    /// Of a broker that begins now. `exporter`: where its traces go out, if they do.
    pub(crate) fn new(
        context: Context,
        exporter: Option<ExportHandle>,
        trace_files: TraceFiles,
    ) -> Self {
        Self {
            engine: context.engine.clone(),
            metrics: Metrics::new(context.engine.clone(), exporter),
            admin: AdminRpc::new(context),
            trace_files,
        }
    }
}

/// Serves until `stop`.
///
/// # Errors
/// The listener broke.
pub(crate) async fn serve(
    listener: Listener,
    site: Site,
    stop: CancellationToken,
) -> std::io::Result<()> {
    axum::serve(listener, router(Arc::new(site)))
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

fn router(site: Arc<Site>) -> Router {
    Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics::scrape))
        .nest("/api/v1", api::routes())
        .fallback(nothing_there)
        .method_not_allowed_fallback(|| async { Refusal(Error::MethodUnknown) })
        .layer(from_fn(guard))
        .with_state(site)
}

async fn ready(State(site): State<Arc<Site>>) -> (StatusCode, &'static str) {
    let why = match site.engine.readiness() {
        Readiness::Ready => return (StatusCode::OK, "ready\n"),
        Readiness::Draining => "shutting down: takes no new work\n",
        Readiness::DiskFull => "the disk is full: takes no new items, settles go on\n",
        Readiness::Failed => "the journal failed: has to be restarted\n",
    };
    (StatusCode::SERVICE_UNAVAILABLE, why)
}

async fn nothing_there(uri: Uri) -> Refusal {
    Refusal(Error::PathUnknown(uri.path().to_owned()))
}

/// Refuses what is too long, and says of every answer that it is what its type says and is stale at once.
async fn guard(request: Request, next: Next) -> Response {
    let uri = request.uri();
    let mut response = if uri.path().len() > HTTP_PATH_BYTES_MAX {
        let fault = format!("is longer than {HTTP_PATH_BYTES_MAX} bytes");
        Refusal(Error::invalid("path", fault)).into_response()
    } else if uri
        .query()
        .is_some_and(|query| query.len() > HTTP_QUERY_BYTES_MAX)
    {
        let fault = format!("is longer than {HTTP_QUERY_BYTES_MAX} bytes");
        Refusal(Error::invalid("query", fault)).into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
