//! How far a client's clock is from the broker's, as a proof: an offset and how wrong it can be at most.
//!
//! The offset is broker clock - client clock: what is added to a client's stamp to get the broker's. Nothing but stamps
//! of ordinary messages is needed. A message stamped `t1` by the client and received at `t2` was some time on its way,
//! so `offset <= t2 - t1`. One stamped `t3` by the broker and received at `t4` proves `offset >= t3 - t4`. Of each side
//! the tightest is kept, loosened by [`DRIFT_PPM`] for its age:
//!
//! ```text
//! hi = min(t2 - t1 + drift * age)    lo = max(t3 - t4 - drift * age)    offset = (lo + hi) / 2    error = (hi - lo) / 2
//! ```
//!
//! Under symmetric traffic the error is half the smallest round trip, not that of the last one; an asymmetry of the
//! link, which no estimator can see, is inside the error by construction. Holds while the clocks drift against each
//! other by no more than [`DRIFT_PPM`]. `lo > hi` cannot be: then a clock was set, and a new epoch begins.
//!
//! Invariants: memory is bounded by constants; stamps are a peer's and may be anything, without panic or overflow. A
//! peer that lies gets wrong bounds for its own items only. Pure: every time is an argument, in nanoseconds. The broker
//! has an [`Estimator`] per stream, the client a [`DownLeg`], and a [`BrokerClock`] where it makes spans of its own.

mod broker_clock;
mod down_leg;
mod side;
#[cfg(test)]
mod tests;

pub use broker_clock::BrokerClock;
pub use down_leg::DownLeg;
use side::Side;

/// How fast two clocks may drift apart: ten times what a usual crystal does, three times the worst that Huygens (NSDI
/// 2018) measured.
pub const DRIFT_PPM: u64 = 100;

/// Messages of a side that are looked back at: after a small step of a clock, as many are wrong at most.
pub const WINDOW_SAMPLES: u64 = 64;

/// How long they are looked back at. The last one of each side stays for ever, and only becomes looser.
pub const WINDOW_NS: u64 = 60_000_000_000;

/// Where the offset certainly is: within `offset_ns` ± `error_ns`, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Broker clock - client clock, in nanoseconds.
    pub offset_ns: i64,
    /// How wrong that can be at most, in nanoseconds.
    pub error_ns: u64,
    /// How often a clock was set so far. Stamps from before and after cannot be compared.
    pub epoch: u32,
}

/// The offset of one client's clock; see the [module](self).
#[derive(Clone, Debug, Default)]
pub struct Estimator {
    /// Upper bounds of the offset.
    upper: Side,
    /// Upper bounds of the negative offset.
    lower: Side,
    epoch: u32,
    /// When the epoch was found to have begun, on the broker's clock; `None` of the first.
    epoch_began_ns: Option<u64>,
    newest_ns: u64,
    /// When the client sent its latest message, on its own clock.
    sent_ns: Option<u64>,
    /// When the client sent its previous report, or a message before it, on its own clock.
    reported_ns: Option<u64>,
}

impl Estimator {
    /// One that knows nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes note of a message from the client, sent at `client_sent_ns` on its clock and received at
    /// `broker_received_ns` on the broker's. Takes amortised constant time.
    pub fn upstream(&mut self, client_sent_ns: u64, broker_received_ns: u64) {
        self.sent_ns = Some(client_sent_ns);
        self.newest_ns = self.newest_ns.max(broker_received_ns);
        let bound_ns = i128::from(broker_received_ns) - i128::from(client_sent_ns);
        let from_ns = broker_received_ns.into();
        self.upper.push(bound_ns, from_ns, broker_received_ns);
        if self.is_contradiction() {
            self.begin_epoch(broker_received_ns);
            self.upper.push(bound_ns, from_ns, broker_received_ns);
        }
    }

    /// Takes note of a client's report, received at `broker_received_report_ns`: of the messages it got since its
    /// previous report the smallest leg, client received - broker sent, was `leg_ns` ([`DownLeg::take`]).
    ///
    /// `since_ns` is when the broker received the previous report, or when the stream began: about as old may the
    /// message be. The client took that report before it was received here, though, and what came to it in between is
    /// in this one. But a message that came after the client's stamp `s` with this leg was sent by the broker at
    /// `s - leg_ns` or later. So the bound is aged from there, given that [`Self::upstream`] is called for every message in
    /// order, and that clients stamp a message before they take the leg for it.
    ///
    /// A report that may hold messages from before the present epoch is ignored.
    pub fn downstream_leg(&mut self, leg_ns: i64, broker_received_report_ns: u64, since_ns: u64) {
        self.newest_ns = self.newest_ns.max(broker_received_report_ns);
        let leg_ns = i128::from(leg_ns);
        let mut from_ns = i128::from(since_ns.min(broker_received_report_ns));
        if let Some(reported_ns) = self.reported_ns {
            from_ns = from_ns.min(i128::from(reported_ns) - leg_ns);
        }
        self.reported_ns = self.sent_ns;
        // Messages may be stamped in one go: equal stamps do not tell which was first.
        if self
            .epoch_began_ns
            .is_some_and(|began_ns| since_ns <= began_ns)
        {
            return;
        }
        self.lower.push(leg_ns, from_ns, broker_received_report_ns);
        if self.is_contradiction() {
            self.begin_epoch(broker_received_report_ns);
            self.lower.push(leg_ns, from_ns, broker_received_report_ns);
        }
    }

    /// Takes note that the client received at `client_received_ns` what was sent to it at `broker_sent_ns`, as it said in a
    /// message that was received at `now_ns`.
    fn downstream(&mut self, broker_sent_ns: u64, client_received_ns: u64, now_ns: u64) {
        self.newest_ns = self.newest_ns.max(now_ns);
        let before = |began_ns| broker_sent_ns <= began_ns;
        if self.epoch_began_ns.is_some_and(before) {
            return;
        }
        let leg_ns = i128::from(client_received_ns) - i128::from(broker_sent_ns);
        let from_ns = i128::from(broker_sent_ns.min(now_ns));
        self.lower.push(leg_ns, from_ns, now_ns);
        if self.is_contradiction() {
            self.begin_epoch(now_ns);
            self.lower.push(leg_ns, from_ns, now_ns);
        }
    }

    /// The offset at `now_ns` of the broker's clock. `None` until messages went both ways, in this epoch.
    #[must_use]
    pub fn reading(&self, now_ns: u64) -> Option<Reading> {
        let (low_ns, high_ns) = self.bounds(now_ns)?;
        let middle_ns = low_ns + (high_ns - low_ns) / 2;
        let offset_ns =
            i64::try_from(middle_ns).unwrap_or(if middle_ns < 0 { i64::MIN } else { i64::MAX });
        let kept_ns = i128::from(offset_ns);
        let error_ns = (high_ns - kept_ns).max(kept_ns - low_ns);
        Some(Reading {
            offset_ns,
            error_ns: u64::try_from(error_ns).unwrap_or(u64::MAX),
            epoch: self.epoch,
        })
    }

    /// Lowest and highest possible offset, rounded outwards.
    fn bounds(&self, now_ns: u64) -> Option<(i128, i128)> {
        // What is known for the newest message holds for earlier times too, loosened as if they came later.
        let at_ns = i128::from(self.newest_ns) + i128::from(self.newest_ns.abs_diff(now_ns));
        Some((
            -self.lower.tightest_ns(at_ns)?,
            self.upper.tightest_ns(at_ns)?,
        ))
    }

    fn is_contradiction(&self) -> bool {
        self.bounds(self.newest_ns)
            .is_some_and(|(low_ns, high_ns)| low_ns > high_ns)
    }

    fn begin_epoch(&mut self, now_ns: u64) {
        self.upper = Side::default();
        self.lower = Side::default();
        self.epoch = self.epoch.saturating_add(1);
        self.epoch_began_ns = Some(now_ns);
    }
}
