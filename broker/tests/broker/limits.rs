//! What a client can make the broker hold is bounded, and whoever meets a bound is told or slowed down.

use baton_broker::engine::Keep;
use std::time::Duration;

use baton_proto::v1::publish_stream_response::Response as Answer;
use baton_proto::v1::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::Code;

use crate::publisher::Publisher;
use crate::support::*;

fn depth(max_items: u64) -> QueueConfig {
    QueueConfig {
        max_items,
        ..QueueConfig::default()
    }
}

#[tokio::test]
async fn a_full_queue_refuses_a_unary_batch_whole_and_says_when_to_retry() {
    let mut fixture = broker().await;
    fixture.create("q", depth(3)).await.unwrap();
    fixture.publish("q", items(2)).await.unwrap();
    let refused = fixture.publish("q", items(2)).await.unwrap_err();
    assert_refused(&refused, Code::ResourceExhausted, "QUEUE_FULL");
    use tonic_types::StatusExt as _;
    assert!(refused.get_error_details().retry_info().is_some());
    assert_eq!(fixture.stats("q").await.ready, 2);
    let never = fixture.publish("q", items(4)).await.unwrap_err();
    assert_refused(&never, Code::InvalidArgument, "BATCH_INVALID");
}

#[tokio::test]
async fn a_stream_waits_while_the_queue_is_full_and_goes_on_as_room_appears() {
    let mut fixture = broker().await;
    fixture.create("q", depth(3)).await.unwrap();
    let mut publisher = Publisher::open(&mut fixture, "q", "p").await;
    publisher.publish(1, items(5)).await;
    assert_eq!(
        publisher.confirmed().await,
        [(1, 3)],
        "as much as there was room for"
    );
    let leased = fixture.lease("q", 1).await;
    fixture.settle("q", &leased[0], ack()).await;
    assert_eq!(publisher.confirmed().await, [(4, 1)]);
    let leased = fixture.lease("q", 1).await;
    fixture.settle("q", &leased[0], ack()).await;
    assert_eq!(publisher.confirmed().await, [(5, 1)]);
    assert_eq!(fixture.stats("q").await.ready, 3);
}

#[tokio::test]
async fn nobody_overtakes_a_batch_that_waits_for_room() {
    let mut fixture = broker().await;
    fixture.create("q", depth(2)).await.unwrap();
    let mut first = Publisher::open(&mut fixture, "q", "a").await;
    first.publish(1, items(3)).await;
    assert_eq!(first.confirmed().await, [(1, 2)]);
    let refused = fixture.publish("q", items(1)).await.unwrap_err();
    assert_refused(&refused, Code::ResourceExhausted, "QUEUE_FULL");
    let mut second = Publisher::open(&mut fixture, "q", "b").await;
    second.publish(1, items(1)).await;
    let leased = fixture.lease("q", 1).await;
    fixture.settle("q", &leased[0], ack()).await;
    assert_eq!(first.confirmed().await, [(3, 1)]);
    let leased = fixture.lease("q", 1).await;
    fixture.settle("q", &leased[0], ack()).await;
    assert_eq!(second.confirmed().await, [(1, 1)]);
}

#[tokio::test]
async fn a_small_item_does_not_slip_past_a_large_one_that_waits() {
    let mut fixture = broker().await;
    let config = QueueConfig {
        max_bytes: 1000,
        ..QueueConfig::default()
    };
    fixture.create("q", config).await.unwrap();
    fixture.publish("q", vec![item([0; 600])]).await.unwrap();
    let mut publisher = Publisher::open(&mut fixture, "q", "p").await;
    publisher.publish(1, vec![item([0; 600])]).await;
    loop {
        if let Answer::Notice(notice) = publisher.next().await {
            assert_eq!(notice.kind(), NoticeKind::Full);
            break;
        }
    }
    let refused = fixture.publish("q", vec![item([0; 10])]).await.unwrap_err();
    assert_refused(&refused, Code::ResourceExhausted, "QUEUE_FULL");
}

#[tokio::test]
async fn a_publisher_is_not_read_from_beyond_its_window_while_the_queue_is_full() {
    let mut fixture = broker().await;
    fixture.create("q", depth(1)).await.unwrap();
    let publisher = Publisher::open(&mut fixture, "q", "p").await;
    // 64 batches of 1 MiB each would be 64 MiB; the windows of the stream and of HTTP/2 hold less.
    let mut sent = 0;
    let push = async {
        for sequence in 1..=64 {
            publisher
                .publish(sequence, vec![item(vec![0; 1 << 20])])
                .await;
            sent += 1;
        }
    };
    let all_went = timeout(Duration::from_secs(2), push).await.is_ok();
    assert!(!all_went, "the broker took everything");
    assert!(
        (4..40).contains(&sent),
        "{sent} batches went in before it stopped reading"
    );
}

#[tokio::test]
async fn an_item_that_never_fits_is_refused_without_its_neighbours() {
    let mut fixture = broker().await;
    let config = QueueConfig {
        max_bytes: 100,
        ..QueueConfig::default()
    };
    fixture.create("q", config).await.unwrap();
    let mut publisher = Publisher::open(&mut fixture, "q", "p").await;
    let batch = vec![item([0; 1]), item([0; 200]), item([0; 1])];
    publisher.publish(1, batch).await;
    let confirms = loop {
        if let Answer::Confirms(confirms) = publisher.next().await {
            break confirms.confirms;
        }
    };
    let confirms: Vec<_> = confirms
        .iter()
        .map(|confirm| (confirm.first_sequence, confirm.count, confirm.error()))
        .collect();
    let (good, bad) = (ErrorCode::Unspecified, ErrorCode::BatchInvalid);
    assert_eq!(confirms, [(1, 1, good), (2, 1, bad), (3, 1, good)]);
}

#[tokio::test]
async fn what_waits_for_room_is_forgotten_with_its_stream() {
    let mut fixture = broker().await;
    fixture.create("q", depth(1)).await.unwrap();
    let mut publisher = Publisher::open(&mut fixture, "q", "p").await;
    publisher.publish(1, items(2)).await;
    publisher.confirmed().await;
    drop(publisher);
    fixture.stats_when("q", |stats| stats.producers == 0).await;
    let leased = fixture.lease("q", 1).await;
    fixture.settle("q", &leased[0], ack()).await;
    assert_eq!(
        fixture.stats("q").await.published_total,
        1,
        "unconfirmed, so its producer sends it again"
    );
}

#[tokio::test]
async fn memory_over_all_queues_is_bounded() {
    let mut fixture = broker_with(|config| config.keep = Keep::Memory { bytes_max: 9_000 }).await;
    for n in 0..9 {
        fixture
            .publish(&format!("q{n}"), vec![item(vec![0; 1000])])
            .await
            .unwrap();
    }
    let refused = fixture.publish("q", items(1)).await.unwrap_err();
    assert_refused(&refused, Code::ResourceExhausted, "QUEUE_FULL");
    assert!(refused.message().contains("--memory-limit"));
    let leased = fixture.lease("q3", 1).await;
    fixture.settle("q3", &leased[0], ack()).await;
    fixture.publish("q", items(1)).await.unwrap();
}

#[tokio::test]
async fn a_consumer_that_never_reads_holds_back_a_bounded_part_and_others_get_the_rest() {
    let mut fixture = broker().await;
    for _ in 0..20 {
        fixture
            .publish("q", vec![item(vec![0; 4000]); 1000])
            .await
            .unwrap();
    }
    let deaf = fixture.consume(start("q", 1_000_000)).await;
    // Nothing is read: the windows fill (8 MiB at most), then the outbox (16 messages of 256 KiB), and then it gets no more.
    let settle = async {
        let mut leased = 0;
        loop {
            let now = fixture.stats("q").await.leased;
            if now > 0 && now == leased {
                return now;
            }
            leased = now;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let leased = timeout(PATIENCE, settle).await.unwrap();
    assert!(
        leased < 10_000,
        "{leased} of 20000 items are with a client that reads none"
    );
    let others = fixture.lease("q", 1000).await;
    assert!(!others.is_empty());
    deaf.hang_up();
}

#[tokio::test]
async fn a_thousand_connections_that_say_nothing_are_harmless() {
    let mut fixture = broker().await;
    let mut silent = Vec::new();
    for _ in 0..1000 {
        silent.push(TcpStream::connect(fixture.broker.grpc).await.unwrap());
    }
    fixture.publish("q", items(1)).await.unwrap();
    assert_eq!(ids(&fixture.lease("q", 1).await), [1]);
    let mut first = silent.remove(0);
    first.write_all(b"P").await.unwrap();
    let closed = timeout(PATIENCE, async {
        while first.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {}
    });
    assert!(
        closed.await.is_ok(),
        "a silent connection is closed after a while"
    );
}

#[tokio::test]
async fn a_unary_lease_stops_before_its_reply_is_more_than_clients_accept() {
    let mut fixture = broker().await;
    fixture
        .publish("q", vec![item([0; 100_000]); 40])
        .await
        .unwrap();
    let leased = fixture.lease("q", 1000).await;
    assert_eq!(
        leased.len(),
        11,
        "the item that reaches 1 MiB is the last one"
    );
}
