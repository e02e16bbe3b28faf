//! The same bound, made by the client for itself.

use super::{Estimator, Reading};

/// The broker's clock as a client sees it: from the broker's messages, which say when they were sent, and from answers that
/// say when a message of the client's arrived. It is the broker's [`Estimator`] with the ends exchanged, and a tighter one,
/// since an answer names the very message that it is about.
#[derive(Clone, Debug, Default)]
pub struct BrokerClock {
    /// Of client clock - broker clock.
    mirrored: Estimator,
}

impl BrokerClock {
    /// One of which nothing is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes note of a message from the broker. Takes amortised constant time.
    pub fn received(&mut self, broker_sent_ns: u64, client_received_ns: u64) {
        self.mirrored.upstream(broker_sent_ns, client_received_ns);
    }

    /// Takes note of an answer, received at `now_ns`: what the client sent at `client_sent_ns` was received by the broker at
    /// `broker_received_ns`. One that is about the time before the present epoch is ignored.
    pub fn answered(&mut self, client_sent_ns: u64, broker_received_ns: u64, now_ns: u64) {
        self.mirrored
            .downstream(client_sent_ns, broker_received_ns, now_ns);
    }

    /// Broker clock - client clock at `now_ns` of the client's. `None` until messages went both ways, in this epoch.
    #[must_use]
    pub fn reading(&self, now_ns: u64) -> Option<Reading> {
        let reading = self.mirrored.reading(now_ns)?;
        Some(Reading {
            offset_ns: reading.offset_ns.saturating_neg(),
            ..reading
        })
    }
}
