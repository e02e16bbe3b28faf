//! The end of a broker, in order: refuse new work and tell the streams; let settles in; end the streams; stop serving.
//! Each step is logged, and all of them together take no longer than the grace.

use std::time::Duration;

use baton_journal::Counters;
use baton_proto::v1::Durability;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{info, warn};

use crate::Running;
use crate::rpc::set_not_serving;

/// How often leases of unary calls are looked at.
const POLL: Duration = Duration::from_millis(20);
/// What is kept of the grace for closing connections, at the most; a tenth of it where that is less.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

impl Running {
    /// Drains the broker and stops it, within `grace`. True: everything under way was finished.
    pub async fn shutdown(mut self, grace: Duration) -> bool {
        let close_wait = CLOSE_WAIT.min(grace / 10);
        let deadline = Instant::now() + (grace - close_wait);
        info!(
            streams = self.streams.len(),
            ?grace,
            "shutting down: refusing new work, waiting for settles"
        );
        set_not_serving(&self.health).await;
        self.engine.drain();
        self.draining.cancel();
        self.streams.close();
        let settled = timeout_at(deadline, self.streams.wait()).await.is_ok();
        if !settled {
            let streams = self.streams.len();
            warn!(
                streams,
                "grace is over: the leases of these streams are lost, their items are not acknowledged"
            );
        }
        let settled = settled && self.unary_settled(deadline).await;
        let close_by = Instant::now() + close_wait;
        self.stop.cancel();
        self.tell_losses(close_by).await;
        let stopped = timeout_at(close_by, self.engine.stop()).await.is_ok();
        if let Some(exporting) = self.exporting.take() {
            // Traces that are not out by then are lost.
            drop(timeout_at(close_by, exporting.stop()).await);
        }
        let close = async { while self.servers.join_next().await.is_some() {} };
        let closed = timeout_at(close_by, close).await.is_ok();
        if !closed {
            self.servers.abort_all();
        }
        self.tell_counters();
        info!(finished = settled, "broker stopped");
        settled && stopped
    }

    /// What the journal did in this life.
    fn tell_counters(&self) {
        if let Some(counters) = self.engine.journal_counters() {
            let Counters {
                commits,
                bytes,
                syncs,
                sync_ns,
                sync_ns_max,
                segments,
                spares,
            } = counters;
            let mean_sync = Duration::from_nanos(sync_ns.checked_div(syncs).unwrap_or(0));
            let longest_sync = Duration::from_nanos(sync_ns_max);
            info!(
                commits,
                bytes,
                syncs,
                ?mean_sync,
                ?longest_sync,
                segments,
                spares,
                "journal closed"
            );
        }
    }

    /// Memory ends with the process.
    async fn tell_losses(&self, by: Instant) {
        if self.engine.durability() != Durability::Memory {
            return;
        }
        let held = timeout_at(by, self.engine.held_items()).await.unwrap_or(0);
        if held > 0 {
            warn!(items = held, "these items were in memory only and are lost");
        }
    }

    /// Leases of unary calls are nobody's stream: waits until they are settled too.
    async fn unary_settled(&self, deadline: Instant) -> bool {
        let wait = async {
            while self.engine.leased_items().await > 0 {
                sleep(POLL).await;
            }
        };
        let settled = timeout_at(deadline, wait).await.is_ok();
        if !settled {
            warn!(
                "grace is over: some leases of unary calls are lost, their items are not acknowledged"
            );
        }
        settled
    }
}
