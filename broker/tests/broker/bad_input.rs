//! Whatever a client sends: a clear refusal, and nothing is lost.

use baton_proto::v1::consume_request::Request as Sent;
use baton_proto::v1::*;
use tonic::{Code, Request};

use crate::bad_streams::consume_refused;
use crate::support::*;

#[tokio::test]
async fn names_that_are_none_are_refused_everywhere() {
    let mut fixture = broker().await;
    let long = "x".repeat(129);
    for name in ["", "a b", "ä", "a/b", long.as_str()] {
        let published = fixture.publish(name, items(1)).await.unwrap_err();
        assert_refused(&published, Code::InvalidArgument, "QUEUE_NAME_INVALID");
        let leased = LeaseRequest {
            queue: name.into(),
            ..LeaseRequest::default()
        };
        let leased = fixture.queues.lease(leased).await.unwrap_err();
        assert_refused(&leased, Code::InvalidArgument, "QUEUE_NAME_INVALID");
        let consumed = consume_refused(&mut fixture, vec![Sent::Start(start(name, 1))]).await;
        assert_refused(&consumed, Code::InvalidArgument, "QUEUE_NAME_INVALID");
    }
    let got = fixture
        .admin
        .get_queue(GetQueueRequest {
            name: "nowhere".into(),
        })
        .await
        .unwrap_err();
    assert_refused(&got, Code::NotFound, "QUEUE_NOT_FOUND");
}

#[tokio::test]
async fn an_unknown_queue_is_refused_where_none_is_made() {
    let mut fixture = broker_with(|config| config.auto_create = false).await;
    let published = fixture.publish("q", items(1)).await.unwrap_err();
    assert_refused(&published, Code::NotFound, "QUEUE_NOT_FOUND");
    let consumed = consume_refused(&mut fixture, vec![Sent::Start(start("q", 1))]).await;
    assert_refused(&consumed, Code::NotFound, "QUEUE_NOT_FOUND");
    let settle = LeaseSettle {
        lease: vec![0; 24].into(),
        action: Some(ack()),
        stamps: None,
    };
    let settle = SettleRequest {
        queue: "q".into(),
        settles: vec![settle],
    };
    assert_refused(
        &fixture.queues.settle(settle).await.unwrap_err(),
        Code::NotFound,
        "QUEUE_NOT_FOUND",
    );
}

#[tokio::test]
async fn a_bad_item_is_refused_alone_and_says_why() {
    let mut fixture = broker_with(|config| config.payload_bytes_max = 1000).await;
    let batch = vec![
        item("good"),
        item(vec![0; 1001]),
        Item {
            ttl: seconds(-1),
            ..item("")
        },
        Item {
            dedup_key: "k".repeat(129),
            ..item("")
        },
        item("good"),
    ];
    let results = fixture.publish("q", batch).await.unwrap().results;
    let errors: Vec<_> = results.iter().map(PublishResult::error).collect();
    let (good, invalid) = (ErrorCode::Unspecified, ErrorCode::ItemInvalid);
    assert_eq!(
        errors,
        [good, ErrorCode::ItemTooLarge, invalid, invalid, good]
    );
    assert!(results[1].error_message.contains("1001") && results[1].error_message.contains("1000"));
    assert_eq!(
        results
            .iter()
            .map(|result| result.item_id)
            .collect::<Vec<_>>(),
        [1, 0, 0, 0, 2]
    );
    assert_eq!(fixture.stats("q").await.ready, 2);
}

#[tokio::test]
async fn batches_that_are_empty_or_too_large_are_refused_whole() {
    let mut fixture = broker().await;
    for batch in [vec![], items(1001), vec![item(vec![0; 900_000]); 5]] {
        let refused = fixture.publish("q", batch).await.unwrap_err();
        assert_refused(&refused, Code::InvalidArgument, "BATCH_INVALID");
    }
    let huge = fixture
        .publish("q", vec![item(vec![0; 20 << 20])])
        .await
        .unwrap_err();
    assert_eq!(huge.code(), Code::OutOfRange, "not even decoded: {huge:?}");
    fixture.publish("q", items(1000)).await.unwrap();
}

#[tokio::test]
async fn bytes_that_are_no_protobuf_are_refused() {
    let fixture = broker().await;
    let mut raw = tonic::client::Grpc::new(connect(&fixture.broker).await);
    raw.ready().await.unwrap();
    let path = "/baton.v1.QueueService/Publish".try_into().unwrap();
    // A message whose only field claims to be longer than it is.
    let garbage = Request::new(Garbage);
    let codec = tonic_prost::ProstCodec::<Garbage, PublishResponse>::default();
    let refused = raw.unary(garbage, path, codec).await.unwrap_err();
    assert!(
        matches!(refused.code(), Code::Internal | Code::InvalidArgument),
        "{refused:?}"
    );
    let mut fixture = fixture;
    fixture.publish("q", items(1)).await.unwrap();
}

/// Encodes as something that no decoder takes.
#[derive(Debug, Default)]
struct Garbage;

impl prost::Message for Garbage {
    fn encode_raw(&self, buffer: &mut impl bytes::BufMut) {
        buffer.put_slice(&[0x0a, 0x7f, 0x00]);
    }

    fn merge_field(
        &mut self,
        _: u32,
        _: prost::encoding::WireType,
        _: &mut impl bytes::Buf,
        _: prost::encoding::DecodeContext,
    ) -> Result<(), prost::DecodeError> {
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        3
    }

    fn clear(&mut self) {}
}

#[tokio::test]
async fn leases_that_never_were_are_told_apart_from_lost_ones() {
    let mut fixture = broker().await;
    fixture.publish("q", items(1)).await.unwrap();
    let leased = fixture.lease("q", 1).await;
    let token = |bytes: Vec<u8>| Delivery {
        lease: bytes.into(),
        ..leased[0].clone()
    };
    let short = fixture.settle("q", &token(vec![1, 2, 3]), ack()).await;
    assert_eq!(short, SettleOutcome::InvalidLease);
    let mut other_run = leased[0].lease.to_vec();
    other_run[0] ^= 1;
    assert_eq!(
        fixture.settle("q", &token(other_run), ack()).await,
        SettleOutcome::LeaseLost
    );
    let mut future = leased[0].lease.to_vec();
    future[23] ^= 0x40;
    assert_eq!(
        fixture.settle("q", &token(future), ack()).await,
        SettleOutcome::InvalidLease
    );
    let mut session = leased[0].lease.to_vec();
    session[8] ^= 1;
    assert_eq!(
        fixture.settle("q", &token(session), ack()).await,
        SettleOutcome::LeaseLost
    );
    assert_eq!(fixture.stats("q").await.leased, 1, "nothing was changed");
    assert_eq!(
        fixture.settle("q", &leased[0], ack()).await,
        SettleOutcome::Ok
    );
}

#[tokio::test]
async fn delivery_ids_that_never_were_are_outcomes_not_errors() {
    let mut fixture = broker().await;
    fixture.publish("q", items(2)).await.unwrap();
    let mut consumer = fixture.consume(start("q", 2)).await;
    consumer.take(2).await;
    let outcomes = consumer.ack(2, u64::MAX).await;
    assert_eq!(
        outcomes,
        [
            (2, 2, SettleOutcome::Ok),
            (3, u64::MAX, SettleOutcome::InvalidLease)
        ]
    );
    assert_eq!(consumer.ack(1, 1).await, [(1, 1, SettleOutcome::Ok)]);
}

#[tokio::test]
async fn everything_acked_twice_is_harmless() {
    let mut fixture = broker().await;
    fixture.publish("q", items(500)).await.unwrap();
    let mut consumer = fixture.consume(start("q", 500)).await;
    consumer.take(500).await;
    for outcome in [SettleOutcome::Ok, SettleOutcome::AlreadySettled] {
        for first in (1..500).step_by(100) {
            assert_eq!(
                consumer.ack(first, first + 99).await,
                [(first, first + 99, outcome)]
            );
        }
    }
    assert_eq!(fixture.stats("q").await.acked_total, 500);
}

#[tokio::test]
async fn a_lease_of_another_queue_or_of_a_deleted_one_settles_nothing() {
    let mut fixture = broker().await;
    fixture.publish("a", items(1)).await.unwrap();
    fixture.publish("b", items(1)).await.unwrap();
    let of_a = fixture.lease("a", 1).await;
    let of_b = fixture.lease("b", 1).await;
    let outcome = fixture.settle("b", &of_a[0], ack()).await;
    assert_eq!(outcome, SettleOutcome::LeaseLost);
    let delete = DeleteQueueRequest {
        name: "b".into(),
        force: true,
    };
    fixture.admin.delete_queue(delete).await.unwrap();
    fixture.publish("b", items(1)).await.unwrap();
    fixture.lease("b", 1).await;
    let outcome = fixture.settle("b", &of_b[0], ack()).await;
    assert_eq!(outcome, SettleOutcome::LeaseLost);
    assert_eq!(fixture.stats("b").await.acked_total, 0);
}

#[tokio::test]
async fn sequences_at_their_end_are_refused() {
    let mut fixture = broker().await;
    let request = PublishRequest {
        queue: "q".into(),
        producer_id: "p".into(),
        first_sequence: u64::MAX,
        items: items(2),
    };
    let refused = fixture.queues.publish(request).await.unwrap_err();
    assert_refused(&refused, Code::InvalidArgument, "REQUEST_INVALID");
}

#[tokio::test]
async fn numbers_out_of_range_name_their_field() {
    let mut fixture = broker().await;
    let base = LeaseRequest {
        queue: "q".into(),
        ..LeaseRequest::default()
    };
    for (request, field) in [
        (
            LeaseRequest {
                max_items: -1,
                ..base.clone()
            },
            "max_items",
        ),
        (
            LeaseRequest {
                max_items: i32::MAX,
                ..base.clone()
            },
            "max_items",
        ),
        (
            LeaseRequest {
                max_bytes: -1,
                ..base.clone()
            },
            "max_bytes",
        ),
        (
            LeaseRequest {
                wait: seconds(61),
                ..base.clone()
            },
            "wait",
        ),
        (
            LeaseRequest {
                wait: seconds(-1),
                ..base.clone()
            },
            "wait",
        ),
        (
            LeaseRequest {
                lease_duration: seconds(0),
                ..base.clone()
            },
            "lease_duration",
        ),
        (
            LeaseRequest {
                consumer: "c".repeat(65),
                ..base.clone()
            },
            "consumer",
        ),
    ] {
        let refused = fixture.queues.lease(request).await.unwrap_err();
        assert_refused(&refused, Code::InvalidArgument, "REQUEST_INVALID");
        assert!(
            refused.message().contains(field),
            "{} does not name {field}",
            refused.message()
        );
    }
}

#[tokio::test]
async fn a_join_of_nothing_is_refused() {
    let mut fixture = broker().await;
    let backwards = JoinRequest {
        queue: "q".into(),
        up_to: 3,
        after: 3,
        wait: None,
    };
    fixture.publish("q", items(1)).await.unwrap();
    let refused = fixture.queues.join(backwards).await.unwrap_err();
    assert_refused(&refused, Code::InvalidArgument, "REQUEST_INVALID");
}
