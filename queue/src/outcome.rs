//! The answer to a settle.

use crate::range_set::Membership;
use crate::sessions::Session;

/// What a settle came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Ok,
    /// The lease was settled before; nothing was changed.
    AlreadySettled,
    /// The lease was taken away, or so long ago that it is unknown what became of it; nothing was changed.
    LeaseLost,
    /// The session never handed out such a lease.
    InvalidLease,
}

/// Leases in a row with the same outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutcomeRun {
    /// Number of the first lease.
    pub first: u64,
    /// Number of the last one.
    pub last: u64,
    /// Of each.
    pub outcome: Outcome,
}

/// Outcomes of a range, collected in order.
#[derive(Default)]
pub(crate) struct Outcomes(Vec<OutcomeRun>);

impl Outcomes {
    pub(crate) fn into_runs(self) -> Vec<OutcomeRun> {
        self.0
    }

    /// An empty range (`first > last`) adds nothing.
    pub(crate) fn push(&mut self, first: u64, last: u64, outcome: Outcome) {
        if first > last {
            return;
        }
        match self.0.last_mut() {
            Some(before) if before.outcome == outcome => before.last = last,
            _ => self.0.push(OutcomeRun {
                first,
                last,
                outcome,
            }),
        }
    }

    /// Leases that were handed out and are no longer live.
    pub(crate) fn push_ended(&mut self, session: &Session, first: u64, last: u64) {
        let mut next = first;
        while next <= last {
            let (membership, until) = session.lost.at(next);
            let until = until.min(last);
            let outcome = match membership {
                Membership::Absent => Outcome::AlreadySettled,
                Membership::Present | Membership::Forgotten => Outcome::LeaseLost,
            };
            self.push(next, until, outcome);
            next = until + 1; // `last` is a lease that was handed out, so this cannot overflow.
        }
    }
}
