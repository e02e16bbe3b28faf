//! Attributes of spans and metrics: what is common to one queue, and what an error is called.
//!
//! Never in them: payloads, the user's attributes, keys.

use std::sync::Arc;

use baton_telemetry::names;
use opentelemetry::KeyValue;
use opentelemetry::trace::{Span, Status};
use tonic::Code;

use crate::error::Error;

/// An operation, and its type in OpenTelemetry's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Operation {
    pub(super) name: &'static str,
    kind: &'static str,
}

impl Operation {
    const fn new(name: &'static str, kind: &'static str) -> Self {
        Self { name, kind }
    }

    pub(super) const CREATE: Self = Self::new(names::OPERATION_CREATE, names::OPERATION_CREATE);
    pub(super) const PUBLISH: Self =
        Self::new(names::OPERATION_PUBLISH, names::OPERATION_TYPE_SEND);
    pub(super) const RECEIVE: Self = Self::new(names::OPERATION_RECEIVE, names::OPERATION_RECEIVE);
    pub(super) const PROCESS: Self = Self::new(names::OPERATION_PROCESS, names::OPERATION_PROCESS);
    pub(super) const ACK: Self = Self::new(names::OPERATION_ACK, names::OPERATION_SETTLE);
    pub(super) const NACK: Self = Self::new(names::OPERATION_NACK, names::OPERATION_SETTLE);
    pub(super) const SETTLE: Self = Self::new(names::OPERATION_SETTLE, names::OPERATION_SETTLE);
}

/// Of everything that is said of one queue by one client. Cheap to clone, value by value.
#[derive(Debug)]
pub(super) struct Attributes {
    queue: KeyValue,
    address: KeyValue,
    port: KeyValue,
    client_id: KeyValue,
}

impl Attributes {
    pub(super) fn new(queue: &Arc<str>, (host, port): (&str, u16), client_id: &str) -> Self {
        let shared = |text: &str| Arc::<str>::from(text);
        Self {
            queue: KeyValue::new(names::MESSAGING_DESTINATION_NAME, Arc::clone(queue)),
            address: KeyValue::new(names::SERVER_ADDRESS, shared(host)),
            port: KeyValue::new(names::SERVER_PORT, i64::from(port)),
            client_id: KeyValue::new(names::MESSAGING_CLIENT_ID, shared(client_id)),
        }
    }

    /// Of a metric: no ids, which would make a series of each.
    pub(super) fn of_metric(&self, operation: Operation) -> Vec<KeyValue> {
        let mut attributes = Vec::with_capacity(7);
        attributes.extend([
            KeyValue::new(names::MESSAGING_SYSTEM, names::SYSTEM),
            KeyValue::new(names::MESSAGING_OPERATION_NAME, operation.name),
            KeyValue::new(names::MESSAGING_OPERATION_TYPE, operation.kind),
            self.queue.clone(),
            self.address.clone(),
            self.port.clone(),
        ]);
        attributes
    }

    /// Of a span, with room for a few more.
    pub(super) fn of_span(&self, operation: Operation) -> Vec<KeyValue> {
        let mut attributes = self.of_metric(operation);
        attributes.reserve_exact(4);
        attributes.push(self.client_id.clone());
        attributes
    }
}

pub(super) fn message_id(item_id: u64) -> KeyValue {
    // A string in the conventions.
    KeyValue::new(names::MESSAGING_MESSAGE_ID, item_id.to_string())
}

pub(super) fn message_count(items: usize) -> KeyValue {
    let items = i64::try_from(items).unwrap_or(i64::MAX);
    KeyValue::new(names::MESSAGING_BATCH_MESSAGE_COUNT, items)
}

pub(super) fn error_type(error: impl Into<opentelemetry::StringValue>) -> KeyValue {
    KeyValue::new(names::ERROR_TYPE, error.into())
}

/// Marks a span as failed.
pub(super) fn fail(span: &mut impl Span, error: &Error) {
    span.set_attribute(error_type(name_of(error)));
    span.set_status(Status::error(error.to_string()));
}

/// One of few words, as `error.type` wants it: Baton's own reason (docs/ERRORS.md), else gRPC's code, else what it was.
pub(super) fn name_of(error: &Error) -> String {
    if let Some(code) = error.code() {
        return code
            .as_str_name()
            .trim_start_matches("ERROR_CODE_")
            .to_owned();
    }
    match error {
        Error::Rpc(status) => grpc_name(status.code()),
        Error::GaveUp { .. } => "GAVE_UP".to_owned(),
        Error::Connect { .. } => "CONNECT".to_owned(),
        Error::Closed => "CLOSED".to_owned(),
        Error::InvalidLease => "INVALID_LEASE".to_owned(),
        Error::QueueEmpty => "QUEUE_EMPTY".to_owned(),
        Error::InvalidUrl { .. } => "INVALID_URL".to_owned(),
        Error::Protocol(_) => "PROTOCOL".to_owned(),
        // These have a code.
        Error::QueueFull | Error::Refused { .. } | Error::ItemTooLarge { .. } => {
            "_OTHER".to_owned()
        }
    }
}

/// `DeadlineExceeded` as gRPC writes it, `DEADLINE_EXCEEDED`.
fn grpc_name(code: Code) -> String {
    let mut name = String::new();
    for (index, letter) in format!("{code:?}").chars().enumerate() {
        if letter.is_ascii_uppercase() && index > 0 {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use baton_proto::v1::ErrorCode;
    use tonic::Status;

    use super::*;

    #[test]
    fn an_error_has_a_short_name() {
        let refused = Error::Refused {
            code: ErrorCode::ItemTooLarge,
            message: "whatever".to_owned(),
        };
        for (error, name) in [
            (refused, "ITEM_TOO_LARGE"),
            (Error::QueueFull, "QUEUE_FULL"),
            (Status::deadline_exceeded("x").into(), "DEADLINE_EXCEEDED"),
            (Error::Closed, "CLOSED"),
        ] {
            assert_eq!(name_of(&error), name);
        }
    }

    #[test]
    fn metrics_carry_nothing_that_many_values_have() {
        let attributes = Attributes::new(&"orders".into(), ("broker", 7400), "me-1");
        let metric = attributes.of_metric(Operation::PUBLISH);
        let span = attributes.of_span(Operation::PUBLISH);
        let has_client = |all: &[KeyValue]| {
            all.iter()
                .any(|one| one.key.as_str() == names::MESSAGING_CLIENT_ID)
        };
        assert!(!has_client(&metric) && has_client(&span));
        assert_eq!(metric.len() + 1, span.len());
    }
}
