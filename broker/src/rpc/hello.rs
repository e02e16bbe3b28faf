//! The first message of a stream: who is there.

use std::time::Duration;

use baton_proto::opaque::Hello;
use tokio::time::timeout;
use tonic::{Status, Streaming};
use tracing::debug;

use super::convert::{label, required_label};
use crate::error::Error;
use crate::limits::{HELLO_TIMEOUT, LABEL_BYTES_MAX, NAME_BYTES_MAX};

/// Waits for the first message of a stream.
///
/// # Errors
/// None came in time, or what came cannot be read.
pub(super) async fn first_message<T>(inbound: &mut Streaming<T>) -> Result<T, Status> {
    const PATIENCE: Duration = HELLO_TIMEOUT;
    match timeout(PATIENCE, inbound.message()).await {
        Ok(Ok(Some(message))) => Ok(message),
        Ok(Err(status)) => Err(status),
        Ok(Ok(None)) | Err(_) => Err(Error::HelloMissing.into()),
    }
}

/// Checks a hello.
///
/// # Errors
/// It is not there, or a field of it is wrong.
pub(super) fn check(hello: Option<Hello>) -> Result<Hello, Error> {
    let hello = hello.ok_or(Error::HelloMissing)?;
    required_label("hello.client_id", &hello.client_id)?;
    label(
        "hello.client_version",
        &hello.client_version,
        NAME_BYTES_MAX,
    )?;
    label("hello.service_name", &hello.service_name, LABEL_BYTES_MAX)?;
    if let Some(clock) = &hello.clock {
        label("hello.clock.boot_id", &clock.boot_id, NAME_BYTES_MAX)?;
    }
    debug!(client = %hello.client_id, version = %hello.client_version, service = %hello.service_name, "hello");
    Ok(hello)
}
