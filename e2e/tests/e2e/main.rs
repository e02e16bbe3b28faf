//! The real programs as processes, used as their users use them.

#![expect(
    clippy::unwrap_used,
    reason = "helpers outside #[test] functions are tests too"
)]

mod classic;
mod exec;
mod load;
mod processes;
mod restart;
mod stopping;
