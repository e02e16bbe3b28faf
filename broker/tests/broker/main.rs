//! The broker over real sockets, spoken to with nothing but the generated code: what any client in any language gets.

#![expect(
    clippy::unwrap_used,
    reason = "helpers outside #[test] functions are tests too"
)]

mod admin;
mod bad_input;
mod bad_streams;
mod cold;
mod deployed;
mod drain;
mod endings;
mod explain;
mod exposition;
mod http;
mod limits;
mod metrics;
mod pipeline;
mod publisher;
mod support;
mod web;
