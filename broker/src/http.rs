//! The HTTP port, for those who watch the broker.
//!
//! - `GET /livez`: 200 as long as the process answers.
//! - `GET /readyz`: 200 while the broker takes work, 503 with the reason while it does not.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio_util::sync::CancellationToken;

use crate::connections::Listener;

/// Serves until `stop`.
///
/// # Errors
/// The listener broke.
pub(crate) async fn serve(
    listener: Listener,
    draining: CancellationToken,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .with_state(draining);
    axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

async fn ready(State(draining): State<CancellationToken>) -> (StatusCode, &'static str) {
    if draining.is_cancelled() {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "shutting down: takes no new work\n",
        );
    }
    (StatusCode::OK, "ready\n")
}
