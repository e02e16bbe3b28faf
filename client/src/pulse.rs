//! The timing of one stream: how far the broker's messages seem to travel, and how long nothing was sent.
//!
//! Owns what goes into `sent_ns` and `down_leg_ns` of each message, and when a ping is due. The broker bounds with them how
//! far apart the two clocks are, so a message is stamped as near to the socket as the library gets, and a silent stream is
//! pinged; one whose client wants to know the broker's clock too is pinged at its start, and whether it is silent or not.
//! Used by both drivers, one for each stream.

use std::pin::Pin;
use std::time::Duration;

use baton_telemetry::clock_offset::DownLeg;
use tokio::time::{Instant, Sleep, sleep};

use crate::clock::now_ns;

/// Clocks may drift 100 µs apart in a second: more silence than this would make the bound useless.
const PING_AFTER: Duration = Duration::from_secs(5);

/// What a message upstream says of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) sent_ns: u64,
    pub(crate) down_leg_ns: Option<i64>,
}

impl Stamp {
    /// Of a stream's first message.
    pub(crate) fn first() -> Self {
        Self {
            sent_ns: now_ns(),
            down_leg_ns: None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Pulse {
    down_leg: DownLeg,
    sent_at: Instant,
    pinged_at: Instant,
    /// Answers to pings are wanted, whatever else is sent.
    measures: bool,
    ping_is_due: bool,
    /// Not reset with each message: most of them come long before it is due.
    silence: Pin<Box<Sleep>>,
}

impl Pulse {
    /// Of a stream that begins now.
    pub(crate) fn new() -> Self {
        Self {
            down_leg: DownLeg::new(),
            sent_at: Instant::now(),
            pinged_at: Instant::now(),
            measures: false,
            ping_is_due: false,
            silence: Box::pin(sleep(PING_AFTER)),
        }
    }

    /// A message came: says when. The first thing to be done with it.
    pub(crate) fn received(&mut self, sent_ns: u64) -> u64 {
        let received_ns = now_ns();
        // 0: not said.
        if sent_ns > 0 {
            self.down_leg.received(sent_ns, received_ns);
        }
        received_ns
    }

    /// From now on answers to pings are wanted; the first one at once.
    pub(crate) fn measure(&mut self) {
        self.measures = true;
        self.ping_is_due = true;
    }

    /// Whether a ping is to go out next.
    pub(crate) const fn ping_is_due(&self) -> bool {
        self.ping_is_due
    }

    /// A ping goes out.
    pub(crate) fn pinged(&mut self) {
        self.ping_is_due = false;
        self.pinged_at = Instant::now();
    }

    /// A message goes out. The last thing to be done with it.
    pub(crate) fn stamp(&mut self) -> Stamp {
        self.sent_at = Instant::now();
        Stamp {
            sent_ns: now_ns(),
            down_leg_ns: self.down_leg.take(),
        }
    }

    /// Completes when a ping has become due. Cancel-safe.
    pub(crate) async fn silent(&mut self) {
        loop {
            self.silence.as_mut().await;
            let since = if self.measures {
                self.pinged_at
            } else {
                self.sent_at
            };
            let due = since + PING_AFTER;
            self.ping_is_due |= due <= Instant::now();
            // Should it find no room for so long, that is no silence.
            let next = if self.ping_is_due {
                Instant::now() + PING_AFTER
            } else {
                due
            };
            self.silence.as_mut().reset(next);
            if self.ping_is_due {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_shortest_leg_is_reported_once_and_0_is_no_stamp() {
        let mut pulse = Pulse::new();
        pulse.received(0);
        assert_eq!(pulse.stamp().down_leg_ns, None);
        // The broker's clock is ahead, of the second message by more.
        let ahead_ns = now_ns() + 1_000_000_000_000;
        for sent_ns in [ahead_ns, 2 * ahead_ns, ahead_ns] {
            pulse.received(sent_ns);
        }
        let leg_ns = pulse.stamp().down_leg_ns.unwrap();
        assert!(leg_ns < -1_000_000_000_000, "{leg_ns}");
        assert_eq!(pulse.stamp().down_leg_ns, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_ping_is_due_after_silence_and_only_then() {
        let began = Instant::now();
        let mut pulse = Pulse::new();
        tokio::time::advance(Duration::from_secs(3)).await;
        pulse.stamp();
        pulse.silent().await;
        let seconds = |since: Instant| since.elapsed().as_secs_f64().round();
        assert!((seconds(began) - 8.0).abs() < 0.1, "5 s after the message");
        assert!(pulse.ping_is_due());
        pulse.pinged();
        pulse.silent().await;
        assert!((seconds(began) - 13.0).abs() < 0.1, "and again");
    }

    #[tokio::test(start_paused = true)]
    async fn who_wants_to_know_the_brokers_clock_pings_at_once_and_under_load() {
        let began = Instant::now();
        let mut pulse = Pulse::new();
        assert!(!pulse.ping_is_due());
        pulse.measure();
        assert!(pulse.ping_is_due());
        pulse.pinged();
        tokio::time::advance(Duration::from_secs(4)).await;
        pulse.stamp();
        pulse.silent().await;
        assert_eq!(began.elapsed().as_secs(), 5);
        assert!(pulse.ping_is_due());
    }
}
