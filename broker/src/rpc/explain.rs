//! Items and queues, explained: the queue's own account on the wire, with a sentence for people.

use std::time::Duration;

use baton_ledger::account::{Account, AttemptOutcome, End, Outcome};
use baton_ledger::text::{text, without_account};
use baton_proto::opaque as wire;
use baton_queue::{
    Ending, Explanation, FailedAttempt, FailureReason, ItemState, Timestamp, WaitReason,
};
use humantime::format_duration;

use super::convert::{wire_duration, wire_reason, wire_state, wire_time};
use super::latency;
use crate::engine::{Explained, View};

/// Writes where an item stands.
pub(super) fn wire_explanation(explained: &Explanation, now: Timestamp) -> wire::Explanation {
    wire::Explanation {
        item_id: explained.item.0,
        state: wire_state(explained.state).into(),
        wait_reason: explained
            .wait_reason
            .map_or(0, |reason| wire_wait(reason).into()),
        summary: summary(explained, now),
        published_at: explained.published_at.map(wire_time),
        since: explained.since.map(wire_time),
        until: explained.until.map(wire_time),
        attempts: explained.attempts,
        failed_attempts: explained.failed_attempts.iter().map(wire_attempt).collect(),
        consumer: explained.consumer.as_deref().unwrap_or_default().to_owned(),
        items_before: explained.items_before.unwrap_or(0),
        dead_reason: explained
            .dead_reason
            .map_or(0, |reason| wire_reason(reason).into()),
        bytes: u64::from(explained.size),
        in_state: explained
            .since
            .map(|since| wire_duration(now.saturating_since(since))),
        outcome: explained
            .ending
            .map_or(0, |ending| wire_ending(ending).into()),
        ..wire::Explanation::default()
    }
}

/// Writes where an item stands, and where its time went.
pub(super) fn wire_explained(explained: &Explained) -> wire::Explanation {
    let now = explained.now;
    let mut explanation = wire_explanation(&explained.explanation, now);
    let Some(account) = explained.account.as_deref() else {
        explanation.text = without_account(&explanation.summary);
        return explanation;
    };
    if let Some(end) = account.end {
        explanation.summary = ended(account, end, now);
    }
    latency::add_account(&mut explanation, account, now);
    explanation.text = text(account, now.0, &explanation.summary);
    explanation
}

/// Writes an item that has ended, without the text.
pub(super) fn wire_account(account: &Account, now: Timestamp) -> wire::Explanation {
    let state = match account.end {
        Some(End {
            outcome: Outcome::Dead,
            ..
        }) => ItemState::Dead,
        _ => ItemState::Done,
    };
    let mut explanation = wire::Explanation {
        item_id: account.item,
        state: wire_state(state).into(),
        summary: account
            .end
            .map_or_else(String::new, |end| ended(account, end, now)),
        ..wire::Explanation::default()
    };
    latency::add_account(&mut explanation, account, now);
    explanation
}

fn ended(account: &Account, end: End, now: Timestamp) -> String {
    let id = account.item;
    let ago = rounded(now.saturating_since(Timestamp(end.at)));
    let mut attempts = account.attempts.iter().rev();
    let last = attempts.find(|attempt| attempt.leased.is_some());
    let number = last.map_or(0, |attempt| attempt.number);
    let consumer = last.and_then(|attempt| attempt.consumer.as_ref());
    let consumer = consumer.map_or("an unnamed consumer", |party| &party.client_id);
    match end.outcome {
        Outcome::Acked => {
            format!("item {id} was acknowledged by {consumer} {ago} ago (attempt {number})")
        }
        Outcome::Dead => {
            let last = last.and_then(|attempt| attempt.end.as_ref());
            let how = last.map_or("unknown", |end| lost(end.outcome));
            format!(
                "item {id} was given up {ago} ago after {number} attempt(s), the last one {how}; redrive or discard it"
            )
        }
        Outcome::Expired => format!("item {id} expired {ago} ago: its time to live ran out"),
        Outcome::Cancelled => format!("item {id} was cancelled or purged {ago} ago"),
        Outcome::Discarded => {
            let last = last.and_then(|attempt| attempt.end.as_ref());
            let how = last.map_or("unknown", |end| lost(end.outcome));
            format!(
                "item {id} was given up {ago} ago after {number} attempt(s), the last one {how}, and discarded since"
            )
        }
    }
}

const fn lost(outcome: AttemptOutcome) -> &'static str {
    match outcome {
        AttemptOutcome::Acked => "acknowledged",
        AttemptOutcome::Nacked => given_up(FailureReason::Nacked),
        AttemptOutcome::Rejected => given_up(FailureReason::Rejected),
        AttemptOutcome::LeaseExpired => given_up(FailureReason::LeaseExpired),
        AttemptOutcome::ConsumerGone => given_up(FailureReason::ConsumerGone),
        AttemptOutcome::BrokerRestarted => given_up(FailureReason::BrokerRestarted),
    }
}

const fn wire_ending(ending: Ending) -> wire::ItemOutcome {
    match ending {
        Ending::Acked => wire::ItemOutcome::Acked,
        Ending::Expired => wire::ItemOutcome::Expired,
        Ending::Cancelled => wire::ItemOutcome::Cancelled,
        Ending::Discarded => wire::ItemOutcome::Discarded,
    }
}

fn wire_wait(reason: WaitReason) -> wire::WaitReason {
    match reason {
        WaitReason::Delayed => wire::WaitReason::Delayed,
        WaitReason::BackingOff => wire::WaitReason::BackingOff,
        WaitReason::Paused => wire::WaitReason::Paused,
        WaitReason::NoConsumer => wire::WaitReason::NoConsumer,
        WaitReason::NoCredit => wire::WaitReason::NoCredit,
        WaitReason::BehindOthers => wire::WaitReason::BehindOthers,
    }
}

fn wire_attempt(failed: &FailedAttempt) -> wire::FailedAttempt {
    wire::FailedAttempt {
        attempt: failed.attempt,
        consumer: failed.consumer.to_string(),
        leased_at: Some(wire_time(failed.leased_at)),
        ended_at: Some(wire_time(failed.ended_at)),
        reason: wire_reason(failed.reason).into(),
        error: failed.error.to_string(),
    }
}

fn summary(explained: &Explanation, now: Timestamp) -> String {
    let id = explained.item;
    let since = explained
        .since
        .map_or(Duration::ZERO, |since| now.saturating_since(since));
    let since = rounded(since);
    let left = explained
        .until
        .map_or(Duration::ZERO, |until| until.saturating_since(now));
    let left = rounded(left);
    match explained.state {
        ItemState::Scheduled => format!(
            "item {id} {} for another {left}",
            waiting(explained.wait_reason)
        ),
        ItemState::Ready => {
            let before = explained.items_before.unwrap_or(0);
            format!(
                "item {id} is ready since {since}, {before} before it: {}",
                waiting(explained.wait_reason)
            )
        }
        ItemState::Leased => {
            let consumer = explained
                .consumer
                .as_deref()
                .unwrap_or("an unnamed consumer");
            let attempt = explained.attempts;
            format!(
                "item {id} is with {consumer} since {since} (attempt {attempt}); its lease lasts another {left}"
            )
        }
        ItemState::Dead => {
            let reason = explained.dead_reason.map_or("unknown", given_up);
            let attempts = explained.attempts;
            format!(
                "item {id} was given up {since} ago after {attempts} attempt(s), the last one {reason}; redrive or discard it"
            )
        }
        ItemState::Done => match explained.ending {
            Some(Ending::Acked) => format!("item {id} was acknowledged"),
            Some(Ending::Expired) => format!("item {id} expired: its time to live ran out"),
            Some(Ending::Cancelled) => format!("item {id} was cancelled or purged"),
            Some(Ending::Discarded) => format!("item {id} was a dead letter and was discarded"),
            None => format!("item {id} is settled for good"),
        },
    }
}

fn waiting(reason: Option<WaitReason>) -> &'static str {
    match reason {
        Some(WaitReason::Delayed) => "is delayed by its producer",
        Some(WaitReason::BackingOff) => "backs off after a failed attempt",
        Some(WaitReason::Paused) => "the queue is paused",
        Some(WaitReason::NoConsumer) => "nobody consumes the queue",
        Some(WaitReason::NoCredit) => "no consumer has credit",
        Some(WaitReason::BehindOthers) => "others go first",
        None => "it goes next",
    }
}

const fn given_up(reason: FailureReason) -> &'static str {
    match reason {
        FailureReason::Nacked => "nacked",
        FailureReason::LeaseExpired => "ended by its lease running out",
        FailureReason::ConsumerGone => "ended by its consumer going away",
        FailureReason::Rejected => "rejected by its consumer",
        FailureReason::BrokerRestarted => "ended by a restart of the broker",
    }
}

/// To the millisecond: people read this.
fn rounded(duration: Duration) -> humantime::FormattedDuration {
    format_duration(Duration::from_millis(
        u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
    ))
}

/// Writes how a queue stands.
pub(super) fn wire_stats(view: &View<'_>) -> wire::QueueStats {
    let stats = view.queue.stats(view.now);
    wire::QueueStats {
        scheduled: stats.scheduled,
        ready: stats.ready,
        leased: stats.leased,
        dead: stats.dead,
        bytes: stats.bytes,
        dead_bytes: stats.dead_bytes,
        oldest_ready_age: stats.oldest_ready_age.map(wire_duration),
        published_total: stats.published_total,
        duplicates_total: stats.duplicates_total,
        delivered_total: stats.delivered_total,
        acked_total: stats.acked_total,
        failed_attempts_total: stats.failed_attempts_total,
        dead_total: stats.dead_total,
        expired_total: stats.expired_total,
        cancelled_total: stats.cancelled_total,
        producers: view.producers,
        consumers: view.demand.consumers,
        credit: view.demand.credit,
        last_item_id: stats.last_item_id.0,
    }
}
