//! Unary calls that may be repeated.
//!
//! Owns the retry loop of everything that is safe to ask twice.

use std::future::Future;

use tonic::{Response, Status};

use crate::context::Context;
use crate::error::Error;

/// Calls until there is an answer: failures that may pass are retried with back-off until `give_up_after`.
pub(crate) async fn retrying<T, F, Fut>(context: &Context, mut call: F) -> Result<T, Error>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Response<T>, Status>>,
{
    let mut patience = context.patience();
    loop {
        match call().await {
            Ok(response) => {
                patience.answered();
                return Ok(response.into_inner());
            }
            Err(status) => {
                let error = Error::from(status);
                if !error.is_retryable() {
                    return Err(error);
                }
                patience.failed(error).await?;
            }
        }
    }
}
