//! When the log says something about exporting: when it begins to fail and when it works again ([`Outage`]); while it works,
//! what is lost all the same and what the collector remarks, once a minute. Decides only, with the time as an argument;
//! the exporter writes the lines.

use std::time::Duration;

use tokio::time::Instant;

use crate::outage::Outage;

/// Between two warnings of a kind.
const PAUSE: Duration = Duration::from_secs(60);

/// What the log should say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// The collector does not take what it is sent, and so many spans were lost since the last note.
    Failing { lost: u64 },
    /// It does, but so many spans were lost since the last note.
    Losing { lost: u64 },
    /// It does again; so many spans were lost since the last note.
    Resumed { lost: u64 },
}

/// What was said, and when.
#[derive(Debug, Default)]
pub(super) struct Report {
    outage: Outage,
    /// Of the last warning of losses.
    warned_at: Option<Instant>,
    /// Of the last warning about answers that came with a message.
    remarked_at: Option<Instant>,
    /// As of the last note.
    lost: u64,
}

impl Report {
    /// A request failed; `lost` spans were lost so far.
    pub(super) fn failed(&mut self, now: Instant, lost: u64) -> Option<Note> {
        let is_news = self.outage.failed(now.into_std());
        is_news.then(|| Note::Failing {
            lost: self.lost_since(lost),
        })
    }

    /// A request was answered; `lost` spans were lost so far.
    pub(super) fn succeeded(&mut self, now: Instant, lost: u64) -> Option<Note> {
        if self.outage.worked() {
            let lost = self.lost_since(lost);
            return Some(Note::Resumed { lost });
        }
        if lost == self.lost || !is_due(&mut self.warned_at, now) {
            return None;
        }
        let lost = self.lost_since(lost);
        Some(Note::Losing { lost })
    }

    /// Whether to repeat what the collector remarked.
    pub(super) fn remarked(&mut self, now: Instant) -> bool {
        is_due(&mut self.remarked_at, now)
    }

    const fn lost_since(&mut self, lost: u64) -> u64 {
        let since = lost - self.lost;
        self.lost = lost;
        since
    }
}

fn is_due(last: &mut Option<Instant>, now: Instant) -> bool {
    let due = last.is_none_or(|last| now.duration_since(last) >= PAUSE);
    if due {
        *last = Some(now);
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn an_outage_is_told_when_it_begins_and_when_it_ends() {
        let (start, mut report) = (Instant::now(), Report::default());
        assert_eq!(report.failed(start, 0), Some(Note::Failing { lost: 0 }));
        for minute in 1..600 {
            assert_eq!(report.failed(after(start, minute * 60), minute), None);
        }
        let end = report.succeeded(after(start, 36_000), 600);
        assert_eq!(end, Some(Note::Resumed { lost: 600 }));
        assert_eq!(report.succeeded(after(start, 36_600), 600), None);
    }

    #[test]
    fn a_collector_that_comes_and_goes_is_told_once_a_minute() {
        let (start, mut report) = (Instant::now(), Report::default());
        let mut notes = 0;
        for second in 0..60 {
            notes += usize::from(report.failed(after(start, second), 0).is_some());
            notes += usize::from(report.succeeded(after(start, second), 0).is_some());
        }
        assert_eq!(notes, 2);
    }

    #[test]
    fn losses_are_told_though_the_collector_answers() {
        let (start, mut report) = (Instant::now(), Report::default());
        assert_eq!(report.succeeded(start, 0), None);
        assert_eq!(report.succeeded(start, 3), Some(Note::Losing { lost: 3 }));
        assert_eq!(report.succeeded(after(start, 1), 4), None);
        let minute = report.succeeded(after(start, 60), 5);
        assert_eq!(minute, Some(Note::Losing { lost: 2 }));
    }

    #[test]
    fn remarks_are_repeated_once_a_minute_whatever_else_is_said() {
        let (start, mut report) = (Instant::now(), Report::default());
        assert!(report.failed(start, 0).is_some() && report.remarked(start));
        assert!(!report.remarked(after(start, 59)));
        assert!(report.remarked(after(start, 60)));
    }
}
