//! The client library against a scripted broker, over real connections on the loopback.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, and helpers are tests too"
)]

mod broker;
mod consuming;
mod created_spans;
mod metrics;
mod operating;
mod publishing;
mod spans;
mod timing;
mod unary;
mod worked_spans;
