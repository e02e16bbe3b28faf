//! Restarts on purpose, one container after the other, and the end of all of them.

use std::time::{Duration, Instant};

use super::docker::docker;
use super::stack::Stack;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_each_in_turn_costs_no_attempt() {
    let stack = Stack::up(2, 2).await;
    for container in stack.all_containers().await {
        docker(&["restart", &container]).await;
        stack.goes_on().await;
    }
    let failed = stack.stats().await.failed_attempts_total;
    let counts = stack.ends_well().await;
    assert_eq!(
        (failed, counts.repeated),
        (0, 0),
        "what was in hand was finished or given back"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_everything_drains_within_the_grace() {
    let stack = Stack::up_with(&[("WORK", "300ms")], 2, 2).await;
    let begun = Instant::now();
    stack.compose(&["stop"]).await;
    let took = begun.elapsed();
    stack.ended_by_themselves().await;
    // Nobody waited to be killed: consumers' grace is 20 s, the broker's 30 s.
    assert!(took < Duration::from_secs(15), "{took:?}");
    stack.compose(&["start"]).await;
    stack.goes_on().await;
    let failed = stack.stats().await.failed_attempts_total;
    let counts = stack.ends_well().await;
    assert_eq!((failed, counts.repeated), (0, 0));
}
