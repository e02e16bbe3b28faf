//! Results as Markdown tables and as a picture: medians, with min-max where there are repetitions.

mod cells;
mod chart;
mod distance;
mod latency;
mod machine;
mod svg;
mod table;
mod throughput;
mod waiting;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::Value;

use crate::results::{line, load};
use cells::{number, text};
use table::Table;

/// More of the machine than this used by something else makes a run noisy.
const NOISE: f64 = 0.15;

pub(crate) fn print(files: &[PathBuf], svg: Option<&Path>) -> Result<()> {
    let mut all = Vec::new();
    for file in files {
        all.extend(load(file)?);
    }
    let all = without_noise(all);
    let mut tables = vec![peers(&all), distance::table(&all)];
    tables.extend(throughput::tables(&all));
    tables.extend(latency::tables(&all));
    tables.push(waiting::table(&all));
    tables.extend(machine::tables(&all));
    for table in tables.iter().filter(|table| !table.rows.is_empty()) {
        line(&table.markdown());
    }
    for fault in all.iter().filter(|r| !r["fault"].is_null()) {
        line(&format!("FAULT: {fault}\n"));
    }
    if let Some(path) = svg {
        std::fs::write(path, svg::draw(&chart::panels(&all)))?;
    }
    Ok(())
}

fn peers(all: &[Value]) -> Table {
    let known: BTreeSet<_> = all
        .iter()
        .filter(|r| r["peer"].is_string())
        .map(|r| [text(r, "peer"), text(r, "version"), text(r, "durability")])
        .collect();
    Table {
        title: "What a confirm means".into(),
        header: vec!["peer", "version", "a confirm means"],
        rows: known
            .into_iter()
            .map(|row| row.map(String::from).into())
            .collect(),
    }
}

/// Something other than server and client used much of the machine meanwhile.
fn is_noisy(record: &Value) -> bool {
    let seconds = match record["seconds"].as_f64() {
        Some(seconds) => seconds,
        None => number(record, "items") / number(record, "achieved_per_s"),
    };
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get()) as f64;
    number(record, "other_cpu_s") / seconds / cores > NOISE
}

/// Without the repetitions that were noisy, where quiet ones exist.
fn without_noise(all: Vec<Value>) -> Vec<Value> {
    let cell = |r: &Value| {
        let keys = ["kind", "peer", "phase", "payload", "window", "rate"];
        keys.map(|key| r[key].to_string()).join("/")
    };
    let quiet: BTreeSet<String> = all.iter().filter(|r| !is_noisy(r)).map(cell).collect();
    let counts = |r: &Value| !is_noisy(r) || !quiet.contains(&cell(r));
    all.into_iter().filter(counts).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn noisy_repetitions_are_left_out_where_there_are_quiet_ones() {
        let record = |peer: &str, other: f64| json!({"kind": "throughput", "peer": peer, "seconds": 1.0, "other_cpu_s": other});
        let loud = 1000.0;
        let all = vec![record("a", 0.0), record("a", loud), record("b", loud)];
        let left = without_noise(all);
        let peers: Vec<_> = left.iter().map(|r| text(r, "peer")).collect();
        assert_eq!(peers, ["a", "b"]);
        assert!(is_noisy(&left[1]));
    }
}
