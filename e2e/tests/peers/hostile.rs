//! What a client can do to traces that means no good, or knows no better.

use std::time::Instant;

use baton_proto::v1::ErrorCode;

use crate::bare::{Bare, item};
use crate::item_trace::{ItemTrace, operation};
use crate::scene::{ALL, HEAD_KEPT, HEAD_REFUSED, Scene};
use crate::spans::Span;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

#[tokio::test]
async fn a_context_that_is_none_is_ignored() {
    let scene = Scene::with(&ALL).await;
    let mut bare = Bare::connect(scene.broker.url()).await;
    let contexts = [
        format!("00-{}-{PARENT}-01", TRACE.to_uppercase()),
        format!("00-{}-{PARENT}-01", "0".repeat(32)),
        format!("00-{TRACE}-{}-01", "0".repeat(16)),
        format!("ff-{TRACE}-{PARENT}-01"),
        format!("00-{TRACE}-{PARENT}-1"),
        "\u{1}\u{7f}%s{}".repeat(9),
        "😈".repeat(16),
        "x".repeat(64),
    ];
    let items: Vec<_> = contexts
        .iter()
        .map(|sent| item(sent, "baton=zz,,=,\u{1}"))
        .collect();
    let count = items.len();
    let results = bare.publish("jobs", items).await.unwrap();
    assert!(
        results
            .iter()
            .all(|one| one.error() == ErrorCode::Unspecified),
        "{results:?}"
    );
    scene.work_off("jobs", "true").await;
    let traces = scene.traces(count, 7 * count).await;
    assert_eq!(traces.len(), count);
    for trace in &traces {
        let item = ItemTrace::only(trace);
        item.check();
        assert_eq!(item.sampled_by(), "baseline");
        assert!(trace.id != TRACE && item.item.parent.is_none());
        assert!(item.spans().iter().all(|span| span.trace_state.is_empty()));
    }
}

#[tokio::test]
async fn a_context_is_passed_on_as_it_is_or_refused() {
    let scene = Scene::with(&ALL).await;
    let mut bare = Bare::connect(scene.broker.url()).await;
    let parent = format!("00-{TRACE}-{PARENT}-01");
    let longest = format!("k={}", "v".repeat(510));
    let sent = [
        item(&parent, &longest),
        item(&parent, &(longest.clone() + "v")),
        item(&parent, &"v".repeat(32 << 10)),
        item(&"x".repeat(65), ""),
    ];
    let results = bare.publish("jobs", sent.to_vec()).await.unwrap();
    let errors: Vec<_> = results.iter().map(|one| one.error()).collect();
    let wrong = ErrorCode::ItemInvalid;
    assert_eq!(
        errors,
        [ErrorCode::Unspecified, wrong, wrong, wrong],
        "{results:?}"
    );
    let queue = scene.broker.client().queue("jobs");
    let delivery = queue.get().await.unwrap();
    assert_eq!(
        (delivery.traceparent(), delivery.tracestate()),
        (parent.as_str(), longest.as_str())
    );
}

const FLOOD: usize = 100_000;
const BATCH: usize = 1000;

fn items(spans: &[Span]) -> usize {
    spans
        .iter()
        .filter(|span| operation(span) == "item")
        .count()
}

#[tokio::test]
async fn a_flag_that_is_set_on_everything_costs_little() {
    let scene = Scene::with(&[]).await;
    let mut bare = Bare::connect(scene.broker.url()).await;
    for batch in 0..FLOOD / BATCH {
        let context = |n: usize| format!("00-{TRACE}-{:016x}-01", batch * BATCH + n + 1);
        let items = (0..BATCH).map(|n| item(&context(n), "")).collect();
        bare.publish("jobs", items).await.unwrap();
    }
    let before = scene.broker.resident_bytes();
    let began = Instant::now();
    assert_eq!(bare.work_off("jobs").await, FLOOD);
    let (seconds, after) = (began.elapsed().as_secs() + 1, scene.broker.resident_bytes());
    println!("{before} {after} in {seconds} s");
    let kept = scene.metric(HEAD_KEPT).await;
    let refused = scene.metric(HEAD_REFUSED).await;
    assert_eq!(kept + refused, FLOOD as f64);
    assert!(
        kept >= 50.0 && kept <= 100.0 * (1 + seconds) as f64,
        "{kept} in {seconds} s"
    );
    let spans = scene
        .agent
        .spans_when(|spans| items(spans) as f64 >= kept)
        .await;
    assert_eq!(items(&spans) as f64, kept);
    // The broker's budget for it all is 64 MiB, and spans on their way have 16 MiB.
    assert!(
        after < before + (96 << 20),
        "{before} bytes grew to {after}"
    );
}
