//! Cables that are pulled out and plugged in again.

use std::time::Duration;

use tokio::time::sleep;

use super::docker::docker;
use super::stack::Stack;

/// Shorter and longer than a lease, which is 2 s, and its grace.
const OUTAGES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_cut_off_comes_back_and_nothing_is_lost() {
    let stack = Stack::up(1, 2).await;
    let network = stack.network();
    for service in ["consumer", "producer", "broker"] {
        let container = &stack.containers(service).await[0];
        for outage in OUTAGES {
            docker(&["network", "disconnect", &network, container]).await;
            sleep(outage).await;
            // Compose had given it its service's name there.
            docker(&[
                "network", "connect", "--alias", service, &network, container,
            ])
            .await;
            stack.goes_on().await;
        }
    }
    stack.every_repeat_is_explained().await;
    stack.ends_well().await;
}
