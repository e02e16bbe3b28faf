//! What every crate of Baton tells about itself with: clocks, latency summaries, the log on stderr and the names of
//! spans and attributes.
//!
//! `otlp` (a feature) is the broker's: spans it writes by itself, and their way to a collector.
//! Nothing here knows the wire contract or a queue. Used by the broker, the client library and the programs; `program`
//! (a feature) holds what only the command line programs share.

pub mod clock;
pub mod clock_offset;
#[cfg(any(feature = "otel", feature = "otlp"))]
pub mod environment;
pub mod histogram;
pub mod host;
#[cfg(feature = "latency")]
pub mod latency;
#[cfg(feature = "logging")]
pub mod logging;
pub mod names;
#[cfg(feature = "otlp")]
pub mod otlp;
#[cfg(any(feature = "otel", feature = "otlp"))]
mod outage;
#[cfg(feature = "program")]
pub mod program;
pub mod stage;
pub mod stage_latency;
pub mod trace_context;
pub mod windows;
