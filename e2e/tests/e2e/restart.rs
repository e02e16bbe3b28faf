//! A broker that is killed and comes back: the programs ride it out.

use crate::processes::Broker;

#[tokio::test]
async fn a_producer_rides_out_a_restart_and_sends_on() {
    let broker = Broker::start().await;
    let mut producer = broker.producer(&["q", "generate", "--count", "400", "--interval", "5ms"]);
    producer.line().await;
    let port = broker.port();
    broker.kill().await;
    let broker = Broker::start_on(port).await;
    let producer = producer.finish().await.ok();
    assert!(
        producer.stdout.contains(" -- generated item 399"),
        "{producer:?}"
    );
    // What the first broker had confirmed went with its memory; what it had not was sent again.
    let stats = broker.stats("q").await;
    assert!((1..=400).contains(&stats.ready), "{stats:?}");
    assert_eq!(stats.ready, stats.published_total);
}

#[tokio::test]
async fn a_consumer_rides_out_a_restart_and_goes_on() {
    let broker = Broker::start().await;
    let mut consumer = broker.consumer(&["q", "print", "--raw", "--count", "2"]);
    broker
        .producer(&["q", "send"])
        .finish_with(b"before\n")
        .await
        .ok();
    assert_eq!(consumer.line().await, "before");
    broker.stats_when("q", |stats| stats.acked_total == 1).await;
    let port = broker.port();
    broker.kill().await;
    let broker = Broker::start_on(port).await;
    broker
        .producer(&["q", "send"])
        .finish_with(b"after\n")
        .await
        .ok();
    assert_eq!(consumer.finish().await.ok().stdout, "after\n");
}
