//! What ready items wait for, over time.
//!
//! The queue is at each moment in one of four situations, as far as its ready items are concerned: paused, without a
//! consumer, without credit, or handing out (then items wait behind others). [`WaitClock`] sums up the time in the first
//! three; the difference of two readings says what an item waited for in between. Readings of the past are kept at growing
//! distances and interpolated, so a share is right to the distance at that age, and memory is bounded.

use std::collections::VecDeque;

/// Readings kept.
const READINGS_MAX: usize = 1024;
/// The closest two readings are, nanoseconds: waits are told apart to this.
const SPACING_NS: u64 = 1_000_000;

/// Why ready items are not handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stall {
    /// The queue is paused.
    Paused,
    /// Nobody consumes the queue.
    NoConsumer,
    /// Consumers are there; none takes more.
    NoCredit,
}

impl Stall {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Paused, Self::NoConsumer, Self::NoCredit];

    /// As it is called everywhere.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::NoConsumer => "no_consumer",
            Self::NoCredit => "no_credit",
        }
    }
}

/// A wait by its reasons, nanoseconds each. What is left of it was spent behind others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// The queue was paused.
    pub paused: u64,
    /// Nobody consumed the queue.
    pub no_consumer: u64,
    /// Consumers were there; none took more.
    pub no_credit: u64,
    /// Of that time nothing is known: the broker was restarted since.
    pub before_restart: u64,
}

impl Waits {
    /// Nobody was there to take it.
    #[must_use]
    pub const fn no_worker(&self) -> u64 {
        self.no_consumer.saturating_add(self.no_credit)
    }

    /// All that was not spent behind others.
    #[must_use]
    pub const fn explained(&self) -> u64 {
        let known = self.no_worker().saturating_add(self.paused);
        known.saturating_add(self.before_restart)
    }

    /// By reason.
    #[must_use]
    pub const fn of(&self, stall: Stall) -> u64 {
        match stall {
            Stall::Paused => self.paused,
            Stall::NoConsumer => self.no_consumer,
            Stall::NoCredit => self.no_credit,
        }
    }

    fn of_mut(&mut self, stall: Stall) -> &mut u64 {
        match stall {
            Stall::Paused => &mut self.paused,
            Stall::NoConsumer => &mut self.no_consumer,
            Stall::NoCredit => &mut self.no_credit,
        }
    }

    /// Each reason's sum.
    #[must_use]
    pub const fn plus(&self, other: &Self) -> Self {
        Self {
            paused: self.paused.saturating_add(other.paused),
            no_consumer: self.no_consumer.saturating_add(other.no_consumer),
            no_credit: self.no_credit.saturating_add(other.no_credit),
            before_restart: self.before_restart.saturating_add(other.before_restart),
        }
    }

    const fn minus(&self, earlier: &Self) -> Self {
        Self {
            paused: self.paused.saturating_sub(earlier.paused),
            no_consumer: self.no_consumer.saturating_sub(earlier.no_consumer),
            no_credit: self.no_credit.saturating_sub(earlier.no_credit),
            before_restart: self.before_restart.saturating_sub(earlier.before_restart),
        }
    }

    /// No more than `ns` in all, in the proportions that it has.
    pub(crate) fn within(self, ns: u64) -> Self {
        let all = self.explained();
        if all <= ns {
            self
        } else {
            self.scaled(ns, all)
        }
    }

    /// The part of it that `share` of `of` is.
    fn scaled(&self, share: u64, of: u64) -> Self {
        let scale = |ns: u64| {
            let scaled = u128::from(ns) * u128::from(share) / u128::from(of.max(1));
            u64::try_from(scaled).unwrap_or(u64::MAX)
        };
        Self {
            paused: scale(self.paused),
            no_consumer: scale(self.no_consumer),
            no_credit: scale(self.no_credit),
            before_restart: scale(self.before_restart),
        }
    }
}

/// See the module. Times are nanoseconds of one clock that does not go back.
#[derive(Debug, Default)]
pub struct WaitClock {
    /// Nothing is known of earlier times.
    began: u64,
    now: u64,
    stall: Option<Stall>,
    sums: Waits,
    /// Ascending.
    readings: VecDeque<(u64, Waits)>,
}

impl WaitClock {
    /// One that begins now; of earlier times it knows nothing.
    #[must_use]
    pub fn new(began: u64) -> Self {
        Self {
            began,
            ..Self::default()
        }
    }

    /// The situation from `now` on; None: nothing is ready, or items are handed out.
    pub fn note(&mut self, now: u64, stall: Option<Stall>) {
        // Between two readings the sums grow evenly, so that only changes need one.
        if self.stall == stall {
            return;
        }
        self.pass(now);
        self.stall = stall;
        let last = self.readings.back().map_or(0, |(at, _)| *at);
        if now >= last.saturating_add(SPACING_NS) {
            self.readings.push_back((now, self.sums));
            if self.readings.len() > READINGS_MAX {
                self.thin();
            }
        }
    }

    fn pass(&mut self, now: u64) {
        let passed = now.saturating_sub(self.now);
        self.now = self.now.max(now);
        if let Some(stall) = self.stall {
            let sum = self.sums.of_mut(stall);
            *sum = sum.saturating_add(passed);
        }
    }

    /// Keeps every second reading of the older half.
    fn thin(&mut self) {
        let half = self.readings.len() / 2;
        let mut index = 0;
        self.readings.retain(|_| {
            index += 1;
            index > half || index % 2 == 1
        });
    }

    /// The sums so far.
    #[must_use]
    pub fn sums(&self, now: u64) -> Waits {
        let mut sums = self.sums;
        if let Some(stall) = self.stall {
            let sum = sums.of_mut(stall);
            *sum = sum.saturating_add(now.saturating_sub(self.now));
        }
        sums
    }

    /// What was waited for between two times.
    #[must_use]
    pub fn between(&self, from: u64, to: u64) -> Waits {
        if to <= from {
            return Waits::default();
        }
        let known = self.at(to).minus(&self.at(from));
        Waits {
            before_restart: self.began.min(to).saturating_sub(from),
            ..known
        }
    }

    /// The sums as they were.
    fn at(&self, time: u64) -> Waits {
        if time >= self.now {
            return self.sums(time);
        }
        let after = self.readings.partition_point(|(at, _)| *at <= time);
        let now = (self.now, self.sums);
        let next = self.readings.get(after).unwrap_or(&now);
        // Before the first reading nothing was waited for.
        let Some(before) = after.checked_sub(1).map(|index| &self.readings[index]) else {
            return self
                .readings
                .front()
                .map_or_else(Waits::default, |(_, sums)| *sums);
        };
        let grown = next.1.minus(&before.1);
        before
            .1
            .plus(&grown.scaled(time - before.0, next.0 - before.0))
    }

    /// Memory, bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.readings.capacity() * size_of::<(u64, Waits)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_wait_is_split_by_its_reasons() {
        let mut clock = WaitClock::default();
        clock.note(10 * MS, Some(Stall::NoConsumer));
        clock.note(30 * MS, Some(Stall::NoCredit));
        clock.note(60 * MS, Some(Stall::Paused));
        clock.note(61 * MS, None);
        clock.note(100 * MS, None);
        let waits = clock.between(20 * MS, 90 * MS);
        let expected = Waits {
            paused: MS,
            no_consumer: 10 * MS,
            no_credit: 30 * MS,
            ..Waits::default()
        };
        assert_eq!(waits, expected);
        assert_eq!(waits.no_worker(), 40 * MS);
        assert_eq!(clock.between(62 * MS, 90 * MS), Waits::default());
    }

    #[test]
    fn of_the_time_before_it_began_nothing_is_said() {
        let mut clock = WaitClock::new(50 * MS);
        clock.note(50 * MS, Some(Stall::NoCredit));
        let waits = clock.between(20 * MS, 60 * MS);
        assert_eq!((waits.before_restart, waits.no_credit), (30 * MS, 10 * MS));
        assert_eq!(clock.between(20 * MS, 30 * MS).before_restart, 10 * MS);
        assert_eq!(clock.between(55 * MS, 60 * MS).before_restart, 0);
    }

    #[test]
    fn a_wait_that_goes_on_counts_so_far() {
        let mut clock = WaitClock::default();
        clock.note(10 * MS, Some(Stall::NoCredit));
        assert_eq!(clock.between(12 * MS, 15 * MS).no_credit, 3 * MS);
        assert_eq!(clock.sums(15 * MS).no_credit, 5 * MS);
        assert_eq!(clock.between(15 * MS, 12 * MS), Waits::default());
    }

    #[test]
    fn what_does_not_change_needs_no_reading() {
        let mut clock = WaitClock::default();
        for second in 1..10_000 {
            clock.note(second * 1000 * MS, Some(Stall::NoConsumer));
        }
        assert_eq!(clock.readings.len(), 1);
        let waits = clock.between(7000 * MS, 9_999_999 * MS);
        assert_eq!(waits.no_consumer, 9_992_999 * MS);
    }

    #[test]
    fn no_more_is_waited_for_than_there_is_time() {
        let waits = Waits {
            paused: 10,
            no_consumer: 30,
            no_credit: 60,
            ..Waits::default()
        };
        assert_eq!(waits.within(100), waits);
        let half = Waits {
            paused: 5,
            no_consumer: 15,
            no_credit: 30,
            ..Waits::default()
        };
        assert_eq!(waits.within(50), half);
        assert_eq!(waits.within(0), Waits::default());
    }

    #[test]
    fn old_waits_are_told_apart_less_sharply_and_memory_is_bounded() {
        let mut clock = WaitClock::default();
        for step in 0..100_000 {
            let stall = (step % 2 == 0).then_some(Stall::NoCredit);
            clock.note(step * MS, stall);
        }
        assert!(clock.readings.len() <= READINGS_MAX);
        let (from, to) = (20_000 * MS, 80_000 * MS);
        let half = (to - from) / 2;
        let off = clock.between(from, to).no_credit.abs_diff(half);
        assert!(off < half / 50, "off by {off} of {half}");
        assert_eq!(clock.between(99_990 * MS, 99_998 * MS).no_credit, 4 * MS);
    }
}
