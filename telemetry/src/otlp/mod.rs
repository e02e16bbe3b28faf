//! Spans that the broker writes by itself, and their way to a collector over OTLP/gRPC.
//!
//! ```text
//! Span --encode--> Spans --try_send--> queue of bytes --Exporter::run--> requests --gRPC--> collector
//! ```
//!
//! Invariants: whoever sends never waits; what waits is bounded in bytes; each span ends in exactly one counter. Used by
//! the broker alone: programs that are no broker have the OpenTelemetry SDK for this.

mod collector;
mod counters;
mod exporter;
mod json;
mod queue;
mod report;
mod request;
mod resource;
mod retry;
#[cfg(test)]
mod samples;
mod settings;
mod span;
mod spans;
mod wire;

pub use counters::Counters;
pub use exporter::Exporter;
pub use json::{Form, to_json};
pub use queue::ExportHandle;
pub use request::{SCHEMA_URL, SCOPE_NAME};
pub use resource::Resource;
pub use settings::Settings;
pub use span::{Attribute, Link, Span, SpanEvent, SpanKind, Value, encode};
pub use spans::Spans;
