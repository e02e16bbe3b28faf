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

// Where each module finds them: `crate::broker` and so on.
use baton_e2e::{broker, dice, processes, scratch};

mod classic;
mod exec;
mod explained;
mod kill;
mod load;
mod remembered;
mod restart;
mod small_disk;
mod stopping;
