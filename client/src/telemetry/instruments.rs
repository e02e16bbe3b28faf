//! The client's metrics, as OpenTelemetry's messaging conventions have them.
//!
//! Owns the instruments; what they count is noted by [`Scope`](super::Scope). Without an SDK each of them does nothing.

use baton_telemetry::names;
use opentelemetry::metrics::{Counter, Histogram, Meter};

#[derive(Debug)]
pub(super) struct Instruments {
    pub(super) operation_duration: Histogram<f64>,
    pub(super) process_duration: Histogram<f64>,
    pub(super) sent: Counter<u64>,
    pub(super) consumed: Counter<u64>,
}

impl Instruments {
    pub(super) fn new(meter: &Meter) -> Self {
        let duration = |name, description| {
            meter
                .f64_histogram(name)
                .with_unit("s")
                .with_description(description)
                .with_boundaries(names::DURATION_BUCKETS_SECONDS.to_vec())
                .build()
        };
        let count = |name, description| {
            meter
                .u64_counter(name)
                .with_unit("{message}")
                .with_description(description)
                .build()
        };
        Self {
            operation_duration: duration(
                names::MESSAGING_CLIENT_OPERATION_DURATION,
                "Duration of messaging operation initiated by a producer or consumer client.",
            ),
            process_duration: duration(
                names::MESSAGING_PROCESS_DURATION,
                "Duration of processing operation.",
            ),
            sent: count(
                names::MESSAGING_CLIENT_SENT_MESSAGES,
                "Number of messages producer attempted to send to the broker.",
            ),
            consumed: count(
                names::MESSAGING_CLIENT_CONSUMED_MESSAGES,
                "Number of messages that were delivered to the application.",
            ),
        }
    }
}
