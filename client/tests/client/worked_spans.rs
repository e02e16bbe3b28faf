//! How consumers get an item's trace context, and the spans of its work.

use std::sync::Mutex;
use std::time::Duration;

use baton_client::{Client, Consumer, HandlerError, Item, Nack};
use baton_proto::opaque::{Delivery, LeaseResponse, SettleOutcome, SettleResponse};
use baton_telemetry::trace_context::{ItemContext, ItemSpan, TraceParent};
use opentelemetry::Context;
use opentelemetry::context::FutureExt as _;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, TraceContextExt as _, TraceId, Tracer as _, TracerProvider as _,
};
use tracing::Instrument as _;
use tracing_subscriber::Layer as _;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::broker::{Broker, ConsumeSession, delivery, item, soon};
use crate::spans::{AMBIENT, TRACE, Traces, ambient, attribute, failed, links, traced_delivery};

const SAMPLED: &str = "00-30313233343536373839616263646566-b7ad6b7169203331-01";
const UNSAMPLED: &str = "00-30313233343536373839616263646566-b7ad6b7169203331-00";
const CREATION: &str = "b7ad6b7169203331";
const MEMBER: &str = "baton=00000000000000aa";

fn id(id: baton_telemetry::trace_context::SpanId) -> SpanId {
    SpanId::from_bytes(id.bytes())
}

/// Of attempt 1 at item 101, which is delivery 1.
fn computed(traceparent: &str, tracestate: &str, span: ItemSpan) -> SpanId {
    let item = ItemContext::read(traceparent, tracestate, "orders", 101).unwrap();
    id(item.span(span, 1))
}

async fn open(broker: &Broker, client: &Client, tracing: bool) -> (Consumer, ConsumeSession) {
    let consumer = client.consumer("orders").open();
    let mut session = broker.consume().await;
    session.start().await;
    session.started_tracing(tracing).await;
    (consumer, session)
}

/// Runs a handler for one delivery, and returns what the context was in it.
async fn handled(
    client: &Client,
    broker: &Broker,
    (tracing, delivery): (bool, Delivery),
    outcome: Result<(), HandlerError>,
) -> SpanContext {
    let (mut consumer, mut session) = open(broker, client, tracing).await;
    let seen = Mutex::new(None);
    let script = async {
        session.deliver_one(delivery).await;
        let batch = session.settle().await;
        session.answer(&batch, SettleOutcome::Ok).await;
        let end = baton_proto::opaque::NoticeKind::Drained;
        session.notice(end).await;
        drop(session);
    };
    let current = || Context::current().span().span_context().clone();
    let (seen, outcome) = (&seen, &outcome);
    let work = consumer.for_each(1, |_| {
        // Also before the first await, and before there is a future.
        let at_once = current();
        async move {
            tokio::task::yield_now().await;
            assert_eq!(current(), at_once);
            *seen.lock().unwrap() = Some(at_once);
            outcome.clone()
        }
    });
    let (ended, ()) = soon(async { tokio::join!(work, script) }).await;
    ended.unwrap();
    seen.lock().unwrap().take().unwrap()
}

#[tokio::test]
async fn a_sampled_item_is_worked_on_below_its_delivery() {
    let (broker, traces) = (Broker::start().await, Traces::new());
    let delivery = traced_delivery(1, SAMPLED, &format!("{MEMBER},congo=t61"));
    let seen = handled(&traces.client(&broker), &broker, (true, delivery), Ok(())).await;
    assert_eq!(traces.names(), ["ack orders", "process orders"]);
    let (process, ack) = (traces.one("process orders"), traces.one("ack orders"));

    assert_eq!(seen, process.span_context);
    assert_eq!(process.span_context.trace_id(), TRACE);
    assert_eq!(
        process.parent_span_id,
        computed(SAMPLED, MEMBER, ItemSpan::Deliver)
    );
    assert!(process.parent_span_is_remote);
    assert_eq!(process.span_kind, SpanKind::Consumer);
    let creation = SpanId::from_hex(CREATION).unwrap();
    assert_eq!(links(&process), [(creation, String::new())]);
    // Ours is of this item: it must not go on to others.
    assert_eq!(seen.trace_state().header(), "congo=t61");
    for (name, value) in [
        ("messaging.system", "baton"),
        ("messaging.destination.name", "orders"),
        ("messaging.operation.name", "process"),
        ("messaging.operation.type", "process"),
        ("messaging.client.id", "me"),
        ("messaging.message.id", "101"),
        ("messaging.baton.attempt", "1"),
        ("server.address", "127.0.0.1"),
        ("server.port", &broker.address.port().to_string()),
        ("error.type", ""),
    ] {
        assert_eq!(attribute(&process, name), value, "{name}");
    }

    assert_eq!(ack.span_kind, SpanKind::Client);
    assert_eq!(
        ack.parent_span_id, process.parent_span_id,
        "work is over by then"
    );
    assert_eq!(attribute(&ack, "messaging.operation.type"), "settle");
    assert_eq!(attribute(&ack, "messaging.message.id"), "101");
    assert!(!failed(&process) && !failed(&ack));
    assert!(process.end_time <= ack.start_time && ack.start_time <= ack.end_time);
}

#[tokio::test]
async fn who_publishes_an_item_again_does_not_take_its_spans_along() {
    let (broker, traces) = (Broker::start().await, Traces::new());
    let client = traces.client(&broker);
    let state = format!("{MEMBER},congo=t61");
    let (mut consumer, session) = open(&broker, &client, true).await;
    session
        .deliver_one(traced_delivery(1, SAMPLED, &state))
        .await;
    let delivery = soon(consumer.next()).await.unwrap().unwrap();
    assert_eq!(
        (delivery.traceparent(), delivery.tracestate()),
        (SAMPLED, "congo=t61")
    );
    let producer = client.producer("again").open();
    let again = Item::new("again")
        .traceparent(delivery.traceparent())
        .tracestate(delivery.tracestate());
    let _confirm = soon(producer.send(again)).await.unwrap();
    let mut publishing = broker.publish_stream().await;
    publishing.start().await;
    let again = publishing.decoded().await.remove(0);
    let context = ItemContext::read(&again.traceparent, &again.tracestate, "again", 1).unwrap();
    let first = ItemContext::read(SAMPLED, &state, "orders", 101).unwrap();
    assert_eq!(context.trace_id, first.trace_id);
    assert_ne!(context.item, first.item);
    // It is still known here: work is below the item's own delivery.
    drop(delivery.ack());
    let process = traces.one("process orders");
    assert_eq!(
        process.parent_span_id,
        computed(SAMPLED, MEMBER, ItemSpan::Deliver)
    );
}

#[tokio::test]
async fn failed_work_says_how_it_failed() {
    for (error, name) in [
        (HandlerError::from("no paper"), "nacked"),
        (HandlerError::dead_letter("no paper"), "rejected"),
    ] {
        let (broker, traces) = (Broker::start().await, Traces::new());
        let delivery = traced_delivery(1, SAMPLED, MEMBER);
        handled(
            &traces.client(&broker),
            &broker,
            (true, delivery),
            Err(error),
        )
        .await;
        assert_eq!(traces.names(), ["nack orders", "process orders"]);
        let process = traces.one("process orders");
        assert_eq!(attribute(&process, "error.type"), name);
        assert_eq!(
            process.status,
            opentelemetry::trace::Status::error("no paper")
        );
        assert!(
            !failed(&traces.one("nack orders")),
            "the nack itself worked"
        );
    }
}

#[tokio::test]
async fn below_a_broker_that_does_not_trace_work_is_a_child_of_the_creation() {
    let (broker, traces) = (Broker::start().await, Traces::new());
    let delivery = traced_delivery(1, SAMPLED, MEMBER);
    handled(&traces.client(&broker), &broker, (false, delivery), Ok(())).await;
    let creation = SpanId::from_hex(CREATION).unwrap();
    assert_eq!(traces.one("process orders").parent_span_id, creation);
}

#[tokio::test]
async fn work_is_linked_to_the_span_around_the_consumer() {
    let (broker, traces) = (Broker::start().await, Traces::new());
    let delivery = traced_delivery(1, SAMPLED, MEMBER);
    handled(&traces.client(&broker), &broker, (true, delivery), Ok(()))
        .with_context(ambient(true, ""))
        .await;
    let links: Vec<_> = links(&traces.one("process orders"))
        .into_iter()
        .map(|link| link.0)
        .collect();
    assert_eq!(links, [SpanId::from_hex(CREATION).unwrap(), AMBIENT]);
}

#[tokio::test]
async fn work_on_an_unsampled_item_stays_in_its_trace_without_a_span() {
    for (tracing, wanted) in [
        (true, computed(UNSAMPLED, "", ItemSpan::Process)),
        (false, SpanId::from_hex(CREATION).unwrap()),
    ] {
        let (broker, traces) = (Broker::start().await, Traces::new());
        let delivery = traced_delivery(1, UNSAMPLED, "congo=t61");
        let client = traces.client(&broker);
        let seen = handled(&client, &broker, (tracing, delivery), Ok(())).await;
        assert_eq!((seen.trace_id(), seen.span_id()), (TRACE, wanted));
        assert!(!seen.is_sampled() && seen.is_remote());
        assert_eq!(seen.trace_state().header(), "congo=t61");
        assert_eq!(traces.names(), [""; 0]);
    }
}

#[tokio::test]
async fn without_an_sdk_the_ids_are_passed_on() {
    let broker = Broker::start().await;
    for (tracing, wanted) in [
        (true, computed(SAMPLED, MEMBER, ItemSpan::Deliver)),
        (false, SpanId::from_hex(CREATION).unwrap()),
    ] {
        let delivery = traced_delivery(1, SAMPLED, MEMBER);
        let seen = handled(&broker.client(), &broker, (tracing, delivery), Ok(())).await;
        assert_eq!((seen.trace_id(), seen.span_id()), (TRACE, wanted));
        assert!(seen.is_sampled());
        assert_eq!(seen.trace_state().header(), "");
    }
}

#[tokio::test]
async fn what_is_no_trace_context_is_ignored() {
    let malformed = SAMPLED.to_uppercase();
    for traceparent in ["", "00-nonsense", malformed.as_str()] {
        let (broker, traces) = (Broker::start().await, Traces::new());
        let delivery = traced_delivery(1, traceparent, MEMBER);
        let around = ambient(true, "");
        let seen = handled(&traces.client(&broker), &broker, (true, delivery), Ok(()))
            .with_context(around)
            .await;
        assert_eq!(seen.span_id(), AMBIENT, "{traceparent}");
        assert_eq!(traces.names(), [""; 0]);
    }
    // A state that cannot be read costs the state only.
    let (broker, traces) = (Broker::start().await, Traces::new());
    let delivery = traced_delivery(1, SAMPLED, "UPPER=1,,=");
    let seen = handled(&traces.client(&broker), &broker, (true, delivery), Ok(())).await;
    assert_eq!(seen.trace_state().header(), "");
    assert_eq!(traces.names(), ["ack orders", "process orders"]);
}

#[tokio::test]
async fn a_foreign_producers_item_is_worked_on_below_its_delivery_too() {
    let (broker, traces) = (Broker::start().await, Traces::new());
    let delivery = traced_delivery(1, SAMPLED, "congo=t61");
    handled(&traces.client(&broker), &broker, (true, delivery), Ok(())).await;
    let process = traces.one("process orders");
    assert_eq!(
        process.parent_span_id,
        computed(SAMPLED, "", ItemSpan::Deliver)
    );
    let creation = SpanId::from_hex(CREATION).unwrap();
    assert_eq!(links(&process), [(creation, String::new())]);
}

#[tokio::test]
async fn a_redriven_item_is_worked_on_in_its_new_trace() {
    let (broker, traces) = (Broker::start().await, Traces::new());
    let redriven = ItemContext::read(SAMPLED, MEMBER, "orders", 101)
        .unwrap()
        .redriven(3);
    for traceparent in [SAMPLED, ""] {
        let delivery = Delivery {
            attempt: 4,
            traceparent: redriven.as_parent().to_string(),
            ..traced_delivery(1, traceparent, MEMBER)
        };
        let traces = Traces::new();
        handled(&traces.client(&broker), &broker, (true, delivery), Ok(())).await;
        let process = traces.one("process orders");
        let trace = TraceId::from_bytes(redriven.trace_id.bytes());
        assert_eq!(process.span_context.trace_id(), trace);
        assert_eq!(
            process.parent_span_id,
            id(redriven.span(ItemSpan::Deliver, 4))
        );
        let creations = process
            .links
            .iter()
            .map(|link| link.span_context.trace_id());
        let wanted: &[TraceId] = if traceparent.is_empty() {
            &[]
        } else {
            &[TRACE]
        };
        assert_eq!(creations.collect::<Vec<_>>(), wanted, "the trace before");
    }
    drop(traces);
}

#[tokio::test]
async fn spans_of_the_work_are_children_and_items_published_in_it_grandchildren() {
    let (broker, traces) = (Broker::start_tracing(true).await, Traces::new());
    let client = traces.client(&broker);
    let (mut consumer, session) = open(&broker, &client, true).await;
    session
        .deliver_one(traced_delivery(1, SAMPLED, MEMBER))
        .await;
    let delivery = soon(consumer.next()).await.unwrap().unwrap();
    let producer = client.producer("more").open();
    let context = delivery.trace_context();
    let work = async {
        drop(traces.sdk.tracer("user").start("resize"));
        drop(producer.send(item("b")).await.unwrap());
    };
    soon(work.with_context(context)).await;
    let mut publishing = broker.publish_stream().await;
    publishing.start().await;
    let item = publishing.decoded().await.remove(0);
    let settling = delivery.ack();
    let process = traces.one("process orders").span_context;
    assert_eq!(traces.one("resize").parent_span_id, process.span_id());
    let published = ItemContext::read(&item.traceparent, &item.tracestate, "more", 1).unwrap();
    assert_eq!(published.parent.map(id), Some(process.span_id()));
    assert_ne!(published.item.to_string(), "00000000000000aa");
    drop(settling);
}

#[tokio::test]
async fn spans_of_tracing_macros_nest_by_themselves() {
    let (broker, traces) = (Broker::start_tracing(true).await, Traces::new());
    let layer = tracing_opentelemetry::layer().with_tracer(traces.sdk.tracer("user"));
    // Of this thread, on which the whole test runs; the transport's spans are nobody's business here.
    let ours = tracing_subscriber::filter::filter_fn(|span| span.target().starts_with("client"));
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(ours));
    let _subscribed = tracing::subscriber::set_default(subscriber);
    let client = traces.client(&broker);
    let (mut consumer, mut session) = open(&broker, &client, true).await;
    let producer = client.producer("more").open();
    let script = async {
        session
            .deliver_one(traced_delivery(1, SAMPLED, MEMBER))
            .await;
        let mut publishing = broker.publish_stream().await;
        publishing.start().await;
        let item = publishing.decoded().await.remove(0);
        let batch = session.settle().await;
        session.answer(&batch, SettleOutcome::Ok).await;
        session
            .notice(baton_proto::opaque::NoticeKind::Drained)
            .await;
        drop(session);
        (item, publishing)
    };
    let work = consumer.for_each(1, async |_| {
        let resize = async {
            drop(producer.send(item("b")).await?);
            Ok(())
        };
        resize.instrument(tracing::info_span!("resize")).await
    });
    let (ended, (item, _publishing)) = soon(async { tokio::join!(work, script) }).await;
    ended.unwrap();
    let process = traces.one("process orders").span_context;
    let resize = traces.one("resize");
    assert_eq!(resize.parent_span_id, process.span_id());
    let published = ItemContext::read(&item.traceparent, &item.tracestate, "more", 1).unwrap();
    assert_eq!(
        published.parent.map(id),
        Some(resize.span_context.span_id())
    );
}

#[tokio::test]
async fn without_a_handler_work_lasts_from_the_handout_to_the_settle() {
    let (broker, traces) = (Broker::start().await, Traces::new());
    let (mut consumer, session) = open(&broker, &traces.client(&broker), true).await;
    session
        .deliver_one(traced_delivery(1, SAMPLED, MEMBER))
        .await;
    let first = soon(consumer.next()).await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop(first);
    let process = traces.one("process orders");
    let took = process.end_time.duration_since(process.start_time).unwrap();
    assert!(took >= Duration::from_millis(20), "{took:?}");
    assert_eq!(attribute(&process, "error.type"), "nacked");
}

#[tokio::test]
async fn what_nobody_worked_on_has_no_spans() {
    let (broker, traces) = (Broker::start().await, Traces::new());
    let (mut consumer, mut session) = open(&broker, &traces.client(&broker), true).await;
    let both = [1, 2].map(|n| traced_delivery(n, SAMPLED, MEMBER));
    session.deliver_these(both.into()).await;
    let first = soon(consumer.next()).await.unwrap().unwrap();
    // The second one is prefetched, and goes back; so does the first, by the user's own choice.
    consumer.shutdown();
    session.drain().await;
    session.settle().await;
    let given_back = first.nack(Nack::unstarted());
    session.settle().await;
    assert_eq!(traces.names(), [""; 0]);
    drop(given_back);
}

#[tokio::test]
async fn a_settle_that_came_too_late_is_a_failed_ack() {
    let (broker, traces) = (Broker::start().await, Traces::new());
    let (mut consumer, mut session) = open(&broker, &traces.client(&broker), true).await;
    session
        .deliver_one(traced_delivery(1, SAMPLED, MEMBER))
        .await;
    let settling = soon(consumer.next()).await.unwrap().unwrap().ack();
    let batch = session.settle().await;
    session.answer(&batch, SettleOutcome::LeaseLost).await;
    soon(settling).await.unwrap();
    let ack = traces.one("ack orders");
    assert_eq!(
        (attribute(&ack, "error.type"), failed(&ack)),
        ("LEASE_LOST".into(), true)
    );
    assert!(!failed(&traces.one("process orders")));
}

#[tokio::test]
async fn items_that_were_asked_for_are_linked_to_the_asking() {
    let (broker, traces) = (Broker::start_tracing(true).await, Traces::new());
    let queue = traces.client(&broker).queue("orders");
    let script = async {
        let (_, reply) = broker.lease().await;
        let items = vec![
            traced_delivery(1, SAMPLED, MEMBER),
            traced_delivery(2, UNSAMPLED, ""),
            delivery(3),
        ];
        reply.send(Ok(LeaseResponse { items })).unwrap();
    };
    let asking = queue
        .lease(3, Duration::ZERO)
        .with_context(ambient(true, ""));
    let (leased, ()) = soon(async { tokio::join!(asking, script) }).await;
    let receive = traces.one("receive orders");
    assert_eq!(
        (receive.parent_span_id, receive.span_kind.clone()),
        (AMBIENT, SpanKind::Client)
    );
    assert_eq!(attribute(&receive, "messaging.batch.message_count"), "3");
    let creation = SpanId::from_hex(CREATION).unwrap();
    let wanted = ["101", "102"].map(|item| (creation, item.to_owned()));
    assert_eq!(links(&receive), wanted);

    let mut leased = leased.unwrap();
    let settling = leased.remove(0).ack();
    let (_, reply) = broker.settle().await;
    let response = SettleResponse {
        outcomes: vec![SettleOutcome::Ok.into()],
        durability: 2,
    };
    reply.send(Ok(response)).unwrap();
    soon(settling).await.unwrap();
    let process = traces.one("process orders");
    assert_eq!(
        process.parent_span_id,
        computed(SAMPLED, MEMBER, ItemSpan::Deliver)
    );
    assert_eq!(
        traces.one("ack orders").parent_span_id,
        process.parent_span_id
    );
}

#[tokio::test]
async fn asking_in_vain_makes_no_span() {
    let (broker, traces) = (Broker::start().await, Traces::new());
    let queue = traces.client(&broker).queue("orders");
    let script = async {
        let (_, reply) = broker.lease().await;
        reply.send(Ok(LeaseResponse::default())).unwrap();
    };
    let (empty, ()) = soon(async { tokio::join!(queue.get_nowait(), script) }).await;
    assert!(empty.is_err());
    assert_eq!(traces.names(), [""; 0]);
}

#[test]
fn the_contexts_of_these_tests_are_what_they_seem() {
    assert!(TraceParent::parse(SAMPLED).unwrap().sampled);
    assert!(!TraceParent::parse(UNSAMPLED).unwrap().sampled);
    let trace = TraceParent::parse(SAMPLED).unwrap().trace_id.bytes();
    assert_eq!(TraceId::from_bytes(trace), TRACE);
}
