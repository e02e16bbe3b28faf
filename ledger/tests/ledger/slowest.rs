//! The slowest items of minutes and hours.

use std::collections::HashSet;
use std::sync::Arc;

use baton_ledger::party::Party;
use baton_ledger::sampling::Kept;
use baton_ledger::{ItemStamps, Leased};
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
    // One after the other.
    assert_eq!(reasons(&story), expected[..2]);
    story.wait(SECOND);
    story.commit();
    assert_eq!(reasons(&story), expected[..4]);
    story.wait(10 * SECOND);
    story.commit();
    assert_eq!(reasons(&story), expected);
    for _ in 0..3 {
        story.wait(60 * SECOND);
        story.commit();
    }
    story.wait(7200 * SECOND);
    story.commit();
    assert_eq!(reasons(&story), expected, "offered again");
}

/// As one that came with a delay of so long.
fn delayed(story: &mut Story, id: u64, delay: u64) {
    story.arrive(id, 1);
    story.commit();
    let due = story.now + delay;
    story.wait(delay + MS);
    story.ledger.leased(&Leased {
        first: id,
        items: &[ItemStamps::default()],
        number: 1,
        forgiven: 0,
        taken_in: due - delay,
        since: due - delay,
        ready: due,
        now: story.now,
        consumer: Arc::new(Party::named("consumer")),
        origin: None,
    });
    story.commit();
    story.ack(id, 1);
    story.commit();
}

#[test]
fn an_item_that_was_asked_to_wait_is_not_slow() {
    let mut story = Story::new();
    for id in 1..=KEPT as u64 {
        story.item(id, 10 * MS);
    }
    for id in 101..=132 {
        delayed(&mut story, id, 3600 * SECOND);
    }
    assert!(reasons(&story).iter().all(|(_, kept)| *kept != Kept::Slow));
    let slowest = story.ledger.slowest(Stage::Total, BEGIN, KEPT);
    assert!(slowest.iter().all(|(ns, _)| *ns <= 10 * MS), "{slowest:?}");
    // And as nothing that was recorded is hidden:
    let mut totals = story.ledger.series().totals();
    let total = totals.find(|(stage, ..)| *stage == Stage::Total).unwrap();
    assert!(total.1.sum_ns() > u128::from(3600 * SECOND));
    drop(totals);

    delayed(&mut story, 200, SECOND);
    story.arrive(201, 1);
    story.commit();
    let begin = story.now;
    story.wait(20 * SECOND);
    story.lease_as(201, &[ItemStamps::default()], 1, (begin, begin));
    story.ack(201, 1);
    story.commit();
    let slow = reasons(&story)
        .into_iter()
        .filter(|(_, kept)| *kept == Kept::Slow);
    assert_eq!(slow.collect::<Vec<_>>(), [(201, Kept::Slow)]);
}

#[test]
fn the_slowest_of_a_minute_become_examples() {
    let mut story = Story::new();
    for id in 1..=64 {
        story.item(id, id * MS);
    }
    let examples = |story: &Story| {
        let totals = story.ledger.series().totals();
        let process = totals.filter(|(stage, ..)| *stage == Stage::Process);
        let of = process.flat_map(|(_, _, examples)| examples);
        of.map(|example| (example.item, example.value_ns))
            .collect::<Vec<_>>()
    };
    assert_eq!(examples(&story), []);
    for _ in 0..2 {
        story.wait(60 * SECOND);
        story.commit();
    }
    assert!(
        examples(&story).contains(&(64, 64 * MS)),
        "{:?}",
        examples(&story)
    );
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
        matches!(twice, [Some(one), Some(other)] if Arc::ptr_eq(&one, &other))
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
