//! Prometheus reads what OpenMetrics says it should: so what it does not read of ours is not the harness' fault.

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use baton_e2e::scratch::Scratch;
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::prometheus::{
    Histograms, Prometheus, criticism_of_metrics, criticism_of_rule_tests, criticism_of_rules,
};

/// Serves the same answer until it goes.
struct Target {
    address: String,
    _serving: JoinSet<()>,
}

impl Target {
    async fn start(content_type: &'static str, body: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answer = async move || ([(CONTENT_TYPE, content_type)], body.clone());
        let metrics = Router::new().route("/metrics", get(answer));
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, metrics).await.unwrap() });
        Self {
            address,
            _serving: serving,
        }
    }
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const WITH_EXEMPLAR: &str = r#"# TYPE baton_item_stage_seconds histogram
# UNIT baton_item_stage_seconds seconds
# HELP baton_item_stage_seconds Time of an item in a stage.
baton_item_stage_seconds_bucket{stage="queue",le="0.5"} 1
baton_item_stage_seconds_bucket{stage="queue",le="+Inf"} 3 # {trace_id="000102030405060708090a0b0c0d0e0f"} 1.25
baton_item_stage_seconds_sum{stage="queue"} 4.25
baton_item_stage_seconds_count{stage="queue"} 3
# EOF
"#;

#[tokio::test]
async fn exemplars_of_a_histogram_are_kept() {
    let target = Target::start(OPEN_METRICS, WITH_EXEMPLAR.into()).await;
    let prometheus = Prometheus::scraping(&target.address, Histograms::Classic).await;
    let count = "baton_item_stage_seconds_count{stage=\"queue\"}";
    let scraped = prometheus
        .query_when(count, |samples| !samples.is_empty())
        .await;
    assert_eq!(scraped[0].number(), Some(3.0));
    assert_eq!(scraped[0].labels["instance"], target.address);
    let found = prometheus
        .exemplars("baton_item_stage_seconds_bucket")
        .await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].series["le"], "+Inf");
    let exemplar = &found[0].exemplars[0];
    assert_eq!(
        exemplar.labels["trace_id"],
        "000102030405060708090a0b0c0d0e0f"
    );
    assert_eq!(exemplar.value, "1.25");
    assert!(exemplar.timestamp > 1.7e9);
}

#[tokio::test]
async fn native_histograms_are_kept() {
    let body = native_histogram().encode_length_delimited_to_vec();
    let target = Target::start(PROTOBUF, body).await;
    let prometheus = Prometheus::scraping(&target.address, Histograms::Native).await;
    let scraped = prometheus
        .query_when("seconds", |samples| !samples.is_empty())
        .await;
    let histogram = scraped[0].histogram().unwrap();
    assert_eq!(
        (histogram.count.as_str(), histogram.sum.as_str()),
        ("3", "3.5")
    );
    // Schema 0: each bound is twice the one before.
    let buckets = [("0.5", "1", "1"), ("1", "2", "2")];
    let buckets = buckets.map(|(from, to, count)| (0, from.into(), to.into(), count.into()));
    assert_eq!(histogram.buckets, buckets);
}

#[tokio::test]
async fn promtool_criticises_what_is_wrong_and_nothing_else() {
    let sound =
        "# HELP baton_items_total Items.\n# TYPE baton_items_total counter\nbaton_items_total 1\n";
    assert_eq!(criticism_of_metrics(sound).await, "");
    let wrong = sound.replace("_total", "");
    let said = criticism_of_metrics(&wrong).await;
    assert!(said.contains("\"_total\" suffix"), "{said}");
    let said = criticism_of_metrics("baton items 1\n").await;
    assert!(said.contains("error"), "{said}");
}

#[tokio::test]
async fn promtool_criticises_rules() {
    let scratch = Scratch::new();
    let rules = scratch.path().join("rules.yml");
    let sound = "groups: [{name: baton, rules: [{alert: Away, expr: up == 0, for: 1m}]}]\n";
    std::fs::write(&rules, sound).unwrap();
    assert_eq!(criticism_of_rules(&rules).await, "");
    std::fs::write(&rules, sound.replace("up == 0", "up ==")).unwrap();
    let said = criticism_of_rules(&rules).await;
    assert!(said.contains("could not parse expression"), "{said}");
}

#[tokio::test]
async fn promtool_says_which_test_of_a_rule_fails() {
    let scratch = Scratch::new();
    let rules = "groups: [{name: baton, rules: [{alert: Away, expr: up == 0}]}]\n";
    std::fs::write(scratch.path().join("rules.yml"), rules).unwrap();
    let tests = scratch.path().join("test.yml");
    let away = "{interval: 1m, input_series: [{series: up, values: '0x5'}], \
                alert_rule_test: [{alertname: Away, eval_time: 2m, exp_alerts: [{}]}]}";
    let sound = format!("rule_files: [rules.yml]\ntests: [{away}]\n");
    std::fs::write(&tests, &sound).unwrap();
    assert_eq!(criticism_of_rule_tests(&tests).await, "");
    std::fs::write(&tests, sound.replace("'0x5'", "'1x5'")).unwrap();
    let said = criticism_of_rule_tests(&tests).await;
    assert!(said.contains("Away"), "{said}");
}

const PROTOBUF: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// `io.prometheus.client.MetricFamily`, as far as one native histogram needs it.
#[derive(Clone, PartialEq, Message)]
struct MetricFamily {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    help: String,
    /// 4: histogram.
    #[prost(int32, tag = "3")]
    kind: i32,
    #[prost(message, repeated, tag = "4")]
    metrics: Vec<Metric>,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(message, optional, tag = "7")]
    histogram: Option<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(uint64, tag = "1")]
    count: u64,
    #[prost(double, tag = "2")]
    sum: f64,
    #[prost(sint32, optional, tag = "5")]
    schema: Option<i32>,
    #[prost(double, tag = "6")]
    zero_threshold: f64,
    #[prost(message, repeated, tag = "12")]
    spans: Vec<BucketSpan>,
    /// Each bucket's count, less the one before's.
    #[prost(sint64, repeated, packed = "false", tag = "13")]
    deltas: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct BucketSpan {
    #[prost(sint32, optional, tag = "1")]
    offset: Option<i32>,
    #[prost(uint32, optional, tag = "2")]
    length: Option<u32>,
}

/// One value in (0.5, 1], two in (1, 2].
fn native_histogram() -> MetricFamily {
    let histogram = Histogram {
        count: 3,
        sum: 3.5,
        schema: Some(0),
        zero_threshold: 1e-9,
        spans: vec![BucketSpan {
            offset: Some(0),
            length: Some(2),
        }],
        deltas: vec![1, 1],
    };
    MetricFamily {
        name: "seconds".to_owned(),
        help: "Time.".to_owned(),
        kind: 4,
        metrics: vec![Metric {
            histogram: Some(histogram),
        }],
    }
}
