//! A collector that dies costs spans and nothing else, and has them again when it is back.

use crate::item_trace::operation;
use crate::scene::{ALL, CONSUMER, Scene, UNTRACED};
use crate::spans::Span;

/// Their spans are more than the broker keeps for a collector that is away.
const ITEMS: usize = 20_000;

fn has_items(spans: &[Span]) -> bool {
    spans.iter().any(|span| operation(span) == "item")
}

#[tokio::test]
async fn items_go_on_without_a_collector_and_spans_when_it_is_back() {
    let mut scene = Scene::with(&ALL).await;
    let consumer = scene.consumer(CONSUMER, &["jobs", "print", "--raw"]);
    scene.send_in(&UNTRACED, ("jobs", &[]), "first\n").await;
    scene.agent.spans_when(has_items).await;
    scene.agent.kill().await;
    let lines = "bread\n".repeat(ITEMS - 1);
    scene
        .send_in(&UNTRACED, ("jobs", &["--close"]), &lines)
        .await;
    let finished = consumer.finish().await.ok();
    assert_eq!(finished.lines().len(), ITEMS);
    // All of it with nobody there to answer: whoever waited for the collector would wait still.
    let stats = scene.broker.stats("jobs").await;
    let counts = (stats.published_total, stats.acked_total);
    assert_eq!(counts, (ITEMS as u64, ITEMS as u64));
    assert_eq!(stats.failed_attempts_total, 0);
    let spans = |result: &str| format!("baton_trace_spans_total{{result=\"{result}\"}}");
    scene
        .metric_when(&spans("dropped"), |count| count > 0.0)
        .await;
    let exported = scene.metric(&spans("exported")).await;
    assert!(exported < 100.0, "only those of the first item: {exported}");
    scene.agent.restart().await;
    scene
        .metric_when(&spans("exported"), |count| count > exported)
        .await;
    scene.agent.spans_when(has_items).await;
}
