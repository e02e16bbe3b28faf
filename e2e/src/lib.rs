//! The real programs as processes: started, fed, asked, stopped and killed as their users do it.
//!
//! Shared by the two tests of this crate: `e2e`, which needs nothing else, and `peers`, which has software that is not
//! ours look at what the programs export. Everything panics when it goes wrong: it is a test's.

#![expect(
    clippy::unwrap_used,
    reason = "what fails here fails the test that called"
)]
#![expect(clippy::print_stderr, reason = "where a failed test left its files")]

pub mod broker;
pub mod dice;
pub mod ports;
pub mod processes;
pub mod scratch;
