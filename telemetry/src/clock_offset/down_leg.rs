//! The client's part: how fast the fastest message from the broker was.

/// Keeps the smallest leg, client received - broker sent, for the client's next report. The two stamps are of two
/// clocks, so that a leg by itself means nothing and may be negative.
#[derive(Clone, Debug, Default)]
pub struct DownLeg {
    smallest_ns: Option<i64>,
}

impl DownLeg {
    /// One that has seen no message.
    #[must_use]
    pub const fn new() -> Self {
        Self { smallest_ns: None }
    }

    /// Takes note of a message from the broker.
    pub fn received(&mut self, broker_sent_ns: u64, client_received_ns: u64) {
        let leg_ns = i128::from(client_received_ns) - i128::from(broker_sent_ns);
        // Too great a leg only makes a loose bound looser; one that is too small for the type is a nonsense stamp.
        let leg_ns = i64::try_from(leg_ns).unwrap_or(if leg_ns < 0 { i64::MIN } else { i64::MAX });
        self.smallest_ns = Some(
            self.smallest_ns
                .map_or(leg_ns, |smallest| smallest.min(leg_ns)),
        );
    }

    /// The smallest leg since the last call, in nanoseconds; `None` where no message came. To be called after the
    /// message that reports it has its own stamp.
    pub fn take(&mut self) -> Option<i64> {
        self.smallest_ns.take()
    }
}
