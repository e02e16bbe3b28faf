//! Latencies at a constant rate.

use serde_json::Value;

use super::cells::{Cell, cells, padded, text};
use super::table::Table;

pub(super) fn tables(all: &[Value]) -> Vec<Table> {
    let key = |r: &Value| {
        vec![
            padded(r, "payload"),
            padded(r, "rate"),
            text(r, "peer").into(),
        ]
    };
    let cells: Vec<_> = cells(all, "latency", key).into_iter().collect();
    let same = |a: &(Vec<String>, Cell<'_>), b: &(Vec<String>, Cell<'_>)| a.0[..2] == b.0[..2];
    let tables = cells.chunk_by(same).map(|chunk| {
        let (payload, rate) = (chunk[0].0[0].trim(), chunk[0].0[1].trim());
        let mut sorted: Vec<&Cell<'_>> = chunk.iter().map(|(_, cell)| cell).collect();
        sorted.sort_by(|a, b| {
            let p50 = |cell: &Cell<'_>| cell.median("confirm_us.p50");
            (saturated(a).cmp(&saturated(b))).then(p50(a).total_cmp(&p50(b)))
        });
        Table {
            title: format!("Latency in µs, {payload} B, {rate} items a second"),
            header: vec![
                "peer",
                "confirm after",
                "held/s",
                "due to confirmed p50",
                "p99",
                "p99.9",
                "max",
                "due to received p50",
                "p99",
                "p99.9",
                "max",
                "generator late p99",
                "flushes/item",
            ],
            rows: sorted.into_iter().map(row).collect(),
        }
    });
    tables.collect()
}

fn saturated(cell: &Cell<'_>) -> bool {
    cell.any(|r| r["saturated"] == true)
}

fn row(cell: &Cell<'_>) -> Vec<String> {
    let mut held = cell.middle("achieved_per_s");
    if saturated(cell) {
        held.push_str(" **saturated**");
    }
    let mut row = vec![cell.name(), cell.syncs().into(), held];
    for leg in ["confirm_us", "receive_us"] {
        row.extend(["p50", "p99"].map(|q| cell.all(&format!("{leg}.{q}"))));
        row.extend(["p999", "max"].map(|q| cell.middle(&format!("{leg}.{q}"))));
    }
    row.push(cell.middle("pacer_lag_us.p99"));
    row.push(cell.per_item("disk_flushes"));
    row
}
