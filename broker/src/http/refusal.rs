//! Refusals over HTTP: the status, the machine's word and the sentence that gRPC clients get, as a small JSON object.

use axum::Json;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::error::{Error, reason};

/// An answer that says no.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) Error);

#[derive(Debug, Serialize)]
struct Body {
    /// A section of docs/ERRORS.md.
    code: &'static str,
    message: String,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(error) = self;
        let body = Body {
            code: reason(error.code()),
            message: error.to_string(),
        };
        let mut response = (error.http_status(), Json(body)).into_response();
        if let Some(after) = error.retry_after() {
            // Whole seconds are all that the header can say.
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            let seconds = HeaderValue::from(seconds);
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}
