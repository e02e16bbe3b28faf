//! The first message of a stream: who is there.

use std::sync::Arc;
use std::time::Duration;

use baton_ledger::party::Party;
use baton_proto::opaque::Hello;
use tokio::time::timeout;
use tonic::{Status, Streaming};
use tracing::debug;

use super::convert::{label, required_label};
use super::stream_clock;
use crate::engine::{Client, Connected, Engine, Role};
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

/// Enters the client of a stream that begins.
pub(super) fn enter(engine: &Engine, hello: Hello, queue: (String, Role)) -> Connected {
    let party = Party {
        client_id: hello.client_id.into(),
        service: hello.service_name.into(),
    };
    let same_clock = stream_clock::is_same(hello.clock.as_ref());
    let since_ns = engine.clock().monotonic_ns();
    let client = (Arc::new(party), hello.client_version);
    engine
        .clients()
        .enter(Client::new(client, queue, (since_ns, same_clock)))
}
