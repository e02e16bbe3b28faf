//! What is from before a restart is known by the wall clock only, and says so; the rest does not.

use baton_ledger::account::{Account, AttemptOutcome};
use baton_ledger::{ItemStamps, Known, KnownFailure};
use baton_telemetry::stage::Stage;

use crate::story::{BEGIN, CLOCK, MS, SECOND, Story, shared};

/// When the broker was back.
const OPENED: u64 = BEGIN + 60 * SECOND;

fn restarted() -> Story {
    let mut story = Story::with(shared(), OPENED);
    story.now = OPENED;
    story
}

/// Made 3 ms before it was taken in.
fn known(taken_in: u64) -> Known {
    Known {
        item: 1,
        taken_in,
        ready: Some(taken_in),
        origin: Some(CLOCK),
        stamps: ItemStamps {
            created_ns: (taken_in - 3 * MS).wrapping_sub(CLOCK.ns),
            context: None,
        },
        ..Known::default()
    }
}

fn failure(number: u32, leased: u64, ended: u64) -> KnownFailure {
    KnownFailure {
        number,
        consumer: "before".into(),
        leased,
        ended,
        outcome: AttemptOutcome::BrokerRestarted,
        error: "".into(),
    }
}

/// Stage, attempt, when it began since the restart in ms, how long it took in ms, whether that is approximate.
fn parts(account: &Account, now: u64) -> Vec<(Stage, u32, i64, u64, bool)> {
    let ms = |ns: u64| ns.cast_signed() / MS.cast_signed();
    let parts = account.parts(now).into_iter().map(|part| {
        let start = ms(part.start) - ms(OPENED);
        let took = part.ns() / MS;
        (part.stage, part.attempt, start, took, part.approximate)
    });
    parts.collect()
}

#[test]
fn a_waiting_item_from_before_is_known_from_what_was_kept_with_it() {
    let mut story = restarted();
    story.wait(5 * SECOND);
    let account = story.ledger.account(&known(BEGIN), story.now);
    let error_ns = CLOCK.error_before(3 * MS);
    assert_eq!(account.created, Some((BEGIN - 3 * MS, error_ns)));
    assert_eq!((account.received, account.durable), (BEGIN, None));
    assert_eq!(account.restarted, Some(OPENED));
    assert_eq!(account.producer, None);
    let expected = [
        (Stage::Publish, 0, -60_003, 3, true),
        (Stage::Queue, 1, -60_000, 65_000, true),
    ];
    assert_eq!(parts(&account, story.now), expected);
    assert_eq!(account.total(story.now).0, 65_003 * MS);
}

#[test]
fn what_began_after_the_restart_is_exact() {
    let mut story = restarted();
    story.wait(SECOND);
    story.lease_as(1, &[known(BEGIN).stamps], 1, (BEGIN, BEGIN));
    story.commit();
    let leased = story.now;
    story.wait(SECOND);
    let live = story.ledger.account(
        &Known {
            attempts: 1,
            leased: Some((leased, "consumer".into())),
            ..known(BEGIN)
        },
        story.now,
    );
    let waited = [
        (Stage::Publish, 0, -60_003, 3, true),
        (Stage::Queue, 1, -60_000, 61_000, true),
    ];
    let running = (Stage::Process, 1, 1000, 1000, false);
    let found = parts(&live, story.now);
    assert_eq!((&found[..2], found[2]), (&waited[..], running));

    story.handled((1, 1), leased, 100 * MS);
    story.ack(1, 1);
    story.wait(2 * MS);
    story.commit();
    let ended = story.ledger.ended(1).unwrap();
    let found = parts(&ended, story.now);
    let after = [
        (Stage::Process, 1, 1000, 900, false),
        (Stage::Settle, 1, 1900, 102, false),
    ];
    assert_eq!((&found[..2], &found[2..]), (&waited[..], &after[..]));
    assert_eq!(ended.restarted, Some(OPENED));
}

#[test]
fn attempts_from_before_follow_each_other() {
    let story = restarted();
    let now = OPENED + SECOND;
    let known = Known {
        attempts: 2,
        failed: vec![
            failure(1, BEGIN + SECOND, BEGIN + 3 * SECOND),
            failure(2, BEGIN + 10 * SECOND, OPENED),
        ],
        ready: Some(OPENED + 10 * SECOND),
        ..known(BEGIN)
    };
    let account = story.ledger.account(&known, now);
    let expected = [
        (Stage::Publish, 0, -60_003, 3, true),
        (Stage::Queue, 1, -60_000, 1000, true),
        (Stage::Deliver, 1, -59_000, 2000, true),
        (Stage::Queue, 2, -57_000, 7000, true),
        (Stage::Deliver, 2, -50_000, 50_000, true),
        (Stage::Scheduled, 3, 0, 1000, false),
    ];
    assert_eq!(parts(&account, now), expected);
    assert_eq!(account.failures(), 2);
}

#[test]
fn an_item_of_this_life_is_exact() {
    let mut story = restarted();
    story.arrive(1, 1);
    story.wait(4 * MS);
    story.commit();
    story.wait(SECOND);
    let account = story.ledger.account(&known(OPENED), story.now);
    let expected = [
        // It was made before the broker was back.
        (Stage::Publish, 0, -1, 1, true),
        (Stage::Store, 0, 0, 4, false),
        (Stage::Queue, 1, 4, 1000, false),
    ];
    let stamps = ItemStamps {
        created_ns: (OPENED - MS).wrapping_sub(CLOCK.ns),
        context: None,
    };
    let mine = Known {
        stamps,
        ..known(OPENED)
    };
    assert_eq!(account.restarted, None);
    let account = story.ledger.account(&mine, story.now);
    let exact =
        expected.map(|(stage, attempt, start, took, _)| (stage, attempt, start, took, false));
    assert_eq!(parts(&account, story.now), exact);
}

#[test]
fn a_redriven_item_is_exact_if_it_was_redriven_after_the_restart() {
    let story = restarted();
    let now = OPENED + 20 * SECOND;
    for (redriven, approximate) in [(OPENED - SECOND, true), (OPENED, false)] {
        let known = Known {
            attempts: 1,
            forgiven: 1,
            failed: vec![failure(1, BEGIN + SECOND, BEGIN + 3 * SECOND)],
            ready: Some(redriven),
            ..known(BEGIN)
        };
        let account = story.ledger.account(&known, now);
        assert_eq!(account.restarted.is_some(), approximate);
        let found = parts(&account, now);
        let took = (now - redriven) / MS;
        let start = (redriven / MS).cast_signed() - (OPENED / MS).cast_signed();
        assert_eq!(found, [(Stage::Queue, 2, start, took, approximate)]);
    }
}

#[test]
fn without_a_clock_of_its_producer_an_item_begins_when_it_was_taken_in() {
    let story = restarted();
    let known = Known {
        origin: None,
        ..known(BEGIN)
    };
    let account = story.ledger.account(&known, OPENED);
    assert_eq!((account.created, account.begin()), (None, BEGIN));
}
