//! The ledger over its public API: restarts, hostile input, what is kept and for how long.

mod hostile;
mod kept;
mod restart;
mod slowest;
mod story;
