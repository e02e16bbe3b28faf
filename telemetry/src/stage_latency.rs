//! How long one stage took, over many items: what the broker's histograms come down to.

use std::time::Duration;

use crate::stage::Stage;

/// One stage over a window. Percentiles are right to 2.2 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageLatency {
    /// Which.
    pub stage: Stage,
    /// How many times were measured.
    pub count: u64,
    /// Half of them took no longer.
    pub p50: Duration,
    /// Nine in ten took no longer.
    pub p90: Duration,
    /// 99 in 100 took no longer; of fewer than 100 it says no more than `max`.
    pub p99: Duration,
    /// 999 in 1000 took no longer.
    pub p999: Duration,
    /// The longest.
    pub max: Duration,
    /// All together.
    pub sum: Duration,
    /// No time is further off than this for the clocks' sake. `None`: exact.
    pub error: Option<Duration>,
}
