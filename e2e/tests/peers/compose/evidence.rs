//! What the programs said, and what must not be in it.
//!
//! A producer says `published` when the broker has confirmed an item. A consumer says `item` when its work on one is over, *before* it
//! tells the broker, and `settled` when the broker has confirmed the outcome. So whatever is acknowledged was said to be processed, and
//! what was said to be settled must never be seen again.

use std::collections::{BTreeMap, BTreeSet};

use baton_client::QueueStats;
use serde_json::Value;

/// By item id.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    confirmed: BTreeSet<u64>,
    /// Attempts at which work ended well, in the order in which it was said.
    processed: BTreeMap<u64, Vec<u32>>,
    /// The attempt whose acknowledgement was confirmed.
    acked: BTreeMap<u64, u32>,
    /// Work that did not end well, settles that were not confirmed, items given back.
    troubles: u64,
    /// Lines that are no JSON object, with who said them.
    others: Vec<String>,
    /// Summaries by container.
    summaries: Vec<(String, Value)>,
}

/// How much there is of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) confirmed: usize,
    pub(super) acked: usize,
    /// Items processed more than once.
    pub(super) repeated: usize,
}

impl Evidence {
    pub(super) fn add(&mut self, container: &str, text: &str) {
        let Ok(said) = serde_json::from_str::<Value>(text) else {
            self.others.push(format!("{container}: {text}"));
            return;
        };
        let number = |name: &str| said[name].as_u64();
        let attempt = number("attempt").and_then(|it| u32::try_from(it).ok());
        match (said["event"].as_str(), number("item_id"), attempt) {
            (Some("published"), Some(item), _) => {
                self.confirmed.insert(item);
            }
            (Some("item"), Some(item), Some(attempt)) if said["outcome"] == "processed" => {
                self.processed.entry(item).or_default().push(attempt);
            }
            (Some("settled"), Some(item), Some(attempt)) if said["outcome"] == "processed" => {
                self.acked.insert(item, attempt);
            }
            (Some("summary"), ..) => self.summaries.push((container.to_owned(), said)),
            (Some(_), ..) => self.troubles += 1,
            (None, ..) => self.others.push(format!("{container}: {text}")),
        }
    }

    pub(super) fn counts(&self) -> Counts {
        let repeated = self
            .processed
            .values()
            .filter(|attempts| attempts.len() > 1);
        Counts {
            confirmed: self.confirmed.len(),
            acked: self.acked.len(),
            repeated: repeated.count(),
        }
    }

    /// Items that were processed more than once and not long ago, newest first: the broker may still know of them.
    pub(super) fn repeated(&self) -> Vec<(u64, u32)> {
        let repeated = self.processed.iter().rev();
        let repeated = repeated.filter(|(_, attempts)| attempts.len() > 1);
        let last = |attempts: &Vec<u32>| attempts.iter().copied().max().unwrap_or(0);
        repeated
            .map(|(item, attempts)| (*item, last(attempts)))
            .collect()
    }

    /// Lines that are no JSON, of these services.
    pub(super) fn others(&self, says: impl Fn(&str) -> bool) -> Vec<String> {
        let lines = self.others.iter().filter(|line| says(line));
        lines.cloned().collect()
    }

    /// Of containers whose name has this in it.
    pub(super) fn summaries(&self, of: &str) -> Vec<&Value> {
        let summaries = self.summaries.iter();
        let found = summaries.filter(|(container, _)| container.contains(of));
        found.map(|(_, summary)| summary).collect()
    }

    /// Everything wrong with it, now that the queue has drained and is as `stats` say.
    pub(super) fn violations(&self, stats: &QueueStats) -> Vec<String> {
        let mut found = Vec::new();
        let lost = self.confirmed.iter();
        let lost = lost.filter(|item| !self.processed.contains_key(item));
        found.extend(lost.map(|item| format!("item {item} was confirmed and never processed")));
        for (item, attempts) in &self.processed {
            let distinct: BTreeSet<_> = attempts.iter().collect();
            if distinct.len() < attempts.len() {
                found.push(format!(
                    "item {item} was processed twice in one attempt: {attempts:?}"
                ));
            }
            let last = self.acked.get(item);
            if let Some(acked) = last
                && attempts.iter().any(|attempt| attempt > acked)
            {
                found.push(format!(
                    "item {item} came again after attempt {acked} was acknowledged: {attempts:?}"
                ));
            }
            if *item > stats.last_item_id {
                found.push(format!(
                    "item {item} was processed, the broker knows only {}",
                    stats.last_item_id
                ));
            }
        }
        let repeats: usize = self
            .processed
            .values()
            .map(|attempts| attempts.len() - 1)
            .sum();
        if repeats as u64 > stats.failed_attempts_total {
            found.push(format!(
                "{repeats} repeats, but only {} failed attempts",
                stats.failed_attempts_total
            ));
        }
        let ended =
            stats.acked_total + stats.dead_total + stats.expired_total + stats.cancelled_total;
        if stats.published_total != ended || stats.acked_total != self.processed.len() as u64 {
            let processed = self.processed.len();
            found.push(format!(
                "{processed} items were processed, but the broker counts {stats:?}"
            ));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(lines: &[&str]) -> Evidence {
        let mut evidence = Evidence::default();
        for line in lines {
            evidence.add("c", line);
        }
        evidence
    }

    fn stats(items: u64, failed_attempts: u64) -> QueueStats {
        QueueStats {
            published_total: items,
            last_item_id: items,
            acked_total: items,
            failed_attempts_total: failed_attempts,
            ..QueueStats::default()
        }
    }

    const PUBLISHED: &str = r#"{"event": "published", "item_id": 1}"#;
    const PROCESSED: &str =
        r#"{"event": "item", "item_id": 1, "attempt": 1, "outcome": "processed"}"#;
    const SETTLED: &str =
        r#"{"event": "settled", "item_id": 1, "attempt": 1, "outcome": "processed"}"#;
    const AGAIN: &str = r#"{"event": "item", "item_id": 1, "attempt": 2, "outcome": "processed"}"#;

    #[test]
    fn what_was_confirmed_and_processed_once_is_in_order() {
        let all = evidence(&[PUBLISHED, PROCESSED, SETTLED]);
        assert_eq!(all.violations(&stats(1, 0)), Vec::<String>::new());
        let unconfirmed = evidence(&[PROCESSED]);
        assert_eq!(unconfirmed.violations(&stats(1, 0)), Vec::<String>::new());
    }

    #[test]
    fn every_broken_promise_is_found() {
        for (lines, stats, expected) in [
            (&[PUBLISHED][..], stats(0, 0), "never processed"),
            (&[PROCESSED, PROCESSED], stats(1, 1), "twice in one attempt"),
            (&[PROCESSED, SETTLED, AGAIN], stats(1, 1), "came again"),
            (&[PROCESSED, AGAIN], stats(1, 0), "0 failed attempts"),
            (&[PROCESSED], stats(0, 0), "the broker knows only 0"),
            (&[PROCESSED], stats(2, 0), "the broker counts"),
        ] {
            let found = evidence(lines).violations(&stats);
            assert!(
                found.iter().any(|it| it.contains(expected)),
                "{expected}: {found:?}"
            );
        }
    }

    #[test]
    fn a_repeat_with_its_failed_attempt_is_in_order() {
        let all = evidence(&[PUBLISHED, PROCESSED, AGAIN]);
        assert_eq!(all.violations(&stats(1, 1)), Vec::<String>::new());
        assert_eq!(all.repeated(), [(1, 2)]);
    }
}
