//! The far end of a stream, and how its clock compares with the broker's.

use std::sync::Arc;

use baton_telemetry::clock_offset::DRIFT_PPM;

/// Who publishes or consumes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// Names the client; of a unary call what it calls itself.
    pub client_id: Arc<str>,
    /// As in OpenTelemetry's `service.name`; empty: not said.
    pub service: Arc<str>,
}

impl Party {
    /// Someone of whom only a name is known.
    #[must_use]
    pub fn named(client_id: impl Into<Arc<str>>) -> Self {
        Self {
            client_id: client_id.into(),
            service: Arc::default(),
        }
    }
}

/// What is added to a client's stamps to get the broker's wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shift {
    /// Nanoseconds, modulo 2^64: the two clocks begin at different times.
    pub ns: u64,
    /// It is right to this, either way. 0: both read the same clock.
    pub error_ns: u64,
}

impl Shift {
    /// How far a stamp may be off that was taken `ns` before the clocks were compared: they drift. One clock does not.
    #[must_use]
    pub const fn error_before(self, ns: u64) -> u64 {
        if self.error_ns == 0 {
            return 0;
        }
        let drift = (ns / 1_000_000).saturating_mul(DRIFT_PPM);
        self.error_ns.saturating_add(drift)
    }

    /// The broker's time of a client's stamp.
    #[must_use]
    pub const fn broker_ns(self, client_ns: u64) -> u64 {
        client_ns.wrapping_add(self.ns)
    }
}
