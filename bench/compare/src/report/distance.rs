//! How far Baton is from what the machine could do: the same messages over a bare stream, and its own commits on a bare disk.

use std::collections::BTreeSet;

use serde_json::Value;

use super::cells::{Cell, e2e, number, padded, short, text};
use super::table::Table;

const OURS: &str = "baton";
const STREAM: &str = "floor-stream";

pub(super) fn table(all: &[Value]) -> Table {
    let ours = |r: &&Value| text(r, "kind") == "throughput" && text(r, "peer") == OURS;
    let shapes: BTreeSet<_> = all
        .iter()
        .filter(ours)
        .map(|r| (padded(r, "payload"), padded(r, "window")))
        .collect();
    let rows = shapes.iter().filter_map(|(payload, window)| {
        let (payload, window) = (payload.trim(), window.trim());
        row(all, payload.parse().ok()?, window.parse().ok()?)
    });
    Table {
        title: "Distance to the limit".into(),
        header: vec![
            "payload B",
            "in flight",
            "Baton e2e/s",
            "bare stream/s",
            "of it",
            "bare disk, same commits/s",
            "of it",
            "items a commit",
            "server CPU s/M, Baton",
            "bare stream",
            "best syncing peer/s",
            "Baton is",
        ],
        rows: rows.collect(),
    }
}

fn row(all: &[Value], payload: f64, window: f64) -> Option<Vec<String>> {
    let (ours, stream) = (
        e2e(all, OURS, payload, window),
        e2e(all, STREAM, payload, window),
    );
    let rate = ours.spread("items_per_s")?.median;
    let disk = |r: &&Value| {
        text(r, "kind") == "disk_floor"
            && text(r, "of_peer") == OURS
            && (number(r, "payload"), number(r, "window")) == (payload, window)
    };
    let disk = Cell(all.iter().filter(disk).collect());
    let (bare, synced) = (stream.median("items_per_s"), disk.median("items_per_s"));
    let best = best_syncing_peer(all, payload, window);
    let (name, best) = best.unwrap_or(("-", f64::NAN));
    Some(vec![
        short(payload),
        short(window),
        ours.all("items_per_s"),
        stream.all("items_per_s"),
        percent(rate / bare),
        short(synced),
        percent(rate / synced),
        disk.middle("items_per_sync"),
        ours.middle("server_cpu_s_per_million"),
        stream.middle("server_cpu_s_per_million"),
        format!("{name} {}", short(best)),
        format!("{}x", short(rate / best)),
    ])
}

fn percent(ratio: f64) -> String {
    match ratio.is_finite() {
        true => format!("{:.0} %", 100.0 * ratio),
        false => "-".into(),
    }
}

fn best_syncing_peer(all: &[Value], payload: f64, window: f64) -> Option<(&str, f64)> {
    let syncing = all
        .iter()
        .filter(|r| r["syncs"] == true)
        .map(|r| text(r, "peer"));
    let peers: BTreeSet<&str> = syncing.filter(|peer| *peer != OURS).collect();
    let rate = |peer| {
        e2e(all, peer, payload, window)
            .spread("items_per_s")
            .map(|s| s.median)
    };
    let rates = peers
        .into_iter()
        .filter_map(|peer| Some((peer, rate(peer)?)));
    rates.max_by(|a, b| a.1.total_cmp(&b.1))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn distances_are_ratios_of_medians() {
        let record = |peer: &str, syncs: bool, rate: f64| {
            json!({"kind": "throughput", "phase": "e2e", "peer": peer, "syncs": syncs, "payload": 1024,
                   "window": 256, "items_per_s": rate})
        };
        let all = [
            record(OURS, true, 100.0),
            record("slow", true, 20.0),
            record("better", true, 50.0),
            record("lazy", false, 90.0),
            record(STREAM, false, 400.0),
            json!({"kind": "disk_floor", "of_peer": OURS, "payload": 1024.0, "window": 256.0, "items_per_s": 200.0}),
        ];
        let table = table(&all);
        let row = &table.rows[0];
        assert_eq!((&*row[4], &*row[6]), ("25 %", "50 %"));
        assert_eq!((&*row[10], &*row[11]), ("better 50.0", "2.00x"));
    }
}
