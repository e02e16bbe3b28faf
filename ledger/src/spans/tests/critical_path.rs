//! What Jaeger's critical path makes of the spans: its rules, restated, and what they find.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use proptest::prelude::*;

use super::arbitrary::accounts;
use super::seen::{Seen, seen};
use super::*;

/// Microseconds on the path by operation and attempt. It runs backwards: from a span's end to the child that ended last,
/// through that, and on from where it began to the child that ended before. A child that begins at or after its parent's
/// end is not looked at, nor is a CONSUMER below a PRODUCER.
fn critical_path(all: &[Seen]) -> BTreeMap<String, u64> {
    let mut path = BTreeMap::new();
    walk(all, &all[0], &mut path);
    path
}

fn walk(all: &[Seen], span: &Seen, path: &mut BTreeMap<String, u64>) {
    let blocks = |child: &&Seen| {
        let kinds = (span.span.kind(), child.span.kind());
        let is_child = child.span.parent_span_id == span.span.span_id;
        is_child
            && child.start_us() < span.end_us()
            && kinds != (SpanKind::Producer, SpanKind::Consumer)
    };
    let mut children: Vec<_> = all.iter().filter(blocks).collect();
    // Of those that end together, the one that began first.
    children.sort_by_key(|child| (std::cmp::Reverse(child.end_us()), child.start_us()));
    let attempt = span.number("messaging.baton.attempt");
    let name = attempt.map_or_else(
        || span.operation().to_owned(),
        |attempt| format!("{}{attempt}", span.operation()),
    );
    let (mut until, mut first) = (span.end_us(), true);
    while let Some(child) = children.iter().find(|it| first || it.end_us() < until) {
        *path.entry(name.clone()).or_default() += until - child.end_us();
        walk(all, child, path);
        (until, first) = (child.start_us(), false);
    }
    *path.entry(name).or_default() += until - span.start_us();
}

/// To the millisecond, without what takes less.
fn path_ms(account: &Account) -> Vec<(String, u64)> {
    let path = critical_path(&seen(account)).into_iter();
    path.map(|(name, us)| (name, (us + 500) / 1000))
        .filter(|(_, ms)| *ms > 0)
        .collect()
}

fn ms(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    expected
        .iter()
        .map(|(name, ms)| ((*name).to_owned(), *ms))
        .collect()
}

/// create 0-3 ms, store 1-3, queue 3-1203, deliver 1203-1226 with process 1204-1224, settle 1226-1227.
fn one_attempt() -> Story {
    Story::published(MS, 0, 2 * MS)
        .due_after(0)
        .waits(1200 * MS, [0; 3])
        .leased_by("c-1")
        .handled([MS, 0, 20 * MS], 0, [2 * MS, MS], ACKED)
        .over(Outcome::Acked)
}

fn two_attempts() -> Story {
    Story::published(MS, 0, 2 * MS)
        .due_after(0)
        .waits(1200 * MS, [0; 3])
        .leased_by("c-1")
        .handled(
            [MS, 0, 20 * MS],
            0,
            [2 * MS, MS],
            (AttemptOutcome::Nacked, ""),
        )
        .due_after(500 * MS)
        .waits(300 * MS, [0; 3])
        .leased_by("c-2")
        .handled([MS, 0, 40 * MS], 0, [2 * MS, MS], ACKED)
        .over(Outcome::Acked)
}

#[test]
fn queue_wait_is_on_the_critical_path() {
    let expected = [
        ("ack1", 2),
        ("create", 3),
        ("deliver1", 1),
        ("process1", 20),
        ("queue1", 1200),
        ("settle1", 1),
    ];
    assert_eq!(path_ms(&unsampled(one_attempt())), ms(&expected));
    // The clients' own spans come from them.
    let expected = [
        ("deliver1", 23),
        ("item", 1),
        ("queue1", 1200),
        ("settle1", 1),
        ("store", 2),
    ];
    assert_eq!(path_ms(&one_attempt().account), ms(&expected));
}

#[test]
fn every_attempt_is_on_the_critical_path() {
    let expected = [
        ("ack2", 2),
        ("create", 3),
        ("deliver1", 1),
        ("deliver2", 1),
        ("nack1", 2),
        ("process1", 20),
        ("process2", 40),
        ("queue1", 1200),
        ("queue2", 300),
        ("scheduled2", 500),
        ("settle1", 1),
        ("settle2", 1),
    ];
    assert_eq!(path_ms(&unsampled(two_attempts())), ms(&expected));
}

proptest! {
    #[test]
    fn all_waiting_is_on_the_critical_path_of_any_item(account in accounts()) {
        let all = seen(&account);
        let path = critical_path(&all);
        prop_assert_eq!(path.values().sum::<u64>(), all[0].end_us() - all[0].start_us());
        for one in all.iter().filter(|one| ["queue", "scheduled"].contains(&one.operation())) {
            let attempt = one.number("messaging.baton.attempt").unwrap();
            let found = path.get(&format!("{}{attempt}", one.operation())).copied();
            prop_assert_eq!(found.unwrap_or(0), one.end_us() - one.start_us());
        }
    }
}
