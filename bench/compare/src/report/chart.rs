//! What the picture shows.

use std::collections::BTreeSet;

use serde_json::Value;

use super::cells::{Cell, e2e, number, text};
use super::svg::{Bar, Kind, Panel};

const PAYLOAD: f64 = 1024.0;

pub(super) fn panels(all: &[Value]) -> Vec<Panel> {
    let mut panels = Vec::new();
    for window in [256.0, 4096.0] {
        panels.push(Panel {
            title: format!("End to end, items/s: 1 KiB, {window} unconfirmed in flight"),
            bars: bars(
                all,
                |peer| (e2e(all, peer, PAYLOAD, window), "items_per_s"),
                true,
            ),
        });
    }
    panels.push(Panel {
        title: "Server CPU, seconds per million items: 1 KiB, 256 in flight".into(),
        bars: bars(
            all,
            |peer| (e2e(all, peer, PAYLOAD, 256.0), "server_cpu_s_per_million"),
            false,
        ),
    });
    for rate in [1_000.0, 10_000.0] {
        panels.push(Panel {
            title: format!("Publish to confirm, p99 in µs: 1 KiB, {rate} items/s"),
            bars: bars(all, |peer| (held(all, peer, rate), "confirm_us.p99"), false),
        });
    }
    panels.retain(|panel| !panel.bars.is_empty());
    panels
}

/// Latencies of a rate that was held.
fn held<'a>(all: &'a [Value], peer: &str, rate: f64) -> Cell<'a> {
    let of = |r: &&Value| text(r, "kind") == "latency" && text(r, "peer") == peer;
    let at = |r: &&Value| number(r, "payload") == PAYLOAD && number(r, "rate") == rate;
    let records = all.iter().filter(of).filter(at);
    Cell(records.filter(|r| r["saturated"] != true).collect())
}

fn bars<'a>(
    all: &'a [Value],
    cell: impl Fn(&str) -> (Cell<'a>, &'static str),
    more_is_better: bool,
) -> Vec<Bar> {
    let peers: BTreeSet<&str> = all.iter().map(|r| text(r, "peer")).collect();
    let bars = peers.into_iter().filter_map(|peer| {
        let (cell, figure) = cell(peer);
        let spread = cell.spread(figure)?;
        Some(Bar {
            label: cell.peer().into(),
            value: spread.median,
            range: (spread.low, spread.high),
            kind: match cell.syncs() {
                _ if peer.starts_with("floor") => Kind::Floor,
                "sync" if peer == "baton" => Kind::Ours,
                "sync" => Kind::Syncs,
                _ => Kind::DoesNot,
            },
        })
    });
    let mut bars: Vec<Bar> = bars.collect();
    bars.sort_by(|a, b| match more_is_better {
        true => b.value.total_cmp(&a.value),
        false => a.value.total_cmp(&b.value),
    });
    bars
}
