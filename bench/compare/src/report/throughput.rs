//! Rates, and what an item costs.

use serde_json::Value;

use super::cells::{Cell, cells, padded, text};
use super::table::Table;

pub(super) fn tables(all: &[Value]) -> Vec<Table> {
    let key = |r: &Value| {
        vec![
            padded(r, "payload"),
            padded(r, "window"),
            text(r, "peer").into(),
        ]
    };
    let cells: Vec<_> = cells(all, "throughput", key).into_iter().collect();
    let same = |a: &(Vec<String>, Cell<'_>), b: &(Vec<String>, Cell<'_>)| a.0[..2] == b.0[..2];
    let tables = cells.chunk_by(same).map(|chunk| {
        let (payload, window) = (chunk[0].0[0].trim(), chunk[0].0[1].trim());
        let mut sorted: Vec<&Cell<'_>> = chunk.iter().map(|(_, cell)| cell).collect();
        let rate = |cell: &Cell<'_>| phase(cell, "e2e").median("items_per_s");
        sorted.sort_by(|a, b| rate(b).total_cmp(&rate(a)));
        Table {
            title: format!("Items a second, {payload} B, {window} unconfirmed in flight"),
            header: vec![
                "peer",
                "confirm after",
                "publish/s",
                "consume/s",
                "end to end/s",
                "server CPU s/M pub",
                "con",
                "e2e",
                "client CPU s/M e2e",
                "peak RSS MB",
                "to disk B/item e2e",
                "flushes/item e2e",
            ],
            rows: sorted.into_iter().map(row).collect(),
        }
    });
    tables.collect()
}

fn phase<'a>(cell: &Cell<'a>, name: &str) -> Cell<'a> {
    cell.only(|r| text(r, "phase") == name)
}

fn row(cell: &Cell<'_>) -> Vec<String> {
    let [publish, consume, e2e] = ["publish", "consume", "e2e"].map(|name| phase(cell, name));
    vec![
        cell.name(),
        cell.syncs().into(),
        publish.all("items_per_s"),
        consume.all("items_per_s"),
        e2e.all("items_per_s"),
        publish.middle("server_cpu_s_per_million"),
        consume.middle("server_cpu_s_per_million"),
        e2e.middle("server_cpu_s_per_million"),
        e2e.middle("client_cpu_s_per_million"),
        cell.megabytes("server_peak_rss"),
        e2e.per_item("disk_written"),
        e2e.per_item("disk_flushes"),
    ]
}
