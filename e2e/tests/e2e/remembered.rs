//! What a broker knows after kill -9, beside items: queues and their settings, times, keys, sequences, and what failed why.

use std::time::{Duration, Instant, SystemTime};

use baton_client::{
    Delivery, Error, ErrorCode, FailureReason, Item, Nack, Queue, QueueBackoff, QueueConfig,
    Settled,
};
use tokio::time::timeout;

use crate::broker::Broker;
use crate::processes::PATIENCE;

async fn killed(broker: Broker) -> Broker {
    broker.kill().await.start().await
}

async fn next(queue: &Queue) -> Delivery {
    timeout(PATIENCE, queue.get())
        .await
        .expect("an item")
        .unwrap()
}

fn config(max_items: u64) -> QueueConfig {
    QueueConfig {
        max_items,
        ..QueueConfig::default()
    }
}

#[tokio::test]
async fn queues_and_their_settings_are_as_they_were_left() {
    let mut broker = Broker::start().await;
    let client = broker.client();
    let queue = |n: u64| client.queue(format!("q{n}"));
    for n in 0..20 {
        queue(n).create(config(100 + n)).await.unwrap();
        // The log has to keep queues apart.
        queue(n)
            .publish_one(Item::new(n.to_string()))
            .await
            .unwrap();
    }
    broker = killed(broker).await;
    queue(1).update(config(7)).await.unwrap();
    queue(2).pause().await.unwrap();
    queue(3).close().await.unwrap();
    queue(4).delete(true).await.unwrap();
    queue(5).delete(true).await.unwrap();
    queue(5).create(config(55)).await.unwrap();
    for _ in 0..2 {
        broker = killed(broker).await;
        let names: Vec<_> = client.queues("q").await.unwrap();
        assert_eq!(names.len(), 19, "one is deleted");
        assert_eq!(queue(0).config().await.unwrap().max_items, 100);
        assert_eq!(queue(1).config().await.unwrap().max_items, 7);
        assert!(queue(2).config().await.unwrap().paused);
        assert!(queue(3).config().await.unwrap().closed);
        let gone = queue(4).stats().await.unwrap_err();
        assert_eq!(gone.code(), Some(ErrorCode::QueueNotFound));
        let anew = queue(5).stats().await.unwrap();
        assert_eq!((anew.ready, anew.last_item_id), (0, 0), "{anew:?}");
        assert_eq!(queue(5).config().await.unwrap().max_items, 55);
    }
    for n in (6..20).chain([0, 1, 3]) {
        let delivery = next(&queue(n)).await;
        assert_eq!(delivery.payload(), &n.to_string());
        assert_eq!(delivery.ack().await.unwrap(), Settled::Done);
    }
}

#[tokio::test]
async fn a_lease_of_a_deleted_queue_is_none_of_its_successor() {
    let broker = Broker::start().await;
    let queue = broker.client().queue("q");
    queue.publish_one(Item::new("old")).await.unwrap();
    let old = next(&queue).await;
    let _broker = killed(broker).await;
    queue.delete(true).await.unwrap();
    queue.create(QueueConfig::default()).await.unwrap();
    queue.publish_one(Item::new("new")).await.unwrap();
    let new = next(&queue).await;
    assert_eq!((new.item_id(), old.item_id()), (1, 1));
    assert_eq!(old.ack().await.unwrap(), Settled::LeaseLost);
    assert_eq!(new.ack().await.unwrap(), Settled::Done);
}

#[tokio::test]
async fn nothing_scheduled_comes_early_or_not_at_all() {
    const DELAY: Duration = Duration::from_secs(3);
    let broker = Broker::start().await;
    let queue = broker.client().queue("q");
    queue.publish_one(Item::new("retried")).await.unwrap();
    let first = next(&queue).await;
    let began = Instant::now();
    let at = SystemTime::now() + DELAY;
    queue
        .publish_one(Item::new("delayed").delay(DELAY))
        .await
        .unwrap();
    queue
        .publish_one(Item::new("timed").deliver_at(at))
        .await
        .unwrap();
    let nack = first.nack(Nack::retry().delay(DELAY).error("later")).await;
    assert_eq!(nack.unwrap(), Settled::Done);
    let broker = killed(broker).await;
    let _broker = killed(broker).await;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let delivery = next(&queue).await;
        let waited = began.elapsed();
        // The wall clock and this one may differ by a little.
        assert!(
            waited + Duration::from_millis(5) >= DELAY,
            "{delivery:?} after {waited:?}"
        );
        let text = String::from_utf8(delivery.payload().to_vec()).unwrap();
        seen.push((text, delivery.attempt(), delivery.last_error().to_owned()));
        assert_eq!(delivery.ack().await.unwrap(), Settled::Done);
    }
    seen.sort_unstable();
    let expected = [
        ("delayed", 1, ""),
        ("retried", 2, "later"),
        ("timed", 1, ""),
    ];
    assert_eq!(
        seen,
        expected.map(|(text, n, error)| (text.into(), n, error.into()))
    );
}

#[tokio::test]
async fn a_key_and_a_sequence_are_remembered_for_their_window() {
    const WINDOW: Duration = Duration::from_secs(4);
    let broker = Broker::start().await;
    let queue = broker.client().queue("q");
    let window = QueueConfig {
        dedup_window: WINDOW.try_into().ok(),
        ..QueueConfig::default()
    };
    queue.create(window).await.unwrap();
    let keyed = async || {
        queue
            .publish_one(Item::new("keyed").dedup_key("once"))
            .await
    };
    let client = broker.client();
    // As a program does that sends the same lines again after it was started anew.
    let numbered = async || {
        let producer = client.producer("q").producer_id("p").open();
        producer.publish(Item::new("numbered")).await
    };
    let began = Instant::now();
    let (key, sequence) = (keyed().await.unwrap(), numbered().await.unwrap());
    assert!(!key.duplicate && !sequence.duplicate);
    let broker = killed(broker).await;
    let _broker = killed(broker).await;
    for (again, first) in [(keyed().await, key), (numbered().await, sequence)] {
        let again = again.unwrap();
        assert!(
            began.elapsed() < WINDOW,
            "the machine is too slow for this test"
        );
        assert_eq!((again.item_id, again.duplicate), (first.item_id, true));
    }
    let forgotten = async {
        loop {
            let again = keyed().await.unwrap();
            if !again.duplicate {
                return again;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let anew = timeout(PATIENCE, forgotten).await.expect("it is forgotten");
    assert!(began.elapsed() >= WINDOW && anew.item_id > sequence.item_id);
}

#[tokio::test]
async fn dead_letters_keep_their_history_and_can_be_redriven() {
    let broker = Broker::start().await;
    let queue = broker.client().queue("q");
    let twice = QueueConfig {
        max_attempts: 2,
        backoff: Some(QueueBackoff::default()),
        ..QueueConfig::default()
    };
    queue.create(twice).await.unwrap();
    for text in ["spent", "rejected"] {
        queue.publish_one(Item::new(text)).await.unwrap();
    }
    let mut spent = next(&queue).await;
    let rejected = next(&queue).await.nack(Nack::dead_letter("hopeless"));
    assert_eq!(rejected.await.unwrap(), Settled::Done);
    let nack = Nack::retry().delay(Duration::from_millis(1));
    spent.nack(nack.clone().error("first")).await.unwrap();
    spent = next(&queue).await;
    spent.nack(nack.error("second")).await.unwrap();
    let broker = killed(broker).await;
    has_history(&queue).await;
    let broker = killed(broker).await;
    has_history(&queue).await;
    assert_eq!(queue.redrive(&[1]).await.unwrap(), 1);
    let broker = killed(broker).await;
    let again = next(&queue).await;
    assert_eq!(
        (again.item_id(), again.payload().as_ref()),
        (1, b"spent".as_slice())
    );
    assert_eq!(again.ack().await.unwrap(), Settled::Done);
    assert_eq!(queue.discard(&[2]).await.unwrap(), 1);
    let _broker = killed(broker).await;
    let left = queue.dead_letters(10, 0).await.unwrap();
    assert!(left.items.is_empty(), "{left:?}");
    let done = queue.get_nowait().await.unwrap_err();
    assert!(matches!(done, Error::QueueEmpty), "{done}");
}

async fn has_history(queue: &Queue) {
    let dead = queue.dead_letters(10, 0).await.unwrap();
    let told: Vec<_> = dead
        .items
        .iter()
        .map(|letter| {
            let why = letter.explanation.as_ref().unwrap();
            let failed = why.failed_attempts.iter();
            let errors: Vec<_> = failed.map(|failed| failed.error.as_str()).collect();
            let payload = &letter.item.as_ref().unwrap().payload;
            (payload.as_ref(), why.dead_reason(), errors)
        })
        .collect();
    let expected = [
        (
            b"spent".as_slice(),
            FailureReason::Nacked,
            vec!["first", "second"],
        ),
        (b"rejected", FailureReason::Rejected, vec!["hopeless"]),
    ];
    assert_eq!(told, expected);
}
