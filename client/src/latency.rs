//! Where the time of a queue's items goes, as the broker accounts for it.
//!
//! Owns the percentiles of each stage, and the list of the slowest items. What the broker says in the types of the wire
//! is told here in those of Rust.

use std::time::Duration;

use baton_proto::v1::{
    self, Explanation, GetLatencyRequest, GetLatencyResponse, ListSlowItemsRequest, WaitReason,
};
use baton_telemetry::stage::Stage;
use baton_telemetry::stage_latency::StageLatency;

use crate::admin::{AdminClient, admin};
use crate::clock::wire_duration;
use crate::error::Error;
use crate::queue::Queue;

/// Percentiles of each stage over a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Latency {
    /// What is covered: what was asked for, rounded up to the broker's slots.
    pub window: Duration,
    /// Those that were measured, in the order of an item's life.
    pub stages: Vec<StageLatency>,
    /// What to make of it, in a sentence; empty: nothing.
    pub verdict: String,
    /// How long the item has waited that has been ready the longest. `None`: none is ready. Percentiles know only what is
    /// over.
    pub oldest_ready_age: Option<Duration>,
    /// How long the lease has been held that has been held the longest. `None`: none is held.
    pub oldest_leased_age: Option<Duration>,
    /// Where the queue waits went.
    pub waits: Vec<(WaitReason, Duration)>,
}

/// An item that took long.
#[derive(Debug, Clone, PartialEq)]
pub struct SlowItem {
    /// In the stage that was asked for, over all attempts.
    pub duration: Duration,
    /// All that is known of it, but for the text.
    pub explanation: Explanation,
}

impl Queue {
    /// Percentiles of each stage over a window up to now, 1 s to 24 h. Cancel-safe.
    ///
    /// # Errors
    ///
    /// As [`describe`](Self::describe); a broker that does not account for time answers UNIMPLEMENTED, or without stages.
    pub async fn latency(&self, window: Duration) -> Result<Latency, Error> {
        let request = GetLatencyRequest {
            queue: self.name.clone(),
            window: Some(wire_duration(window)),
        };
        let call = |mut admin: AdminClient, r| async move { admin.get_latency(r).await };
        Ok(admin(&self.context, request, call).await?.into())
    }

    /// The items that took longest in a stage, slowest first: up to `max` of them (1 to 100), of those that ended within
    /// `window` (at most 24 h). Cancel-safe.
    ///
    /// # Errors
    ///
    /// As [`latency`](Self::latency).
    pub async fn slowest(
        &self,
        stage: Stage,
        max: u32,
        window: Duration,
    ) -> Result<Vec<SlowItem>, Error> {
        let request = ListSlowItemsRequest {
            queue: self.name.clone(),
            stage: on_wire(stage).into(),
            max_items: i32::try_from(max).unwrap_or(i32::MAX),
            window: Some(wire_duration(window)),
        };
        let call = |mut admin: AdminClient, r| async move { admin.list_slow_items(r).await };
        let response = admin(&self.context, request, call).await?;
        let items = response.items.into_iter().filter_map(|item| {
            Some(SlowItem {
                duration: duration(item.duration),
                explanation: item.explanation?,
            })
        });
        Ok(items.collect())
    }
}

impl From<GetLatencyResponse> for Latency {
    fn from(wire: GetLatencyResponse) -> Self {
        let waits = wire.waits.iter();
        Self {
            window: duration(wire.window),
            stages: wire.stages.iter().filter_map(stage_latency).collect(),
            verdict: wire.verdict,
            oldest_ready_age: wire.oldest_ready_age.map(|age| duration(Some(age))),
            oldest_leased_age: wire.oldest_leased_age.map(|age| duration(Some(age))),
            waits: waits
                .map(|share| (share.reason(), duration(share.duration)))
                .collect(),
        }
    }
}

/// None: a stage that this version does not know.
fn stage_latency(wire: &v1::StageLatency) -> Option<StageLatency> {
    Some(StageLatency {
        stage: Stage::ALL
            .into_iter()
            .find(|stage| on_wire(*stage) == wire.stage())?,
        count: wire.count,
        p50: duration(wire.p50),
        p90: duration(wire.p90),
        p99: duration(wire.p99),
        p999: duration(wire.p999),
        max: duration(wire.max),
        sum: duration(wire.sum),
        error: wire.error.map(|error| duration(Some(error))),
    })
}

/// Left out is 0 on the wire; negative is what no broker sends.
fn duration(wire: Option<prost_types::Duration>) -> Duration {
    wire.unwrap_or_default().try_into().unwrap_or_default()
}

fn on_wire(stage: Stage) -> v1::Stage {
    match stage {
        Stage::Publish => v1::Stage::Publish,
        Stage::Store => v1::Stage::Store,
        Stage::Scheduled => v1::Stage::Scheduled,
        Stage::Queue => v1::Stage::Queue,
        Stage::Deliver => v1::Stage::Deliver,
        Stage::Prefetch => v1::Stage::Prefetch,
        Stage::Process => v1::Stage::Process,
        Stage::Settle => v1::Stage::Settle,
        Stage::Total => v1::Stage::Total,
        Stage::NotAllowed => v1::Stage::NotAllowed,
        Stage::NoWorker => v1::Stage::NoWorker,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_have_one_name_on_the_wire_and_off_it() {
        for stage in Stage::ALL {
            let name = on_wire(stage).as_str_name();
            assert_eq!(name, format!("STAGE_{}", stage.name().to_uppercase()));
        }
    }

    #[test]
    fn a_stage_of_a_newer_broker_is_left_out() {
        let stage = |stage| v1::StageLatency {
            stage,
            count: 3,
            ..v1::StageLatency::default()
        };
        let wire = GetLatencyResponse {
            stages: vec![stage(99), stage(v1::Stage::Queue.into())],
            ..GetLatencyResponse::default()
        };
        let latency = Latency::from(wire);
        let known: Vec<_> = latency.stages.iter().map(|s| (s.stage, s.count)).collect();
        assert_eq!(known, [(Stage::Queue, 3)]);
        assert_eq!(
            (latency.oldest_ready_age, latency.stages[0].error),
            (None, None)
        );
    }
}
