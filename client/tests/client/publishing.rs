//! What producers promise.

use std::time::Duration;

use baton_client::{Client, Durability, Error, ErrorCode, Receipt};
use baton_proto::opaque::{PublishConfirm, PublishStarted, publish_stream_response};
use futures_util::poll;
use tokio::net::TcpListener;
use tonic::{Code, Status};

use crate::broker::{Broker, item, payload, refusal, soon, stored};

fn receipt(item_id: u64) -> Receipt {
    Receipt {
        item_id,
        duplicate: false,
        durability: Durability::Fsynced,
    }
}

#[tokio::test]
async fn a_publish_resolves_only_once_it_is_confirmed() {
    let broker = Broker::start().await;
    let producer = broker.client().producer("orders").producer_id("me").open();
    let mut publish = std::pin::pin!(producer.publish(item("a")));
    assert!(poll!(&mut publish).is_pending());
    let mut session = broker.publish_stream().await;
    let start = session.start().await;
    assert_eq!(
        (start.queue.as_str(), start.producer_id.as_str()),
        ("orders", "me")
    );
    let hello = start.hello.unwrap();
    assert!(hello.client_version.starts_with("baton-rust/"));
    assert!(!hello.client_id.is_empty() && !hello.service_name.is_empty());
    assert!(hello.clock.is_some());
    assert_eq!(session.items(1).await, (1, vec!["a".to_owned()]));
    assert!(poll!(&mut publish).is_pending());
    session.confirm(vec![stored(1, 1, 42)]).await;
    assert_eq!(soon(publish).await.unwrap(), receipt(42));
}

#[tokio::test]
async fn no_connection_is_made_before_the_first_item() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::connect(format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let producer = client.producer("orders").open();
    soon(producer.flush()).await.unwrap();
    let mut accept = std::pin::pin!(listener.accept());
    assert!(poll!(&mut accept).is_pending());
    soon(producer.close()).await.unwrap();
    soon(client.finished()).await;
    assert!(poll!(&mut accept).is_pending());
}

#[tokio::test]
async fn a_full_window_makes_the_caller_wait_for_a_confirm() {
    let broker = Broker::start().await;
    let producer = broker.client().producer("orders").window_items(2).open();
    let _first = soon(producer.send(item("a"))).await.unwrap();
    let _second = soon(producer.send(item("b"))).await.unwrap();
    let mut third = std::pin::pin!(producer.send(item("c")));
    assert!(poll!(&mut third).is_pending());
    let mut session = broker.publish_stream().await;
    session.start().await;
    session.items(2).await;
    assert!(poll!(&mut third).is_pending());
    session.confirm(vec![stored(1, 1, 1)]).await;
    soon(third).await.unwrap();
    assert_eq!(session.items(1).await, (3, vec!["c".to_owned()]));
}

#[tokio::test]
async fn the_window_counts_bytes_and_a_larger_item_goes_alone() {
    let broker = Broker::start().await;
    let producer = broker.client().producer("orders").window_bytes(100).open();
    let _large = soon(producer.send(item(&"x".repeat(500)))).await.unwrap();
    let mut small = std::pin::pin!(producer.send(item("s")));
    assert!(poll!(&mut small).is_pending());
    let mut session = broker.publish_stream().await;
    session.start().await;
    session.items(1).await;
    session.confirm(vec![stored(1, 1, 1)]).await;
    soon(small).await.unwrap();
    assert_eq!(producer.unconfirmed(), 1);
}

#[tokio::test]
async fn after_a_cut_the_same_sequences_are_sent_again_and_each_publish_resolves_once() {
    let broker = Broker::start().await;
    let producer = broker.client().producer("orders").open();
    let mut confirms = Vec::new();
    for payload in ["a", "b", "c"] {
        confirms.push(soon(producer.send(item(payload))).await.unwrap());
    }
    let mut session = broker.publish_stream().await;
    let before = session.start().await;
    session.items(3).await;
    session.confirm(vec![stored(1, 1, 1)]).await;
    assert_eq!(soon(confirms.remove(0)).await.unwrap(), receipt(1));
    broker.cut();

    let mut session = broker.publish_stream().await;
    assert_eq!(session.start().await.producer_id, before.producer_id);
    let again = session.items(2).await;
    assert_eq!(again, (2, vec!["b".to_owned(), "c".to_owned()]));
    let duplicate = PublishConfirm {
        duplicate: true,
        ..stored(2, 1, 2)
    };
    session.confirm(vec![duplicate, stored(3, 1, 3)]).await;
    let second = soon(confirms.remove(0)).await.unwrap();
    assert!(second.duplicate && second.item_id == 2);
    assert_eq!(soon(confirms.remove(0)).await.unwrap(), receipt(3));

    let fourth = soon(producer.send(item("d"))).await.unwrap();
    assert_eq!(session.items(1).await, (4, vec!["d".to_owned()]));
    session.confirm(vec![stored(4, 1, 4)]).await;
    assert_eq!(soon(fourth).await.unwrap(), receipt(4));
}

#[tokio::test]
async fn a_refused_item_fails_alone() {
    let broker = Broker::start().await;
    let producer = broker.client().producer("orders").open();
    let mut confirms = Vec::new();
    for payload in ["a", "b", "c"] {
        confirms.push(soon(producer.send(item(payload))).await.unwrap());
    }
    let mut session = broker.publish_stream().await;
    session.start().await;
    session.items(3).await;
    let refused = PublishConfirm {
        error: ErrorCode::ItemTooLarge.into(),
        error_message: "too large".to_owned(),
        ..stored(2, 1, 0)
    };
    session
        .confirm(vec![stored(1, 1, 1), refused, stored(3, 1, 2)])
        .await;
    let outcomes = soon(futures_util::future::join_all(confirms)).await;
    assert_eq!(outcomes[0].as_ref().unwrap().item_id, 1);
    let error = outcomes[1].as_ref().unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::ItemTooLarge));
    assert_eq!(outcomes[2].as_ref().unwrap().item_id, 2);
    assert!(
        soon(producer.flush()).await.is_err(),
        "the first error since the last flush"
    );
    soon(producer.flush()).await.unwrap();
}

#[tokio::test]
async fn a_batch_may_be_confirmed_in_pieces() {
    let broker = Broker::start().await;
    let producer = broker.client().producer("orders").open();
    let first = soon(producer.send(item("a"))).await.unwrap();
    let second = soon(producer.send(item("b"))).await.unwrap();
    let mut session = broker.publish_stream().await;
    session.start().await;
    session.items(2).await;
    session.confirm(vec![stored(1, 1, 7)]).await;
    assert_eq!(soon(first).await.unwrap(), receipt(7));
    let mut flush = std::pin::pin!(producer.flush());
    assert!(poll!(&mut flush).is_pending());
    session.confirm(vec![stored(2, 1, 9)]).await;
    assert_eq!(soon(second).await.unwrap(), receipt(9));
    soon(flush).await.unwrap();
}

#[tokio::test]
async fn a_permanent_error_is_everybodys_answer() {
    let broker = Broker::start().await;
    let producer = broker.client().producer("orders").window_items(1).open();
    let waiting = soon(producer.send(item("a"))).await.unwrap();
    let mut without_room = std::pin::pin!(producer.send(item("b")));
    assert!(poll!(&mut without_room).is_pending());
    let mut session = broker.publish_stream().await;
    session.start().await;
    let status = refusal(Code::FailedPrecondition, ErrorCode::QueueClosed, None);
    session.fail(status).await;
    let closed = Some(ErrorCode::QueueClosed);
    assert_eq!(soon(waiting).await.unwrap_err().code(), closed);
    assert_eq!(soon(without_room).await.unwrap_err().code(), closed);
    let later = soon(producer.publish(item("c"))).await;
    assert_eq!(later.unwrap_err().code(), closed);
    assert_eq!(soon(producer.close()).await.unwrap_err().code(), closed);
}

#[tokio::test]
async fn a_transient_refusal_is_retried() {
    let broker = Broker::start().await;
    let producer = broker.client().producer("orders").open();
    let confirm = soon(producer.send(item("a"))).await.unwrap();
    let mut session = broker.publish_stream().await;
    session.start().await;
    let delay = Some(Duration::from_millis(20));
    let status = refusal(Code::ResourceExhausted, ErrorCode::LimitReached, delay);
    session.fail(status).await;
    let mut session = broker.publish_stream().await;
    session.start().await;
    assert_eq!(session.items(1).await.0, 1);
    session.confirm(vec![stored(1, 1, 1)]).await;
    assert_eq!(soon(confirm).await.unwrap(), receipt(1));
}

#[tokio::test]
async fn without_a_broker_a_producer_gives_up_and_may_be_used_again() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let client = Client::builder(format!("http://{address}"))
        .give_up_after(Duration::from_millis(100))
        .build()
        .unwrap();
    let producer = client.producer("orders").open();
    for _ in 0..2 {
        let error = soon(producer.publish(item("a"))).await.unwrap_err();
        let Error::GaveUp { after, last } = error else {
            panic!("{error}");
        };
        assert_eq!(after, Duration::from_millis(100));
        assert!(matches!(*last, Error::Connect { .. }), "{last}");
    }
    assert!(matches!(
        soon(producer.close()).await,
        Err(Error::GaveUp { .. })
    ));
}

#[tokio::test]
async fn a_full_queue_is_no_reason_to_give_up() {
    let broker = Broker::start().await;
    let patience = Duration::from_millis(50);
    let client = broker.settings().give_up_after(patience).build().unwrap();
    let producer = client.producer("orders").open();
    let mut confirm = soon(producer.send(item("a"))).await.unwrap();
    let mut session = broker.publish_stream().await;
    session.start().await;
    session.batch().await;
    let still_waiting = tokio::time::timeout(patience * 4, &mut confirm).await;
    assert!(still_waiting.is_err());
    session.confirm(vec![stored(1, 1, 1)]).await;
    assert_eq!(soon(confirm).await.unwrap(), receipt(1));
}

#[tokio::test]
async fn a_cancelled_publish_leaves_the_window_intact() {
    let broker = Broker::start().await;
    let producer = broker.client().producer("orders").window_items(1).open();
    {
        let mut in_the_window = std::pin::pin!(producer.publish(item("a")));
        assert!(poll!(&mut in_the_window).is_pending());
    }
    assert_eq!(
        producer.unconfirmed(),
        1,
        "its place is held until it is confirmed"
    );
    let mut third = std::pin::pin!(producer.send(item("c")));
    {
        let mut waits_for_room = std::pin::pin!(producer.publish(item("b")));
        assert!(poll!(&mut waits_for_room).is_pending());
        assert!(poll!(&mut third).is_pending());
    }
    let mut session = broker.publish_stream().await;
    session.start().await;
    assert_eq!(session.items(1).await, (1, vec!["a".to_owned()]));
    assert!(poll!(&mut third).is_pending());
    session.confirm(vec![stored(1, 1, 1)]).await;
    soon(third).await.unwrap();
    assert_eq!(session.items(1).await, (2, vec!["c".to_owned()]));
}

#[tokio::test]
async fn a_batch_keeps_to_the_brokers_limits() {
    let broker = Broker::start().await;
    let producer = broker.client().producer("orders").open();
    let _first = soon(producer.send(item("a"))).await.unwrap();
    let mut session = broker.publish_stream().await;
    session.start().await;
    session.items(1).await;
    let started = PublishStarted {
        max_batch_items: 2,
        ..PublishStarted::default()
    };
    session
        .respond(publish_stream_response::Response::Started(started))
        .await;
    session.confirm(vec![stored(1, 1, 1)]).await;
    soon(producer.flush()).await.unwrap();
    for _ in 0..5 {
        let _later = soon(producer.send(item("b"))).await.unwrap();
    }
    let mut sizes = Vec::new();
    while sizes.iter().sum::<usize>() < 5 {
        sizes.push(session.batch().await.items.len());
    }
    assert!(sizes.iter().all(|items| *items <= 2), "{sizes:?}");
}

#[tokio::test]
async fn a_dropped_producer_still_sends_what_is_in_its_window() {
    let broker = Broker::start().await;
    let client = broker.client();
    let producer = client.producer("orders").open();
    let confirm = soon(producer.send(item("a"))).await.unwrap();
    drop(producer);
    let mut session = broker.publish_stream().await;
    session.start().await;
    session.items(1).await;
    session.confirm(vec![stored(1, 1, 5)]).await;
    assert_eq!(soon(confirm).await.unwrap(), receipt(5));
    session.ended().await;
    drop(session);
    soon(client.finished()).await;
}

#[tokio::test]
async fn a_closed_producer_takes_nothing_more_and_its_stream_ends() {
    let broker = Broker::start().await;
    let producer = broker.client().producer("orders").open();
    let _confirm = soon(producer.send(item("a"))).await.unwrap();
    let mut close = std::pin::pin!(producer.close());
    assert!(poll!(&mut close).is_pending());
    assert!(matches!(
        producer.publish(item("b")).await,
        Err(Error::Closed)
    ));
    let mut session = broker.publish_stream().await;
    session.start().await;
    session.items(1).await;
    session.confirm(vec![stored(1, 1, 1)]).await;
    session.ended().await;
    drop(session);
    soon(close).await.unwrap();
}

#[tokio::test]
async fn confirms_out_of_order_are_a_breach_of_contract() {
    let broker = Broker::start().await;
    let producer = broker.client().producer("orders").open();
    let confirm = soon(producer.send(item("a"))).await.unwrap();
    let mut session = broker.publish_stream().await;
    session.start().await;
    session.items(1).await;
    session.confirm(vec![stored(2, 1, 1)]).await;
    assert!(matches!(soon(confirm).await, Err(Error::Protocol(_))));
}

#[tokio::test]
async fn a_broker_that_ends_the_stream_is_connected_to_again() {
    let broker = Broker::start().await;
    let producer = broker.client().producer("orders").open();
    let confirm = soon(producer.send(item("a"))).await.unwrap();
    let mut session = broker.publish_stream().await;
    session.start().await;
    session.fail(Status::unavailable("draining")).await;
    let mut session = broker.publish_stream().await;
    session.start().await;
    session.items(1).await;
    session.confirm(vec![stored(1, 1, 1)]).await;
    assert_eq!(soon(confirm).await.unwrap(), receipt(1));
}

/// Stores what arrives, by sequence; confirms the first batches of each connection and cuts it after one more.
async fn serve_until(broker: &Broker, total: usize) -> Vec<String> {
    let mut stored_items: Vec<String> = Vec::new();
    for connection in 0.. {
        let mut session = broker.publish_stream().await;
        session.start().await;
        for batches_left in (0..=connection % 3).rev() {
            let batch = session.batch().await;
            let first = usize::try_from(batch.first_sequence).unwrap() - 1;
            for (n, item) in batch.items.iter().enumerate() {
                match stored_items.get(first + n) {
                    Some(known) => assert_eq!(*known, payload(item), "the same sequence"),
                    None => stored_items.push(payload(item)),
                }
            }
            if batches_left > 0 {
                let count = u32::try_from(batch.items.len()).unwrap();
                let (sequence, id) = (batch.first_sequence, batch.first_sequence);
                session.confirm(vec![stored(sequence, count, id)]).await;
                if first + batch.items.len() == total {
                    // The last confirm is still on its way: leave it the connection.
                    session.ended().await;
                    return stored_items;
                }
            }
        }
        broker.cut();
    }
    unreachable!("the loop ends with the last confirm")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_many_cuts_every_item_is_stored_once_and_in_order() {
    let broker = Broker::start().await;
    let producer = broker.client().producer("orders").window_items(7).open();
    let payloads: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    let publish = async {
        let mut confirms = Vec::new();
        for payload in &payloads {
            confirms.push(soon(producer.send(item(payload))).await.unwrap());
        }
        let receipts = soon(futures_util::future::try_join_all(confirms)).await;
        soon(producer.close()).await.unwrap();
        receipts.unwrap()
    };
    let (receipts, stored_items) = tokio::join!(publish, serve_until(&broker, payloads.len()));
    assert_eq!(stored_items, payloads);
    let ids: Vec<_> = receipts.iter().map(|receipt| receipt.item_id).collect();
    assert_eq!(ids, (1..=200).collect::<Vec<u64>>());
}
