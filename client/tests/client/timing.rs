//! What streams say of time, for the broker to bound how far apart the two clocks are.

use baton_proto::opaque::{
    ClockDomain, ConsumeStarted, Pong, PublishStarted, SettleOutcome, consume_request,
    consume_response, publish_stream_request, publish_stream_response,
};
use baton_telemetry::clock::{self, WallClock, monotonic_ns};
use opentelemetry_sdk::trace::SpanData;

use crate::broker::{Broker, item, soon, stored};
use crate::spans::{Traces, attribute, traced_delivery};

const HOUR_NS: u64 = 3_600_000_000_000;
const SAMPLED: &str = "00-30313233343536373839616263646566-b7ad6b7169203331-01";

/// The clock that this machine reads.
fn our_clock() -> Option<ClockDomain> {
    let own = clock::ClockDomain::current();
    Some(ClockDomain {
        boot_id: own.boot_id,
        time_namespace: own.time_namespace,
    })
}

/// A broker whose wall clock is an hour ahead of ours.
fn an_hour_ahead() -> Option<u64> {
    Some(WallClock::new().shift_ns().wrapping_add(HOUR_NS))
}

/// What a span says of the broker's time: how far ahead, give or take.
fn offset(span: &SpanData) -> Option<(i64, i64)> {
    let read = |name: &str| attribute(span, name).parse().ok();
    let of = |name: &str| read(&format!("messaging.baton.clock.{name}"));
    of("offset_ns").zip(of("error_ns"))
}

fn assert_an_hour(span: &SpanData) {
    let (offset_ns, error_ns) = offset(span).unwrap();
    let off_ns = offset_ns.abs_diff(HOUR_NS.cast_signed());
    assert!(
        error_ns == 0 && off_ns < HOUR_NS / 100,
        "{offset_ns} {error_ns}"
    );
}

#[tokio::test]
async fn a_producer_reports_how_far_messages_seem_to_travel() {
    let broker = Broker::start().await;
    let producer = broker.client().producer("orders").open();
    let _first = soon(producer.send(item("a"))).await.unwrap();
    let mut session = broker.publish_stream().await;
    for _ in ["start", "batch"] {
        assert_eq!(session.message().await.unwrap().down_leg_ns, None);
    }
    let started = publish_stream_response::Response::Started(PublishStarted::default());
    session.respond(started).await;
    session.confirm(vec![stored(1, 1, 1)]).await;
    soon(producer.flush()).await.unwrap();
    let _second = soon(producer.send(item("b"))).await.unwrap();
    // The scripted broker stamps everything with 1.
    let leg = session.message().await.unwrap().down_leg_ns;
    assert!(leg.is_some_and(|leg| leg > 1_000), "{leg:?}");
}

#[tokio::test]
async fn a_consumer_reports_how_far_messages_seem_to_travel() {
    let broker = Broker::start().await;
    let mut consumer = broker.client().consumer("orders").open();
    let mut session = broker.consume().await;
    assert_eq!(session.message().await.unwrap().down_leg_ns, None);
    let started = consume_response::Response::Started(ConsumeStarted::default());
    session.respond(started).await;
    session.deliver(1..=1).await;
    let delivery = soon(consumer.next()).await.unwrap().unwrap();
    let settling = delivery.ack();
    let leg = session.message().await.unwrap().down_leg_ns;
    assert!(leg.is_some_and(|leg| leg > 1_000), "{leg:?}");
    drop(settling);
}

/// It takes 5 s: the time is a part of the promise, and no clock can be turned forward beside real sockets.
#[tokio::test]
async fn silent_streams_are_pinged() {
    let broker = Broker::start().await;
    let producer = broker.client().producer("orders").open();
    let _first = soon(producer.send(item("a"))).await.unwrap();
    let mut publishing = broker.publish_stream().await;
    publishing.start().await;
    publishing.batch().await;
    let mut consumer = broker.client().consumer("orders").open();
    let mut consuming = broker.consume().await;
    consuming.start().await;
    let ping = publishing.message().await.unwrap().request;
    assert!(
        matches!(ping, Some(publish_stream_request::Request::Ping(_))),
        "{ping:?}"
    );
    let ping = consuming.message().await.unwrap().request;
    assert!(
        matches!(ping, Some(consume_request::Request::Ping(_))),
        "{ping:?}"
    );
    // An answer is nothing to the user.
    consuming
        .respond(consume_response::Response::Pong(Pong::default()))
        .await;
    consuming.deliver(1..=1).await;
    let settling = soon(consumer.next()).await.unwrap().unwrap().ack();
    let batch = loop {
        // On a slow machine another ping may be due meanwhile.
        match consuming.request().await {
            Some(consume_request::Request::Ping(_)) => {}
            Some(consume_request::Request::Settle(batch)) => break batch,
            other => panic!("not a settle: {other:?}"),
        }
    };
    consuming.answer(&batch, SettleOutcome::Ok).await;
    soon(settling).await.unwrap();
}

#[tokio::test]
async fn spans_say_how_far_the_brokers_time_is_ahead() {
    let (broker, traces) = (Broker::start_tracing(true).await, Traces::new());
    let client = traces.client(&broker);
    let producer = client.producer("orders").open();
    let script = async {
        let mut session = broker.publish_stream().await;
        session.start().await;
        let started = PublishStarted {
            clock: our_clock(),
            wall_shift_ns: an_hour_ahead(),
            tracing: true,
            ..PublishStarted::default()
        };
        let started = publish_stream_response::Response::Started(started);
        session.respond(started).await;
        // No ping: what there is to know is known.
        session.batch().await;
        session.confirm(vec![stored(1, 1, 42)]).await;
        session
    };
    let (published, _session) =
        soon(async { tokio::join!(producer.publish(item("a")), script) }).await;
    published.unwrap();
    for name in ["create orders", "publish orders"] {
        assert_an_hour(&traces.one(name));
    }

    let mut consumer = client.consumer("orders").open();
    let mut session = broker.consume().await;
    session.start().await;
    let started = ConsumeStarted {
        clock: our_clock(),
        wall_shift_ns: an_hour_ahead(),
        tracing: true,
        ..ConsumeStarted::default()
    };
    let started = consume_response::Response::Started(started);
    session.respond(started).await;
    session.deliver_one(traced_delivery(1, SAMPLED, "")).await;
    let settling = soon(consumer.next()).await.unwrap().unwrap().ack();
    let batch = session.settle().await;
    session.answer(&batch, SettleOutcome::Ok).await;
    soon(settling).await.unwrap();
    for name in ["process orders", "ack orders"] {
        assert_an_hour(&traces.one(name));
    }
}

#[tokio::test]
async fn another_clock_is_measured_with_a_ping_and_its_error_is_told() {
    let (broker, traces) = (Broker::start().await, Traces::new());
    let mut consumer = traces.client(&broker).consumer("orders").open();
    let mut session = broker.consume().await;
    session.start().await;
    let started = ConsumeStarted {
        wall_shift_ns: an_hour_ahead(),
        ..ConsumeStarted::default()
    };
    let started = consume_response::Response::Started(started);
    session.respond(started).await;
    let ping = session.message().await.unwrap();
    assert!(matches!(
        ping.request,
        Some(consume_request::Request::Ping(_))
    ));
    let work = |n| traced_delivery(n, SAMPLED, "");
    session.deliver_one(work(1)).await;
    let unknown = soon(consumer.next()).await.unwrap().unwrap().ack();
    let batch = session.settle().await;
    assert_eq!(offset(&traces.one("process orders")), None, "no answer yet");
    session.answer(&batch, SettleOutcome::Ok).await;
    soon(unknown).await.unwrap();
    session
        .respond(consume_response::Response::Pong(Pong {
            ping_sent_ns: ping.sent_ns,
            ping_received_ns: monotonic_ns(),
            ..Pong::default()
        }))
        .await;
    session.deliver_one(work(2)).await;
    let known = soon(consumer.next()).await.unwrap().unwrap().ack();
    session.settle().await;
    drop(known);
    let spans = traces.spans();
    let worked = spans.iter().rfind(|span| span.name == "process orders");
    let (offset_ns, error_ns) = offset(worked.unwrap()).unwrap();
    // The scripted broker says that it sends all it sends at 1 ns: so wide is the bound.
    let off_ns = offset_ns.abs_diff(HOUR_NS.cast_signed());
    assert!(
        off_ns <= error_ns.unsigned_abs() + 1_000_000_000,
        "{offset_ns} ± {error_ns}"
    );
    assert!(error_ns > 0);
}
