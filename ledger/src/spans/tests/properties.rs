//! What holds of the spans of any account.

use std::collections::HashSet;

use baton_telemetry::names;
use baton_telemetry::stage::Stage;
use baton_telemetry::trace_context::ItemSpan;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use proptest::collection::vec;
use proptest::prelude::*;

use super::arbitrary::accounts;
use super::seen::{Seen, seen};
use crate::account::{Account, AttemptOutcome, Outcome};
use crate::spans::count;

const SYNTHESIZED: [&str; 4] = ["create", "process", "ack", "nack"];

fn children<'a>(all: &'a [Seen], parent: &Seen) -> Vec<&'a Seen> {
    let mut children: Vec<_> = all
        .iter()
        .filter(|one| one.span.parent_span_id == parent.span.span_id)
        .collect();
    children.sort_by_key(|one| (one.start_us(), one.end_us()));
    children
}

fn check_tree(account: &Account, all: &[Seen]) {
    let context = account.context.unwrap();
    let ids: HashSet<_> = all.iter().map(|one| one.span.span_id.clone()).collect();
    assert_eq!(ids.len(), all.len(), "an id of its own each");
    let item = &all[0];
    assert_eq!(item.span.span_id, context.item.bytes());
    let parent = context.parent.filter(|_| context.sampled);
    let parent = parent.map_or_else(Vec::new, |id| id.bytes().to_vec());
    assert_eq!(item.span.parent_span_id, parent);
    for one in all {
        assert_eq!(one.span.trace_id, context.trace_id.bytes());
        // Sampled; whether the parent is another process's is known.
        let of_others = one.service.is_some() || one.span.span_id == item.span.span_id;
        let is_remote = of_others && !one.span.parent_span_id.is_empty();
        assert_eq!(one.span.flags, if is_remote { 0x301 } else { 0x101 });
        assert!(one.span.start_time_unix_nano <= one.span.end_time_unix_nano);
        assert_eq!(one.span.start_time_unix_nano % 1000, 0);
        assert_eq!(one.span.end_time_unix_nano % 1000, 0);
    }
    for one in &all[1..] {
        let parent = all
            .iter()
            .find(|it| it.span.span_id == one.span.parent_span_id);
        let parent = parent.expect("one root");
        assert!(parent.start_us() <= one.start_us() && one.end_us() <= parent.end_us());
        let expected = match one.operation() {
            "process" | "ack" | "nack" => "deliver",
            _ => "item",
        };
        assert_eq!(parent.operation(), expected);
    }
}

/// Each begins right after the one before; only `create` lasts as long as `store`.
fn check_siblings(account: &Account, all: &[Seen]) {
    for parent in all {
        let has_store = all.iter().any(|one| one.operation() == "store");
        let mut siblings = children(all, parent);
        siblings.retain(|one| !(has_store && one.operation() == "create"));
        for pair in siblings.windows(2) {
            assert_eq!(pair[0].end_us() + 1, pair[1].start_us(), "{pair:#?}");
        }
    }
    let item = &all[0];
    assert_eq!(item.start_us(), account.begin() / 1000);
    let moved = item.end_us() - account.end.unwrap().at / 1000;
    assert!(moved < all.len() as u64, "moved by {moved} µs");
    if let Some(create) = all.iter().find(|one| one.operation() == "create") {
        let store = all.iter().find(|one| one.operation() == "store");
        assert!(store.is_none_or(|store| store.end_us() == create.end_us()));
        assert_eq!(create.start_us(), item.start_us());
    }
}

fn kind_of(operation: &str) -> SpanKind {
    match operation {
        "store" | "settle" => SpanKind::Server,
        "deliver" | "ack" | "nack" => SpanKind::Client,
        "create" => SpanKind::Producer,
        "process" => SpanKind::Consumer,
        "item" | "scheduled" | "queue" | "dead-letter" | "expire" => SpanKind::Internal,
        other => panic!("{other}"),
    }
}

/// Whose part a span was, and what a wait was spent on.
fn check_parties_and_waits(account: &Account, one: &Seen) {
    let operation = one.operation();
    let attempt = one.number("messaging.baton.attempt");
    let attempt = account
        .attempts
        .iter()
        .find(|it| Some(f64::from(it.number)) == attempt);
    let client = match operation {
        "item" | "create" | "store" => account.producer.as_ref(),
        "deliver" | "settle" | "process" | "ack" | "nack" => {
            attempt.and_then(|attempt| attempt.consumer.as_ref())
        }
        _ => None,
    };
    let client = client.map(|client| client.client_id.as_ref());
    assert_eq!(one.text("messaging.client.id"), client);
    if let ("queue", Some(attempt)) = (operation, attempt) {
        let shares = ["paused", "no_consumer", "no_credit", "backlog"];
        let share = |it: &&str| one.number(&format!("messaging.baton.wait.{it}_ms"));
        let sum: f64 = shares.iter().filter_map(share).sum();
        let over = account.end.unwrap().at;
        let end = attempt.leased.unwrap_or(over);
        let wait = (end - attempt.ready) as f64 / 1e6;
        assert!((sum - wait).abs() <= wait * 1e-9 + 1e-6, "{sum} {wait}");
    }
}

fn check_attributes(account: &Account, all: &[Seen]) {
    for one in all {
        let operation = one.operation();
        assert_eq!(one.span.name, format!("{operation} demo"));
        assert_eq!(one.span.kind(), kind_of(operation));
        assert_eq!(one.text("messaging.system"), Some("baton"));
        assert_eq!(one.text("messaging.destination.name"), Some("demo"));
        assert_eq!(one.text("messaging.operation.name"), Some(operation));
        assert_eq!(one.text("messaging.message.id"), Some("4711"));
        assert_eq!(one.text("server.address"), Some("queue.example"));
        assert_eq!(one.number("server.port"), Some(7480.0));
        let keys: HashSet<_> = one.span.attributes.iter().map(|it| &it.key).collect();
        assert_eq!(keys.len(), one.span.attributes.len(), "each key once");
        let is_clients = SYNTHESIZED.contains(&operation);
        assert_eq!(one.service.is_some(), is_clients);
        assert_eq!(
            one.number("messaging.baton.synthesized").is_some(),
            is_clients
        );
        assert_eq!(one.text("messaging.operation.type").is_some(), is_clients);
        let of_attempt = !["item", "create", "store", "dead-letter", "expire"].contains(&operation);
        assert_eq!(one.number("messaging.baton.attempt").is_some(), of_attempt);
        check_parties_and_waits(account, one);
        let is_error = one.status().0 == StatusCode::Error;
        assert_eq!(one.text("error.type").is_some(), is_error);
        if matches!(operation, "item" | "deliver") {
            assert_eq!(
                is_error,
                one.text("messaging.baton.outcome") != Some("acked")
            );
        }
    }
    let item = &all[0];
    let ms = |stage| item.number(names::stage_ms(stage)).unwrap();
    let parts: f64 = Stage::ALL
        .into_iter()
        .filter(|it| it.is_part())
        .map(ms)
        .sum();
    let total = ms(Stage::Total);
    assert!(
        (parts - total).abs() <= total * 1e-9 + 1e-6,
        "{parts} {total}"
    );
    let leased = account.attempts.iter().filter(|it| it.leased.is_some());
    let leased = leased.count() as f64;
    assert_eq!(item.number("messaging.baton.attempts"), Some(leased));
    let outcome = account.end.unwrap().outcome.name();
    assert_eq!(item.text("messaging.baton.outcome"), Some(outcome));
    assert_eq!(item.text("messaging.baton.sampled_by"), Some("slow"));
}

/// How many spans of which name there have to be.
fn check_numbers(account: &Account, all: &[Seen]) {
    let count = |operation: &str| all.iter().filter(|it| it.operation() == operation).count();
    let attempts = |is: &dyn Fn(&crate::account::Attempt) -> bool| {
        account.attempts.iter().filter(|it| is(it)).count()
    };
    let synthesized = !account.context.unwrap().sampled;
    let outcome = account.end.unwrap().outcome;
    let settled = |attempt: &crate::account::Attempt| {
        use AttemptOutcome::{Acked, Nacked, Rejected};
        let end = attempt.end.as_ref();
        end.is_some_and(|end| matches!(end.outcome, Acked | Nacked | Rejected))
    };
    let created = account.created.is_some() && account.before_redrive.is_none();
    assert_eq!(count("item"), 1);
    assert_eq!(count("create"), usize::from(created && synthesized));
    assert_eq!(count("store"), usize::from(account.durable.is_some()));
    assert_eq!(count("scheduled"), attempts(&|it| it.ready > it.since));
    let queued = attempts(&|it| it.leased.is_some() || account.end.unwrap().at > it.ready);
    assert_eq!(count("queue"), queued);
    assert_eq!(count("deliver"), attempts(&|it| it.leased.is_some()));
    assert_eq!(count("settle"), attempts(&settled));
    let handled = attempts(&|it| it.handled.is_some() && synthesized);
    assert_eq!(count("process"), handled);
    assert_eq!(count("ack") + count("nack"), handled);
    let acked = outcome == Outcome::Acked && account.attempts.last().unwrap().handled.is_some();
    assert_eq!(count("ack"), usize::from(acked && synthesized));
    let dead = matches!(outcome, Outcome::Dead | Outcome::Discarded);
    assert_eq!(count("dead-letter"), usize::from(dead));
    assert_eq!(count("expire"), usize::from(outcome == Outcome::Expired));
}

fn check_links(account: &Account, all: &[Seen]) {
    let context = account.context.unwrap();
    let create = all.iter().find(|one| one.operation() == "create");
    if let Some(create) = create {
        let made_up = context.span(ItemSpan::Create, 0);
        let id = context.creation.unwrap_or(made_up).bytes();
        assert_eq!(create.span.span_id, id);
    }
    for one in all {
        let links: Vec<_> = one.span.links.iter().collect();
        match one.operation() {
            "item" => assert_eq!(links.len(), usize::from(account.before_redrive.is_some())),
            "store" | "process" | "ack" | "nack" => {
                let foreign = context.parent.filter(|_| context.sampled);
                let sent = context.creation.or(foreign).map(|id| id.bytes().to_vec());
                let creation = sent.or_else(|| create.map(|it| it.span.span_id.clone()));
                let linked = links.first().map(|link| link.span_id.clone());
                assert_eq!(linked, creation);
                assert!(
                    links
                        .iter()
                        .all(|it| it.trace_id == context.trace_id.bytes())
                );
            }
            _ => assert_eq!(links, [] as [&_; 0]),
        }
    }
}

/// Where no time of an account has to do with another.
fn with_times(mut account: Account, mut next: impl FnMut() -> u64) -> Account {
    account.created = account.created.map(|(_, error)| (next(), error));
    account.received = next();
    account.durable = account.durable.map(|_| next());
    for attempt in &mut account.attempts {
        (attempt.since, attempt.ready) = (next(), next());
        attempt.leased = attempt.leased.map(|_| next());
        if let Some(handled) = &mut attempt.handled {
            (handled.received, handled.started, handled.ended) = (next(), next(), next());
        }
        if let Some(end) = &mut attempt.end {
            (end.at, end.durable) = (next(), next());
        }
    }
    if let Some(end) = &mut account.end {
        end.at = next();
    }
    account
}

fn check_order(all: &[Seen]) {
    for parent in all {
        let mut siblings = children(all, parent);
        siblings.retain(|one| one.operation() != "create");
        assert!(siblings.is_sorted_by(|one, next| one.end_us() < next.start_us()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_account_makes_a_sound_tree(account in accounts()) {
        let all = seen(&account);
        check_tree(&account, &all);
        check_siblings(&account, &all);
        check_attributes(&account, &all);
        check_numbers(&account, &all);
        check_links(&account, &all);
        prop_assert_eq!(count(&account), all.len() as u64);
        prop_assert_eq!(seen(&account), all, "twice the same");
    }

    #[test]
    fn order_and_nesting_hold_even_of_times_that_make_no_sense(
        account in accounts(),
        times in vec(prop_oneof![0_u64..5_000, 0_u64..1 << 58], 50),
    ) {
        let mut times = times.into_iter();
        let account = with_times(account, || times.next().unwrap());
        let all = seen(&account);
        check_tree(&account, &all);
        check_order(&all);
    }
}
