//! Items that wait: memory, disk, and a server that is killed.

use serde_json::Value;

use super::cells::{cells, text};
use super::table::Table;

pub(super) fn table(all: &[Value]) -> Table {
    let cells = cells(all, "backlog", |r| vec![text(r, "peer").into()]);
    let rows = cells.values().map(|cell| {
        vec![
            cell.name(),
            cell.middle("items"),
            cell.all("fill_per_s"),
            cell.megabytes("rss_full"),
            cell.middle("rss_per_item"),
            cell.megabytes("disk_full"),
            cell.middle("disk_per_item"),
            cell.all("restart_to_first_item_s"),
            cell.megabytes("rss_restarted"),
            cell.all("drain_per_s"),
            cell.megabytes("disk_drained"),
        ]
    });
    Table {
        title: "Items that wait, 1 KiB".into(),
        header: vec![
            "peer",
            "items",
            "fill/s",
            "RSS MB",
            "RSS B/item",
            "disk MB",
            "disk B/item",
            "kill -9 and start, to first item s",
            "RSS MB after",
            "drain/s",
            "disk MB drained",
        ],
        rows: rows.collect(),
    }
}
