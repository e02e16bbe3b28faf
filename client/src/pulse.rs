//! The timing of one stream: how far the broker's messages seem to travel, and how long nothing was sent.
//!
//! Owns what goes into `sent_ns` and `down_leg_ns` of each message. The broker bounds with them how far apart the two
//! clocks are, so a message is stamped as near to the socket as the library gets, and a silent stream is pinged. Used by
//! both drivers, one for each stream.

use std::pin::Pin;
use std::time::Duration;

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
    /// The shortest since it was reported.
    down_leg_ns: Option<i64>,
    sent_at: Instant,
    /// Not reset with each message: most of them come long before it is due.
    silence: Pin<Box<Sleep>>,
}

impl Pulse {
    /// Of a stream that begins now.
    pub(crate) fn new() -> Self {
        Self {
            down_leg_ns: None,
            sent_at: Instant::now(),
            silence: Box::pin(sleep(PING_AFTER)),
        }
    }

    /// A message came: says when. The first thing to be done with it.
    pub(crate) fn received(&mut self, sent_ns: u64) -> u64 {
        let received_ns = now_ns();
        self.note(received_ns, sent_ns);
        received_ns
    }

    fn note(&mut self, received_ns: u64, sent_ns: u64) {
        // 0: not said.
        if sent_ns > 0 {
            // Two clocks: negative where the broker's is ahead.
            let leg = received_ns.wrapping_sub(sent_ns).cast_signed();
            self.down_leg_ns = Some(self.down_leg_ns.map_or(leg, |least| least.min(leg)));
        }
    }

    /// A message goes out. The last thing to be done with it.
    pub(crate) fn stamp(&mut self) -> Stamp {
        self.sent_at = Instant::now();
        Stamp {
            sent_ns: now_ns(),
            down_leg_ns: self.down_leg_ns.take(),
        }
    }

    /// Completes when nothing was sent for a while: a ping is due. Cancel-safe.
    pub(crate) async fn silent(&mut self) {
        loop {
            self.silence.as_mut().await;
            let due = self.sent_at + PING_AFTER;
            let is_due = due <= Instant::now();
            // Again after as long, should the ping find no room: what is in its place is on its way then.
            let next = if is_due {
                Instant::now() + PING_AFTER
            } else {
                due
            };
            self.silence.as_mut().reset(next);
            if is_due {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_shortest_leg_is_reported_once() {
        let mut pulse = Pulse::new();
        assert_eq!(pulse.stamp().down_leg_ns, None);
        for (received_ns, sent_ns) in [(100, 40), (200, 190), (300, 250), (400, 0)] {
            pulse.note(received_ns, sent_ns);
        }
        assert_eq!(pulse.stamp().down_leg_ns, Some(10));
        assert_eq!(pulse.stamp().down_leg_ns, None);
    }

    #[tokio::test]
    async fn a_broker_whose_clock_is_ahead_has_a_negative_leg() {
        let mut pulse = Pulse::new();
        pulse.note(100, 1_000);
        pulse.note(200, 1_000);
        assert_eq!(pulse.stamp().down_leg_ns, Some(-900));
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
        pulse.silent().await;
        assert!((seconds(began) - 13.0).abs() < 0.1, "and again");
    }
}
