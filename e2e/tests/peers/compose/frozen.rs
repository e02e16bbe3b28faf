//! Containers that stand still for a while and then go on as if nothing had been.

use std::time::Duration;

use tokio::time::sleep;

use super::docker::docker;
use super::stack::Stack;

/// Of e2e/compose/override.yml.
const LEASE: Duration = Duration::from_secs(2);

async fn freeze(container: &str, how_long: Duration) {
    docker(&["pause", container]).await;
    sleep(how_long).await;
    docker(&["unpause", container]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_stands_still_for_longer_than_its_lease_loses_its_items_and_nothing_else() {
    let stack = Stack::up_with(&[("WORK", "200ms")], 1, 2).await;
    let consumers = stack.containers("consumer").await;
    let before = stack.stats().await.failed_attempts_total;
    let mut frozen = 0;
    // At work for most of the time, but not at any time.
    while stack.stats().await.failed_attempts_total == before {
        freeze(&consumers[frozen % 2], LEASE + LEASE / 2).await;
        frozen += 1;
        assert!(frozen < 10, "it never had an item in hand");
    }
    stack.goes_on().await;
    stack.every_repeat_is_explained().await;
    stack.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_stands_still_is_waited_for() {
    let stack = Stack::up(2, 2).await;
    for how_long in [LEASE / 2, LEASE * 2] {
        freeze(&stack.broker(), how_long).await;
        stack.goes_on().await;
    }
    stack.every_repeat_is_explained().await;
    stack.ends_well().await;
}
