//! What the waits of handed out items were for, over the slots that the histograms have.

use std::collections::VecDeque;
use std::time::Duration;

use crate::waits::Waits;

/// The distances of slots and how many there are: a minute, an hour, a day.
const RINGS: [(u64, usize); 3] = [
    (5_000_000_000, 12),
    (60_000_000_000, 60),
    (3_600_000_000_000, 24),
];

/// Item nanoseconds by reason, and all of the waits.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    waits: Waits,
    total: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct RecentWaits {
    rings: [VecDeque<(u64, Sum)>; 3],
}

impl RecentWaits {
    /// `count` items waited so for `total` each.
    pub(crate) fn add(&mut self, now: u64, waits: &Waits, total: u64, count: u64) {
        for (ring, (width, slots)) in self.rings.iter_mut().zip(RINGS) {
            let slot = now / width;
            if ring.back().is_none_or(|(last, _)| *last < slot) {
                ring.push_back((slot, Sum::default()));
                // One more than the window has, since the newest is not full.
                if ring.len() > slots + 1 {
                    ring.pop_front();
                }
            }
            let (_, sum) = ring.back_mut().expect("it was just put there");
            sum.waits = sum.waits.plus(&Waits {
                paused: waits.paused.saturating_mul(count),
                no_consumer: waits.no_consumer.saturating_mul(count),
                no_credit: waits.no_credit.saturating_mul(count),
                before_restart: waits.before_restart.saturating_mul(count),
            });
            sum.total = sum.total.saturating_add(total.saturating_mul(count));
        }
    }

    /// Memory, bytes.
    pub(crate) fn bytes(&self) -> usize {
        let places = self.rings.iter().map(VecDeque::capacity).sum::<usize>();
        places * size_of::<(u64, Sum)>()
    }

    pub(crate) fn over(&self, now: u64, window: Duration) -> (Waits, u64) {
        let window = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
        let fits = |(width, slots): &(u64, usize)| window <= width * *slots as u64;
        let ring = RINGS.iter().position(fits).unwrap_or(RINGS.len() - 1);
        let first = now.saturating_sub(window) / RINGS[ring].0;
        let within = self.rings[ring].iter().filter(|(slot, _)| *slot >= first);
        within.fold((Waits::default(), 0_u64), |(waits, total), (_, sum)| {
            (waits.plus(&sum.waits), total.saturating_add(sum.total))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_summed_over_the_window_that_is_asked_for() {
        let mut recent = RecentWaits::default();
        let waits = Waits {
            no_credit: 3,
            ..Waits::default()
        };
        for second in 0..7200 {
            recent.add(second * 1_000_000_000, &waits, 5, 2);
        }
        let now = 7199 * 1_000_000_000;
        for (seconds, least, most) in [
            (10, 10, 15),
            (60, 60, 65),
            (600, 600, 660),
            (7200, 7200, 7200),
        ] {
            let (waits, total) = recent.over(now, Duration::from_secs(seconds));
            let items = total / 5;
            assert!(
                (2 * least..=2 * most).contains(&items),
                "{seconds} s: {items} items"
            );
            assert_eq!(waits.no_credit, 3 * items);
        }
    }
}
