//! What single calls promise.

use std::time::Duration;

use baton_client::{Client, Error, ErrorCode, Joined, Nack, Settled};
use baton_proto::opaque::{
    JoinResponse, LeaseResponse, PublishResponse, PublishResult, SettleOutcome, SettleResponse,
};
use tonic::{Code, Status};

use crate::broker::{Broker, delivery, item, payload, refusal, soon, stored};

fn published(item_id: u64) -> PublishResponse {
    PublishResponse {
        results: vec![PublishResult {
            item_id,
            ..PublishResult::default()
        }],
        durability: 2,
    }
}

#[tokio::test]
async fn try_publish_is_refused_at_once_when_the_queue_or_the_window_is_full() {
    let broker = Broker::start().await;
    let producer = broker.client().producer("orders").window_items(1).open();
    let script = async {
        let (_, reply) = broker.publish().await;
        let retry = Some(Duration::from_secs(60));
        let status = refusal(Code::ResourceExhausted, ErrorCode::QueueFull, retry);
        reply.send(Err(status)).unwrap();
    };
    let (refused, ()) = soon(async { tokio::join!(producer.try_publish(item("a")), script) }).await;
    assert!(matches!(refused, Err(Error::QueueFull)));
    let _in_the_window = soon(producer.send(item("b"))).await.unwrap();
    let refused = soon(producer.try_publish(item("c"))).await;
    assert!(matches!(refused, Err(Error::QueueFull)));
}

#[tokio::test]
async fn try_publish_repeats_its_sequence_until_the_outcome_is_known() {
    let broker = Broker::start().await;
    let producer = broker.client().producer("orders").open();
    let script = async {
        let (first, reply) = broker.publish().await;
        reply.send(Err(Status::unavailable("lost"))).unwrap();
        let (again, reply) = broker.publish().await;
        assert_eq!(first, again);
        assert_eq!(
            (first.first_sequence, payload(&first.items[0])),
            (1, "a".to_owned())
        );
        assert!(!first.producer_id.is_empty());
        reply.send(Ok(published(8))).unwrap();
        first.producer_id
    };
    let publish = producer.try_publish(item("a"));
    let (receipt, lane) = soon(async { tokio::join!(publish, script) }).await;
    assert_eq!(receipt.unwrap().item_id, 8);
    assert_eq!(producer.unconfirmed(), 0);
    let script = async {
        let (next, reply) = broker.publish().await;
        assert_eq!((next.producer_id, next.first_sequence), (lane, 2));
        reply.send(Ok(published(9))).unwrap();
    };
    let publish = producer.try_publish(item("b"));
    let (receipt, ()) = soon(async { tokio::join!(publish, script) }).await;
    assert_eq!(receipt.unwrap().item_id, 9);
}

#[tokio::test]
async fn get_nowait_says_that_the_queue_is_empty() {
    let broker = Broker::start().await;
    let queue = broker.client().queue("orders");
    let script = async {
        let (request, reply) = broker.lease().await;
        assert!(request.wait.is_none() && request.max_items == 1);
        reply.send(Ok(LeaseResponse::default())).unwrap();
    };
    let (got, ()) = soon(async { tokio::join!(queue.get_nowait(), script) }).await;
    assert!(matches!(got, Err(Error::QueueEmpty)));
}

#[tokio::test]
async fn leased_items_are_settled_together_by_their_leases() {
    let broker = Broker::start().await;
    let client = broker.client();
    let queue = client.queue("orders");
    let script = async {
        let (request, reply) = broker.lease().await;
        assert!((4..=5).contains(&request.wait.unwrap().seconds));
        let items = (1..=3).map(delivery).collect();
        reply.send(Ok(LeaseResponse { items })).unwrap();
    };
    let lease = queue.lease(3, Duration::from_secs(5));
    let (leased, ()) = soon(async { tokio::join!(lease, script) }).await;
    let [first, second, third] = leased.unwrap().try_into().unwrap();
    let (first, second) = (first.ack(), second.nack(Nack::retry()));
    drop(third);
    let (lost, reply) = broker.settle().await;
    reply.send(Err(Status::unavailable("lost"))).unwrap();
    let (request, reply) = broker.settle().await;
    assert_eq!(request, lost, "the same again");
    let leases: Vec<_> = request.settles.iter().map(|s| s.lease.clone()).collect();
    assert_eq!(leases, ["lease 1", "lease 2", "lease 3"]);
    let outcomes = [
        SettleOutcome::AlreadySettled,
        SettleOutcome::Ok,
        SettleOutcome::Ok,
    ];
    let response = SettleResponse {
        outcomes: outcomes.map(Into::into).to_vec(),
        durability: 2,
    };
    reply.send(Ok(response)).unwrap();
    assert_eq!(soon(first).await.unwrap(), Settled::AlreadySettled);
    assert_eq!(soon(second).await.unwrap(), Settled::Done);
    soon(client.finished()).await;
}

#[tokio::test]
async fn a_join_goes_on_until_it_is_done_and_keeps_its_goal() {
    let broker = Broker::start().await;
    let queue = broker.client().queue("orders");
    let script = async {
        let (request, reply) = broker.join().await;
        assert_eq!(request.up_to, 0);
        let not_yet = JoinResponse {
            up_to: 7,
            pending: 1,
            ..JoinResponse::default()
        };
        reply.send(Ok(not_yet)).unwrap();
        let (request, reply) = broker.join().await;
        assert_eq!(request.up_to, 7);
        reply.send(Err(Status::unavailable("lost"))).unwrap();
        let (_, reply) = broker.join().await;
        let done = JoinResponse {
            done: true,
            up_to: 7,
            acked: 6,
            dead: 1,
            ..JoinResponse::default()
        };
        reply.send(Ok(done)).unwrap();
    };
    let (joined, ()) = soon(async { tokio::join!(queue.join(), script) }).await;
    let expected = Joined {
        up_to: 7,
        acked: 6,
        dead: 1,
        ..Joined::default()
    };
    assert_eq!(joined.unwrap(), expected);
}

#[tokio::test]
async fn a_producer_joins_what_it_published() {
    let broker = Broker::start().await;
    let producer = broker.client().producer("orders").open();
    assert_eq!(soon(producer.join()).await.unwrap(), Joined::default());
    let _first = soon(producer.send(item("a"))).await.unwrap();
    let _second = soon(producer.send(item("b"))).await.unwrap();
    let script = async {
        let mut session = broker.publish_stream().await;
        session.start().await;
        session.items(2).await;
        session.confirm(vec![stored(1, 2, 30)]).await;
        let (request, reply) = broker.join().await;
        assert_eq!((request.after, request.up_to), (29, 31));
        let done = JoinResponse {
            done: true,
            up_to: 31,
            acked: 2,
            ..JoinResponse::default()
        };
        reply.send(Ok(done)).unwrap();
        session
    };
    let (joined, _session) = soon(async { tokio::join!(producer.join(), script) }).await;
    assert_eq!(joined.unwrap().acked, 2);
}

#[tokio::test]
async fn an_error_says_what_the_operating_system_said() {
    let client = Client::builder("http://127.0.0.1:1")
        .give_up_after(Duration::from_millis(50))
        .build()
        .unwrap();
    let unary = soon(client.queue("orders").get_nowait()).await.unwrap_err();
    let stream = soon(client.producer("orders").open().publish(item("a"))).await;
    for text in [unary.to_string(), stream.unwrap_err().to_string()] {
        assert!(text.contains("gave up after 50ms"), "{text}");
        assert!(text.contains("Connection refused"), "{text}");
    }
}
