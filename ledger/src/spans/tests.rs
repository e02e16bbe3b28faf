//! The spans of told and of random accounts, read by OpenTelemetry's own messages.

mod arbitrary;
mod critical_path;
mod properties;
mod seen;

use baton_telemetry::trace_context::ItemContext;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use super::*;
use crate::account::Outcome;
use crate::text::samples::*;
use seen::{Seen, seen, seen_in_file};

const ACKED: (AttemptOutcome, &str) = (AttemptOutcome::Acked, "");

fn unsampled(mut story: Story) -> Account {
    story.account.context = Some(context(false));
    story.account
}

/// A line per span: service, name, kind, parent, microseconds since the beginning.
fn outline(account: &Account) -> Vec<String> {
    outline_of(account, &seen(account))
}

fn outline_of(account: &Account, all: &[Seen]) -> Vec<String> {
    let begin = account.begin() / US;
    let parent = |one: &Seen| {
        let parent = all
            .iter()
            .find(|it| it.span.span_id == one.span.parent_span_id);
        parent.map_or_else(|| "-".to_owned(), |parent| parent.operation().to_owned())
    };
    let line = |one: &Seen| {
        let service = one.service.as_deref().unwrap_or("broker");
        let (name, kind) = (&one.span.name, one.span.kind().as_str_name());
        let kind = kind.trim_start_matches("SPAN_KIND_");
        let (start, end) = (one.start_us() - begin, one.end_us() - begin);
        format!("{service} {name} {kind} of {} {start}..{end}", parent(one))
    };
    all.iter().map(line).collect()
}

#[test]
fn a_sampled_item_gets_the_brokers_spans_alone() {
    assert_eq!(
        outline(&acked().account),
        [
            "broker item demo INTERNAL of - 0..1222210",
            "broker store demo SERVER of item 210..1109",
            "broker queue demo INTERNAL of item 1110..1201109",
            "broker deliver demo CLIENT of item 1201110..1221409",
            "broker settle demo SERVER of item 1221410..1222210",
        ]
    );
}

#[test]
fn a_file_has_the_whole_tree_whoever_exports_which_part_of_it() {
    let whole = outline(&unsampled(third_time()));
    let ids = |all: &[Seen]| {
        all.iter()
            .map(|it| it.span.span_id.clone())
            .collect::<Vec<_>>()
    };
    let mut sampled = third_time().account;
    assert!(sampled.context.is_some_and(|context| context.sampled));
    let own = seen_in_file(&sampled);
    assert_eq!(outline_of(&sampled, &own), whole);
    let exported = ids(&seen(&sampled));
    assert_eq!(ids(&own)[..exported.len()], exported, "the same spans");

    // Of a producer that knows nothing of Baton: the parent of its item is not in the file.
    let foreign = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    sampled.context = ItemContext::read(foreign, "", "demo", 1);
    let none = Account {
        context: None,
        ..sampled.clone()
    };
    for account in [sampled, none] {
        let all = seen_in_file(&account);
        assert_eq!(outline_of(&account, &all), whole);
        for one in &all {
            let parent = &one.span.parent_span_id;
            let is_root = one.operation() == "item";
            assert_eq!(parent.is_empty(), is_root, "{one:?}");
            assert!(is_root || ids(&all).contains(parent), "{one:?}");
            assert_eq!(one.text("messaging.baton.sampled_by"), None);
        }
    }
}

#[test]
fn an_unsampled_item_gets_its_clients_spans_too() {
    assert_eq!(
        outline(&unsampled(acked())),
        [
            "broker item demo INTERNAL of - 0..1222210",
            "broker store demo SERVER of item 210..1109",
            "broker queue demo INTERNAL of item 1110..1201109",
            "broker deliver demo CLIENT of item 1201110..1221409",
            "broker settle demo SERVER of item 1221410..1222210",
            "shop create demo PRODUCER of item 0..1109",
            "worker process demo CONSUMER of deliver 1201210..1221209",
            "worker ack demo CLIENT of deliver 1221210..1221409",
        ]
    );
}

#[test]
fn each_attempt_has_its_own_spans() {
    assert_eq!(
        outline(&unsampled(third_time())),
        [
            "broker item demo INTERNAL of - 0..3954960",
            "broker store demo SERVER of item 210..1109",
            "broker queue demo INTERNAL of item 1110..4109",
            "broker deliver demo CLIENT of item 4110..24409",
            "broker settle demo SERVER of item 24410..25409",
            "broker scheduled demo INTERNAL of item 25410..1025409",
            "broker queue demo INTERNAL of item 1025410..1025659",
            "broker deliver demo CLIENT of item 1025660..1526659",
            "broker scheduled demo INTERNAL of item 1526660..3526659",
            "broker queue demo INTERNAL of item 3526660..3926659",
            "broker deliver demo CLIENT of item 3926660..3953959",
            "broker settle demo SERVER of item 3953960..3954960",
            "shop create demo PRODUCER of item 0..1109",
            "worker process demo CONSUMER of deliver 4210..24209",
            "worker nack demo CLIENT of deliver 24210..24409",
            "worker process demo CONSUMER of deliver 3928760..3953759",
            "worker ack demo CLIENT of deliver 3953760..3953959",
        ]
    );
}

#[test]
fn stages_of_nanoseconds_take_a_microsecond_each() {
    let story = Story::published(0, 0, 100)
        .due_after(0)
        .waits(0, [0; 3])
        .leased_by("c-1")
        .handled([0, 100, 0], 0, [100, 100], ACKED)
        .over(Outcome::Acked);
    assert_eq!(
        outline(&unsampled(story)),
        [
            "broker item demo INTERNAL of - 0..4",
            "broker store demo SERVER of item 0..0",
            "broker queue demo INTERNAL of item 1..1",
            "broker deliver demo CLIENT of item 2..3",
            "broker settle demo SERVER of item 4..4",
            "shop create demo PRODUCER of item 0..0",
            "worker process demo CONSUMER of deliver 2..2",
            "worker ack demo CLIENT of deliver 3..3",
        ]
    );
}

#[test]
fn a_handler_that_claims_to_have_ended_after_its_settle_is_held_to_it() {
    let mut story = acked();
    let handled = story.last().handled.as_mut().unwrap();
    handled.started += S;
    handled.ended += 10 * S;
    assert_eq!(
        outline(&unsampled(story))[3..],
        [
            "broker deliver demo CLIENT of item 1201110..1221411",
            "broker settle demo SERVER of item 1221412..1222210",
            "shop create demo PRODUCER of item 0..1109",
            "worker process demo CONSUMER of deliver 1221410..1221410",
            "worker ack demo CLIENT of deliver 1221411..1221411",
        ]
    );
}

#[test]
fn what_ends_an_item_without_a_consumer_has_a_span() {
    let waiting = |delay, wait| {
        let story = Story::published(0, 0, 10 * US).due_after(delay);
        story.waits(wait, [0; 3])
    };
    let expired = waiting(0, MS).over(Outcome::Expired);
    assert_eq!(
        outline(&expired.account)[2..],
        [
            "broker queue demo INTERNAL of item 10..1009",
            "broker expire demo INTERNAL of item 1010..1010"
        ]
    );
    // Before it was due.
    let mut cancelled = waiting(2 * MS, 0);
    cancelled.now -= MS;
    assert_eq!(
        outline(&cancelled.over(Outcome::Cancelled).account)[2..],
        ["broker scheduled demo INTERNAL of item 10..1010"]
    );
}

#[test]
fn a_dead_letter_says_why_and_how_long_it_lay_there() {
    let rejected = (AttemptOutcome::Rejected, "no\x1b such order\nmore");
    let dead = || {
        let story = Story::published(0, 0, 10 * US)
            .due_after(0)
            .waits(MS, [0; 3]);
        story
            .leased_by("c-1")
            .handled([0, 0, MS], 0, [MS, MS], rejected)
    };
    let all = seen(&dead().over(Outcome::Dead).account);
    let last = all.last().unwrap();
    assert_eq!(
        (last.operation(), last.end_us() - last.start_us()),
        ("dead-letter", 0)
    );
    assert_eq!(last.text("messaging.baton.reason"), Some("rejected"));
    let deliver = all.iter().find(|it| it.operation() == "deliver").unwrap();
    assert_eq!(
        deliver.status(),
        (StatusCode::Error, "rejected: no\\u{1b} such order …")
    );
    assert_eq!(deliver.text("error.type"), Some("rejected"));
    assert_eq!(all[0].status(), (StatusCode::Error, "dead"));
    assert_eq!(all[0].text("error.type"), Some("dead"));

    let discarded = dead().passes(S).over(Outcome::Discarded);
    let all = seen(&discarded.account);
    let last = all.last().unwrap();
    assert_eq!(
        (last.operation(), last.end_us() - last.start_us()),
        ("dead-letter", 1_000_000)
    );
}

#[test]
fn an_acknowledged_item_is_no_error() {
    let all = seen(&unsampled(acked()));
    for one in &all {
        assert_eq!(one.status(), (StatusCode::Unset, ""), "{}", one.span.name);
        assert_eq!(one.text("error.type"), None);
    }
    let failed = seen(&unsampled(third_time()));
    let errors: Vec<_> = failed
        .iter()
        .filter(|one| one.status().0 == StatusCode::Error)
        .map(|one| {
            (
                one.operation(),
                one.status().1,
                one.text("error.type").unwrap(),
            )
        })
        .collect();
    let expected = [
        ("deliver", "nacked: boom …", "nacked"),
        ("deliver", "lease_expired", "lease_expired"),
        ("process", "nacked: boom …", "nacked"),
    ];
    assert_eq!(errors, expected);
}

#[test]
fn a_wait_says_what_it_was_spent_on() {
    let all = seen(&third_time().account);
    let queues: Vec<_> = all.iter().filter(|it| it.operation() == "queue").collect();
    let wait = |one: &Seen, of: &str| one.number(&format!("messaging.baton.wait.{of}_ms"));
    let last = queues[2];
    assert_eq!(last.text("messaging.baton.wait_reason"), Some("paused"));
    let shares = ["paused", "no_consumer", "no_credit", "backlog"].map(|it| wait(last, it));
    assert_eq!(shares, [Some(300.0), Some(90.0), Some(0.0), Some(10.0)]);
    let first = queues[0];
    assert_eq!(first.text("messaging.baton.wait_reason"), Some("backlog"));
    assert_eq!(wait(first, "backlog"), Some(3.0));
}

#[test]
fn the_item_has_it_all() {
    let mut account = acked().account;
    account.restarted = Some(BEGIN + 1);
    let all = seen(&account);
    let item = &all[0];
    assert_eq!(item.text("messaging.system"), Some("baton"));
    assert_eq!(item.text("messaging.destination.name"), Some("demo"));
    assert_eq!(item.text("messaging.operation.name"), Some("item"));
    assert_eq!(item.text("messaging.message.id"), Some("4711"));
    assert_eq!(item.text("messaging.client.id"), Some("p-1"));
    assert_eq!(item.text("server.address"), Some("queue.example"));
    assert_eq!(item.number("server.port"), Some(7480.0));
    assert_eq!(item.text("messaging.baton.outcome"), Some("acked"));
    assert_eq!(item.number("messaging.baton.attempts"), Some(1.0));
    assert_eq!(item.number("messaging.baton.clock.error_us"), Some(40.0));
    assert_eq!(item.number("messaging.baton.clock.approximate"), Some(1.0));
    assert_eq!(item.text("messaging.baton.sampled_by"), Some("slow"));
    assert_eq!(item.number("messaging.baton.stage.queue_ms"), Some(1200.0));
    assert_eq!(
        item.number("messaging.baton.stage.no_worker_ms"),
        Some(1100.0)
    );
    assert_eq!(item.number("messaging.baton.stage.total_ms"), Some(1222.21));
    account.created = Some((BEGIN, 41_001));
    let worse = &seen(&account)[0];
    assert_eq!(worse.number("messaging.baton.clock.error_us"), Some(42.0));
    let store = &all[1];
    let event = &store.span.events[0];
    assert_eq!(
        (event.name.as_str(), event.time_unix_nano / US),
        ("durable", store.end_us())
    );
}

#[test]
fn a_client_without_a_name_is_an_unknown_service() {
    let mut account = unsampled(acked());
    account.producer = None;
    account.attempts[0].consumer = party("c-1", "");
    let all = seen(&account);
    let services: Vec<_> = all
        .iter()
        .filter_map(|one| one.service.as_deref())
        .collect();
    assert_eq!(services, ["unknown_service"; 3]);
    let spans = spans(&account, Kept::Slow, &seen::identity());
    assert_eq!(spans.len(), 2, "each service once");
}

#[test]
fn a_parent_is_named_only_where_it_is_recorded() {
    let sent = |flags: &str, state: &str| {
        let parent = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
        let mut account = acked().account;
        account.context = ItemContext::read(&parent, state, "demo", 4711);
        let all = seen(&account);
        let link = all[1].span.links.first().map(|link| link.span_id[0]);
        (all[0].span.parent_span_id.first().copied(), link)
    };
    let ours = "baton=00000000000000aa-cc000000000000cc";
    assert_eq!(sent("01", ours), (Some(0xcc), Some(0xb7)));
    assert_eq!(sent("00", ours), (None, Some(0xb7)));
    assert_eq!(sent("01", ""), (Some(0xb7), Some(0xb7)));
    assert_eq!(sent("00", ""), (None, Some(0xb7)));
}

#[test]
fn a_redriven_item_links_the_trace_before() {
    let mut story = acked();
    story.account.before_redrive = Some(context(false));
    let account = Account {
        context: Some(context(false).redriven(20)),
        ..story.account
    };
    let all = seen(&account);
    let link = &all[0].span.links[0];
    assert_eq!(link.trace_id, context(false).trace_id.bytes());
    assert_eq!(link.span_id, context(false).item.bytes());
    assert!(all.iter().all(|one| one.operation() != "create"));
}

#[test]
fn without_an_end_or_a_context_there_are_no_spans() {
    let mut account = acked().account;
    account.end = None;
    assert_eq!(spans(&account, Kept::Head, &seen::identity()), []);
    let mut account = acked().account;
    account.context = None;
    assert_eq!(spans(&account, Kept::Head, &seen::identity()), []);
}

#[test]
fn each_reason_to_keep_has_a_name_of_its_own() {
    use Kept::*;
    let names = [Head, Error, Retry, DeadLetter, Slow, TopK, Baseline].map(Kept::name);
    let expected = [
        "head",
        "error",
        "retry",
        "dead_letter",
        "slow",
        "top_k",
        "baseline",
    ];
    assert_eq!(names, expected);
}
