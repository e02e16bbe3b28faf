//! The journal as its callers see it, on a disk that fails on command.

#![expect(
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    reason = "these are tests, and their numbers are small"
)]

mod damage;
mod engine;
mod failures;
mod life;
mod random;
mod reclaim;
mod scan;
mod state;
