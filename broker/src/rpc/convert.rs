//! Small conversions between wire types and the engine's.

use std::time::Duration;

use baton_proto::opaque as wire;
use baton_queue::{FailureReason, ItemState, Outcome, Timestamp};
use baton_telemetry::clock::ClockDomain;

use crate::engine::Delivered;
use crate::error::Error;
use crate::limits::NAME_BYTES_MAX;

/// Reads a duration and checks that it lies within `range`.
///
/// # Errors
/// It does not, or it is no duration at all.
pub(super) fn duration(
    field: &'static str,
    value: Option<prost_types::Duration>,
    range: std::ops::RangeInclusive<Duration>,
) -> Result<Option<Duration>, Error> {
    let Some(value) = value else {
        return Ok(None);
    };
    let read = Duration::try_from(value)
        .ok()
        .filter(|read| range.contains(read));
    let fault = || {
        let (min, max) = (
            humantime::format_duration(*range.start()),
            humantime::format_duration(*range.end()),
        );
        Error::invalid(
            field,
            format!("is {}s, has to be {min} to {max}", value.seconds),
        )
    };
    read.map(Some).ok_or_else(fault)
}

/// Reads a count that has to lie within `1..=max`; 0 is `default`.
///
/// # Errors
/// It does not.
pub(super) fn count(field: &'static str, value: i32, default: i32, max: i32) -> Result<u32, Error> {
    let read = if value == 0 { default } else { value };
    u32::try_from(read)
        .ok()
        .filter(|_| read <= max)
        .ok_or_else(|| {
            Error::invalid(
                field,
                format!("is {value}, has to be 1 to {max}, or 0 for {default}"),
            )
        })
}

/// Reads the name of a client or a producer.
///
/// # Errors
/// Too long, or not printable.
pub(super) fn label(field: &'static str, value: &str, max: usize) -> Result<(), Error> {
    if value.len() > max || value.chars().any(char::is_control) {
        return Err(Error::invalid(
            field,
            format!("has to be at most {max} bytes without control characters"),
        ));
    }
    Ok(())
}

/// Reads a name that has to be there.
///
/// # Errors
/// Empty, too long, or not printable.
pub(super) fn required_label(field: &'static str, value: &str) -> Result<(), Error> {
    if value.is_empty() {
        return Err(Error::invalid(
            field,
            format!("is missing; it has 1 to {NAME_BYTES_MAX} bytes"),
        ));
    }
    if !value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Err(Error::invalid(field, "has to be printable ASCII"));
    }
    label(field, value, NAME_BYTES_MAX)
}

pub(super) fn wire_duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(duration).unwrap_or(prost_types::Duration {
        seconds: i64::MAX,
        nanos: 0,
    })
}

pub(super) fn wire_time(time: Timestamp) -> prost_types::Timestamp {
    let nanos = i32::try_from(time.0 % 1_000_000_000).unwrap_or(0);
    prost_types::Timestamp {
        seconds: (time.0 / 1_000_000_000).cast_signed(),
        nanos,
    }
}

pub(super) fn wire_clock() -> wire::ClockDomain {
    let clock = ClockDomain::current();
    wire::ClockDomain {
        boot_id: clock.boot_id,
        time_namespace: clock.time_namespace,
    }
}

pub(super) fn wire_outcome(outcome: Outcome) -> wire::SettleOutcome {
    match outcome {
        Outcome::Ok => wire::SettleOutcome::Ok,
        Outcome::AlreadySettled => wire::SettleOutcome::AlreadySettled,
        Outcome::LeaseLost => wire::SettleOutcome::LeaseLost,
        Outcome::InvalidLease => wire::SettleOutcome::InvalidLease,
    }
}

pub(super) fn wire_state(state: ItemState) -> wire::ItemState {
    match state {
        ItemState::Scheduled => wire::ItemState::Scheduled,
        ItemState::Ready => wire::ItemState::Ready,
        ItemState::Leased => wire::ItemState::Leased,
        ItemState::Dead => wire::ItemState::Dead,
        ItemState::Done => wire::ItemState::Done,
    }
}

pub(super) fn wire_reason(reason: FailureReason) -> wire::FailureReason {
    match reason {
        FailureReason::Nacked => wire::FailureReason::Nacked,
        FailureReason::LeaseExpired => wire::FailureReason::LeaseExpired,
        FailureReason::ConsumerGone => wire::FailureReason::ConsumerGone,
        FailureReason::Rejected => wire::FailureReason::Rejected,
        FailureReason::BrokerRestarted => wire::FailureReason::BrokerRestarted,
    }
}

/// A delivery; `delivery_id` is 0 for unary leases.
pub(super) fn wire_delivery(delivered: Delivered, delivery_id: u64) -> wire::Delivery {
    wire::Delivery {
        delivery_id,
        item_id: delivered.item.0,
        attempt: delivered.attempt,
        lease: delivered.token,
        queue_wait_ns: delivered.queue_wait_ns,
        age_ns: delivered.age_ns,
        last_error: delivered.last_error,
        traceparent: delivered.traceparent,
        item: delivered.body,
    }
}
