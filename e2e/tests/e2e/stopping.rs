//! Signals, closed pipes and a broker that goes away for good.

use rustix::process::Signal;

use crate::broker::Broker;
use crate::processes::{Finished, PATIENCE, Process, command, program};

#[tokio::test]
async fn ctrl_c_finishes_what_is_in_hand_and_exits_130() {
    let broker = Broker::start().await;
    broker
        .producer(&["q", "generate", "--count", "50"])
        .finish()
        .await
        .ok();
    let mut consumer = broker.consumer(&["q", "print", "--work", "200ms"]);
    consumer.line().await;
    consumer.signal(Signal::INT);
    let consumer = consumer.finish().await;
    assert_eq!(consumer.code, Some(130), "{consumer:?}");
    assert!(
        consumer.stdout.contains("items, ") || consumer.stdout.contains("item, "),
        "{consumer:?}"
    );
    let stats = broker
        .stats_when("q", |stats| stats.consumers == 0 && stats.leased == 0)
        .await;
    assert!((1..50).contains(&stats.acked_total), "{stats:?}");
    assert_eq!(
        stats.ready + stats.acked_total,
        50,
        "nothing waits for a lease to run out"
    );
    assert_eq!(stats.failed_attempts_total, 0, "and nothing failed");
}

#[tokio::test]
async fn a_producer_that_is_interrupted_has_confirmed_what_it_said() {
    let broker = Broker::start().await;
    let mut producer = broker.producer(&["q", "generate", "--count", "0", "--interval", "5ms"]);
    for _ in 0..5 {
        producer.line().await;
    }
    producer.signal(Signal::INT);
    let producer = producer.finish().await;
    assert_eq!(producer.code, Some(130), "{producer:?}");
    let said = 5 + producer.stdout.matches(" -- generated item").count() as u64;
    assert_eq!(broker.stats("q").await.published_total, said);
}

#[tokio::test]
async fn sigterm_is_how_endless_programs_end_and_an_interruption_of_others() {
    let broker = Broker::start().await;
    let terminated = async |mut process: Process| {
        process.line().await;
        process.signal(Signal::TERM);
        process.finish().await.code
    };
    for (count, code) in [("0", 0), ("100000", 143)] {
        let words = ["q", "generate", "--count", count, "--interval", "5ms"];
        assert_eq!(
            terminated(broker.producer(&words)).await,
            Some(code),
            "{words:?}"
        );
    }
    for (words, code) in [
        (&["q", "print"][..], 0),
        (&["q", "print", "--count", "100000"], 143),
    ] {
        broker.producer(&["q", "generate"]).finish().await.ok();
        assert_eq!(
            terminated(broker.consumer(words)).await,
            Some(code),
            "{words:?}"
        );
    }
}

#[tokio::test]
async fn health_is_what_the_broker_says_of_itself() {
    let broker = Broker::start().await;
    let http = broker.http().to_owned();
    let ask = async || {
        let mut health = command(program("baton-broker"));
        health.args(["health", "--http", &http]);
        Finished::of(health.output().await.unwrap())
    };
    let well = ask().await;
    assert_eq!(
        (well.code, well.stdout.as_str()),
        (Some(0), "ready\n"),
        "{well:?}"
    );
    broker.kill().await;
    let gone = ask().await;
    assert_eq!(gone.code, Some(1), "{gone:?}");
    assert!(gone.stderr.contains(&http), "{gone:?}");
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_is_no_error() {
    let broker = Broker::start().await;
    broker
        .producer(&["q", "generate", "--count", "2000"])
        .finish()
        .await
        .ok();
    let mut consumer = broker.consumer(&["q", "print", "--raw"]);
    consumer.line().await;
    consumer.stop_reading();
    let consumer = consumer.finish().await;
    assert_eq!(
        (consumer.code, consumer.stderr.contains("panic")),
        (Some(0), false),
        "{consumer:?}"
    );
    let stats = broker
        .stats_when("q", |stats| stats.consumers == 0 && stats.leased == 0)
        .await;
    assert_eq!(stats.ready + stats.scheduled + stats.acked_total, 2000);
}

#[tokio::test]
async fn a_broker_that_is_told_to_stop_lets_a_consumer_finish() {
    let mut broker = Broker::start().await;
    broker
        .producer(&["q", "generate", "--count", "3"])
        .finish()
        .await
        .ok();
    let _consumer = broker.consumer(&["q", "print", "--work", "300ms", "--give-up-after", "2s"]);
    broker.stats_when("q", |stats| stats.leased > 0).await;
    broker.wait_for_log("queue created").await;
    assert!(broker.terminate().await.0.success());
}

#[tokio::test]
async fn without_a_broker_the_programs_give_up_in_time_and_say_so() {
    let broker = Broker::start().await;
    let port = broker.port();
    broker.kill().await;
    let url = format!("http://127.0.0.1:{port}");
    let gone = Broker::start().await;
    for (name, process) in [
        (
            "producer",
            gone.producer(&["q", "generate", "--broker", &url, "--give-up-after", "1s"]),
        ),
        (
            "consumer",
            gone.consumer(&["q", "print", "--broker", &url, "--give-up-after", "1s"]),
        ),
    ] {
        let ended = tokio::time::timeout(PATIENCE, process.finish())
            .await
            .unwrap();
        assert_eq!(ended.code, Some(1), "{name}: {ended:?}");
        assert!(
            ended.stderr.contains(&port.to_string()),
            "{name} does not say which broker: {ended:?}"
        );
    }
}
