//! How the clock at the other end of one stream compares with the broker's.
//!
//! Each message that comes in says when it was sent, and from time to time how far the broker's own messages have travelled;
//! the estimator makes a bound of both. What is handed on stays the same as long as it holds and is not much wider than it
//! need be, so that items that came one after the other have it in common.

use baton_ledger::party::Shift;
use baton_telemetry::clock::ClockDomain;
use baton_telemetry::clock_offset::Estimator;

use crate::engine::{Clock, ClockOffset, Connected};

/// See the module.
#[derive(Debug)]
pub(super) struct StreamClock {
    clock: Clock,
    connected: Connected,
    estimator: Estimator,
    /// When the client said last how far our messages travel.
    reported_ns: u64,
    stable: Option<(ClockOffset, u32)>,
}

impl StreamClock {
    pub(super) fn new(clock: Clock, connected: Connected) -> Self {
        Self {
            clock,
            reported_ns: clock.monotonic_ns(),
            connected,
            estimator: Estimator::new(),
            stable: None,
        }
    }

    /// A message came.
    pub(super) fn received(&mut self, sent_ns: u64, down_leg_ns: Option<i64>, received_ns: u64) {
        if self.connected.client().same_clock {
            return;
        }
        if sent_ns > 0 {
            self.estimator.upstream(sent_ns, received_ns);
        }
        if let Some(leg_ns) = down_leg_ns {
            self.estimator
                .downstream_leg(leg_ns, received_ns, self.reported_ns);
            self.reported_ns = received_ns;
        }
        let Some(reading) = self.estimator.reading(received_ns) else {
            return;
        };
        let now = ClockOffset {
            offset_ns: reading.offset_ns,
            error_ns: reading.error_ns,
        };
        let keep =
            |(stable, epoch): &(ClockOffset, u32)| *epoch == reading.epoch && holds(*stable, now);
        if !self.stable.as_ref().is_some_and(keep) {
            self.stable = Some((now, reading.epoch));
        }
        if let Some((stable, _)) = self.stable {
            self.connected.client().set_clock(stable, received_ns);
        }
    }

    /// What moves the client's stamps onto the broker's wall clock; none: not known yet.
    pub(super) fn shift(&self) -> Option<Shift> {
        if self.connected.client().same_clock {
            return Some(Shift {
                ns: self.clock.wall_shift_ns(),
                error_ns: 0,
            });
        }
        let (stable, _) = self.stable?;
        let offset = stable.offset_ns.cast_unsigned();
        Some(Shift {
            ns: self.clock.wall_shift_ns().wrapping_add(offset),
            // 0 is for one clock.
            error_ns: stable.error_ns.max(1),
        })
    }
}

/// Whether the earlier bound contains the new one, and is less than twice as wide.
fn holds(earlier: ClockOffset, now: ClockOffset) -> bool {
    let apart = earlier.offset_ns.abs_diff(now.offset_ns);
    let contains = apart.saturating_add(now.error_ns) <= earlier.error_ns;
    contains && earlier.error_ns / 2 <= now.error_ns
}

/// Whether a client reads the broker's own clock.
pub(super) fn is_same(sent: Option<&baton_proto::opaque::ClockDomain>) -> bool {
    let sent = sent.map(|sent| ClockDomain {
        boot_id: sent.boot_id.clone(),
        time_namespace: sent.time_namespace,
    });
    sent.is_some_and(|sent| sent.is_same_clock(&ClockDomain::current()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_kept_while_it_holds_and_is_sharp_enough() {
        let bound = |offset_ns, error_ns| ClockOffset {
            offset_ns,
            error_ns,
        };
        assert!(holds(bound(100, 50), bound(110, 30)));
        assert!(!holds(bound(100, 50), bound(130, 30)), "it reaches beyond");
        assert!(!holds(bound(100, 50), bound(100, 20)), "twice as sharp");
        assert!(!holds(bound(i64::MIN, u64::MAX), bound(i64::MAX, 1)));
    }
}
