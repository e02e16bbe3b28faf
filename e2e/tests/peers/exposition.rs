//! Prometheus scrapes the broker, in both forms of histograms, and finds its way to the traces.

use std::collections::BTreeSet;
use std::path::Path;

use crate::http;
use crate::item_trace::operation;
use crate::prometheus::{
    Histograms, Prometheus, criticism_of_configuration, criticism_of_metrics,
    criticism_of_rule_tests,
};
use crate::scene::{CONSUMER, NO_LIMIT, Scene};

const ITEMS: usize = 50;
const COUNT: &str = r#"baton_item_stage_seconds_count{queue="orders",stage="queue"}"#;

/// Items that were sampled, and have gone through.
async fn scene() -> Scene {
    let scene = Scene::with(&NO_LIMIT).await;
    scene.send("orders", &"bread\n".repeat(ITEMS)).await;
    let print = ["orders", "print", "--until-drained"];
    scene.consumer(CONSUMER, &print).finish().await.ok();
    scene
}

#[tokio::test]
async fn exemplars_lead_to_the_traces_that_the_collector_has() {
    let scene = scene().await;
    let prometheus = Prometheus::scraping(scene.broker.http(), Histograms::Classic).await;
    let all = |samples: &[crate::prometheus::Sample]| {
        samples.first().and_then(crate::prometheus::Sample::number) == Some(ITEMS as f64)
    };
    prometheus.query_when(COUNT, all).await;
    let found = prometheus
        .exemplars("baton_item_stage_seconds_bucket")
        .await;
    let labels = found.iter().flat_map(|series| &series.exemplars);
    let ids: BTreeSet<_> = labels.map(|one| one.labels["trace_id"].clone()).collect();
    assert!(!ids.is_empty(), "{found:?}");
    let stages: BTreeSet<_> = found
        .iter()
        .map(|one| one.series["stage"].as_str())
        .collect();
    assert!(
        stages.contains("queue") && stages.contains("total"),
        "{stages:?}"
    );
    let items = |spans: &[crate::spans::Span]| {
        spans
            .iter()
            .filter(|span| operation(span) == "item")
            .count()
    };
    let spans = scene.agent.spans_when(|spans| items(spans) == ITEMS).await;
    let traces: BTreeSet<_> = spans.into_iter().map(|span| span.trace_id).collect();
    assert!(ids.is_subset(&traces), "{ids:?} and {traces:?}");
    let upper = r#"histogram_quantile(0.5, baton_item_stage_seconds_bucket{stage="queue"})"#;
    let median = prometheus.query(upper).await;
    assert!(
        median[0].number().is_some_and(|median| median > 0.0),
        "{median:?}"
    );
}

#[tokio::test]
async fn native_histograms_are_read_as_such() {
    let scene = scene().await;
    let prometheus = Prometheus::scraping(scene.broker.http(), Histograms::Native).await;
    let series = r#"baton_item_stage_seconds{queue="orders",stage="queue"}"#;
    let count = |samples: &[crate::prometheus::Sample]| {
        let histogram = samples
            .first()
            .and_then(crate::prometheus::Sample::histogram);
        histogram.is_some_and(|histogram| histogram.count == ITEMS.to_string())
    };
    let samples = prometheus.query_when(series, count).await;
    let histogram = samples[0].histogram().unwrap();
    let counts = histogram
        .buckets
        .iter()
        .map(|(.., count)| count.parse::<f64>().unwrap());
    assert_eq!(counts.sum::<f64>(), ITEMS as f64);
    for (_, from, to, _) in &histogram.buckets {
        let growth = to.parse::<f64>().unwrap() / from.parse::<f64>().unwrap();
        assert!(
            (growth - 2_f64.powf(1.0 / 16.0)).abs() < 1e-9,
            "schema 4: {growth}"
        );
    }
    let mean = histogram.sum.parse::<f64>().unwrap() / ITEMS as f64;
    let median = format!("histogram_quantile(0.5, {series})");
    let median = prometheus.query(&median).await[0].number().unwrap();
    assert!(median > 0.0 && mean > 0.0);
}

#[tokio::test]
async fn promtool_has_nothing_to_say_about_metrics_and_alerts() {
    let scene = scene().await;
    let text = http::fetch(scene.broker.http(), "/metrics").await;
    assert!(text.contains(COUNT), "{text}");
    assert_eq!(criticism_of_metrics(&text).await, "");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    // Which names the alerts.
    let configuration = root.join("deploy/prometheus/prometheus.yml");
    assert_eq!(criticism_of_configuration(&configuration).await, "");
}

#[tokio::test]
async fn alerts_go_off_when_they_should() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let tests = root.join("deploy/prometheus/alerts.test.yml");
    assert_eq!(criticism_of_rule_tests(&tests).await, "");
}
