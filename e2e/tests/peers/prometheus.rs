//! Prometheus, which scrapes a target every second and answers questions about it, and promtool, which criticises.
//!
//! It takes 5 s until it looks at a target for the first time (its own pace of finding targets, which no flag changes).

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use baton_e2e::ports::free_port;
use baton_e2e::processes::{Finished, PATIENCE, command};
use baton_e2e::scratch::Scratch;
use serde::Deserialize;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{sleep, timeout};

use crate::foreign::{Foreign, installed};
use crate::http;

/// Which form of a histogram it asks a target for, if the target has both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Histograms {
    /// OpenMetrics text: a series for each bucket, with exemplars.
    Classic,
    /// Protobuf: one series; the classic buckets are not kept.
    Native,
}

/// Dies with the value.
#[derive(Debug)]
pub(crate) struct Prometheus {
    address: String,
    _process: Foreign,
    _scratch: Scratch,
}

/// One series at one moment.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Sample {
    #[serde(rename = "metric")]
    pub(crate) labels: BTreeMap<String, String>,
    /// When and what, which is a number as text.
    #[serde(default)]
    value: Option<(f64, String)>,
    #[serde(default)]
    histogram: Option<(f64, NativeHistogram)>,
}

impl Sample {
    /// None: it is a native histogram.
    pub(crate) fn number(&self) -> Option<f64> {
        let (_, number) = self.value.as_ref()?;
        Some(number.parse().expect("a number"))
    }

    /// None: it is a number.
    pub(crate) fn histogram(&self) -> Option<&NativeHistogram> {
        self.histogram.as_ref().map(|(_, histogram)| histogram)
    }
}

/// Numbers are text.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct NativeHistogram {
    pub(crate) count: String,
    pub(crate) sum: String,
    /// Which bounds belong to it (0: the upper one), the bounds, the count.
    #[serde(default)]
    pub(crate) buckets: Vec<(u8, String, String, String)>,
}

/// A series and what was measured in it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Exemplars {
    #[serde(rename = "seriesLabels")]
    pub(crate) series: BTreeMap<String, String>,
    pub(crate) exemplars: Vec<Exemplar>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Exemplar {
    pub(crate) labels: BTreeMap<String, String>,
    /// A number as text.
    pub(crate) value: String,
    /// In seconds since 1970.
    pub(crate) timestamp: f64,
}

impl Prometheus {
    /// Lets it scrape `/metrics` of an address such as `127.0.0.1:7401`.
    pub(crate) async fn scraping(target: &str, histograms: Histograms) -> Self {
        let scratch = Scratch::new();
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
             scrape_configs: [{{job_name: target, static_configs: [{{targets: ['{target}']}}]}}]\n"
        );
        std::fs::write(scratch.path().join("prometheus.yml"), config).unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let features = match histograms {
            Histograms::Classic => "exemplar-storage",
            Histograms::Native => "exemplar-storage,native-histograms",
        };
        let arguments = [
            "--config.file=prometheus.yml".to_owned(),
            "--storage.tsdb.path=data".to_owned(),
            format!("--web.listen-address={address}"),
            format!("--enable-feature={features}"),
        ];
        let mut process = Foreign::start("prometheus", &scratch, &arguments);
        let ready = async || {
            let answer = http::get(&address, "/-/ready").await;
            answer.is_ok_and(|answer| answer.status == 200)
        };
        process.wait_until(ready).await;
        Self {
            address,
            _process: process,
            _scratch: scratch,
        }
    }

    /// What an expression is now.
    pub(crate) async fn query(&self, expression: &str) -> Vec<Sample> {
        let mut data = self.ask("query", expression).await;
        serde_json::from_value(data["result"].take()).unwrap()
    }

    /// Asks until the answer is as it should be.
    pub(crate) async fn query_when(
        &self,
        expression: &str,
        holds: impl Fn(&[Sample]) -> bool,
    ) -> Vec<Sample> {
        let mut last = Vec::new();
        let ask = async {
            loop {
                last = self.query(expression).await;
                if holds(&last) {
                    return;
                }
                sleep(Duration::from_millis(100)).await;
            }
        };
        let asked = timeout(PATIENCE, ask).await;
        assert!(asked.is_ok(), "{expression} never got there: {last:?}");
        last
    }

    /// The exemplars of a metric's series so far.
    pub(crate) async fn exemplars(&self, expression: &str) -> Vec<Exemplars> {
        let data = self.ask("query_exemplars", expression).await;
        serde_json::from_value(data).unwrap()
    }

    async fn ask(&self, question: &str, expression: &str) -> Value {
        let path = format!("/api/v1/{question}?query={}", http::encoded(expression));
        let answer = http::fetch(&self.address, &path).await;
        let mut answer: Value = serde_json::from_str(&answer).unwrap();
        answer["data"].take()
    }
}

/// What promtool says against metrics in Prometheus' text format, which has no exemplars; empty: nothing.
pub(crate) async fn criticism_of_metrics(text: &str) -> String {
    promtool(&["check", "metrics"], text).await
}

/// What promtool says against a file of rules; empty: nothing.
pub(crate) async fn criticism_of_rules(file: &Path) -> String {
    promtool(&["check", "rules", file.to_str().unwrap()], "").await
}

/// What promtool says against a configuration and the rules that it names; empty: nothing.
pub(crate) async fn criticism_of_configuration(file: &Path) -> String {
    promtool(&["check", "config", file.to_str().unwrap()], "").await
}

/// What promtool says against tests of rules, which name the files that they test; empty: they pass.
pub(crate) async fn criticism_of_rule_tests(file: &Path) -> String {
    promtool(&["test", "rules", file.to_str().unwrap()], "").await
}

async fn promtool(arguments: &[&str], input: &str) -> String {
    let mut process = command(installed("promtool"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = process.stdin.take().unwrap();
    let feed = async move {
        // A promtool that has ended says why by itself.
        stdin.write_all(input.as_bytes()).await.ok();
    };
    let (output, ()) = tokio::join!(process.wait_with_output(), feed);
    let finished = Finished::of(output.unwrap());
    let said = finished.stdout + &finished.stderr;
    match finished.code {
        Some(0) => String::new(),
        _ => {
            assert!(!said.is_empty(), "promtool fails and does not say why");
            said
        }
    }
}
