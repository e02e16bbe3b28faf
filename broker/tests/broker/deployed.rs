//! What docs/METRICS.md, the dashboard and the alert rules name is what a broker says.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::exposition::Exposition;
use crate::support::*;

const DOCS: &str = include_str!("../../../docs/METRICS.md");
const DASHBOARD: &str = include_str!("../../../deploy/grafana/baton.json");
const ALERTS: &str = include_str!("../../../deploy/prometheus/alerts.yml");

/// Of a broker that has done a bit of everything.
async fn live() -> Exposition {
    let mut broker = broker().await;
    broker.with_traffic().await;
    broker.scrape().await
}

/// Names of ours, or of the process, anywhere in a text.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
    let ours = |word: &&str| word.starts_with("baton_") || word.starts_with("process_");
    words.filter(ours).collect()
}

#[tokio::test]
async fn each_metric_is_documented_with_its_type_and_labels_and_each_documented_one_is_there() {
    let live = live().await;
    let said: BTreeMap<&str, (&str, BTreeSet<&str>)> = live
        .families
        .iter()
        .map(|(name, family)| {
            let labels = family
                .samples
                .iter()
                .flat_map(|sample| sample.labels.keys());
            let labels = labels.map(String::as_str).filter(|label| *label != "le");
            (name.as_str(), (family.kind.as_str(), labels.collect()))
        })
        .collect();
    let mut told = BTreeMap::new();
    for line in DOCS.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let labels = cells[3].split(", ").map(|label| label.trim_matches('`'));
        let labels = labels.filter(|label| *label != "–");
        told.insert(
            cells[1].trim_matches('`'),
            (cells[2], labels.collect::<BTreeSet<_>>()),
        );
        assert!(cells[4].len() > 5, "{line} says too little");
    }
    assert_eq!(told, said);
}

#[tokio::test]
async fn each_value_of_a_label_is_documented() {
    let live = live().await;
    // Stages are LATENCY.md's, the others are free.
    for label in [
        "state", "outcome", "reason", "role", "clock", "result", "what", "engine",
    ] {
        for value in live.values_of(label) {
            assert!(
                DOCS.contains(&format!("`{value}`")),
                "{label}={value} is not documented"
            );
        }
    }
}

#[tokio::test]
async fn the_dashboard_and_the_alerts_ask_for_metrics_that_there_are() {
    let live = live().await;
    let samples = live.families.values().flat_map(|family| &family.samples);
    let series: BTreeSet<&str> = samples.map(|sample| sample.name.as_str()).collect();
    for (file, text) in [("dashboard", DASHBOARD), ("alerts", ALERTS)] {
        let asked = names(text);
        let unknown: Vec<_> = asked.difference(&series).collect();
        assert!(unknown.is_empty(), "{file} asks for {unknown:?}");
        assert!(asked.len() >= 8, "{file}: {asked:?}");
    }
    // In docs also the histograms themselves, which native ones are asked for by.
    let known: BTreeSet<_> = series
        .iter()
        .copied()
        .chain(live.families.keys().map(String::as_str))
        .collect();
    let unknown: Vec<_> = names(DOCS)
        .into_iter()
        .filter(|name| !known.contains(name))
        .collect();
    assert!(unknown.is_empty(), "the documents name {unknown:?}");
}

#[test]
fn the_dashboard_is_one_that_grafana_can_import() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    assert_eq!(dashboard["schemaVersion"], 42);
    assert_eq!(
        dashboard["id"],
        Value::Null,
        "else it would replace another one"
    );
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let variables: Vec<&str> = variables
        .iter()
        .map(|variable| variable["name"].as_str().unwrap())
        .collect();
    assert_eq!(variables, ["datasource", "instance", "queue", "stage"]);
    let panels = dashboard["panels"].as_array().unwrap();
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels {
        assert!(
            ids.insert(panel["id"].as_u64().unwrap()),
            "{} has another's id",
            panel["title"]
        );
        let side = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        for x in side("x")..side("x") + side("w") {
            for y in side("y")..side("y") + side("h") {
                assert!(
                    x < 24 && cells.insert((x, y)),
                    "{} overlaps another",
                    panel["title"]
                );
            }
        }
        if panel["type"] == "row" {
            continue;
        }
        assert!(
            !panel["description"].as_str().unwrap().is_empty(),
            "{}",
            panel["title"]
        );
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"]["uid"], "${datasource}");
            assert!(!names(target["expr"].as_str().unwrap()).is_empty());
        }
    }
    assert!(panels.len() > 20);
}

#[test]
fn each_alert_says_how_long_how_bad_and_what() {
    let alerts: Vec<&str> = ALERTS.split("- alert: ").skip(1).collect();
    assert!(alerts.len() >= 7);
    for alert in alerts {
        for part in [
            "expr: ",
            "for: ",
            "severity: ",
            "summary: ",
            "description: ",
        ] {
            assert_eq!(alert.matches(part).count(), 1, "{part} of {alert}");
        }
        let severity = alert
            .split("severity: ")
            .nth(1)
            .unwrap()
            .lines()
            .next()
            .unwrap();
        assert!(
            ["critical", "warning", "info"].contains(&severity),
            "{alert}"
        );
    }
}
