//! What consumers promise.

use std::time::Duration;

use baton_client::{Client, Consumer, Delivery, Error, ErrorCode, HandlerError, Nack, Settled};
use baton_proto::opaque::{
    self, DeliveryBatch, DeliverySettle, NoticeKind, SettleOutcome, consume_response,
    delivery_settle, lease_settle,
};
use futures_util::poll;
use tokio::net::TcpListener;
use tonic::Code;

use crate::broker::{Broker, ConsumeSession, delivery, refusal, soon};

async fn open(broker: &Broker, credit: u32) -> (Consumer, ConsumeSession) {
    let consumer = broker
        .client()
        .consumer("orders")
        .credit_items(credit)
        .open();
    let mut session = broker.consume().await;
    session.start().await;
    (consumer, session)
}

async fn next(consumer: &mut Consumer) -> Delivery {
    soon(consumer.next()).await.unwrap().unwrap()
}

async fn take(consumer: &mut Consumer, count: usize) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    while deliveries.len() < count {
        deliveries.push(next(consumer).await);
    }
    deliveries
}

fn bounds(settles: &[DeliverySettle]) -> Vec<(u64, u64)> {
    settles.iter().map(|s| (s.first, s.last)).collect()
}

fn nack_of(settle: &DeliverySettle) -> &opaque::Nack {
    match &settle.action {
        Some(delivery_settle::Action::Nack(nack)) => nack,
        other => panic!("not a nack: {other:?}"),
    }
}

fn is_extend(settle: &DeliverySettle) -> bool {
    matches!(settle.action, Some(delivery_settle::Action::Extend(_)))
}

#[tokio::test]
async fn a_delivery_says_what_the_broker_said() {
    let broker = Broker::start().await;
    let (mut consumer, session) = open(&broker, 10).await;
    session.deliver(1..=1).await;
    let delivery = next(&mut consumer).await;
    assert_eq!((delivery.item_id(), delivery.attempt()), (101, 1));
    assert_eq!(&delivery.payload()[..], b"item 1");
    assert_eq!(delivery.queue_wait(), Duration::from_nanos(5));
    assert!(delivery.latency() >= delivery.age_at_lease());
    assert_eq!(&delivery.lease()[..], b"lease 1");
}

#[tokio::test]
async fn acks_come_as_ranges_with_one_stamp_each() {
    let broker = Broker::start().await;
    let (mut consumer, mut session) = open(&broker, 10).await;
    session.deliver(1..=10).await;
    let mut deliveries = take(&mut consumer, 10).await;
    let kept = deliveries.remove(4);
    let settling: Vec<_> = deliveries.into_iter().rev().map(Delivery::ack).collect();
    let batch = session.settle().await;
    assert_eq!(bounds(&batch.deliveries), [(1, 4), (6, 10)]);
    let stamps = &batch.deliveries[1].stamps;
    assert_eq!(stamps.len(), 5);
    let in_order = |s: &opaque::HandlerStamps| {
        0 < s.received_ns && s.received_ns <= s.started_ns && s.started_ns <= s.ended_ns
    };
    assert!(stamps.iter().all(in_order), "{stamps:?}");
    session.answer(&batch, SettleOutcome::Ok).await;
    for settled in settling {
        assert_eq!(soon(settled).await.unwrap(), Settled::Done);
    }
    drop(kept);
}

#[tokio::test]
async fn credit_is_returned_after_settles_only() {
    let broker = Broker::start().await;
    let mut consumer = broker.client().consumer("orders").credit_items(4).open();
    let mut session = broker.consume().await;
    let credit = session.start().await.credit.unwrap();
    assert_eq!((credit.items, credit.bytes), (4, 8 << 20));
    session.deliver(1..=4).await;
    let mut deliveries = take(&mut consumer, 4).await;
    deliveries.remove(0).ack();
    let settle = session.settle().await;
    assert_eq!(bounds(&settle.deliveries), [(1, 1)]);
    assert_eq!(session.credit().await.items, 1);
}

#[tokio::test]
async fn a_dropped_delivery_is_nacked() {
    let broker = Broker::start().await;
    let (mut consumer, mut session) = open(&broker, 10).await;
    session.deliver(1..=1).await;
    drop(next(&mut consumer).await);
    let batch = session.settle().await;
    assert_eq!(bounds(&batch.deliveries), [(1, 1)]);
    let nack = nack_of(&batch.deliveries[0]);
    assert_eq!(nack.error, "dropped unsettled");
    assert!(!nack.unstarted && !nack.dead_letter);
}

#[tokio::test]
async fn a_nack_says_what_to_do_next() {
    let broker = Broker::start().await;
    let (mut consumer, mut session) = open(&broker, 10).await;
    session.deliver(1..=2).await;
    let [first, second] = take(&mut consumer, 2).await.try_into().unwrap();
    first.nack(Nack::retry().delay(Duration::from_secs(3)).error("busy"));
    second.nack(Nack::dead_letter("hopeless"));
    let batch = session.settle().await;
    let retry = nack_of(&batch.deliveries[0]);
    assert_eq!(
        (retry.delay.unwrap().seconds, retry.error.as_str()),
        (3, "busy")
    );
    let dead = nack_of(&batch.deliveries[1]);
    assert!(dead.dead_letter && dead.error == "hopeless");
}

#[tokio::test]
async fn a_reconnect_settles_by_lease_and_keeps_what_is_in_hand() {
    let broker = Broker::start().await;
    let (mut consumer, mut session) = open(&broker, 10).await;
    session.deliver(1..=3).await;
    let [finished, in_hand] = take(&mut consumer, 2).await.try_into().unwrap();
    let settling = finished.ack();
    session.settle().await; // and no answer
    broker.cut();

    let mut session = broker.consume().await;
    let credit = session.start().await.credit.unwrap();
    assert_eq!(credit.items, 9, "one is still in hand");
    let extension = session.settle().await;
    assert!(extension.deliveries.is_empty());
    assert_eq!(&extension.leases[0].lease[..], b"lease 2");
    assert!(matches!(
        extension.leases[0].action,
        Some(lease_settle::Action::Extend(_))
    ));
    session.answer(&extension, SettleOutcome::Ok).await;

    let settles = session.settle().await;
    let of = |lease: &str| settles.leases.iter().find(|l| l.lease == lease).unwrap();
    assert!(matches!(
        of("lease 1").action,
        Some(lease_settle::Action::Ack(_))
    ));
    assert!(of("lease 1").stamps.is_some());
    let Some(lease_settle::Action::Nack(prefetched)) = &of("lease 3").action else {
        panic!("{settles:?}");
    };
    assert!(prefetched.unstarted, "the user never had it");
    session
        .answer(&settles, SettleOutcome::AlreadySettled)
        .await;
    assert_eq!(soon(settling).await.unwrap(), Settled::AlreadySettled);

    let settling = in_hand.ack();
    let batch = session.settle().await;
    assert_eq!(&batch.leases[0].lease[..], b"lease 2");
    session.answer(&batch, SettleOutcome::LeaseLost).await;
    assert_eq!(soon(settling).await.unwrap(), Settled::LeaseLost);
}

#[tokio::test]
async fn leases_in_hand_are_extended_prefetched_ones_too() {
    let broker = Broker::start().await;
    let (mut consumer, mut session) = open(&broker, 10).await;
    session.started(Duration::from_secs(1)).await;
    session.deliver(1..=4).await;
    let _in_hand = next(&mut consumer).await;
    next(&mut consumer).await.ack();
    let ack = session.settle().await;
    assert_eq!(bounds(&ack.deliveries), [(2, 2)]);
    let extension = session.settle().await;
    assert_eq!(bounds(&extension.deliveries), [(1, 1), (3, 4)]);
    assert!(extension.deliveries.iter().all(is_extend));
    session.answer(&extension, SettleOutcome::Ok).await;
    let again = session.settle().await;
    assert_eq!(bounds(&again.deliveries), [(1, 1), (3, 4)]);
}

#[tokio::test]
async fn a_shutdown_returns_prefetched_items_as_unstarted_and_waits_for_the_rest() {
    let broker = Broker::start().await;
    let (mut consumer, mut session) = open(&broker, 10).await;
    session.deliver(1..=3).await;
    let in_hand = next(&mut consumer).await;
    consumer.stop_handle().stop();
    let mut end = std::pin::pin!(consumer.next());
    assert!(poll!(&mut end).is_pending());
    session.drain().await;
    let unstarted = session.settle().await;
    assert_eq!(bounds(&unstarted.deliveries), [(2, 3)]);
    assert!(nack_of(&unstarted.deliveries[0]).unstarted);
    session.answer(&unstarted, SettleOutcome::Ok).await;
    assert!(poll!(&mut end).is_pending(), "one is still in hand");
    let settling = in_hand.ack();
    let last = session.settle().await;
    session.answer(&last, SettleOutcome::Ok).await;
    assert_eq!(soon(settling).await.unwrap(), Settled::Done);
    drop(session);
    assert!(soon(end).await.is_none());
}

#[tokio::test]
async fn deliveries_that_cross_a_shutdown_go_back_too() {
    let broker = Broker::start().await;
    let (mut consumer, mut session) = open(&broker, 10).await;
    session.deliver(1..=1).await;
    let in_hand = next(&mut consumer).await;
    consumer.shutdown();
    session.drain().await;
    in_hand.ack();
    let last = session.settle().await;
    session.deliver(2..=3).await;
    let unstarted = session.settle().await;
    assert_eq!(bounds(&unstarted.deliveries), [(2, 3)]);
    assert!(nack_of(&unstarted.deliveries[0]).unstarted);
    session.answer(&last, SettleOutcome::Ok).await;
    session.answer(&unstarted, SettleOutcome::Ok).await;
    drop(session);
    soon(consumer.close()).await.unwrap();
}

#[tokio::test]
async fn close_waits_until_every_settle_is_confirmed() {
    let broker = Broker::start().await;
    let (mut consumer, mut session) = open(&broker, 10).await;
    session.deliver(1..=1).await;
    next(&mut consumer).await.ack();
    let mut close = std::pin::pin!(consumer.close());
    assert!(poll!(&mut close).is_pending());
    session.drain().await;
    let batch = session.settle().await;
    assert!(poll!(&mut close).is_pending());
    session.answer(&batch, SettleOutcome::Ok).await;
    drop(session);
    soon(close).await.unwrap();
}

#[tokio::test]
async fn deliveries_outlive_a_dropped_consumer() {
    let broker = Broker::start().await;
    let client = broker.client();
    let mut consumer = client.consumer("orders").open();
    let mut session = broker.consume().await;
    session.start().await;
    session.deliver(1..=1).await;
    let delivery = next(&mut consumer).await;
    drop(consumer);
    session.drain().await;
    let settling = delivery.ack();
    let batch = session.settle().await;
    session.answer(&batch, SettleOutcome::Ok).await;
    assert_eq!(soon(settling).await.unwrap(), Settled::Done);
    drop(session);
    soon(client.finished()).await;
}

#[tokio::test]
async fn a_drained_queue_ends_the_stream() {
    let broker = Broker::start().await;
    let mut consumer = broker
        .client()
        .consumer("orders")
        .until_drained(true)
        .open();
    let mut session = broker.consume().await;
    assert!(session.start().await.until_drained);
    session.notice(NoticeKind::Drained).await;
    drop(session);
    assert!(soon(consumer.next()).await.is_none());
    assert!(soon(consumer.next()).await.is_none());
    soon(consumer.close()).await.unwrap();
}

#[tokio::test]
async fn a_settle_that_comes_too_late_for_a_drained_stream_goes_by_a_call() {
    let broker = Broker::start().await;
    let (mut consumer, session) = open(&broker, 10).await;
    session.deliver(1..=1).await;
    let delivery = next(&mut consumer).await;
    session.notice(NoticeKind::Drained).await;
    drop(session);
    assert!(soon(consumer.next()).await.is_none());
    let settling = delivery.ack();
    let (request, reply) = broker.settle().await;
    assert_eq!(&request.settles[0].lease[..], b"lease 1");
    let response = opaque::SettleResponse {
        outcomes: vec![SettleOutcome::LeaseLost.into()],
        ..opaque::SettleResponse::default()
    };
    reply.send(Ok(response)).unwrap();
    assert_eq!(soon(settling).await.unwrap(), Settled::LeaseLost);
}

#[tokio::test]
async fn a_permanent_error_ends_the_stream_and_fails_settles() {
    let broker = Broker::start().await;
    let (mut consumer, session) = open(&broker, 10).await;
    session.deliver(1..=1).await;
    let delivery = next(&mut consumer).await;
    let status = refusal(Code::NotFound, ErrorCode::QueueNotFound, None);
    session.fail(status).await;
    let error = soon(consumer.next()).await.unwrap().unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::QueueNotFound));
    assert!(soon(consumer.next()).await.is_none());
    let settled = soon(delivery.ack()).await;
    assert_eq!(settled.unwrap_err().code(), Some(ErrorCode::QueueNotFound));
}

#[tokio::test]
async fn without_a_broker_a_consumer_gives_up() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let client = Client::builder(format!("http://{address}"))
        .give_up_after(Duration::from_millis(100))
        .build()
        .unwrap();
    let mut consumer = client.consumer("orders").open();
    let error = soon(consumer.next()).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::GaveUp { .. }), "{error}");
}

#[tokio::test]
async fn a_shutdown_with_nothing_in_hand_waits_for_no_broker() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let client = Client::connect(format!("http://{address}")).unwrap();
    let consumer = client.consumer("orders").open();
    soon(consumer.close()).await.unwrap();
}

#[tokio::test]
async fn a_draining_broker_gets_back_what_nobody_started() {
    let broker = Broker::start().await;
    let (mut consumer, mut session) = open(&broker, 4).await;
    session.deliver(1..=4).await;
    let in_hand = next(&mut consumer).await;
    session.notice(NoticeKind::Draining).await;
    let unstarted = session.settle().await;
    assert_eq!(bounds(&unstarted.deliveries), [(2, 4)]);
    in_hand.ack();
    let last = session.settle().await; // and no credit in between
    assert_eq!(bounds(&last.deliveries), [(1, 1)]);
    broker.cut();
    let mut session = broker.consume().await;
    session.start().await;
}

#[tokio::test]
async fn an_item_that_cannot_be_decoded_becomes_a_dead_letter() {
    let broker = Broker::start().await;
    let (mut consumer, mut session) = open(&broker, 10).await;
    let garbage = opaque::Delivery {
        item: vec![0xff; 10].into(),
        ..delivery(1)
    };
    let deliveries = vec![garbage, delivery(2)];
    let batch = consume_response::Response::Deliveries(DeliveryBatch { deliveries });
    session.respond(batch).await;
    let good = next(&mut consumer).await;
    assert_eq!(good.item_id(), 102);
    let settle = session.settle().await;
    assert_eq!(bounds(&settle.deliveries), [(1, 1)]);
    assert!(nack_of(&settle.deliveries[0]).dead_letter);
}

#[tokio::test]
async fn a_handlers_outcome_settles_its_delivery() {
    let broker = Broker::start().await;
    let (mut consumer, mut session) = open(&broker, 10).await;
    session.deliver(1..=4).await;
    let stop = consumer.stop_handle();
    let running = consumer.for_each(4, async |delivery: Delivery| match delivery.item_id() {
        101 => Ok(()),
        102 => Err("busy".into()),
        103 => Err(HandlerError::dead_letter("hopeless")),
        _ => {
            delivery.ack();
            Err("settled already, so this is of no effect".into())
        }
    });
    let script = async {
        let mut settles = Vec::new();
        while settles.len() < 3 {
            let batch = session.settle().await;
            session.answer(&batch, SettleOutcome::Ok).await;
            settles.extend(batch.deliveries);
        }
        settles.sort_by_key(|settle| settle.first);
        let is_ack = |s: &DeliverySettle| matches!(s.action, Some(delivery_settle::Action::Ack(_)));
        assert!(is_ack(&settles[0]));
        assert_eq!(nack_of(&settles[1]).error, "busy");
        assert!(nack_of(&settles[2]).dead_letter);
        assert!(settles.get(3).is_none_or(is_ack));
        stop.stop();
        while !matches!(
            session.request().await,
            Some(opaque::consume_request::Request::Drain(_))
        ) {}
        drop(session);
    };
    let (outcome, ()) = soon(async { tokio::join!(running, script) }).await;
    outcome.unwrap();
}
