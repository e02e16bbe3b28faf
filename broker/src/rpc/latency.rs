//! Accounts and latencies on the wire.

use std::time::Duration;

use baton_ledger::account::{Account, Attempt, AttemptOutcome, Outcome, Part};
use baton_ledger::waits::Waits;
use baton_ledger::{StageLatency, verdict};
use baton_proto::opaque as wire;
use baton_queue::Timestamp;
use baton_telemetry::stage::Stage;

use super::convert::{wire_duration, wire_time};
use crate::engine::Latency;

/// Adds where an item's time went.
pub(super) fn add_account(explanation: &mut wire::Explanation, account: &Account, now: Timestamp) {
    let now = now.0;
    let parts = account.parts(now);
    let begin = account.begin();
    let stages = parts.iter().map(|part| stage_time(part, account, begin));
    let (total, error) = account.total(now);
    explanation.stages = stages.collect();
    explanation.deliveries = account.attempts.iter().filter_map(delivery).collect();
    explanation.total = Some(nanos(total));
    explanation.total_error = some_nanos(error);
    explanation.outcome = account
        .end
        .map_or(0, |end| wire_outcome(end.outcome).into());
    explanation.trace_id = account
        .context
        .map_or_else(String::new, |context| context.trace_id.to_string());
    explanation.verdict = verdict::of_account(account, now);
    explanation.attempts = explanation.attempts.max(
        account
            .attempts
            .iter()
            .filter(|attempt| attempt.leased.is_some())
            .map(|attempt| attempt.number)
            .max()
            .unwrap_or(0),
    );
    let time = |ns| wire_time(Timestamp(ns));
    explanation.published_at = explanation
        .published_at
        .or_else(|| Some(time(account.received)));
    explanation.since = explanation
        .since
        .or_else(|| account.end.map(|end| time(end.at)));
}

fn stage_time(part: &Part, account: &Account, begin: u64) -> wire::StageTime {
    let attempt = account
        .attempts
        .iter()
        .find(|attempt| attempt.number == part.attempt);
    let waits = attempt
        .filter(|_| part.stage == Stage::Queue)
        .map_or_else(Vec::new, |attempt| wait_shares(&attempt.waits, part.ns()));
    wire::StageTime {
        stage: wire_stage(part.stage).into(),
        attempt: part.attempt,
        start: Some(nanos(part.start.saturating_sub(begin))),
        duration: Some(nanos(part.ns())),
        error: some_nanos(part.error_ns),
        approximate: part.approximate,
        running: part.running,
        waits,
    }
}

fn delivery(attempt: &Attempt) -> Option<wire::Attempt> {
    let end = attempt.end.as_ref();
    let consumer = attempt.consumer.as_ref();
    Some(wire::Attempt {
        attempt: attempt.number,
        consumer: consumer.map_or_else(String::new, |party| party.client_id.to_string()),
        outcome: end.map_or(0, |end| attempt_outcome(end.outcome).into()),
        reason: end.map_or(0, |end| reason(end.outcome).into()),
        error: end.map_or_else(String::new, |end| end.error.to_string()),
        leased_at: Some(wire_time(Timestamp(attempt.leased?))),
        ended_at: end.map(|end| wire_time(Timestamp(end.durable))),
    })
}

/// Writes how each stage went over a window.
pub(super) fn wire_latency(latency: &Latency) -> wire::GetLatencyResponse {
    let sums: Vec<_> = latency
        .stages
        .iter()
        .map(|stage| {
            (
                stage.stage,
                stage.histogram.count(),
                stage.histogram.sum_ns(),
            )
        })
        .collect();
    wire::GetLatencyResponse {
        window: Some(wire_duration(latency.window)),
        stages: latency.stages.iter().map(stage_latency).collect(),
        verdict: verdict::of_stages(&sums, &latency.waits),
        oldest_ready_age: latency.oldest_ready.map(wire_duration),
        oldest_leased_age: latency.oldest_leased.map(wire_duration),
        waits: wait_shares(&latency.waits, latency.waited_ns),
    }
}

fn stage_latency(stage: &StageLatency) -> wire::StageLatency {
    let histogram = &stage.histogram;
    let quantile = |q| Some(nanos(histogram.quantile_ns(q)));
    let sum = u64::try_from(histogram.sum_ns()).unwrap_or(u64::MAX);
    wire::StageLatency {
        stage: wire_stage(stage.stage).into(),
        count: histogram.count(),
        p50: quantile(0.5),
        p90: quantile(0.9),
        p99: quantile(0.99),
        p999: quantile(0.999),
        max: Some(nanos(histogram.max_ns())),
        sum: Some(nanos(sum)),
        error: some_nanos(stage.error_ns),
    }
}

/// Those that took any time; what is left was spent behind others.
fn wait_shares(waits: &Waits, all_ns: u64) -> Vec<wire::WaitShare> {
    let known = waits.explained();
    let shares = [
        (wire::WaitReason::Paused, waits.paused),
        (wire::WaitReason::NoConsumer, waits.no_consumer),
        (wire::WaitReason::NoCredit, waits.no_credit),
        (wire::WaitReason::BehindOthers, all_ns.saturating_sub(known)),
        (wire::WaitReason::BeforeRestart, waits.before_restart),
    ];
    let some = shares.into_iter().filter(|(_, ns)| *ns > 0);
    some.map(|(reason, ns)| wire::WaitShare {
        reason: reason.into(),
        duration: Some(nanos(ns)),
    })
    .collect()
}

fn nanos(ns: u64) -> prost_types::Duration {
    wire_duration(Duration::from_nanos(ns))
}

fn some_nanos(ns: u64) -> Option<prost_types::Duration> {
    (ns > 0).then(|| nanos(ns))
}

pub(super) const fn wire_stage(stage: Stage) -> wire::Stage {
    match stage {
        Stage::Publish => wire::Stage::Publish,
        Stage::Store => wire::Stage::Store,
        Stage::Scheduled => wire::Stage::Scheduled,
        Stage::Queue => wire::Stage::Queue,
        Stage::Deliver => wire::Stage::Deliver,
        Stage::Prefetch => wire::Stage::Prefetch,
        Stage::Process => wire::Stage::Process,
        Stage::Settle => wire::Stage::Settle,
        Stage::Total => wire::Stage::Total,
        Stage::NotAllowed => wire::Stage::NotAllowed,
        Stage::NoWorker => wire::Stage::NoWorker,
    }
}

/// None: UNSPECIFIED.
pub(super) fn stage(sent: wire::Stage) -> Option<Stage> {
    Stage::ALL
        .into_iter()
        .find(|stage| wire_stage(*stage) == sent)
}

const fn wire_outcome(outcome: Outcome) -> wire::ItemOutcome {
    match outcome {
        Outcome::Acked => wire::ItemOutcome::Acked,
        Outcome::Dead => wire::ItemOutcome::Dead,
        Outcome::Expired => wire::ItemOutcome::Expired,
        Outcome::Cancelled => wire::ItemOutcome::Cancelled,
        Outcome::Discarded => wire::ItemOutcome::Discarded,
    }
}

const fn attempt_outcome(outcome: AttemptOutcome) -> wire::ItemOutcome {
    match outcome {
        AttemptOutcome::Acked => wire::ItemOutcome::Acked,
        _ => wire::ItemOutcome::Failed,
    }
}

const fn reason(outcome: AttemptOutcome) -> wire::FailureReason {
    match outcome {
        AttemptOutcome::Acked => wire::FailureReason::Unspecified,
        AttemptOutcome::Nacked => wire::FailureReason::Nacked,
        AttemptOutcome::Rejected => wire::FailureReason::Rejected,
        AttemptOutcome::LeaseExpired => wire::FailureReason::LeaseExpired,
        AttemptOutcome::ConsumerGone => wire::FailureReason::ConsumerGone,
        AttemptOutcome::BrokerRestarted => wire::FailureReason::BrokerRestarted,
    }
}
