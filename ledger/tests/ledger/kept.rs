//! How much is remembered, and of what.

use std::sync::Arc;

use baton_ledger::account::{AttemptOutcome, Outcome};
use baton_ledger::budget::{Budget, Dropped};
use baton_ledger::party::Party;
use baton_ledger::sampling::{Kept, SamplingSettings, TraceLimit};
use baton_ledger::{Arrived, Failed, ItemStamps, Known, Leased, Shared};
use baton_telemetry::stage::Stage;
use baton_telemetry::trace_context::ItemContext;

use crate::story::{BEGIN, CLOCK, MS, SECOND, Story, shared};

#[test]
fn an_item_is_remembered_until_so_many_have_ended_after_it() {
    let few = Shared {
        finished_max: 100,
        ..shared()
    };
    let mut story = Story::with(few, 0);
    for id in 1..=1000 {
        // The later the faster, so that the first few are the slowest.
        story.item(id, 2000 * MS - id * MS);
    }
    let known = (1..=1000).filter(|id| story.ledger.ended(*id).is_some());
    let known: Vec<_> = known.collect();
    assert!((901..=1000).all(|id| known.contains(&id)));
    let slow = known.iter().filter(|id| **id <= 900).count();
    assert!(slow < 16 * 9, "{slow} for being slow");
}

#[test]
fn an_idle_queue_forgets_what_is_a_day_old_but_for_dead_letters() {
    let mut story = Story::new();
    story.item(1, SECOND);
    for item in [2, 3] {
        story.arrive(item, 1);
        story.lease(item, 1);
        story.fail(item, 1, item == 2);
        story.commit();
    }
    story.lease_as(3, &[ItemStamps::default()], 2, (story.now, story.now));
    story.ack(3, 1);
    story.commit();
    let known = |story: &Story| [1, 2, 3].map(|item| story.ledger.ended(item).is_some());
    story.wait(23 * 3600 * SECOND);
    story.ledger.keep_house(story.now, &mut story.kept);
    story.ledger.expire(story.now);
    assert_eq!(known(&story), [true; 3]);
    let bytes = story.ledger.bytes();
    story.wait(3 * 3600 * SECOND);
    story.ledger.expire(story.now);
    assert_eq!(known(&story), [false, true, false]);
    assert!(story.ledger.bytes() < bytes);
}

#[test]
fn a_retried_item_outlives_those_that_were_not() {
    let few = Shared {
        finished_max: 10,
        ..shared()
    };
    let mut story = Story::with(few, 0);
    let taken_in = story.now;
    story.arrive(1, 1);
    story.lease(1, 1);
    story.wait(MS);
    story.fail(1, 1, false);
    story.commit();
    let failed = story.now;
    story.wait(MS);
    story.lease_as(1, &[ItemStamps::default()], 2, (taken_in, failed));
    story.ack(1, 1);
    story.commit();
    for id in 2..200 {
        story.item(id, SECOND);
    }
    let account = story.ledger.ended(1).unwrap();
    assert_eq!(account.attempts.len(), 2);
    assert_eq!(account.end.unwrap().outcome, Outcome::Acked);
    let retried = story.kept.iter().filter(|(_, kept)| *kept == Kept::Retry);
    assert_eq!(retried.count(), 1);
}

#[test]
fn what_came_with_an_item_is_known_until_its_ack_is_durable() {
    let mut story = Story::new();
    story.arrive(1, 2);
    story.wait(MS);
    story.lease(1, 2);
    story.ledger.end_turn(10);
    story.ledger.durable(10, story.now, 1, &mut story.kept);
    story.ack(1, 2);
    story.ledger.end_turn(12);
    // The queue has seen the ack, but its commit is not durable: another one was.
    story.ledger.durable(11, story.now, 3, &mut story.kept);
    story.wait(MS);
    story.ledger.durable(12, story.now, 3, &mut story.kept);
    let account = story.ledger.ended(2).unwrap();
    assert_eq!(*account.producer.as_ref().unwrap().client_id, *"producer");
    assert_eq!(account.stage_ns(Stage::Store, story.now), MS);
}

#[test]
fn an_item_that_is_retried_without_end_keeps_its_first_and_its_latest_attempts() {
    let mut story = Story::new();
    let taken_in = story.now;
    story.arrive(1, 1);
    story.commit();
    let before = story.ledger.bytes();
    for number in 1..=5000 {
        story.lease_as(1, &[ItemStamps::default()], number, (taken_in, story.now));
        story.wait(MS);
        story.fail(1, 1, false);
        story.commit();
    }
    let known = Known {
        item: 1,
        taken_in,
        attempts: 5000,
        ..Known::default()
    };
    let account = story.ledger.account(&known, story.now);
    let numbers: Vec<_> = account
        .attempts
        .iter()
        .map(|attempt| attempt.number)
        .collect();
    let mut expected = vec![1];
    expected.extend(4986..=5001);
    assert_eq!(numbers, expected);
    // Of which most are histograms.
    assert!(story.ledger.bytes() - before < 64 * 1024);
}

#[test]
fn an_item_that_expired_says_so_even_if_little_is_told_of_it() {
    let mut story = Story::new();
    let taken_in = story.now;
    story.arrive(1, 2);
    story.wait(MS);
    story.lease(1, 1);
    story.commit();
    story.wait(MS);
    story.fail(1, 1, false);
    story.commit();
    let failed = story.now;
    story.wait(SECOND);
    // The last one came before a restart.
    for (item, number, since) in [(1, 2, failed), (2, 1, taken_in), (3, 1, taken_in)] {
        let nothing = [ItemStamps::default()];
        story.gone_as((item, 1), &nothing, (number, since), Outcome::Expired);
        story.commit();
    }
    let attempts = [1, 2, 3].map(|item| {
        let account = story.ledger.ended(item).unwrap();
        assert_eq!(account.end.unwrap().outcome, Outcome::Expired);
        let parts = account.parts(story.now);
        let sum: u64 = parts.iter().map(|part| part.ns()).sum();
        assert_eq!(sum, story.now - taken_in, "{parts:?}");
        account.attempts.len()
    });
    assert_eq!(attempts, [2, 1, 1]);
    let errors = story.kept.iter().filter(|(_, kept)| *kept == Kept::Error);
    assert_eq!(errors.count(), 3);
}

#[test]
fn waits_that_end_with_nobody_count_however_many_there_are() {
    for outcome in [Outcome::Expired, Outcome::Cancelled] {
        let mut story = Story::new();
        story.item(1, MS);
        let begin = story.now;
        story.arrive(2, 50_000);
        story.commit();
        story.wait(10 * SECOND);
        let one = [ItemStamps::default()];
        story.gone_as((2, 50_000), &one, (1, begin), outcome);
        story.wait(SECOND);
        story.commit();
        let totals: Vec<_> = story.ledger.series().totals().collect();
        let of = |stage| {
            let (_, all, _) = totals.iter().find(|(of, ..)| *of == stage).unwrap();
            (all.count(), all.sum_ns() / u128::from(SECOND))
        };
        assert_eq!(of(Stage::Queue), (50_001, 500_000));
        assert_eq!(of(Stage::Total).0, 1, "of those that ended well");
        let ended = |item| {
            let account = story.ledger.ended(item)?;
            Some(account.end.unwrap().outcome)
        };
        assert_eq!(ended(2), Some(outcome));
        assert_eq!(ended(1), Some(Outcome::Acked), "is not pushed out");
        assert!(ended(50_000).is_none());
    }
}

#[test]
fn a_sampled_item_that_is_cancelled_has_its_trace_and_no_other_one_has() {
    let mut story = Story::new();
    let items: Vec<_> = (1..=2)
        .map(|item| ItemStamps {
            created_ns: 0,
            context: Some(ItemContext {
                sampled: item == 1,
                ..ItemContext::made_up(1, "orders", item)
            }),
        })
        .collect();
    story.wait(SECOND);
    story.gone_as((1, 2), &items, (1, BEGIN), Outcome::Cancelled);
    story.commit();
    let kept: Vec<_> = story
        .kept
        .iter()
        .map(|(account, kept)| (account.item, account.end.unwrap().outcome, *kept))
        .collect();
    assert_eq!(kept, [(1, Outcome::Cancelled, Kept::Head)]);
}

#[test]
fn a_dead_letter_is_known_by_what_its_consumers_said() {
    let mut story = Story::new();
    let taken_in = story.now;
    story.arrive(1, 1);
    story.lease(1, 1);
    story.commit();
    let leased = story.now;
    story.wait(10 * MS);
    story.handled((1, 1), leased, 3 * MS);
    story.fail(1, 1, true);
    let dead = story.now;
    story.commit();
    let known = Known {
        item: 1,
        taken_in,
        attempts: 1,
        dead: Some(dead),
        ..Known::default()
    };
    story.wait(SECOND);
    let account = story.ledger.account(&known, story.now);
    assert_eq!(account.stage_ns(Stage::Process, story.now), 7 * MS);
    assert_eq!(Some(&account), story.ledger.ended(1).as_deref());
}

#[test]
fn traces_are_chosen_by_their_reasons() {
    let settings = SamplingSettings {
        baseline: 5,
        ..SamplingSettings::default()
    };
    let choosing = Shared {
        sampling: Some(settings),
        ..shared()
    };
    let mut story = Story::with(choosing, 0);
    story.item(1, 20 * SECOND);
    for id in 2..=9 {
        story.item(id, MS);
    }
    story.arrive(10, 1);
    let sampled = ItemContext {
        sampled: true,
        ..ItemContext::made_up(1, "orders", 10)
    };
    let stamps = ItemStamps {
        created_ns: 0,
        context: Some(sampled),
    };
    story.lease_as(10, &[stamps], 1, (story.now, story.now));
    story.ack(10, 1);
    story.arrive(11, 1);
    story.lease(11, 1);
    story.fail(11, 1, true);
    story.commit();
    let kept: Vec<_> = story
        .kept
        .iter()
        .map(|(account, kept)| (account.item, *kept))
        .filter(|(_, kept)| *kept != Kept::TopK)
        .collect();
    let expected = [
        (1, Kept::Slow),
        (6, Kept::Baseline),
        (10, Kept::Head),
        (11, Kept::DeadLetter),
    ];
    assert_eq!(kept, expected);
    let total = story
        .ledger
        .series()
        .totals()
        .find(|(stage, ..)| *stage == Stage::Total);
    let examples = total.map(|(_, _, examples)| examples).unwrap();
    assert!(examples.iter().any(|example| example.item == 1));
    assert!(
        examples.iter().all(|example| example.item != 11),
        "a dead letter is not in the histogram of totals"
    );
}

#[test]
fn when_memory_gets_tight_only_runs_with_a_sampled_item_keep_their_traces() {
    let tight = Shared {
        budget: Budget::new(1 << 20),
        ..shared()
    };
    let mut story = Story::with(tight, 0);
    let items = |first: u64, sampled: u64| -> Vec<_> {
        let context = |item| ItemContext {
            sampled: item == sampled,
            ..ItemContext::made_up(1, "orders", item)
        };
        let stamps = |item| ItemStamps {
            created_ns: 0,
            context: Some(context(item)),
        };
        (first..first + 100).map(stamps).collect()
    };
    let mut first = 1000;
    while story.shared.budget.used() <= story.shared.budget.limit() / 8 * 7 {
        story.lease_as(first, &items(first, 0), 1, (story.now, story.now));
        story.commit();
        first += 100;
    }
    assert_eq!(story.shared.budget.dropped(Dropped::Context), 0);
    for (first, sampled) in [(1, 0), (101, 150)] {
        let items = items(first, sampled);
        story.lease_as(first, &items, 1, (story.now, story.now));
        // Finished items are not remembered any more, failed ones are.
        story.fail(first, 100, true);
        story.commit();
    }
    assert_eq!(story.shared.budget.dropped(Dropped::Context), 100);
    let own = |item: u64| {
        let account = story.ledger.ended(item).unwrap();
        account.context.map(|context| context.trace_id)
            == Some(ItemContext::made_up(1, "orders", item).trace_id)
    };
    assert_eq!([10, 110, 150].map(own), [false, true, true]);
}

#[test]
fn without_a_taker_no_trace_is_chosen() {
    let nobody = Shared {
        sampling: None,
        limit: TraceLimit::new(100),
        ..shared()
    };
    let mut story = Story::with(nobody, 0);
    story.item(1, 20 * SECOND);
    story.wait(60 * SECOND);
    story.commit();
    assert!(story.kept.is_empty());
    let refused = Kept::ALL.map(|reason| story.shared.limit.refused(reason));
    assert_eq!(refused, [0; Kept::ALL.len()]);
    assert!(story.ledger.ended(1).unwrap().context.is_none());
}

#[test]
fn a_redriven_item_counts_from_its_redrive() {
    let mut story = Story::new();
    let taken_in = story.now;
    story.arrive(1, 1);
    story.lease(1, 1);
    story.fail(1, 1, true);
    story.commit();
    let first = story.ledger.ended(1).unwrap();
    story.wait(3600 * SECOND);
    let redriven = story.now;
    story.ledger.forget(1, 1);
    for number in [2, 3] {
        story.ledger.leased(&Leased {
            first: 1,
            items: &[ItemStamps::default()],
            number,
            forgiven: 1,
            taken_in,
            since: story.now,
            ready: story.now,
            now: story.now,
            consumer: Arc::new(Party::named("consumer")),
            origin: Some(CLOCK),
        });
        story.wait(SECOND);
        if number == 2 {
            story.ledger.failed(&Failed {
                first: 1,
                count: 1,
                now: story.now,
                outcome: AttemptOutcome::LeaseExpired,
                error: "".into(),
                dead: false,
            });
        } else {
            story.ack(1, 1);
        }
        story.commit();
    }
    let account = story.ledger.ended(1).unwrap();
    assert_eq!(
        (account.begin(), account.total(0).0),
        (redriven, 2 * SECOND)
    );
    let numbers: Vec<_> = account.attempts.iter().map(|of| of.number).collect();
    assert_eq!(numbers, [2, 3]);
    assert_eq!(account.before_redrive, first.context);
    assert_ne!(account.context, first.context);
    let totals = story.ledger.series().totals();
    let sums: Vec<_> = totals
        .filter(|(stage, ..)| *stage == Stage::Total)
        .map(|(_, all, _)| (all.count(), all.sum_ns()))
        .collect();
    assert_eq!(sums, [(1, u128::from(2 * SECOND))]);
}

#[test]
fn items_that_come_back_untouched_each_wait_on_from_where_they_were() {
    let mut story = Story::new();
    story.ledger.arrived(&Arrived {
        first: 1,
        received: story.now,
        created: &[0; 4],
        clock: None,
        producer: None,
    });
    story.commit();
    let (begin, none) = (story.now, ItemStamps::default());
    story.wait(SECOND);
    story.lease_as(1, &[none], 1, (begin, begin));
    story.lease_as(2, &[none], 1, (begin, begin + MS));
    story.commit();
    story.ledger.released(1, 2);
    let released = story.now;
    story.wait(SECOND);
    story.lease_as(1, &[none; 4], 1, (begin, released));
    story.ack(1, 4);
    story.commit();
    let waited = [1, 2, 3, 4].map(|item| {
        let account = story.ledger.ended(item).unwrap();
        account.stage_ns(Stage::Queue, story.now)
    });
    assert_eq!(
        waited,
        [2 * SECOND, 2 * SECOND - MS, SECOND, SECOND],
        "of the latter two only one hand-out is known"
    );
}
