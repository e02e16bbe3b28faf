//! Made-up items, one after the other at a given pace: item i carries i squared as decimal text.

use bytes::Bytes;
use rand::rngs::SmallRng;
use tokio::time::{Instant, sleep_until};

use super::Record;
use crate::pace::Schedule;

/// Makes items until `count` are made, or for ever.
#[derive(Debug)]
pub(crate) struct Generator {
    next: u64,
    count: Option<u64>,
    size_bytes: usize,
    schedule: Schedule<SmallRng>,
    /// Of the item that is waited for: asking twice for one item must not draw a second pause.
    due: Option<Instant>,
}

impl Generator {
    pub(crate) const fn new(
        count: Option<u64>,
        size_bytes: usize,
        schedule: Schedule<SmallRng>,
    ) -> Self {
        Self {
            next: 0,
            count,
            size_bytes,
            schedule,
            due: None,
        }
    }

    /// Waits until the next item is due.
    pub(crate) async fn next(&mut self) -> Option<Record> {
        if self.count.is_some_and(|count| self.next >= count) {
            return None;
        }
        let index = self.next;
        let schedule = &mut self.schedule;
        let now = Instant::now();
        let due = *self.due.get_or_insert_with(|| schedule.due(index, now));
        if due > now {
            sleep_until(due).await;
        }
        self.due = None;
        self.next += 1;
        Some(Record {
            index,
            payload: square(index, self.size_bytes),
        })
    }
}

/// `index` squared, padded with spaces to `size_bytes`.
fn square(index: u64, size_bytes: usize) -> Bytes {
    let mut text = u128::from(index).pow(2).to_string().into_bytes();
    // Not by a format width, which ends at 65535.
    text.resize(size_bytes.max(text.len()), b' ');
    text.into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand::SeedableRng;

    use super::*;
    use crate::pace::Pace;

    fn generator(count: Option<u64>, pace: Pace) -> Generator {
        Generator::new(
            count,
            0,
            Schedule::new(pace, SmallRng::seed_from_u64(1), Instant::now()),
        )
    }

    #[test]
    fn an_item_carries_its_number_squared() {
        assert_eq!(
            [square(0, 0), square(3, 0), square(12, 5)],
            ["0", "9", "144  "]
        );
        assert_eq!(square(12, 2), "144");
        assert_eq!(square(12, 16 << 20).len(), 16 << 20);
        assert_eq!(
            square(u64::MAX, 0),
            "340282366920938463426481119284349108225"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn items_come_at_the_pace_asked_for() {
        let mut generator = generator(
            Some(11),
            Pace::Rate {
                items_per_second: 10.0,
            },
        );
        let started = Instant::now();
        let mut made = Vec::new();
        while let Some(record) = generator.next().await {
            made.push(record.index);
        }
        assert_eq!(made, (0..11).collect::<Vec<_>>());
        assert_eq!(started.elapsed().as_millis(), 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn an_interrupted_wait_goes_on_where_it_was() {
        let interval = Duration::from_secs(10);
        let mut generator = generator(
            None,
            Pace::Interval {
                shortest: interval,
                longest: interval,
            },
        );
        let started = Instant::now();
        generator.next().await;
        for _ in 0..4 {
            let cut_short = tokio::time::timeout(Duration::from_secs(2), generator.next()).await;
            assert!(cut_short.is_err());
        }
        assert_eq!(generator.next().await.map(|record| record.index), Some(1));
        assert_eq!(started.elapsed(), interval);
    }
}
