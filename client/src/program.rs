//! What the command line programs share that needs a broker, and no library's user does (feature `program`). What they share
//! without one is in `baton_telemetry::program`.

mod explain;
pub mod stages;

pub use explain::Explain;
