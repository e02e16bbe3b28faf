//! What Baton exports, read by software that nobody here wrote: Datadog's test agent and rotel take its spans and
//! metrics by OTLP, Prometheus scrapes it. `make peers` installs them, `make test-traces` runs this; without them it
//! fails.
//!
//! And what docker-compose.yml makes of it, in containers: [`compose`], which `make test-compose` runs and `make test-traces` leaves out.

#![expect(
    clippy::unwrap_used,
    reason = "helpers outside #[test] functions are tests too"
)]

mod agent;
mod attributes;
mod bare;
mod critical_path;
mod delay_proxy;
mod foreign;
mod http;
mod ids;
mod item_trace;
mod metrics;
mod programs;
mod prometheus;
mod rotel;
mod scene;
mod sketch;
mod skewed;
mod spans;
mod tree;

mod ambient;
mod arrival;
mod clocks;
mod collector_dies;
mod compose;
mod every_item;
mod exposition;
mod failures;
mod foreign_producer;
mod hostile;
mod running;
mod scraping;
mod tail;
