//! What the command line programs share, so that they look, end and fail alike.
//!
//! Owns the flags that all of them have, the exit codes, the signals and everything that is written to stdout and
//! stderr. Knows nothing of queues; called by the programs' `main` and `report` only.

pub mod exit;
pub mod flags;
pub mod launch;
pub mod message;
#[cfg(feature = "otel")]
pub mod otel;
pub mod output;
pub mod problems;
pub mod progress;
pub mod signals;
pub mod stage_table;
pub mod throughput;
