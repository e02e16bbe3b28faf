//! The real programs as processes, used as their users use them.

#![expect(
    clippy::unwrap_used,
    reason = "helpers outside #[test] functions are tests too"
)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "how much a test did, and how to repeat one that failed"
)]

mod broker;
mod classic;
mod dice;
mod exec;
mod kill;
mod load;
mod processes;
mod remembered;
mod restart;
mod scratch;
mod small_disk;
mod stopping;
