//! The end of a broker: no new work, settles let in, streams ended, and no longer than the grace.

use std::time::{Duration, Instant};

use baton_proto::v1::consume_response::Response as Answer;
use baton_proto::v1::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Code;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};

use crate::publisher::Publisher;
use crate::support::*;

#[tokio::test]
async fn a_consumer_may_finish_what_is_in_hand() {
    let mut fixture = broker().await;
    fixture.publish("q", items(3)).await.unwrap();
    let mut consumer = fixture.consume(start("q", 1)).await;
    consumer.take(1).await;
    let mut publisher = Fixture {
        broker: broker().await.broker,
        _directory: None,
        queues: fixture.queues.clone(),
        admin: fixture.admin.clone(),
    };
    let (finished, ()) = tokio::join!(fixture.broker.shutdown(PATIENCE), async {
        let refused = loop {
            match publisher.publish("q", items(1)).await {
                Err(status) => break status,
                Ok(_) => tokio::task::yield_now().await,
            }
        };
        assert_refused(&refused, Code::Unavailable, "DRAINING");
        assert_eq!(consumer.ack(1, 1).await, [(1, 1, SettleOutcome::Ok)]);
        assert_refused(&consumer.refusal().await, Code::Unavailable, "DRAINING");
    });
    assert!(finished);
}

#[tokio::test]
async fn the_grace_is_kept_even_if_a_consumer_never_settles() {
    let mut fixture = broker().await;
    fixture.publish("q", items(1)).await.unwrap();
    let mut consumer = fixture.consume(start("q", 1)).await;
    consumer.take(1).await;
    let begun = Instant::now();
    let finished = fixture.broker.shutdown(Duration::from_millis(200)).await;
    assert!(!finished);
    assert!(begun.elapsed() < PATIENCE);
}

#[tokio::test]
async fn an_idle_broker_stops_at_once_and_polls_are_answered() {
    let mut fixture = broker().await;
    let mut queues = fixture.queues.clone();
    let request = LeaseRequest {
        queue: "q".into(),
        wait: seconds(60),
        ..LeaseRequest::default()
    };
    let poll = async { queues.lease(request).await };
    let (answer, finished) = tokio::join!(poll, async {
        fixture.stats_when_exists("q").await;
        fixture.broker.shutdown(PATIENCE).await
    });
    assert!(finished);
    assert!(answer.map_or(true, |leased| leased.into_inner().items.is_empty()));
}

#[tokio::test]
async fn a_publishers_stream_ends_with_its_confirms_in() {
    let mut fixture = broker().await;
    let mut publisher = Publisher::open(&mut fixture, "q", "p").await;
    publisher.publish(1, items(2)).await;
    fixture
        .stats_when("q", |stats| stats.published_total == 2)
        .await;
    let (finished, (told, end)) =
        tokio::join!(fixture.broker.shutdown(PATIENCE), publisher.ended());
    assert_refused(&end, Code::Unavailable, "DRAINING");
    assert_eq!((finished, told), (true, vec![(1, 2, 0)]));
}

#[tokio::test]
async fn a_batch_that_waits_for_room_is_left_to_be_sent_again() {
    let mut fixture = broker().await;
    let config = QueueConfig {
        max_items: 1,
        ..QueueConfig::default()
    };
    fixture.create("q", config).await.unwrap();
    let mut publisher = Publisher::open(&mut fixture, "q", "p").await;
    publisher.publish(1, items(3)).await;
    fixture.stats_when("q", |stats| stats.ready == 1).await;
    let (finished, (told, end)) =
        tokio::join!(fixture.broker.shutdown(PATIENCE), publisher.ended());
    assert_refused(&end, Code::Unavailable, "DRAINING");
    assert!(finished);
    assert_eq!(told, [(1, 1, 0)], "nothing is said of what was not taken");
}

#[tokio::test]
async fn leases_of_unary_calls_are_waited_for_too() {
    let mut fixture = broker().await;
    fixture.publish("q", items(1)).await.unwrap();
    let leased = fixture.lease("q", 1).await;
    let mut other = Fixture {
        broker: broker().await.broker,
        _directory: None,
        queues: fixture.queues.clone(),
        admin: fixture.admin.clone(),
    };
    let settle_later = async {
        while other.publish("q", items(1)).await.is_ok() {}
        other.settle("q", &leased[0], ack()).await
    };
    let (finished, outcome) = tokio::join!(fixture.broker.shutdown(PATIENCE), settle_later);
    assert_eq!((finished, outcome), (true, SettleOutcome::Ok));
}

#[tokio::test]
async fn readiness_and_health_change_when_it_drains() {
    let mut fixture = broker().await;
    assert_eq!(http_status(&fixture, "/livez").await, 200);
    assert_eq!(http_status(&fixture, "/readyz").await, 200);
    let mut health = HealthClient::new(connect(&fixture.broker).await);
    let check = || HealthCheckRequest {
        service: "baton.v1.QueueService".into(),
    };
    let serving = health.check(check()).await.unwrap().into_inner().status();
    assert_eq!(serving, ServingStatus::Serving);
    let mut watch = health.watch(check()).await.unwrap().into_inner();
    watch.message().await.unwrap();
    fixture.publish("q", items(1)).await.unwrap();
    let mut consumer = fixture.consume(start("q", 1)).await;
    consumer.take(1).await;
    let http = fixture.broker.http;
    tokio::join!(fixture.broker.shutdown(PATIENCE), async {
        let next = watch.message().await.unwrap().unwrap().status();
        assert_eq!(next, ServingStatus::NotServing);
        while get(http, "/readyz").await != 503 {
            tokio::task::yield_now().await;
        }
        assert_eq!(get(http, "/livez").await, 200);
        drop(watch);
        drop(health);
        assert_eq!(consumer.ack(1, 1).await, [(1, 1, SettleOutcome::Ok)]);
    });
}

#[tokio::test]
async fn a_draining_stream_is_told_before_it_ends() {
    let mut fixture = broker().await;
    fixture.publish("q", items(1)).await.unwrap();
    let start = ConsumeRequest {
        sent_ns: 0,
        down_leg_ns: None,
        request: Some(consume_request::Request::Start(start("q", 1))),
    };
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    sender.send(start).await.unwrap();
    let requests = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut answers = fixture.queues.consume(requests).await.unwrap().into_inner();
    while !matches!(
        answers.message().await.unwrap().unwrap().response,
        Some(Answer::Deliveries(_))
    ) {}
    let (_, kind) = tokio::join!(fixture.broker.shutdown(Duration::from_millis(500)), async {
        match answers.message().await.unwrap().unwrap().response {
            Some(Answer::Notice(notice)) => notice.kind(),
            other => panic!("expected a notice, got {other:?}"),
        }
    });
    assert_eq!(kind, NoticeKind::Draining);
}

async fn http_status(fixture: &Fixture, path: &str) -> u16 {
    get(fixture.broker.http, path).await
}

async fn get(address: std::net::SocketAddr, path: &str) -> u16 {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}
