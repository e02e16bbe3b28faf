//! More and fewer of each, under load.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::docker::PATIENCE;
use super::stack::Stack;

impl Stack {
    async fn ready_until(&self, holds: impl Fn(u64) -> bool) {
        let begun = Instant::now();
        loop {
            let ready = self.stats().await.ready;
            if holds(ready) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{ready} items wait");
            sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_producers_let_items_wait_and_more_consumers_work_them_off() {
    let stack = Stack::up(1, 1).await;
    stack.scale(3, 1).await;
    stack.ready_until(|ready| ready > 200).await;
    stack.scale(1, 4).await;
    stack.ready_until(|ready| ready < 20).await;
    stack.scale(2, 2).await;
    stack.goes_on().await;
    // Those that were taken away have said goodbye, and owe nothing.
    for (service, gone) in [("producer", 2), ("consumer", 2)] {
        let unconfirmed = stack.ask(|evidence| {
            let summaries = evidence.summaries(service);
            assert!(summaries.len() >= gone, "{service}: {summaries:?}");
            let owed = |name: &str| {
                summaries
                    .iter()
                    .filter_map(|it| it[name].as_u64())
                    .sum::<u64>()
            };
            owed("unconfirmed") + owed("unsettled") + owed("lease_lost")
        });
        assert_eq!(unconfirmed, 0, "{service}");
    }
    stack.ends_well().await;
}
