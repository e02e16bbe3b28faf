//! Items go from producers to consumers and are settled.

use baton_proto::v1::consume_request::Request as Sent;
use baton_proto::v1::*;
use tokio_stream::StreamExt as _;

use crate::support::*;

#[tokio::test]
async fn unary_calls_do_everything() {
    let mut fixture = broker().await;
    let published = fixture.publish("q", items(3)).await.unwrap();
    assert_eq!(published.durability(), durability());
    assert_eq!(
        published
            .results
            .iter()
            .map(|result| result.item_id)
            .collect::<Vec<_>>(),
        [1, 2, 3]
    );
    let leased = fixture.lease("q", 2).await;
    assert_eq!(ids(&leased), [1, 2]);
    assert_eq!(leased[1].item.as_ref().unwrap().payload, "1");
    assert_eq!(leased[0].attempt, 1);
    assert_eq!(
        fixture.settle("q", &leased[0], ack()).await,
        SettleOutcome::Ok
    );
    assert_eq!(
        fixture.settle("q", &leased[0], ack()).await,
        SettleOutcome::AlreadySettled
    );
    assert_eq!(
        fixture.settle("q", &leased[1], nack("no luck")).await,
        SettleOutcome::Ok
    );
    let again = fixture.lease("q", 1).await;
    assert_eq!(
        (
            again[0].item_id,
            again[0].attempt,
            again[0].last_error.as_str()
        ),
        (2, 2, "no luck")
    );
    assert_eq!(
        fixture.settle("q", &leased[1], ack()).await,
        SettleOutcome::AlreadySettled,
        "of the first attempt"
    );
    assert_eq!(
        fixture.settle("q", &again[0], ack()).await,
        SettleOutcome::Ok
    );
}

#[tokio::test]
async fn a_long_poll_is_answered_when_an_item_comes() {
    let mut fixture = broker().await;
    let mut queues = fixture.queues.clone();
    let waiting = LeaseRequest {
        queue: "q".into(),
        wait: seconds(20),
        ..LeaseRequest::default()
    };
    let poll = async { queues.lease(waiting).await.unwrap().into_inner().items };
    let publish = async {
        fixture.stats_when_exists("q").await;
        fixture.publish("q", items(1)).await.unwrap();
    };
    let (leased, ()) = tokio::join!(poll, publish);
    assert_eq!(ids(&leased), [1]);
}

#[tokio::test]
async fn a_poll_that_does_not_wait_comes_back_empty() {
    let mut fixture = broker().await;
    let request = LeaseRequest {
        queue: "q".into(),
        ..LeaseRequest::default()
    };
    assert!(
        fixture
            .queues
            .lease(request)
            .await
            .unwrap()
            .into_inner()
            .items
            .is_empty()
    );
}

#[tokio::test]
async fn a_stream_gets_what_it_has_credit_for_and_acks_by_range() {
    let mut fixture = broker().await;
    fixture.publish("q", items(10)).await.unwrap();
    let mut consumer = fixture.consume(start("q", 4)).await;
    let taken = consumer.take(4).await;
    assert_eq!(ids(&taken), [1, 2, 3, 4]);
    assert_eq!(
        taken
            .iter()
            .map(|delivery| delivery.delivery_id)
            .collect::<Vec<_>>(),
        [1, 2, 3, 4]
    );
    assert_eq!(consumer.ack(1, 3).await, [(1, 3, SettleOutcome::Ok)]);
    let stats = fixture.stats("q").await;
    assert_eq!(
        (stats.ready, stats.leased, stats.acked_total),
        (6, 1, 3),
        "settling gives no credit back"
    );
    consumer
        .send(Sent::Credit(Credit {
            items: 100,
            bytes: 0,
        }))
        .await;
    assert_eq!(ids(&consumer.take(6).await), [5, 6, 7, 8, 9, 10]);
    assert_eq!(
        consumer.ack(2, 10).await,
        [
            (2, 3, SettleOutcome::AlreadySettled),
            (4, 10, SettleOutcome::Ok)
        ]
    );
}

#[tokio::test]
async fn byte_credit_stops_after_the_item_that_overdraws_it() {
    let mut fixture = broker().await;
    fixture
        .publish("q", vec![item([0; 100]), item([0; 100]), item([0; 100])])
        .await
        .unwrap();
    let mut begin = start("q", 10);
    begin.credit = Some(Credit {
        items: 10,
        bytes: 150,
    });
    let mut consumer = fixture.consume(begin).await;
    assert_eq!(ids(&consumer.take(2).await), [1, 2]);
    consumer
        .send(Sent::Credit(Credit {
            items: 0,
            bytes: 100,
        }))
        .await;
    assert_eq!(ids(&consumer.take(1).await), [3]);
}

#[tokio::test]
async fn items_of_a_lost_connection_come_back_and_a_lease_settles_from_another_one() {
    let mut fixture = broker().await;
    fixture.publish("q", items(2)).await.unwrap();
    let mut begin = start("q", 10);
    begin.disconnect_grace = millis(1);
    let mut lost = fixture.consume(begin).await;
    lost.take(2).await;
    lost.hang_up();
    let mut begin = start("q", 10);
    begin.disconnect_grace = seconds(60);
    let mut second = fixture.consume(begin).await;
    let again = second.take(2).await;
    assert!(again.iter().all(|delivery| delivery.attempt == 2));
    second.hang_up();
    fixture.stats_when("q", |stats| stats.consumers == 0).await;
    assert_eq!(
        fixture.settle("q", &again[0], ack()).await,
        SettleOutcome::Ok,
        "within its grace"
    );
    assert_eq!(
        fixture.settle("q", &again[1], ack()).await,
        SettleOutcome::Ok,
        "within its grace"
    );
}

#[tokio::test]
async fn an_idle_consumer_is_served_before_a_busy_one() {
    let mut fixture = broker().await;
    let mut busy = fixture.consume(start("q", 100)).await;
    fixture.publish("q", items(5)).await.unwrap();
    busy.take(5).await;
    let mut idle = fixture.consume(start("q", 100)).await;
    fixture.stats_when("q", |stats| stats.consumers == 2).await;
    fixture.publish("q", items(1)).await.unwrap();
    assert_eq!(ids(&idle.take(1).await), [6]);
}

#[tokio::test]
async fn many_items_are_shared_among_consumers() {
    let mut fixture = broker().await;
    let mut consumers = [
        fixture.consume(start("q", 100)).await,
        fixture.consume(start("q", 100)).await,
    ];
    fixture.stats_when("q", |stats| stats.consumers == 2).await;
    fixture.publish("q", items(100)).await.unwrap();
    let first = consumers[0].take(50).await;
    let second = consumers[1].take(50).await;
    assert_eq!((first.len(), second.len()), (50, 50));
}

#[tokio::test]
async fn a_publish_stream_confirms_and_knows_repeats() {
    let mut fixture = broker().await;
    let batch = |first_sequence, count| PublishBatch {
        first_sequence,
        items: items(count),
    };
    let requests = [
        publish_stream_request::Request::Start(publish_start("q")),
        publish_stream_request::Request::Batch(batch(1, 3)),
        publish_stream_request::Request::Batch(batch(2, 4)),
        publish_stream_request::Request::Ping(Ping { nonce: 9 }),
    ];
    let confirms = publish_stream(&mut fixture, requests).await.unwrap();
    let confirms: Vec<_> = confirms
        .iter()
        .map(|c| (c.first_sequence, c.count, c.first_item_id, c.duplicate))
        .collect();
    assert_eq!(
        confirms,
        [(1, 3, 1, false), (2, 2, 2, true), (4, 2, 4, false)]
    );
    assert_eq!(fixture.stats("q").await.published_total, 5);
}

#[tokio::test]
async fn a_unary_retry_with_its_sequence_makes_no_second_item() {
    let mut fixture = broker().await;
    let request = PublishRequest {
        queue: "q".into(),
        producer_id: "p".into(),
        first_sequence: 5,
        items: items(2),
    };
    let first = fixture
        .queues
        .publish(request.clone())
        .await
        .unwrap()
        .into_inner();
    let second = fixture.queues.publish(request).await.unwrap().into_inner();
    assert!(second.results.iter().all(|result| result.duplicate));
    assert_eq!(first.results[1].item_id, second.results[1].item_id);
}

#[tokio::test]
async fn a_dedup_key_keeps_the_first_item() {
    let mut fixture = broker().await;
    let keyed = |payload: &str| Item {
        dedup_key: "k".into(),
        ..item(payload)
    };
    fixture
        .publish("q", vec![keyed("a"), item("b")])
        .await
        .unwrap();
    let again = fixture
        .publish("q", vec![item("c"), keyed("d")])
        .await
        .unwrap();
    assert_eq!(
        (again.results[1].duplicate, again.results[1].item_id),
        (true, 1)
    );
    assert_eq!(fixture.stats("q").await.ready, 3);
}

#[tokio::test]
async fn a_delayed_item_comes_when_it_is_due_and_not_before() {
    let mut fixture = broker().await;
    let begun = std::time::Instant::now();
    let delay = item::Schedule::Delay(seconds(1).unwrap());
    fixture
        .publish(
            "q",
            vec![
                Item {
                    schedule: Some(delay),
                    ..item("later")
                },
                item("now"),
            ],
        )
        .await
        .unwrap();
    assert_eq!(ids(&fixture.lease("q", 10).await), [2]);
    assert_eq!(ids(&fixture.lease("q", 10).await), [1]);
    assert!(begun.elapsed() >= std::time::Duration::from_secs(1));
}

#[tokio::test]
async fn an_extended_lease_outlives_its_first_deadline() {
    let mut fixture = broker().await;
    fixture.publish("q", items(1)).await.unwrap();
    let mut begin = start("q", 1);
    begin.lease_duration = seconds(1);
    let mut consumer = fixture.consume(begin).await;
    consumer.take(1).await;
    let action = Some(delivery_settle::Action::Extend(Extend {
        lease_duration: seconds(30),
    }));
    let settle = DeliverySettle {
        first: 1,
        last: 0,
        action,
        stamps: vec![],
    };
    consumer
        .send(Sent::Settle(SettleBatch {
            settle_id: 1,
            deliveries: vec![settle],
            leases: vec![],
        }))
        .await;
    assert_eq!(
        consumer.settled().await.deliveries[0].outcome(),
        SettleOutcome::Ok
    );
    let other = LeaseRequest {
        queue: "q".into(),
        wait: Some(prost_types::Duration {
            seconds: 1,
            nanos: 200_000_000,
        }),
        ..LeaseRequest::default()
    };
    assert!(
        fixture
            .queues
            .lease(other)
            .await
            .unwrap()
            .into_inner()
            .items
            .is_empty()
    );
    assert_eq!(consumer.ack(1, 1).await, [(1, 1, SettleOutcome::Ok)]);
}

#[tokio::test]
async fn a_lease_that_runs_out_is_lost_and_its_item_comes_again() {
    let mut fixture = broker().await;
    fixture.publish("q", items(1)).await.unwrap();
    fixture
        .update(
            "q",
            QueueConfig {
                backoff: no_backoff(),
                ..QueueConfig::default()
            },
            "backoff",
        )
        .await;
    let mut begin = start("q", 2);
    begin.lease_duration = seconds(1);
    let mut consumer = fixture.consume(begin).await;
    consumer.take(1).await;
    let again = consumer.take(1).await;
    assert_eq!((again[0].delivery_id, again[0].attempt), (2, 2));
    assert_eq!(
        consumer.ack(1, 2).await,
        [(1, 1, SettleOutcome::LeaseLost), (2, 2, SettleOutcome::Ok)]
    );
}

fn no_backoff() -> Option<Backoff> {
    Some(Backoff {
        initial: seconds(0),
        max: seconds(0),
    })
}

fn publish_start(queue: &str) -> PublishStart {
    PublishStart {
        hello: hello(),
        queue: queue.into(),
        producer_id: "p".into(),
    }
}

async fn publish_stream(
    fixture: &mut Fixture,
    requests: impl IntoIterator<Item = publish_stream_request::Request>,
) -> Result<Vec<PublishConfirm>, tonic::Status> {
    let requests: Vec<_> = requests
        .into_iter()
        .map(|request| PublishStreamRequest {
            sent_ns: 0,
            down_leg_ns: None,
            request: Some(request),
        })
        .collect();
    let mut answers = fixture
        .queues
        .publish_stream(tokio_stream::iter(requests))
        .await?
        .into_inner();
    let mut confirms = Vec::new();
    while let Some(answer) = answers.next().await {
        if let Some(publish_stream_response::Response::Confirms(some)) = answer?.response {
            confirms.extend(some.confirms);
        }
    }
    Ok(confirms)
}
