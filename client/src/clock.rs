//! Time on the wire: stamps, the name of their clock, and durations.

use std::sync::OnceLock;
use std::time::Duration;

use baton_proto::opaque::ClockDomain;
use baton_telemetry::clock;
pub(crate) use baton_telemetry::clock::monotonic_ns as now_ns;

/// Which clock stamps are of; unknown parts are left empty, which the contract reads as "a clock of its own".
pub(crate) fn domain() -> ClockDomain {
    static DOMAIN: OnceLock<ClockDomain> = OnceLock::new();
    let read = || {
        let own = clock::ClockDomain::current();
        ClockDomain {
            boot_id: own.boot_id,
            time_namespace: own.time_namespace,
        }
    };
    DOMAIN.get_or_init(read).clone()
}

/// A duration for the wire; what does not fit is cut to the longest that does, which every limit refuses.
pub(crate) fn wire_duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}
