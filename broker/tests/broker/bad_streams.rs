//! Streams that do not keep to the contract: a clear refusal ends them, and nothing is lost.

use baton_proto::v1::consume_request::Request as Sent;
use baton_proto::v1::publish_stream_request::Request as Published;
use baton_proto::v1::*;
use tonic::{Code, Status};

use crate::support::*;

#[tokio::test]
async fn credit_of_nothing_below_nothing_or_too_much_is_refused() {
    let mut fixture = broker().await;
    fixture.publish("q", items(1)).await.unwrap();
    for credit in [
        Credit { items: 0, bytes: 0 },
        Credit {
            items: -1,
            bytes: 0,
        },
        Credit {
            items: i32::MIN,
            bytes: 0,
        },
        Credit {
            items: i32::MAX,
            bytes: 0,
        },
        Credit {
            items: 1,
            bytes: -1,
        },
        Credit {
            items: 1,
            bytes: i64::MAX,
        },
    ] {
        let refused = consume_refused(
            &mut fixture,
            vec![Sent::Start(start("q", 0)), Sent::Credit(credit)],
        )
        .await;
        assert_refused(&refused, Code::InvalidArgument, "CREDIT_INVALID");
    }
    let refused = consume_refused(&mut fixture, vec![Sent::Start(start("q", -1))]).await;
    assert_refused(&refused, Code::InvalidArgument, "CREDIT_INVALID");
    let refused = consume_refused(&mut fixture, vec![Sent::Start(start("q", i32::MAX))]).await;
    assert_refused(&refused, Code::InvalidArgument, "CREDIT_INVALID");
    // The one that was delivered to a stream before its refusal comes back.
    let stats = fixture.stats_when("q", |stats| stats.consumers == 0).await;
    assert_eq!(stats.ready + stats.scheduled + stats.leased, 1);
}

#[tokio::test]
async fn credit_adds_up_to_its_limit_only() {
    let mut fixture = broker().await;
    let half = Sent::Credit(Credit {
        items: 500_000,
        bytes: 0,
    });
    let sent = vec![Sent::Start(start("q", 1)), half.clone(), half];
    assert_refused(
        &consume_refused(&mut fixture, sent).await,
        Code::InvalidArgument,
        "CREDIT_INVALID",
    );
}

#[tokio::test]
async fn a_stream_begins_with_a_hello() {
    let mut fixture = broker().await;
    let credit = Sent::Credit(Credit { items: 1, bytes: 0 });
    let refused = consume_refused(&mut fixture, vec![credit]).await;
    assert_refused(&refused, Code::InvalidArgument, "HELLO_MISSING");
    let nameless = Sent::Start(ConsumeStart {
        hello: None,
        ..start("q", 1)
    });
    let refused = consume_refused(&mut fixture, vec![nameless]).await;
    assert_refused(&refused, Code::InvalidArgument, "HELLO_MISSING");
    let empty = Sent::Start(ConsumeStart {
        hello: Some(Hello::default()),
        ..start("q", 1)
    });
    let refused = consume_refused(&mut fixture, vec![empty]).await;
    assert_refused(&refused, Code::InvalidArgument, "REQUEST_INVALID");
    let twice = Sent::Start(start("q", 1));
    let refused = consume_refused(&mut fixture, vec![twice.clone(), twice]).await;
    assert_refused(&refused, Code::InvalidArgument, "REQUEST_INVALID");
    let refused = publish_refused(
        &mut fixture,
        vec![Published::Batch(PublishBatch::default())],
    )
    .await;
    assert_refused(&refused, Code::InvalidArgument, "HELLO_MISSING");
    let nobody = PublishStart {
        hello: hello(),
        queue: "q".into(),
        producer_id: String::new(),
    };
    let refused = publish_refused(&mut fixture, vec![Published::Start(nobody)]).await;
    assert_refused(&refused, Code::InvalidArgument, "REQUEST_INVALID");
}

#[tokio::test]
async fn a_bad_batch_ends_its_stream_after_the_good_ones_are_confirmed() {
    let mut fixture = broker().await;
    let begin = PublishStart {
        hello: hello(),
        queue: "q".into(),
        producer_id: "p".into(),
    };
    let good = PublishBatch {
        first_sequence: 1,
        items: items(2),
    };
    let empty = PublishBatch {
        first_sequence: 3,
        items: vec![],
    };
    let sent = vec![
        Published::Start(begin),
        Published::Batch(good),
        Published::Batch(empty),
    ];
    let refused = publish_refused(&mut fixture, sent).await;
    assert_refused(&refused, Code::InvalidArgument, "BATCH_INVALID");
    assert_eq!(fixture.stats("q").await.ready, 2);
}

#[tokio::test]
async fn settles_that_make_no_sense_end_the_stream_and_change_nothing() {
    let mut fixture = broker().await;
    let action = Some(delivery_settle::Action::Ack(Ack {}));
    let settle = |first, last, action| DeliverySettle {
        first,
        last,
        action,
        stamps: vec![],
    };
    let stamped = DeliverySettle {
        stamps: vec![HandlerStamps::default(); 2],
        ..settle(1, 3, action.clone())
    };
    let both = Nack {
        dead_letter: true,
        unstarted: true,
        ..Nack::default()
    };
    let day = Extend {
        lease_duration: seconds(86_400),
    };
    for wrong in [
        settle(0, 0, action.clone()),
        settle(3, 2, action),
        settle(1, 1, None),
        stamped,
        settle(1, 1, Some(delivery_settle::Action::Nack(both))),
        settle(1, 1, Some(delivery_settle::Action::Extend(day))),
    ] {
        let batch = SettleBatch {
            settle_id: 1,
            deliveries: vec![wrong],
            leases: vec![],
        };
        let refused = consume_refused(
            &mut fixture,
            vec![Sent::Start(start("q", 1)), Sent::Settle(batch)],
        )
        .await;
        assert_refused(&refused, Code::InvalidArgument, "REQUEST_INVALID");
    }
}

#[tokio::test]
async fn ranges_that_overlap_are_refused() {
    let mut fixture = broker().await;
    let extend = |first, last| DeliverySettle {
        first,
        last,
        action: Some(delivery_settle::Action::Extend(Extend::default())),
        stamps: vec![],
    };
    let deliveries = vec![extend(5, u64::MAX), extend(1, 5)];
    let batch = SettleBatch {
        settle_id: 1,
        deliveries,
        leases: vec![],
    };
    let sent = vec![Sent::Start(start("q", 1)), Sent::Settle(batch)];
    let refused = consume_refused(&mut fixture, sent).await;
    assert_refused(&refused, Code::InvalidArgument, "REQUEST_INVALID");
    assert!(refused.message().contains("overlap"));
}

#[tokio::test]
async fn a_stream_message_that_is_too_long_is_refused_in_words() {
    let mut fixture = broker().await;
    let begin = PublishStart {
        hello: hello(),
        queue: "q".into(),
        producer_id: "p".into(),
    };
    let huge = PublishBatch {
        first_sequence: 1,
        items: vec![item(vec![0; 8 << 20])],
    };
    let sent = vec![Published::Start(begin), Published::Batch(huge)];
    let refused = publish_refused(&mut fixture, sent).await;
    assert_refused(&refused, Code::InvalidArgument, "REQUEST_INVALID");
}

pub(crate) async fn consume_refused(fixture: &mut Fixture, sent: Vec<Sent>) -> Status {
    let sent = sent.into_iter().map(|request| ConsumeRequest {
        sent_ns: 0,
        down_leg_ns: None,
        request: Some(request),
    });
    match fixture.consume_raw(sent.collect()).await {
        Err(status) => status,
        Ok(mut consumer) => consumer.refusal().await,
    }
}

async fn publish_refused(fixture: &mut Fixture, sent: Vec<Published>) -> Status {
    let sent: Vec<_> = sent
        .into_iter()
        .map(|request| PublishStreamRequest {
            sent_ns: 0,
            down_leg_ns: None,
            request: Some(request),
        })
        .collect();
    let mut answers = match fixture
        .queues
        .publish_stream(tokio_stream::iter(sent))
        .await
    {
        Err(status) => return status,
        Ok(answers) => answers.into_inner(),
    };
    loop {
        match answers.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended without an error"),
            Err(status) => return status,
        }
    }
}
