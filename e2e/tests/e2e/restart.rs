//! A broker that goes away and comes back: the programs ride it out.

use baton_client::Item;

use crate::broker::{Broker, Launch};
use crate::processes::{Finished, Process};

/// Items that a consumer printed, as `item i carries i squared` has it.
fn printed(consumer: &Finished) -> Vec<u64> {
    let lines = consumer.lines().into_iter();
    let values = lines.filter_map(|line| line.strip_prefix(" +++ processed value "));
    values
        .map(|rest| rest.split(' ').next().unwrap().parse().unwrap())
        .collect()
}

async fn started(broker: &Broker) -> (Process, Process) {
    let mut producer = broker.producer(&["q", "generate", "--count", "400", "--interval", "5ms"]);
    let consumer = broker.consumer(&["q", "print", "--until-closed"]);
    producer.line().await;
    broker.stats_when("q", |stats| stats.acked_total > 10).await;
    (producer, consumer)
}

/// What both said, once all is done.
async fn finished(broker: &Broker, producer: Process, consumer: Process) -> Finished {
    let producer = producer.finish().await.ok();
    let last = " -- generated item 399";
    assert!(producer.stdout.contains(last), "{producer:?}");
    broker.client().queue("q").join().await.unwrap();
    broker.client().queue("q").close().await.unwrap();
    consumer.finish().await.ok()
}

#[tokio::test]
async fn the_classic_programs_ride_out_kill_9_and_lose_nothing() {
    let broker = Broker::start().await;
    let (producer, consumer) = started(&broker).await;
    let broker = broker.kill().await.start().await;
    let consumer = finished(&broker, producer, consumer).await;
    let mut values = printed(&consumer);
    values.sort_unstable();
    values.dedup();
    assert_eq!(values, (0..400).map(|n| n * n).collect::<Vec<_>>());
    let stats = broker.stats("q").await;
    assert_eq!((stats.published_total, stats.dead), (400, 0), "{stats:?}");
}

#[tokio::test]
async fn the_classic_programs_ride_out_an_orderly_restart_and_repeat_nothing() {
    let broker = Broker::start().await;
    let (producer, consumer) = started(&broker).await;
    let (status, launch) = broker.terminate().await;
    assert!(status.success(), "{status}");
    let broker = launch.start().await;
    let consumer = finished(&broker, producer, consumer).await;
    let values: Vec<_> = (0..400).map(|n| n * n).collect();
    assert_eq!(printed(&consumer), values, "each once, in order");
    assert_eq!(broker.stats("q").await.failed_attempts_total, 0);
}

#[tokio::test]
async fn a_memory_broker_comes_back_empty_and_the_programs_go_on() {
    let broker = Launch::in_memory().start().await;
    let mut producer = broker.producer(&["q", "generate", "--count", "400", "--interval", "5ms"]);
    producer.line().await;
    let broker = broker.kill().await.start().await;
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
    for launch in [Launch::in_memory(), Launch::durable()] {
        let broker = launch.start().await;
        let mut consumer = broker.consumer(&["q", "print", "--raw", "--count", "2"]);
        broker
            .producer(&["q", "send"])
            .finish_with(b"before\n")
            .await
            .ok();
        assert_eq!(consumer.line().await, "before");
        broker.stats_when("q", |stats| stats.acked_total == 1).await;
        let broker = broker.kill().await.start().await;
        broker
            .producer(&["q", "send"])
            .finish_with(b"after\n")
            .await
            .ok();
        assert_eq!(consumer.finish().await.ok().stdout, "after\n");
    }
}

#[tokio::test]
async fn items_in_hand_when_the_grace_is_over_come_again() {
    let launch = Launch::durable().and(&["--grace", "500ms"]);
    let broker = launch.start().await;
    broker
        .producer(&["q", "send"])
        .finish_with(b"slow\n")
        .await
        .ok();
    let slow = broker.consumer(&["q", "exec", "--", "sleep", "60"]);
    broker.stats_when("q", |stats| stats.leased == 1).await;
    let (status, launch) = broker.terminate().await;
    assert_eq!(status.code(), Some(75), "stopped with items in hand");
    slow.kill().await;
    let broker = launch.start().await;
    let consumer = broker.consumer(&["q", "print", "--raw", "--until-drained"]);
    assert_eq!(consumer.finish().await.ok().stdout, "slow\n");
    let stats = broker.stats("q").await;
    assert_eq!((stats.acked_total, stats.failed_attempts_total), (1, 1));
}

#[tokio::test]
async fn a_second_broker_on_the_same_directory_refuses() {
    let launch = Launch::durable();
    let broker = launch.clone().start().await;
    let second = launch.elsewhere().refused().await;
    assert_eq!(second.code, Some(1), "{second:?}");
    let said = "the data directory is in use; stop the other broker";
    assert!(second.stderr.contains(said), "{second:?}");
    assert!(!second.stderr.contains("panicked"), "{second:?}");
    broker
        .producer(&["q", "send"])
        .finish_with(b"still here\n")
        .await
        .ok();
}

#[tokio::test]
async fn a_file_in_place_of_the_data_directory_is_named_and_left_alone() {
    let scratch = crate::scratch::Scratch::new();
    let file = scratch.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    for data in [file.clone(), file.join("below")] {
        let refused = Launch::on(&data).refused().await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        let data = data.to_str().unwrap();
        assert!(refused.stderr.contains(data), "{refused:?}");
        assert!(!refused.stderr.contains("panicked"), "{refused:?}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
}

#[tokio::test]
async fn a_disk_that_fails_ends_the_broker_and_what_was_confirmed_is_there_again() {
    let broker = Launch::durable().whose_writes_can_fail().start().await;
    let producer = broker.client().producer("q").open();
    for number in 0..10 {
        producer
            .publish(Item::new(number.to_string()))
            .await
            .unwrap();
    }
    broker.break_disk();
    // Its outcome is unknown at first; the client asks again once somebody has started the broker.
    let (late, (status, broker)) = tokio::join!(producer.publish(Item::new("late")), async {
        let (status, launch) = broker.ended().await;
        (status, launch.start().await)
    });
    assert_eq!(status.code(), Some(74), "{status}");
    late.unwrap();
    let stats = broker.stats("q").await;
    assert_eq!((stats.published_total, stats.ready), (11, 11), "{stats:?}");
}
