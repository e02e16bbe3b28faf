//! The broker over real sockets, spoken to with nothing but the generated code: what any client in any language gets.

#![expect(
    clippy::unwrap_used,
    reason = "helpers outside #[test] functions are tests too"
)]

mod admin;
mod bad_input;
mod bad_streams;
mod cold;
mod drain;
mod endings;
mod limits;
mod pipeline;
mod publisher;
mod support;
