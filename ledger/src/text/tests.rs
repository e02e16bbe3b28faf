//! The whole text of typical and of hostile items, as it stands in `expected`.

use super::samples::*;
use super::*;
use crate::account::{Attempt, AttemptOutcome, Outcome};

/// A new expectation: run with `SHOW=1` and `--nocapture`, read what comes out, and write it there by hand.
fn check(story: &Story, head: &str, expected: &str) {
    let text = text(&story.account, story.now, head);
    if std::env::var_os("SHOW").is_some() {
        println!("{text}");
    }
    let longest = text.lines().map(|line| line.chars().count()).max();
    assert!(longest <= Some(WIDTH), "{longest:?} columns\n{text}");
    assert_eq!(text, expected, "\n{text}");
}

fn waiting() -> Story {
    Story::published(210 * US, 0, 900 * US)
        .due_after(0)
        .waits(3 * S, [3 * S, 0, 0])
}

#[test]
fn an_acknowledged_item_shows_each_stage() {
    let head = "item 4711 of queue demo: acknowledged 3.2 s ago by consumer c-1 (attempt 1 of 20)";
    check(&acked(), head, include_str!("expected/acked.txt"));
}

#[test]
fn attempts_say_what_came_of_them() {
    let head = "item 4711 of queue demo: acknowledged 3.2 s ago by consumer c-1 (attempt 3 of 20)";
    check(&third_time(), head, include_str!("expected/third_time.txt"));
}

#[test]
fn a_wait_that_goes_on_has_an_arrow() {
    let head = "item 4711 of queue demo: ready since 3 s, 0 before it: the queue is paused";
    check(&waiting(), head, include_str!("expected/waiting.txt"));
}

#[test]
fn a_back_off_that_goes_on_ends_now() {
    let mut story = third_time();
    story.account.attempts.truncate(2);
    story.account.end = None;
    story.now = story.last().end.as_ref().unwrap().durable;
    let story = story.due_after(2 * S).passes(500 * MS);
    check(
        &story,
        "item 4711 of queue demo: backs off",
        include_str!("expected/backing_off.txt"),
    );
}

#[test]
fn an_item_with_a_consumer_says_with_whom() {
    let story = waiting().leased_by("c-1").passes(1500 * MS);
    let head =
        "item 4711 of queue demo: with c-1 since 1.5 s (attempt 1); its lease lasts another 28.5 s";
    check(&story, head, include_str!("expected/leased.txt"));
}

#[test]
fn a_dead_letter_shows_why_it_was_given_up() {
    let rejected = (AttemptOutcome::Rejected, "no such order");
    let story = Story::published(210 * US, 0, 900 * US)
        .due_after(0)
        .waits(3 * MS, [0, 0, 0])
        .leased_by("c-1")
        .handled([100 * US, 0, 20 * MS], 0, [200 * US, MS], rejected)
        .over(Outcome::Dead);
    let head =
        "item 4711 of queue demo: given up 3 min ago after 1 attempt, rejected by its consumer";
    check(&story, head, include_str!("expected/dead.txt"));
}

#[test]
fn an_expired_item_shows_what_it_waited_for() {
    let story = Story::published(210 * US, 0, 900 * US)
        .due_after(10 * S)
        .waits(50 * S, [0, 45 * S, 0])
        .over(Outcome::Expired);
    let head = "item 4711 of queue demo: expired 1 min ago";
    check(&story, head, include_str!("expected/expired.txt"));
}

#[test]
fn what_spans_a_restart_is_about() {
    let mut story = Story::published(0, 0, 0)
        .due_after(0)
        .waits(90 * S, [0, 60 * S, 0])
        .leased_by("c-1")
        .handled(
            [100 * US, 0, 40 * S],
            40 * US,
            [200 * US, MS],
            (AttemptOutcome::Acked, ""),
        )
        .over(Outcome::Acked);
    story.account.created = None;
    story.account.durable = None;
    story.account.producer = None;
    story.account.restarted = Some(BEGIN + 60 * S);
    let head = "item 4711 of queue demo: acknowledged 3.2 s ago by consumer c-1 (attempt 1 of 20)";
    check(&story, head, include_str!("expected/restarted.txt"));
}

#[test]
fn an_item_without_stamps_begins_when_it_was_received() {
    let mut story = acked();
    story.account.created = None;
    story.account.context = None;
    story.last().handled = None;
    check(&story, "the head", include_str!("expected/no_stamps.txt"));
}

#[test]
fn a_redriven_item_names_both_traces() {
    let mut story = acked();
    story.account.before_redrive = story.account.context;
    story.account.context = story.account.context.map(|context| context.redriven(20));
    check(&story, "the head", include_str!("expected/redriven.txt"));
}

#[test]
fn what_others_wrote_stays_one_harmless_line() {
    let error = "\n\x1b]0;owned\x07\u{202e}bad ".repeat(50);
    let long = "too much to say ".repeat(64);
    let mut story = Story::published(0, 0, MS)
        .due_after(0)
        .waits(0, [0, 0, 0])
        .leased_by("evil\n\x1b[2J name that is much too long to be shown whole")
        .passes(MS)
        .ended(0, AttemptOutcome::Nacked, &error)
        .due_after(MS)
        .waits(0, [0, 0, 0])
        .leased_by("c-1")
        .passes(MS)
        .ended(0, AttemptOutcome::Rejected, &long)
        .over(Outcome::Dead);
    story.account.producer = party("p\u{0}\u{9b}31m", "");
    check(
        &story,
        "head\n\x1b[31m of\ttwo lines",
        include_str!("expected/hostile.txt"),
    );
}

fn failed(times: u32) -> Story {
    let mut story = Story::published(0, 0, MS);
    for _ in 0..times {
        story = story
            .due_after(S)
            .waits(MS, [0, 0, 0])
            .leased_by("c-1")
            .passes(10 * MS)
            .ended(0, AttemptOutcome::Nacked, "boom");
    }
    story.over(Outcome::Dead)
}

#[test]
fn of_a_hundred_attempts_the_middle_is_left_out() {
    check(
        &failed(100),
        "the head",
        include_str!("expected/hundred.txt"),
    );
}

#[test]
fn one_attempt_alone_is_never_left_out() {
    for (attempts, left_out) in [(11, false), (12, true)] {
        let story = failed(attempts);
        let text = text(&story.account, story.now, "");
        assert_eq!(text.contains("left out"), left_out, "{text}");
        assert!(!text.contains("remembered"), "{text}");
    }
}

#[test]
fn attempts_that_are_not_remembered_are_named() {
    let mut story = failed(100);
    story
        .account
        .attempts
        .retain(|it| it.number == 2 || it.number > 96);
    let text = text(&story.account, story.now, "");
    let gaps: Vec<_> = text
        .lines()
        .filter(|line| line.contains("remembered"))
        .collect();
    assert_eq!(
        gaps,
        [
            "      …  attempt 1 is not remembered",
            "      …  attempts 3 to 96 are not remembered"
        ]
    );
}

#[test]
fn an_item_of_which_nothing_is_known_has_no_waterfall() {
    let mut story = Story::published(0, 0, 0).over(Outcome::Cancelled);
    story.account.context = None;
    assert_eq!(
        text(&story.account, story.now, "gone"),
        "gone\nnothing was measured\ncreated 2026-11-22 19:04:11.123 UTC by p-1, total 0 µs\n"
    );
}

#[test]
fn a_restart_before_the_item_came_does_not_matter() {
    let mut story = acked();
    story.account.restarted = Some(BEGIN - 1);
    let text = text(&story.account, story.now, "");
    assert!(!text.contains('≈'), "{text}");
}

#[test]
fn a_wait_that_just_began_has_no_reasons() {
    let story = Story::published(0, 0, 0).due_after(0);
    let text = text(&story.account, story.now, "");
    assert!(
        text.ends_with("\n      1  queue       0 µs  0 µs  >\n"),
        "{text}"
    );
}

#[test]
fn an_attempt_that_took_no_time_still_says_what_came_of_it() {
    let story = Story::published(0, 0, MS)
        .due_after(0)
        .leased_by("c-1")
        .ended(0, AttemptOutcome::Nacked, "at once");
    let text = text(&story.account, story.now, "");
    assert!(
        text.contains("\n      1    nacked by c-1: at once\n"),
        "{text}"
    );
}

/// Whatever the numbers are: no panic, no line that is too long, the same text twice.
#[test]
fn times_that_make_no_sense_are_shown_without_harm() {
    let extremes = [0, 1, BEGIN, u64::MAX];
    for received in extremes {
        for leased in extremes {
            for now in extremes {
                let mut story = acked();
                story.account.received = received;
                let attempt: &mut Attempt = story.last();
                attempt.leased = Some(leased);
                story.account.restarted = Some(now);
                let once = text(&story.account, now, "");
                assert!(
                    once.lines().all(|line| line.chars().count() <= WIDTH),
                    "{once}"
                );
            }
        }
    }
}
