//! The machine by itself.

use serde_json::Value;

use super::cells::{cells, padded, short, text};
use super::table::Table;

pub(super) fn tables(all: &[Value]) -> Vec<Table> {
    vec![disk(all), loopback(all), memory(all)]
}

fn disk(all: &[Value]) -> Table {
    let key = |r: &Value| {
        vec![
            text(r, "log").into(),
            padded(r, "threads"),
            padded(r, "size"),
        ]
    };
    let cells = cells(all, "fdatasync", key);
    let rows = cells.iter().map(|(key, cell)| {
        vec![
            key[0].clone(),
            key[1].trim().into(),
            short(cell.median("size") / 1024.0),
            cell.all("per_s"),
            cell.megabytes("bytes_per_s"),
            cell.all("latency_us.p50"),
            cell.all("latency_us.p99"),
            cell.middle("latency_us.max"),
            cell.middle("disk_flushes_per_sync"),
        ]
    });
    Table {
        title: "This disk: write and fdatasync".into(),
        header: vec![
            "log",
            "threads",
            "KiB",
            "syncs/s",
            "MB/s",
            "p50 µs",
            "p99",
            "max",
            "flushes/sync",
        ],
        rows: rows.collect(),
    }
}

fn loopback(all: &[Value]) -> Table {
    let cells = cells(all, "ping_pong", |_| Vec::new());
    let rows = cells.values().map(|cell| {
        vec![
            cell.all("per_s"),
            cell.all("latency_us.p50"),
            cell.all("latency_us.p99"),
        ]
    });
    Table {
        title: "This machine's loopback: one byte there and back over TCP".into(),
        header: vec!["round trips/s", "p50 µs", "p99"],
        rows: rows.collect(),
    }
}

fn memory(all: &[Value]) -> Table {
    let cells = cells(all, "memcpy", |r| vec![padded(r, "size")]);
    let rows = cells.iter().map(|(key, cell)| {
        let bytes: f64 = key[0].trim().parse().unwrap_or(f64::NAN);
        vec![
            short(bytes / 1024.0),
            short(cell.median("bytes_per_s") / 1e9),
        ]
    });
    Table {
        title: "This machine's memory: copying".into(),
        header: vec!["buffer KiB", "GB/s"],
        rows: rows.collect(),
    }
}
