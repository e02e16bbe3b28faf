//! Items on disk, and others in memory.

use baton_broker::engine::{Keep, StorageSettings};
use baton_proto::v1::lease_settle::Action;
use baton_proto::v1::*;

use super::support::*;

/// More of them than are read ahead of consumers.
const ITEMS: usize = 3000;

#[tokio::test]
async fn an_item_that_comes_back_is_read_however_much_is_at_hand() {
    let name = format!("cold-{}", std::process::id());
    let directory = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let storage = StorageSettings {
        directory: directory.clone(),
        segment_bytes: 8 << 20,
        memory_bytes_max: 64 << 20,
    };
    let mut fixture = broker_with(|config| config.keep = Keep::Journal(storage)).await;
    for _ in 0..ITEMS / 500 {
        let items = vec![item(vec![0; 1024]); 500];
        fixture.publish("q", items).await.unwrap();
    }
    let first = fixture.lease("q", 1).await;
    let retry = Nack {
        delay: millis(1),
        ..Nack::default()
    };
    let outcome = fixture.settle("q", &first[0], Action::Nack(retry)).await;
    assert_eq!(outcome, SettleOutcome::Ok);
    fixture.stats_when("q", |stats| stats.scheduled == 0).await;
    let all = fixture.lease("q", 10).await;
    let again: Vec<_> = all.iter().map(|one| (one.item_id, one.attempt)).collect();
    assert_eq!(again[..2], [(1, 2), (2, 1)], "{again:?}");
    fixture.broker.shutdown(PATIENCE / 20).await;
    std::fs::remove_dir_all(directory).unwrap();
}
