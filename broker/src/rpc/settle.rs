//! Settles on the wire: actions of deliveries and of lease tokens, and their outcomes.

use std::time::Duration;

use baton_ledger::HandlerStamps;
use baton_proto::opaque as wire;
use baton_proto::opaque::delivery_settle::Action as DeliveryAction;
use baton_proto::opaque::lease_settle::Action as LeaseAction;
use baton_queue::{Nack, NackKind, Outcome, limits};

use super::convert::{duration, wire_outcome};
use crate::engine::{Action, Epoch, SettledDeliveries, SettledLease, Settlement};
use crate::error::Error;
use crate::limits::SETTLES_MAX;

/// Longest delay of a nack: as long as an item's own.
const DELAY_MAX: Duration = baton_proto::item_scan::SCHEDULE_MAX;

/// Reads what is to become of deliveries.
///
/// # Errors
/// Too many, a range that ends before it begins, an action missing or out of range, stamps that do not fit.
pub(super) fn deliveries(
    settles: Vec<wire::DeliverySettle>,
) -> Result<Vec<SettledDeliveries>, Error> {
    check_count("settle.deliveries", settles.len())?;
    let ranges: Vec<_> = settles
        .into_iter()
        .map(delivery)
        .collect::<Result<_, _>>()?;
    check_disjoint(&ranges)?;
    Ok(ranges)
}

/// So that one message costs one pass over the leases that live, however it is cut.
fn check_disjoint(ranges: &[SettledDeliveries]) -> Result<(), Error> {
    let mut bounds: Vec<_> = ranges
        .iter()
        .map(|range| (range.first, range.last))
        .collect();
    bounds.sort_unstable();
    if bounds.windows(2).any(|pair| pair[1].0 <= pair[0].1) {
        let fault = "overlap; name each delivery once in a message";
        return Err(Error::invalid("settle.deliveries", fault));
    }
    Ok(())
}

fn delivery(settle: wire::DeliverySettle) -> Result<SettledDeliveries, Error> {
    let first = settle.first;
    let last = if settle.last == 0 { first } else { settle.last };
    if first == 0 || last < first {
        let fault =
            format!("{first}..={last} is no range; ids are from 1, and last is not before first");
        return Err(Error::invalid("settle.deliveries.first", fault));
    }
    let width = last - first + 1;
    let stamps = settle.stamps.len() as u64;
    if stamps > 1 && stamps != width {
        let fault =
            format!("are {stamps} for {width} deliveries; send none, one for all, or one for each");
        return Err(Error::invalid("settle.deliveries.stamps", fault));
    }
    let action = match settle.action {
        Some(DeliveryAction::Ack(wire::Ack {})) => Action::Ack,
        Some(DeliveryAction::Nack(sent)) => Action::Nack(nack(sent)?),
        Some(DeliveryAction::Extend(extend)) => {
            check_unstamped(stamps > 0)?;
            Action::Extend(lease_duration(
                "settle.extend.lease_duration",
                extend.lease_duration,
            )?)
        }
        None => return Err(no_action()),
    };
    Ok(SettledDeliveries {
        first,
        last,
        action,
        stamps: settle.stamps.iter().map(handler_stamps).collect(),
    })
}

const fn handler_stamps(sent: &wire::HandlerStamps) -> HandlerStamps {
    HandlerStamps {
        received_ns: sent.received_ns,
        started_ns: sent.started_ns,
        ended_ns: sent.ended_ns,
    }
}

/// Reads what is to become of leases.
///
/// # Errors
/// Too many, or an action missing or out of range. A token that is none of ours is an outcome, not an error.
pub(super) fn leases(
    epoch: Epoch,
    settles: Vec<wire::LeaseSettle>,
) -> Result<Vec<SettledLease>, Error> {
    check_count("settles", settles.len())?;
    settles
        .into_iter()
        .map(|settle| {
            let action = match settle.action {
                Some(LeaseAction::Ack(wire::Ack {})) => Action::Ack,
                Some(LeaseAction::Nack(sent)) => Action::Nack(nack(sent)?),
                Some(LeaseAction::Extend(extend)) => {
                    check_unstamped(settle.stamps.is_some())?;
                    Action::Extend(lease_duration(
                        "extend.lease_duration",
                        extend.lease_duration,
                    )?)
                }
                None => return Err(no_action()),
            };
            Ok(SettledLease {
                token: epoch.read(&settle.lease),
                action,
                stamps: settle.stamps.as_ref().map(handler_stamps),
            })
        })
        .collect()
}

fn nack(nack: wire::Nack) -> Result<Nack, Error> {
    let delay = duration("nack.delay", nack.delay, Duration::ZERO..=DELAY_MAX)?;
    let kind = match (nack.dead_letter, nack.unstarted) {
        (false, false) => NackKind::Retry { delay },
        (true, false) if delay.is_none() => NackKind::DeadLetter,
        (false, true) if delay.is_none() && nack.error.is_empty() => NackKind::Unstarted,
        _ => {
            return Err(Error::invalid(
                "nack",
                "delay, dead_letter and unstarted exclude each other, and unstarted has no error",
            ));
        }
    };
    Ok(Nack {
        kind,
        error: nack.error.into(),
        random: rand::random(),
    })
}

/// Reads the duration of a lease.
///
/// # Errors
/// It is out of range.
pub(super) fn lease_duration(
    field: &'static str,
    value: Option<prost_types::Duration>,
) -> Result<Option<Duration>, Error> {
    duration(
        field,
        value,
        limits::LEASE_DURATION_MIN..=limits::LEASE_DURATION_MAX,
    )
}

fn check_count(field: &'static str, count: usize) -> Result<(), Error> {
    if count > SETTLES_MAX {
        return Err(Error::invalid(
            field,
            format!("are {count}, at most {SETTLES_MAX} are allowed; split them"),
        ));
    }
    Ok(())
}

fn check_unstamped(stamped: bool) -> Result<(), Error> {
    if stamped {
        return Err(Error::invalid(
            "stamps",
            "belong to an ack or a nack, not to an extend",
        ));
    }
    Ok(())
}

fn no_action() -> Error {
    Error::invalid("action", "is missing; it is ack, nack or extend")
}

/// Writes what became of a stream's settles.
pub(super) fn wire_settled(settle_id: u64, settlement: Settlement) -> wire::Settled {
    let deliveries = settlement
        .deliveries
        .into_iter()
        .map(|run| wire::SettledRange {
            first: run.first,
            last: run.last,
            outcome: wire_outcome(run.outcome).into(),
        });
    wire::Settled {
        settle_id,
        deliveries: deliveries.collect(),
        leases: wire_outcomes(settlement.leases),
        durability: settlement.durability.into(),
    }
}

/// Writes what became of leases.
pub(super) fn wire_outcomes(outcomes: Vec<Outcome>) -> Vec<i32> {
    outcomes
        .into_iter()
        .map(|outcome| wire_outcome(outcome).into())
        .collect()
}
