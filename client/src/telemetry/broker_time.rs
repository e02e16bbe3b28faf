//! How the broker's time compares with ours, for our spans: their times are this machine's, and those of the broker's spans
//! around them are not.
//!
//! Owns what one stream learns of it. Where both read one clock, that is known from the start; elsewhere from the stamps of
//! ordinary messages and of a ping every few seconds, as a proof (`baton_telemetry::clock_offset`). Nothing is done where
//! nobody traces, and nothing said where nothing is known. Fed by the stream's driver, read when a span ends.

use std::sync::{Mutex, MutexGuard, PoisonError};

use baton_proto::opaque::{ClockDomain, Pong};
use baton_telemetry::clock::WallClock;
use baton_telemetry::clock_offset::BrokerClock;
use baton_telemetry::names;
use opentelemetry::KeyValue;

use crate::clock::{domain, now_ns};

#[derive(Debug, Default)]
pub(crate) struct BrokerTime {
    /// Held for some arithmetic, once per message and per span that ends.
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    clock: Clock,
    /// From the broker's clock to its wall clock, modulo 2^64; None: it does not say.
    wall_shift_ns: Option<u64>,
}

#[derive(Debug)]
enum Clock {
    /// The one that we read.
    Ours,
    Another(BrokerClock),
}

impl Default for Clock {
    fn default() -> Self {
        Self::Another(BrokerClock::new())
    }
}

/// Where a time of ours is on the broker's time: this much later, give or take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Offset {
    ns: i64,
    error_ns: u64,
}

impl BrokerTime {
    /// A stream has begun, with this said first. True: pings are wanted.
    pub(super) fn began(&self, clock: Option<&ClockDomain>, wall_shift_ns: Option<u64>) -> bool {
        let own = domain();
        let names_it = !own.boot_id.is_empty() && own.time_namespace != 0;
        let is_ours = names_it && clock == Some(&own);
        *self.known() = Known {
            clock: if is_ours {
                Clock::Ours
            } else {
                Clock::default()
            },
            wall_shift_ns,
        };
        !is_ours && wall_shift_ns.is_some()
    }

    /// A message came.
    pub(super) fn received(&self, sent_ns: u64, received_ns: u64) {
        if let (Clock::Another(clock), 1..) = (&mut self.known().clock, sent_ns) {
            clock.received(sent_ns, received_ns);
        }
    }

    /// A ping was answered.
    pub(super) fn answered(&self, pong: &Pong, received_ns: u64) {
        let (sent_ns, arrived_ns) = (pong.ping_sent_ns, pong.ping_received_ns);
        if let (Clock::Another(clock), 1.., 1..) = (&mut self.known().clock, sent_ns, arrived_ns) {
            clock.answered(sent_ns, arrived_ns, received_ns);
        }
    }

    /// Of a span that ends now; none where nothing is known.
    pub(super) fn attributes(&self) -> impl Iterator<Item = KeyValue> {
        let of = |offset: Offset| {
            let error_ns = i64::try_from(offset.error_ns).unwrap_or(i64::MAX);
            [
                KeyValue::new(names::MESSAGING_BATON_CLOCK_OFFSET_NS, offset.ns),
                KeyValue::new(names::MESSAGING_BATON_CLOCK_ERROR_NS, error_ns),
            ]
        };
        self.offset().map(of).into_iter().flatten()
    }

    fn offset(&self) -> Option<Offset> {
        let known = self.known();
        let wall_shift_ns = known.wall_shift_ns?;
        let (clock_ns, error_ns) = match &known.clock {
            Clock::Ours => (0, 0),
            Clock::Another(clock) => {
                let reading = clock.reading(now_ns())?;
                (reading.offset_ns, reading.error_ns)
            }
        };
        // Spans of ours are on the system's clock as it stands; the broker's carries on from when it began.
        let shifts_ns = wall_shift_ns.wrapping_sub(WallClock::new().shift_ns());
        let ns = clock_ns.wrapping_add(shifts_ns.cast_signed());
        Some(Offset { ns, error_ns })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: u64 = 1_000_000;
    /// The broker's clocks are so far ahead.
    const AHEAD_NS: u64 = 3_600_000 * MILLI;

    fn pong(ping_sent_ns: u64, ping_received_ns: u64) -> Pong {
        Pong {
            ping_sent_ns,
            ping_received_ns,
            ..Pong::default()
        }
    }

    fn assert_ahead(offset: Offset, ns: u64) {
        // Ours is read twice, so that the machine's mood is in it.
        let off_ns = offset.ns.abs_diff(ns.cast_signed());
        assert!(off_ns <= offset.error_ns + 10 * MILLI, "{offset:?}");
    }

    #[test]
    fn a_broker_that_reads_our_clock_is_off_by_what_its_wall_clock_is() {
        let time = BrokerTime::default();
        let shift_ns = WallClock::new().shift_ns().wrapping_add(AHEAD_NS);
        assert!(!time.began(Some(&domain()), Some(shift_ns)), "no pings");
        let offset = time.offset().unwrap();
        assert_eq!(offset.error_ns, 0);
        assert_ahead(offset, AHEAD_NS);
        assert_eq!(time.attributes().count(), 2);
    }

    #[test]
    fn another_clock_is_known_once_a_ping_was_answered() {
        let time = BrokerTime::default();
        // Its clock is as far ahead as its wall clock: both were set alike.
        let shift_ns = WallClock::new().shift_ns();
        assert!(time.began(None, Some(shift_ns)));
        let now = now_ns();
        time.received(now + AHEAD_NS, now + MILLI);
        assert_eq!(time.offset(), None);
        time.answered(&pong(now, now + AHEAD_NS + MILLI), now + 2 * MILLI);
        let offset = time.offset().unwrap();
        assert!((MILLI..3 * MILLI).contains(&offset.error_ns), "{offset:?}");
        assert_ahead(offset, AHEAD_NS);
        // The next stream may lead to another broker.
        assert!(time.began(None, Some(shift_ns)));
        assert_eq!(time.offset(), None);
    }

    #[test]
    fn nothing_is_said_of_a_broker_that_does_not_say_enough() {
        let time = BrokerTime::default();
        assert!(!time.began(Some(&domain()), None));
        assert_eq!(time.offset(), None);
        assert!(
            time.began(Some(&ClockDomain::default()), Some(1)),
            "unknown"
        );
        time.received(0, 1);
        time.answered(&pong(0, 0), 1);
        assert_eq!(time.attributes().count(), 0);
    }
}
