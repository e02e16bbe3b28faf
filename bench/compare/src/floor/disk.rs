//! The bare disk under a peer's commits: blocks that were written before are overwritten, as many bytes at a time as the
//! peer wrote for each flush of the disk's cache, each followed by fdatasync.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::Value;

use crate::machine::{Log, syncs};
use crate::results::{Output, Quantiles, load};

#[derive(Debug, Serialize)]
struct Record<'a> {
    of_peer: &'a str,
    payload: f64,
    window: f64,
    items_per_sync: f64,
    bytes_per_sync: u64,
    syncs_per_s: f64,
    items_per_s: f64,
    latency_us: Quantiles,
    verified: bool,
}

/// One cell of the peer's throughput.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Commits {
    payload: f64,
    window: f64,
    items: f64,
    written: f64,
    flushes: f64,
}

pub(crate) fn run(file: &Path, peer: &str, dir: &Path, seconds: f64) -> Result<()> {
    let output = Output {
        file: Some(file.into()),
        ..Output::default()
    };
    for cell in cells(&load(file)?, peer) {
        let items_per_sync = cell.items / cell.flushes;
        let bytes = Duration::from_secs_f64(cell.written / cell.flushes).as_secs();
        let size = usize::try_from(bytes.max(1))?;
        let synced = syncs(
            dir,
            Log::Overwrite,
            size,
            1,
            Duration::from_secs_f64(seconds),
        )?;
        let syncs_per_s = synced.per_s;
        output.emit(
            "disk_floor",
            &Record {
                of_peer: peer,
                payload: cell.payload,
                window: cell.window,
                items_per_sync,
                bytes_per_sync: bytes,
                syncs_per_s,
                items_per_s: syncs_per_s * items_per_sync,
                latency_us: synced.latency_us,
                verified: true,
            },
        )?;
    }
    Ok(())
}

/// All repetitions of a cell together.
fn cells(records: &[Value], peer: &str) -> Vec<Commits> {
    let mut cells: Vec<Commits> = Vec::new();
    let ours = records
        .iter()
        .filter(|r| r["kind"] == "throughput" && r["phase"] == "e2e" && r["peer"] == peer);
    for cell in ours.filter_map(|r| commits(r).ok()) {
        let same = |c: &&mut Commits| (c.payload, c.window) == (cell.payload, cell.window);
        match cells.iter_mut().find(same) {
            Some(known) => {
                known.items += cell.items;
                known.written += cell.written;
                known.flushes += cell.flushes;
            }
            None => cells.push(cell),
        }
    }
    cells.retain(|cell| cell.flushes > 0.0 && cell.written > 0.0);
    cells
}

fn commits(record: &Value) -> Result<Commits> {
    let number = |key: &str| record[key].as_f64().with_context(|| key.to_owned());
    Ok(Commits {
        payload: number("payload")?,
        window: number("window")?,
        items: number("items")?,
        written: number("disk_written")?,
        flushes: number("disk_flushes")?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn repetitions_of_a_cell_are_added_up_and_other_peers_are_left_out() {
        let record = |peer: &str, phase: &str, window: u32, flushes: u32| {
            json!({"kind": "throughput", "phase": phase, "peer": peer, "payload": 100, "window": window,
                   "items": 1000, "disk_written": 1e6, "disk_flushes": flushes})
        };
        let records = [
            record("baton", "e2e", 256, 10),
            record("baton", "e2e", 256, 30),
            record("baton", "publish", 256, 7),
            record("redis", "e2e", 256, 7),
            record("baton", "e2e", 4096, 0),
        ];
        let cells = cells(&records, "baton");
        assert_eq!(cells.len(), 1);
        assert_eq!((cells[0].items, cells[0].flushes), (2000.0, 40.0));
    }
}
