use baton_telemetry::stage::Stage;

use super::*;
use crate::account::{AttemptOutcome, Outcome};
use crate::text::samples::*;
use crate::waits::{Stall, Waits};

const ACKED: (AttemptOutcome, &str) = (AttemptOutcome::Acked, "");

fn ready() -> Story {
    Story::published(0, 0, 0).due_after(0)
}

/// Waits and is handled, a millisecond here and there.
fn one_attempt(wait: u64, why: [u64; 3], handled: [u64; 3]) -> Story {
    ready()
        .waits(wait, why)
        .leased_by("c-1")
        .handled(handled, 0, [0, 0], ACKED)
        .over(Outcome::Acked)
}

fn check(cases: &[(Story, &str)]) {
    for (story, expected) in cases {
        assert_eq!(of_account(&story.account, story.now), *expected);
    }
}

#[test]
fn what_is_over_says_what_took_longest() {
    check(&[
        (acked(), "98 % queue wait: no consumer had credit"),
        (third_time(), "76 % backing off after 2 failed attempts"),
        (
            one_attempt(S, [S, 0, 0], [0, 0, 0]),
            "100 % queue wait: the queue was paused",
        ),
        (
            one_attempt(999, [0, 999, 0], [0, 0, 1]),
            "99 % queue wait: nobody consumed the queue",
        ),
        (
            one_attempt(S, [0; 3], [0, 0, MS]),
            "99 % queue wait: others went first",
        ),
        (one_attempt(MS, [0; 3], [0, 0, S]), "99 % processing by c-1"),
        (
            one_attempt(MS, [0; 3], [S, 0, MS]),
            "99 % deliver: on its way to c-1",
        ),
        (
            one_attempt(MS, [0; 3], [0, S, MS]),
            "99 % prefetch: c-1 had it and was busy",
        ),
        (
            Story::published(S, 0, MS).over(Outcome::Cancelled),
            "99 % publish: on its way to the broker",
        ),
        (
            Story::published(MS, 0, S).over(Outcome::Cancelled),
            "99 % store: until it was durable",
        ),
        (
            Story::published(0, 0, 0)
                .due_after(S)
                .waits(MS, [0; 3])
                .over(Outcome::Expired),
            "99 % delayed by its producer",
        ),
        (
            ready()
                .leased_by("c-1")
                .handled([0, 0, MS], 0, [S, 0], ACKED)
                .over(Outcome::Acked),
            "99 % settle: until it was durable",
        ),
        (
            Story::published(0, 0, 0).over(Outcome::Cancelled),
            "nothing was measured",
        ),
    ]);
}

#[test]
fn what_is_close_to_the_longest_is_named_too() {
    check(&[
        (
            one_attempt(41, [0, 0, 41], [21, 0, 38]),
            "41 % queue wait (no consumer had credit) and 38 % processing by c-1",
        ),
        (
            one_attempt(45, [0; 3], [0, 20, 35]),
            "45 % queue wait (others went first) and 35 % processing by c-1",
        ),
        (
            one_attempt(450, [0; 3], [0, 201, 349]),
            "45 % queue wait: others went first",
        ),
        (
            one_attempt(33, [0; 3], [33, 0, 34]),
            "34 % processing by c-1, 33 % queue wait (others went first) and 33 % deliver (on its way to c-1)",
        ),
        (
            one_attempt(S, [450 * MS, 0, 400 * MS], [0, 0, MS]),
            "99 % queue wait: the queue was paused, and no consumer had credit",
        ),
        (
            one_attempt(S, [500 * MS, 0, 399 * MS], [0, 0, MS]),
            "99 % queue wait: the queue was paused",
        ),
    ]);
    let many = [
        (Stage::Publish, 1, 9),
        (Stage::Store, 1, 8),
        (Stage::Queue, 1, 7),
        (Stage::Process, 1, 7),
        (Stage::Settle, 1, 4),
    ];
    assert_eq!(
        of_stages(&many, &Waits::default()),
        "26 % publish (on the way to the broker), 23 % store (until items were durable) and 20 % queue wait \
         (others went first)"
    );
    let small = [
        (Stage::Publish, 1, 9),
        (Stage::Store, 1, 4),
        (Stage::Queue, 1, 1000),
    ];
    assert_eq!(
        of_stages(&small, &Waits::default()),
        "99 % queue wait: others went first"
    );
}

#[test]
fn an_attempt_is_named_where_it_was_nearly_alone() {
    let failed = |ns: u64, outcome| {
        let waited = ready().leased_by("c-1").passes(ns).ended(0, outcome, "");
        waited
            .due_after(0)
            .leased_by("c-2")
            .passes(10 * MS)
            .ended(0, AttemptOutcome::Acked, "")
            .over(Outcome::Acked)
    };
    check(&[
        (
            failed(S, AttemptOutcome::Nacked),
            "100 % processing by c-1 (attempt 1)",
        ),
        (
            failed(S, AttemptOutcome::LeaseExpired),
            "99 % with c-1 (attempt 1), until the lease ran out",
        ),
        (
            failed(S, AttemptOutcome::ConsumerGone),
            "99 % with c-1 (attempt 1), until it went away",
        ),
        (
            failed(S, AttemptOutcome::BrokerRestarted),
            "99 % with c-1 (attempt 1), until the broker was restarted",
        ),
        (
            failed(20 * MS, AttemptOutcome::Nacked),
            "100 % processing in 2 attempts",
        ),
        (
            failed(20 * MS, AttemptOutcome::ConsumerGone),
            "67 % with c-1 (attempt 1), until it went away",
        ),
    ]);
    let mut unknown = ready()
        .leased_by("c-1")
        .passes(S)
        .ended(0, AttemptOutcome::Nacked, "");
    unknown.last().consumer = None;
    check(&[(
        unknown.over(Outcome::Dead),
        "100 % processing by a consumer",
    )]);
}

#[test]
fn what_is_not_over_says_first_what_it_does() {
    let failed = || {
        ready()
            .leased_by("c-1")
            .passes(S)
            .ended(0, AttemptOutcome::Nacked, "")
    };
    let mut restarted = ready().waits(3 * S, [0, 3 * S, 0]);
    restarted.account.restarted = Some(BEGIN + S);
    check(&[
        (
            ready().waits(3 * S, [3 * S, 0, 0]),
            "waits since 3 s: the queue is paused",
        ),
        (
            ready().waits(3 * S, [0, 2_980 * MS, 0]),
            "waits since 3 s: nobody consumes the queue",
        ),
        (
            ready().waits(3 * S, [0, 0, 3 * S]),
            "waits since 3 s: no consumer has credit",
        ),
        (
            ready().waits(3 * S, [0; 3]),
            "waits since 3 s: others go first",
        ),
        (
            ready().waits(3 * S, [2 * S, 0, S]),
            "waits since 3 s: for 2 s of it the queue was paused",
        ),
        (restarted, "waits since ≈3 s: nobody consumes the queue"),
        (ready(), "waits since 0 µs"),
        (
            Story::published(0, 0, 0).due_after(5 * S).passes(2 * S),
            "delayed by its producer for another 3 s",
        ),
        (
            failed().due_after(5 * S).passes(2 * S),
            "backs off for another 3 s after 1 failed attempt",
        ),
        (
            failed().due_after(5 * S).passes(500 * MS),
            "backs off for another 4.5 s after 1 failed attempt; so far 67 % processing by c-1 (attempt 1)",
        ),
        (
            failed().due_after(0).waits(MS, [0; 3]),
            "waits since 1 ms: others go first; so far 99 % processing by c-1 (attempt 1)",
        ),
        (ready().leased_by("c-1").passes(3 * S), "with c-1 since 3 s"),
        (
            failed().due_after(0).leased_by("c-2").passes(30 * S),
            "with c-2 since 30 s (attempt 2)",
        ),
        (failed(), "so far 100 % processing by c-1"),
    ]);
}

/// Of 100 ns, 88 were spent in the stage, 80 of them for the reason.
const QUEUES: [(Stage, Option<Stall>, &str); 11] = [
    (
        Stage::Queue,
        Some(Stall::NoCredit),
        "queue wait: no consumer had credit; more consumers or a higher --concurrency would shorten it",
    ),
    (
        Stage::Queue,
        Some(Stall::NoConsumer),
        "queue wait: nobody consumed the queue; a consumer that is always there would shorten it",
    ),
    (
        Stage::Queue,
        Some(Stall::Paused),
        "queue wait: the queue was paused; resuming the queue ends it",
    ),
    (Stage::Queue, None, "queue wait: others went first"),
    (
        Stage::Process,
        None,
        "processing; only faster handlers would shorten it",
    ),
    (
        Stage::Prefetch,
        None,
        "prefetch: consumers had items and were busy; a smaller --prefetch, more consumers or a higher --concurrency would shorten it",
    ),
    (Stage::Publish, None, "publish: on the way to the broker"),
    (Stage::Store, None, "store: until items were durable"),
    (
        Stage::Scheduled,
        None,
        "scheduled: delayed, or backing off after failed attempts",
    ),
    (
        Stage::Deliver,
        None,
        "deliver: on the way to consumers, or with ones that never answered",
    ),
    (
        Stage::Settle,
        None,
        "settle: until acknowledgements were durable",
    ),
];

#[test]
fn a_queue_says_what_took_longest_and_what_would_help() {
    for (stage, stall, expected) in QUEUES {
        let of = |it| if stall == Some(it) { 80 } else { 0 };
        let waits = Waits {
            paused: of(Stall::Paused),
            no_consumer: of(Stall::NoConsumer),
            no_credit: of(Stall::NoCredit),
            ..Waits::default()
        };
        let other = if stage == Stage::Store {
            Stage::Publish
        } else {
            Stage::Store
        };
        // Those that are no parts do not count.
        let stages = [
            (other, 5, 12),
            (stage, 5, 88),
            (Stage::Total, 5, 100),
            (Stage::NoWorker, 5, 80),
        ];
        assert_eq!(of_stages(&stages, &waits), format!("88 % {expected}"));
    }
}

#[test]
fn a_queue_of_which_nothing_was_measured_says_so() {
    let no_waits = Waits::default();
    assert_eq!(of_stages(&[], &no_waits), NOTHING);
    assert_eq!(of_stages(&[(Stage::Queue, 0, 5)], &no_waits), NOTHING);
    assert_eq!(of_stages(&[(Stage::Queue, 5, 0)], &no_waits), NOTHING);
    assert_eq!(of_stages(&[(Stage::Total, 5, 100)], &no_waits), NOTHING);
    // 100 times the age of the universe.
    let huge = [(Stage::Queue, 1, u128::from(u64::MAX) << 32)];
    assert_eq!(
        of_stages(&huge, &no_waits),
        "100 % queue wait: others went first"
    );
}
