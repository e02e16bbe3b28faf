//! What every crate of Baton tells about itself with: clocks, latency summaries, the log on stderr and the names of
//! spans and attributes.
//!
//! Nothing here knows the wire contract or a queue. Used by the broker, the client library and the programs; `program`
//! (a feature) holds what only the command line programs share.

pub mod clock;
#[cfg(feature = "latency")]
pub mod latency;
#[cfg(feature = "logging")]
pub mod logging;
pub mod names;
#[cfg(feature = "program")]
pub mod program;
