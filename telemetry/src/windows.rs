//! One stage of one queue over sliding windows: how long it took during the last minute, hour and day.
//!
//! A value is counted in the live slot of 5 s and in nothing else. When a slot is over it is sealed and merged into the
//! live minute, a minute that is over into the live hour: so at any time each value of the day is in exactly one of live
//! slot, live minute, live hour and sealed hours, and each one of the hour in one of live slot, live minute and sealed
//! minutes. Sealed are the last 12 slots,
//! 60 minutes and 24 hours.
//!
//! Invariants: no value is lost or counted twice, neither in [`Windows::total`] nor in any window; percentiles are
//! never averaged; nothing is allocated before the first value; memory is bounded by the rings' lengths, and
//! [`Windows::bytes`] knows it at any time. Pure: the time is an argument, nanoseconds of a clock that should not go
//! back; where it does, values count in the live slot until it has caught up. Called by the broker's latency stage.

use std::time::Duration;

use crate::histogram::Histogram;

mod exemplars;
mod ring;
#[cfg(test)]
mod tests;

pub use exemplars::Exemplar;
use exemplars::Exemplars;
use ring::Ring;

const SECOND_NS: u64 = 1_000_000_000;

/// Live and sealed slots: of the last minute.
const SLOT_NS: u64 = 5 * SECOND_NS;
/// Of the last hour.
const MINUTE_NS: u64 = 60 * SECOND_NS;
/// Of the last day, which is as far as windows go.
const HOUR_NS: u64 = 60 * MINUTE_NS;
const DAY_NS: u64 = 24 * HOUR_NS;

/// The resolutions under memory pressure, in halvings of the histogram's own.
const HALVINGS: [i32; 2] = [1, 2];

/// Latencies of the last day in slots, their total, and exemplars; see the [module](self).
#[derive(Debug)]
pub struct Windows {
    /// Values since `live_from_ns`.
    slot: Histogram,
    /// Slots that are over, of the minute of the live slot.
    minute: Histogram,
    /// Minutes that are over, of the hour of the live slot.
    hour: Histogram,
    /// All slots that are over.
    closed: Histogram,
    live_from_ns: u64,
    /// 0 before the first value.
    live_until_ns: u64,
    slots: Ring,
    minutes: Ring,
    hours: Ring,
    exemplars: Exemplars,
}

impl Default for Windows {
    fn default() -> Self {
        Self {
            slot: Histogram::new(),
            minute: Histogram::new(),
            hour: Histogram::new(),
            closed: Histogram::new(),
            live_from_ns: 0,
            live_until_ns: 0,
            slots: Ring::new(SLOT_NS, MINUTE_NS),
            minutes: Ring::new(MINUTE_NS, HOUR_NS),
            hours: Ring::new(HOUR_NS, DAY_NS),
            exemplars: Exemplars::default(),
        }
    }
}

impl Windows {
    /// Counts a value of `ns` nanoseconds `n` times, at the time `now_ns`.
    #[inline]
    pub fn record_n(&mut self, now_ns: u64, ns: u64, n: u64) {
        if now_ns >= self.live_until_ns {
            self.rotate(now_ns);
        }
        self.slot.record_n(ns, n);
    }

    /// Remembers an item as the example of its value's octave, unless a later one is known.
    pub fn exemplar(&mut self, exemplar: Exemplar) {
        self.exemplars.keep(exemplar);
    }

    /// Everything counted during the last `window`, and how far back that goes.
    ///
    /// The window is extended to where a slot began: slots of 5 s up to a minute, of a minute up to an hour, of an hour
    /// above; never beyond the slot in which 24 hours ago lies. What is covered reaches from there to `now_ns` (or to
    /// the latest slot, where the clock went back), whether or not something was counted from the beginning.
    #[must_use]
    pub fn merged(&self, now_ns: u64, window: Duration) -> (Histogram, Duration) {
        let now_ns = now_ns.max(self.live_from_ns);
        let window_ns = u64::try_from(window.as_nanos())
            .unwrap_or(u64::MAX)
            .min(DAY_NS);
        let (ring, live): (_, &[&Histogram]) = match window_ns {
            window if window <= MINUTE_NS => (&self.slots, &[&self.slot]),
            window if window <= HOUR_NS => (&self.minutes, &[&self.slot, &self.minute]),
            _ => (&self.hours, &[&self.slot, &self.minute, &self.hour]),
        };
        let from_ns = floor(now_ns.saturating_sub(window_ns), ring.length_ns());
        let mut merged = Histogram::new();
        if self.live_from_ns >= from_ns {
            live.iter().for_each(|histogram| merged.merge(histogram));
        }
        ring.add_since(from_ns, &mut merged);
        (merged, Duration::from_nanos(now_ns - from_ns))
    }

    /// Everything ever counted; never shrinks.
    #[must_use]
    pub fn total(&self) -> Histogram {
        let mut total = self.closed.clone();
        total.merge(&self.slot);
        total
    }

    /// The latest example of each octave (power-of-two `le` bucket in seconds) of values, ascending.
    pub fn exemplars(&self) -> impl Iterator<Item = &Exemplar> {
        self.exemplars.iter()
    }

    /// Heap memory, in bytes. Takes a few additions.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let live = [&self.slot, &self.minute, &self.hour, &self.closed];
        let sealed = [&self.slots, &self.minutes, &self.hours];
        live.map(Histogram::bytes).iter().sum::<usize>()
            + sealed.map(Ring::bytes).iter().sum::<usize>()
            + self.exemplars.bytes()
    }

    /// Ends the live slot if it is over, and drops what is beyond 24 hours. Where nothing is left, only the total keeps
    /// memory. To be called every minute or so, also for queues without traffic.
    pub fn expire(&mut self, now_ns: u64) {
        if self.live_until_ns == 0 || now_ns < self.live_until_ns {
            return;
        }
        self.rotate(now_ns);
        self.exemplars.drop_before(now_ns.saturating_sub(DAY_NS));
        for live in [&mut self.slot, &mut self.minute, &mut self.hour] {
            if live.is_empty() {
                *live = Histogram::new();
            }
        }
    }

    /// Halves the resolution of the sealed slots that still have more than others, oldest first: of the hours, then
    /// the minutes, then the slots of 5 s; one of these a call. Counts stay as they are; for the error of percentiles
    /// see [`crate::histogram::Sealed::coarsened`]. Returns the bytes freed; 0 when there is nothing left to give.
    pub fn coarsen(&mut self) -> usize {
        for halvings in HALVINGS {
            for ring in [&mut self.hours, &mut self.minutes, &mut self.slots] {
                let freed = ring.coarsen(halvings);
                if freed > 0 {
                    return freed;
                }
            }
        }
        0
    }

    /// Begins the slot of `now_ns`: at most once in 5 s.
    #[cold]
    fn rotate(&mut self, now_ns: u64) {
        let (was, is) = (self.live_from_ns, floor(now_ns, SLOT_NS));
        if self.live_until_ns != 0 && is <= was {
            return;
        }
        self.closed.merge(&self.slot);
        self.minute.merge(&self.slot);
        self.slots.seal(was, &mut self.slot);
        if floor(was, MINUTE_NS) != floor(is, MINUTE_NS) {
            self.hour.merge(&self.minute);
            self.minutes.seal(floor(was, MINUTE_NS), &mut self.minute);
        }
        if floor(was, HOUR_NS) != floor(is, HOUR_NS) {
            self.hours.seal(floor(was, HOUR_NS), &mut self.hour);
        }
        for ring in [&mut self.slots, &mut self.minutes, &mut self.hours] {
            ring.drop_beyond(is);
        }
        self.live_from_ns = is;
        self.live_until_ns = is.saturating_add(SLOT_NS);
    }
}

/// The beginning of the slot of `length_ns` in which `ns` lies.
const fn floor(ns: u64, length_ns: u64) -> u64 {
    ns - ns % length_ns
}
