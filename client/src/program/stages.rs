//! Asks the broker where the time of the run went.

use std::time::Duration;

use baton_telemetry::program::stage_table::StageTable;
use tokio::time::timeout;

use crate::Queue;

/// The summary waits for it.
const PATIENCE: Duration = Duration::from_secs(2);
/// What a broker can be asked for.
const WINDOW_LIMITS: (Duration, Duration) =
    (Duration::from_secs(1), Duration::from_secs(24 * 60 * 60));

/// None: the broker says nothing, or too late. That is no reason to complain: nobody asked.
pub async fn of_the_run(queue: &Queue, took: Duration) -> Option<StageTable> {
    let (least, most) = WINDOW_LIMITS;
    let latency = timeout(PATIENCE, queue.latency(took.clamp(least, most))).await;
    let latency = latency.ok()?.ok()?;
    let table = StageTable {
        queue: queue.name().to_owned(),
        window: latency.window,
        rows: latency.stages,
        verdict: latency.verdict,
    };
    (!table.is_empty()).then_some(table)
}
