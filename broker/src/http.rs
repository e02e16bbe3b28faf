//! The HTTP port, for those who watch the broker.
//!
//! - `GET /livez`: 200 as long as the process answers.
//! - `GET /readyz`: 200 while the broker takes work, 503 with the reason while it does not: it shuts down, its disk is full, or
//!   its journal failed.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio_util::sync::CancellationToken;

use crate::connections::Listener;
use crate::engine::{Engine, Readiness};

/// Serves until `stop`.
///
/// # Errors
/// The listener broke.
pub(crate) async fn serve(
    listener: Listener,
    engine: Engine,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .with_state(engine);
    axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

async fn ready(State(engine): State<Engine>) -> (StatusCode, &'static str) {
    let why = match engine.readiness() {
        Readiness::Ready => return (StatusCode::OK, "ready\n"),
        Readiness::Draining => "shutting down: takes no new work\n",
        Readiness::DiskFull => "the disk is full: takes no new items, settles go on\n",
        Readiness::Failed => "the journal failed: has to be restarted\n",
    };
    (StatusCode::SERVICE_UNAVAILABLE, why)
}
