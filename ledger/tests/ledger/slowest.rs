//! The slowest items of minutes and hours.

use std::collections::HashSet;

use baton_ledger::sampling::Kept;
use baton_telemetry::stage::Stage;

use crate::story::{BEGIN, MS, SECOND, Story};

/// Kept of each stage and minute or hour.
const KEPT: usize = 16;

/// Some number that looks like none in particular, below a second.
const fn random_ns(seed: u64) -> u64 {
    let mixed = (seed ^ 0x9e37_79b9).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb) % SECOND
}

/// Leased together, ended after so long each.
fn run(story: &mut Story, first: u64, times: &[u64]) {
    story.arrive(first, times.len());
    story.lease(first, times.len());
    story.commit();
    let leased = story.now;
    let mut order: Vec<_> = (first..).zip(times).collect();
    order.sort_by_key(|(_, ns)| **ns);
    for (id, ns) in order {
        story.now = leased + ns;
        story.ack(id, 1);
        story.commit();
    }
}

#[test]
fn the_slowest_of_the_last_hours_are_found_to_two_percent() {
    let mut story = Story::new();
    let mut all = Vec::new();
    for batch in 0..600_u64 {
        let first = 1 + batch * 20;
        let times: Vec<_> = (first..first + 20).map(random_ns).collect();
        run(&mut story, first, &times);
        all.extend((first..).zip(times));
        story.wait(10 * SECOND);
    }
    all.sort_by_key(|(_, ns)| std::cmp::Reverse(*ns));
    let found = story.ledger.slowest(Stage::Process, BEGIN, KEPT);
    assert_eq!(found.len(), KEPT);
    for ((ns, account), (_, expected)) in found.iter().zip(&all) {
        assert_eq!(*ns, account.stage_ns(Stage::Process, story.now));
        assert!(
            *ns <= *expected && ns + expected / 50 >= *expected,
            "{ns} for {expected}"
        );
    }
    let ids: HashSet<_> = found.iter().map(|(_, account)| account.item).collect();
    assert_eq!(ids.len(), KEPT);
}

#[test]
fn of_those_that_ended_before_a_time_none_is_found() {
    let mut story = Story::new();
    story.item(1, 900 * MS);
    let between = story.now + 1;
    story.wait(SECOND);
    story.item(2, 100 * MS);
    let found = |after| {
        let found = story.ledger.slowest(Stage::Process, after, 9);
        found
            .iter()
            .map(|(_, account)| account.item)
            .collect::<Vec<_>>()
    };
    assert_eq!(found(BEGIN), [1, 2]);
    assert_eq!(found(between), [2]);
    assert!(story.ledger.slowest(Stage::NoWorker, BEGIN, 9).is_empty());
}

#[test]
fn a_minute_offers_its_slowest_once_and_none_that_has_a_trace() {
    let mut story = Story::new();
    // Over the threshold: it has its trace at once.
    story.item(1, 11 * SECOND);
    for id in 2..10 {
        story.item(id, id * MS);
    }
    assert_eq!(reasons(&story), [(1, Kept::Slow)]);
    story.wait(60 * SECOND);
    story.commit();
    let mut expected = vec![(1, Kept::Slow)];
    expected.extend((2..10).map(|id| (id, Kept::TopK)));
    assert_eq!(reasons(&story), expected);
    for _ in 0..3 {
        story.wait(60 * SECOND);
        story.commit();
    }
    story.wait(7200 * SECOND);
    story.commit();
    assert_eq!(reasons(&story), expected, "offered again");
}

fn reasons(story: &Story) -> Vec<(u64, Kept)> {
    let kept = story.kept.iter();
    kept.map(|(account, kept)| (account.item, *kept)).collect()
}

#[test]
fn a_backlog_that_grows_keeps_few_accounts() {
    let mut story = Story::new();
    // Each item waits a little longer than all before it.
    for id in 1..=20_000_u64 {
        let since = story.now - id * MS;
        story.lease_as(id, &[Default::default()], 1, (since, since));
        story.ack(id, 1);
        story.commit();
        story.wait(MS);
    }
    // An account that is kept is the same one each time it is asked for; one that is not is made anew.
    let made = (1..=20_000).filter(|id| {
        let twice = [(); 2].map(|()| story.ledger.ended(*id));
        matches!(twice, [Some(one), Some(other)] if std::sync::Arc::ptr_eq(&one, &other))
    });
    assert!((KEPT..9 * KEPT).contains(&made.count()));
    let slowest = story.ledger.slowest(Stage::Queue, BEGIN, KEPT);
    let least = slowest.last().map(|(ns, _)| *ns);
    assert!(least > Some(19_000 * MS), "{least:?}");
}

#[test]
fn hours_are_forgotten_after_a_day_whatever_the_clock_did() {
    let mut story = Story::new();
    // It was set forward by a century, and back.
    let back = story.now;
    story.now += 100 * 365 * 24 * 3600 * SECOND;
    story.item(1, 5 * MS);
    story.now = back;
    for hour in 0..100 {
        story.item(2 + hour, 5 * MS);
        story.wait(3600 * SECOND);
    }
    let known = story.ledger.slowest(Stage::Process, 0, usize::MAX);
    assert!(known.len() <= 26, "{}", known.len());
}
