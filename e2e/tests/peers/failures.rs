//! Items that are tried again, given up, sent again, and that outlive a broker: each has one trace that says so.

use baton_client::QueueConfig;

use crate::attributes::Value;
use crate::item_trace::{ItemTrace, number, text};
use crate::scene::{CONSUMER, NO_LIMIT, PRODUCER, Scene};
use crate::spans::{Code, Span};
use crate::tree::Trace;

/// By payload: fails the first time, fails every time, cannot be helped.
const SCRIPT: &str = r#"
read item
case "$item" in
  later) [ "$BATON_ATTEMPT" -gt 1 ] || { echo "no flour" >&2; exit 1; } ;;
  never) echo "no oven" >&2; exit 1 ;;
  hopeless) exit 65 ;;
esac
"#;

fn twice() -> QueueConfig {
    QueueConfig {
        max_attempts: 2,
        ..QueueConfig::default()
    }
}

/// An error says which.
fn error(span: &Span) -> Option<&str> {
    let failed = span.status.code == Code::Error;
    failed.then(|| text(span, "error.type"))
}

fn by_id(traces: &[Trace]) -> Vec<ItemTrace<'_>> {
    let mut items: Vec<_> = traces.iter().map(ItemTrace::only).collect();
    items.sort_by_key(ItemTrace::id);
    items
}

const RETRIED: &str = "create store queue deliver(process nack) settle queue";

#[tokio::test]
async fn each_attempt_has_spans_of_its_own() {
    let scene = Scene::with(&NO_LIMIT).await;
    scene.queue("jobs", twice()).await;
    scene.send("jobs", "later\nnever\nhopeless\n").await;
    scene.work_off("jobs", SCRIPT).await;
    let traces = scene.traces(3, 13 + 14 + 9).await;
    let items = by_id(&traces);
    for item in &items {
        item.check();
        assert_eq!(item.trace.roots_but_one(), Vec::<String>::new());
        assert_eq!(
            (item.find("create").service(), item.sampled_by()),
            (PRODUCER, "head")
        );
    }
    let shapes = [
        format!("{RETRIED} deliver(process ack) settle"),
        format!("{RETRIED} deliver(process nack) settle dead-letter"),
        "create store queue deliver(process nack) settle dead-letter".to_owned(),
    ];
    assert_eq!(
        items.iter().map(ItemTrace::shape).collect::<Vec<_>>(),
        shapes
    );
    let outcomes: Vec<_> = items
        .iter()
        .map(|item| (item.outcome(), error(item.item)))
        .collect();
    let dead = ("dead", Some("dead"));
    assert_eq!(outcomes, [("acked", None), dead, dead]);
    let attempts = items
        .iter()
        .map(|item| number(item.item, "messaging.baton.attempts"));
    assert_eq!(attempts.collect::<Vec<_>>(), [2.0, 2.0, 1.0]);
}

#[tokio::test]
async fn a_delay_is_told_apart_from_a_wait() {
    let scene = Scene::with(&NO_LIMIT).await;
    scene.queue("jobs", QueueConfig::default()).await;
    let delayed: (_, &[_]) = ("jobs", &["--delay", "300ms"]);
    scene.send_in(&[], delayed, "bread\n").await;
    scene.work_off("jobs", "true").await;
    let traces = scene.traces(1, 9).await;
    let item = ItemTrace::only(&traces[0]);
    item.check();
    let shape = "create store scheduled queue deliver(process ack) settle";
    assert_eq!(item.shape(), shape);
    assert!(item.stage_ms("scheduled") > item.stage_ms("queue"));
}

#[tokio::test]
async fn a_failure_is_told_where_it_was() {
    let scene = Scene::with(&NO_LIMIT).await;
    scene.queue("jobs", twice()).await;
    scene.send("jobs", "later\nnever\nhopeless\n").await;
    scene.work_off("jobs", SCRIPT).await;
    let traces = scene.traces(3, 13 + 14 + 9).await;
    let items = by_id(&traces);
    let delivered = |item: &ItemTrace<'_>| {
        let delivers = item.of("deliver");
        let told = delivers.iter().map(|span| {
            (
                error(span).unwrap_or_default().to_owned(),
                span.status.message.clone(),
            )
        });
        told.collect::<Vec<_>>()
    };
    let told = |error: &str, message: &str| (error.to_owned(), message.to_owned());
    assert_eq!(
        delivered(&items[0]),
        [
            told("nacked", "nacked: exit status 1: no flour"),
            told("", "")
        ]
    );
    assert_eq!(
        delivered(&items[1]),
        vec![told("nacked", "nacked: exit status 1: no oven"); 2]
    );
    assert_eq!(delivered(&items[2])[0].0, "rejected");
    let reasons =
        [&items[1], &items[2]].map(|item| text(item.find("dead-letter"), "messaging.baton.reason"));
    assert_eq!(reasons, ["nacked", "rejected"]);
    for item in &items {
        let process = item.of("process");
        let failed = |span: &&Span| error(span).is_some();
        let nacks = item.of("nack").len();
        assert_eq!(
            process.iter().copied().filter(failed).count(),
            nacks,
            "{process:#?}"
        );
        let attempts = item.of("deliver").into_iter().chain(process);
        for span in attempts {
            assert_eq!(span.links.len(), usize::from(span.service() == CONSUMER));
        }
    }
}

#[tokio::test]
async fn a_redriven_item_has_a_trace_of_its_own_that_links_the_one_before() {
    let scene = Scene::with(&NO_LIMIT).await;
    let queue = scene.queue("jobs", twice()).await;
    scene.send("jobs", "hopeless\n").await;
    scene.work_off("jobs", SCRIPT).await;
    assert_eq!(queue.redrive_oldest(0).await.unwrap(), 1);
    scene.work_off("jobs", "true").await;
    let traces = scene.traces(2, 9 + 6).await;
    let [before, after] = [&traces[0], &traces[1]].map(ItemTrace::only);
    assert_eq!(traces.len(), 2);
    for item in [before, after] {
        item.check();
        assert_eq!(item.trace.roots_but_one(), Vec::<String>::new());
    }
    assert_eq!(before.id(), after.id());
    assert_eq!(after.shape(), "queue deliver(process ack) settle");
    assert_eq!(after.find("process").service(), CONSUMER);
    let link = &after.item.links[0];
    assert_eq!(
        (&link.trace_id, &link.span_id),
        (&before.trace.id, &before.item.span_id)
    );
    let created = &after.find("process").links[0];
    let create = before.find("create");
    assert_eq!(
        (&created.trace_id, &created.span_id),
        (&create.trace_id, &create.span_id)
    );
    assert_eq!((after.outcome(), after.sampled_by()), ("acked", "head"));
    assert_eq!(after.item.parent, None);
}

#[tokio::test]
async fn an_item_that_outlives_a_broker_has_one_trace_from_its_beginning() {
    let scene = Scene::with(&NO_LIMIT).await;
    scene.queue("jobs", QueueConfig::default()).await;
    scene.send("jobs", "bread\n").await;
    let scene = scene.restart().await;
    scene.work_off("jobs", "true").await;
    let traces = scene.traces(1, 7).await;
    assert_eq!(traces.len(), 1);
    let item = ItemTrace::only(&traces[0]);
    item.check();
    let approximate = item
        .item
        .attributes
        .get("messaging.baton.clock.approximate");
    assert_eq!(approximate, Some(&Value::Bool(true)));
    assert!(
        item.stage_ms("publish") > 0.0,
        "it begins where it was made"
    );
    assert_eq!(item.shape(), "create queue deliver(process ack) settle");
}
