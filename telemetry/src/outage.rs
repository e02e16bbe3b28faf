//! When a log says that a collector is out of reach: once when it begins and once when it is over, however long it lasts, and
//! for a collector that comes and goes both at most once a minute. Decides only, with the time as an argument.

use std::time::{Duration, Instant};

/// Between the beginnings that are told.
const PAUSE: Duration = Duration::from_secs(60);

/// What was said, and when.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    /// The last beginning that was told.
    told_at: Option<Instant>,
    /// Whether the log's last word is that exporting fails.
    is_told: bool,
}

impl Outage {
    /// An export failed. True: to be told.
    pub(crate) fn failed(&mut self, now: Instant) -> bool {
        let is_long_ago = |told: Instant| now.saturating_duration_since(told) >= PAUSE;
        let is_news = !self.is_told && self.told_at.is_none_or(is_long_ago);
        if is_news {
            self.told_at = Some(now);
            self.is_told = true;
        }
        is_news
    }

    /// An export worked. True: to be told.
    pub(crate) fn worked(&mut self) -> bool {
        std::mem::take(&mut self.is_told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_once_however_long_it_lasts() {
        let (start, mut outage) = (Instant::now(), Outage::default());
        assert!(!outage.worked(), "nothing was wrong");
        let told: Vec<_> = (0..100_000)
            .filter(|second| outage.failed(start + Duration::from_secs(*second)))
            .collect();
        assert_eq!(told, [0]);
        assert!(outage.worked() && !outage.worked());
    }

    #[test]
    fn a_collector_that_comes_and_goes_is_told_of_once_a_minute() {
        let (start, mut outage) = (Instant::now(), Outage::default());
        let mut told = Vec::new();
        for second in 0..180 {
            if outage.failed(start + Duration::from_secs(second)) {
                told.push(second);
                assert!(outage.worked());
            }
            assert!(!outage.worked());
        }
        assert_eq!(told, [0, 60, 120]);
    }
}
