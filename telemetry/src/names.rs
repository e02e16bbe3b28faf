//! Names of spans, attributes and environment variables that others read: OpenTelemetry's where it has one, ours under
//! `messaging.baton.*`. A name stands here once something uses it.

/// Span of a consumer's handler at work on one item.
pub const SPAN_PROCESS: &str = "process";

/// The queue.
pub const MESSAGING_DESTINATION_NAME: &str = "messaging.destination.name";

/// The item's id.
pub const MESSAGING_MESSAGE_ID: &str = "messaging.message.id";

/// Which attempt at the item it is, from 1.
pub const MESSAGING_BATON_ATTEMPT: &str = "messaging.baton.attempt";
