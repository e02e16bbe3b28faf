//! Joins, closed queues, and streams that end because there is nothing more to do.

use baton_proto::v1::consume_request::Request as Sent;
use baton_proto::v1::*;

use crate::support::*;

#[tokio::test]
async fn join_returns_when_the_last_item_is_settled_and_counts() {
    let mut fixture = broker().await;
    fixture.publish("q", items(3)).await.unwrap();
    let leased = fixture.lease("q", 3).await;
    fixture.settle("q", &leased[0], ack()).await;
    let reject = lease_settle::Action::Nack(Nack {
        dead_letter: true,
        ..Nack::default()
    });
    fixture.settle("q", &leased[1], reject).await;
    let request = JoinRequest {
        queue: "q".into(),
        ..JoinRequest::default()
    };
    let not_yet = fixture.queues.join(request).await.unwrap().into_inner();
    assert_eq!((not_yet.done, not_yet.pending), (false, 1));
    let mut other = Fixture {
        queues: fixture.queues.clone(),
        ..broker().await
    };
    let mut joined = std::pin::pin!(other.join("q"));
    // Long enough for the call to be there: one that answers too early has answered by then.
    let early = tokio::time::timeout(std::time::Duration::from_millis(200), &mut joined).await;
    assert!(early.is_err(), "an item is not settled yet: {early:?}");
    fixture.settle("q", &leased[2], ack()).await;
    let joined = joined.await;
    assert_eq!(
        (joined.done, joined.up_to, joined.acked, joined.dead),
        (true, 3, 2, 1)
    );
}

#[tokio::test]
async fn a_closed_queue_refuses_publishes_and_ends_its_consumers_when_drained() {
    let mut fixture = broker().await;
    fixture.publish("q", items(1)).await.unwrap();
    let mut consumer = fixture.consume(start("q", 10)).await;
    consumer.take(1).await;
    fixture
        .queues
        .close_queue(CloseQueueRequest { queue: "q".into() })
        .await
        .unwrap();
    let refused = fixture.publish("q", items(1)).await.unwrap_err();
    assert_refused(&refused, tonic::Code::FailedPrecondition, "QUEUE_CLOSED");
    assert_eq!(consumer.ack(1, 1).await, [(1, 1, SettleOutcome::Ok)]);
    assert_eq!(consumer.next().await.unwrap(), None);
}

#[tokio::test]
async fn until_drained_ends_a_stream_on_an_empty_queue() {
    let mut fixture = broker().await;
    fixture.publish("q", items(1)).await.unwrap();
    let mut consumer = fixture
        .consume(ConsumeStart {
            until_drained: true,
            ..start("q", 10)
        })
        .await;
    consumer.take(1).await;
    consumer.ack(1, 1).await;
    assert_eq!(consumer.next().await.unwrap(), None);
}

#[tokio::test]
async fn a_drained_stream_gets_nothing_more_and_ends_when_all_is_settled() {
    let mut fixture = broker().await;
    fixture.publish("q", items(3)).await.unwrap();
    let mut consumer = fixture.consume(start("q", 2)).await;
    consumer.take(2).await;
    consumer.send(Sent::Drain(Drain {})).await;
    consumer
        .send(Sent::Credit(Credit { items: 5, bytes: 0 }))
        .await;
    assert_eq!(consumer.ack(1, 2).await, [(1, 2, SettleOutcome::Ok)]);
    assert_eq!(consumer.next().await.unwrap(), None);
    assert_eq!(fixture.stats("q").await.ready, 1);
}

#[tokio::test]
async fn a_consumer_that_has_said_all_gets_an_orderly_end() {
    let mut fixture = broker().await;
    let mut consumer = fixture.consume(start("q", 1)).await;
    consumer.half_close();
    assert_eq!(consumer.next().await.unwrap(), None);
    fixture.stats_when("q", |stats| stats.consumers == 0).await;
}
