//! Which items get a trace when nobody asked for any, and how many when everybody does.

use std::collections::BTreeMap;
use std::time::Instant;

use baton_client::QueueConfig;

use crate::item_trace::{BROKER, ItemTrace, is_synthesized, operation, text};
use crate::scene::{CONSUMER, HEAD_KEPT, HEAD_REFUSED, NO_LIMIT, PRODUCER, Scene, UNTRACED};
use crate::tree::Trace;

const SCRIPT: &str = r#"
read item
case "$item" in
  later) [ "$BATON_ATTEMPT" -gt 1 ] ;;
  never) exit 1 ;;
  hopeless) exit 65 ;;
esac
"#;

/// Longer than anything takes here that is not delayed.
const SLOW: [&str; 4] = ["--trace-slow", "5s", "--trace-baseline", "50"];

/// The slowest of a minute come when a minute ends, which may be any time.
fn is_of_the_slowest(trace: &Trace) -> bool {
    ItemTrace::only(trace).sampled_by() == "top_k"
}

#[tokio::test]
async fn the_broker_keeps_what_failed_what_was_slow_and_a_few_to_compare_with() {
    let scene = Scene::with(&[&NO_LIMIT[..], &SLOW].concat()).await;
    let twice = QueueConfig {
        max_attempts: 2,
        ..QueueConfig::default()
    };
    scene.queue("jobs", twice).await;
    scene.queue("plain", QueueConfig::default()).await;
    let send = async |queue: &str, arguments: &[&str], lines: &str| {
        scene.send_in(&UNTRACED, (queue, arguments), lines).await;
    };
    send("late", &[], "cake\n").await;
    // Nobody calls that slow: it is worked off as soon as it is due.
    send("asked", &["--delay", "6s"], "wine\n").await;
    send("stale", &["--ttl", "10ms"], "fish\n").await;
    send("jobs", &[], "later\nnever\nhopeless\n").await;
    send("plain", &[], &"bread\n".repeat(100)).await;
    let print = ["plain", "print", "--until-drained"];
    scene.consumer(CONSUMER, &print).finish().await.ok();
    scene.work_off("jobs", SCRIPT).await;
    scene.work_off("asked", "true").await;
    scene.work_off("late", "true").await;
    let of_spans = [2 * 8, 13, 14, 9, 8, 5].iter().sum();
    let mut traces = scene.traces(7, of_spans).await;
    traces.retain(|trace| !is_of_the_slowest(trace));
    let mut found = BTreeMap::new();
    for trace in &traces {
        let item = ItemTrace::only(trace);
        item.check();
        check_names(&item);
        let queue = text(item.item, "messaging.destination.name");
        let why = (queue, item.sampled_by(), item.outcome());
        *found.entry(why).or_insert(0) += 1;
    }
    let expected = BTreeMap::from([
        (("jobs", "dead_letter", "dead"), 2),
        (("jobs", "retry", "acked"), 1),
        (("late", "slow", "acked"), 1),
        (("plain", "baseline", "acked"), 2),
        (("stale", "error", "expired"), 1),
    ]);
    assert_eq!(found, expected);
}

/// All of it is the broker's word, under the names of those who did it.
fn check_names(item: &ItemTrace<'_>) {
    for span in item.spans() {
        let service = match operation(span) {
            "create" => PRODUCER,
            "process" | "ack" | "nack" => CONSUMER,
            _ => BROKER,
        };
        assert_eq!(span.service(), service, "{span:#?}");
        assert_eq!(is_synthesized(span), service != BROKER, "{span:#?}");
    }
}

#[tokio::test]
async fn no_more_traces_leave_than_may_whoever_asked_for_them() {
    let scene = Scene::with(&["--trace-limit", "5"]).await;
    scene.send("plain", &"bread\n".repeat(500)).await;
    let began = Instant::now();
    let print = ["plain", "print", "--until-drained"];
    scene.consumer(CONSUMER, &print).finish().await.ok();
    let seconds = began.elapsed().as_secs() + 1;
    let kept = scene.metric(HEAD_KEPT).await;
    let refused = scene.metric(HEAD_REFUSED).await;
    assert!(
        kept >= 3.0 && kept <= 5.0 * (1 + seconds) as f64,
        "{kept} in {seconds} s"
    );
    assert_eq!(kept + refused, 500.0);
    let items = |spans: &[crate::spans::Span]| {
        spans
            .iter()
            .filter(|span| operation(span) == "item")
            .count()
    };
    let spans = scene
        .agent
        .spans_when(|spans| items(spans) as f64 >= kept)
        .await;
    assert_eq!(items(&spans) as f64, kept);
}
