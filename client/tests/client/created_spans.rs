//! How items get their trace context, and the spans of publishing.

use std::time::Duration;

use baton_client::{Client, Error, ErrorCode, Item, Producer};
use baton_proto::opaque::{PublishConfirm, PublishResponse, PublishResult};
use baton_proto::v1;
use baton_telemetry::trace_context::{ItemContext, TraceParent};
use opentelemetry::Context;
use opentelemetry::context::FutureExt as _;
use opentelemetry::trace::{SpanId, SpanKind};
use opentelemetry_sdk::trace::Sampler;
use prost::Message as _;
use tonic::{Code, Status};

use crate::broker::{Broker, PublishSession, item, refusal, soon, stored};
use crate::spans::{AMBIENT, TRACE, Traces, ambient, attribute, failed, links};

/// Publishes one item and confirms it as 42.
async fn published(broker: &Broker, client: &Client, item: Item) -> v1::Item {
    let producer = client.producer("orders").open();
    let script = async {
        let mut session = broker.publish_stream().await;
        session.start().await;
        let item = session.decoded().await.remove(0);
        session.confirm(vec![stored(1, 1, 42)]).await;
        (item, session)
    };
    let (published, (item, _session)) =
        soon(async { tokio::join!(producer.publish(item), script) }).await;
    assert_eq!(published.unwrap().item_id, 42);
    item
}

fn parent(item: &v1::Item) -> TraceParent {
    TraceParent::parse(&item.traceparent).expect(&item.traceparent)
}

fn context(item: &v1::Item) -> ItemContext {
    ItemContext::read(&item.traceparent, &item.tracestate, "orders", 42).unwrap()
}

fn id(id: baton_telemetry::trace_context::SpanId) -> SpanId {
    SpanId::from_bytes(id.bytes())
}

#[tokio::test]
async fn a_sampled_item_is_created_below_the_brokers_span_of_its_life() {
    let (broker, traces) = (Broker::start_tracing(true).await, Traces::new());
    let item = published(&broker, &traces.client(&broker), item("a")).await;
    assert_eq!(traces.names(), ["create orders", "publish orders"]);
    let (create, publish) = (traces.one("create orders"), traces.one("publish orders"));

    let context = context(&item);
    assert!(context.sampled && context.parent.is_none());
    assert_eq!(
        context.creation.map(id),
        Some(create.span_context.span_id())
    );
    assert_eq!(
        context.trace_id.bytes(),
        create.span_context.trace_id().to_bytes()
    );
    assert_eq!(create.parent_span_id, id(context.item));
    assert!(create.parent_span_is_remote && create.span_context.is_sampled());
    assert_eq!(create.span_kind, SpanKind::Producer);
    assert_eq!(links(&create), []);
    for (name, value) in [
        ("messaging.system", "baton"),
        ("messaging.destination.name", "orders"),
        ("messaging.operation.name", "create"),
        ("messaging.operation.type", "create"),
        ("messaging.client.id", "me"),
        ("messaging.message.id", "42"),
        ("server.address", "127.0.0.1"),
        ("server.port", &broker.address.port().to_string()),
        ("error.type", ""),
    ] {
        assert_eq!(attribute(&create, name), value, "{name}");
    }

    assert_eq!(publish.span_kind, SpanKind::Client);
    assert_eq!(publish.parent_span_id, create.span_context.span_id());
    assert_eq!(
        publish.span_context.trace_id(),
        create.span_context.trace_id()
    );
    let created = (create.span_context.span_id(), "42".to_owned());
    assert_eq!(links(&publish), [created]);
    assert_eq!(attribute(&publish, "messaging.operation.type"), "send");
    assert_eq!(attribute(&publish, "messaging.message.id"), "42");
    assert_eq!(attribute(&publish, "messaging.batch.message_count"), "");
    assert!(!failed(&create) && !failed(&publish));
    assert!(create.start_time <= publish.start_time && publish.end_time <= create.end_time);
}

#[tokio::test]
async fn creation_begins_when_the_item_was_made() {
    let (broker, traces) = (Broker::start_tracing(true).await, Traces::new());
    let item = item("a");
    tokio::time::sleep(Duration::from_millis(20)).await;
    published(&broker, &traces.client(&broker), item).await;
    let create = traces.one("create orders");
    let took = create.end_time.duration_since(create.start_time).unwrap();
    assert!(took >= Duration::from_millis(20), "{took:?}");
}

#[tokio::test]
async fn inside_of_a_sampled_span_the_item_is_its_child() {
    let (broker, traces) = (Broker::start_tracing(true).await, Traces::new());
    // Also from within the work on another item, whose member must not come along.
    let around = ambient(true, "congo=t61,baton=00000000000000aa,rojo=1");
    // Of no effect: the span around it decides.
    let client = traces.settings(&broker).trace_ratio(0.0).build().unwrap();
    let item = published(&broker, &client, item("a"))
        .with_context(around)
        .await;
    let (create, context) = (traces.one("create orders"), context(&item));
    assert_eq!(create.span_context.trace_id(), TRACE);
    assert_eq!(context.parent.map(id), Some(AMBIENT));
    assert_eq!(create.parent_span_id, id(context.item));
    let (ours, others) = item.tracestate.split_once(',').unwrap();
    assert_eq!(ours, format!("baton={}-{AMBIENT}", context.item));
    assert_eq!(others, "congo=t61,rojo=1");
}

#[tokio::test]
async fn an_unsampled_item_has_ids_and_no_spans() {
    let (broker, traces) = (Broker::start_tracing(true).await, Traces::new());
    let client = traces.settings(&broker).trace_ratio(0.0).build().unwrap();
    let (one, two) = (
        published(&broker, &client, item("a")).await,
        published(&broker, &client, item("b")).await,
    );
    assert!(!parent(&one).sampled && parent(&one).trace_id != parent(&two).trace_id);
    assert_eq!(one.tracestate, "");

    let around = ambient(false, "congo=t61,baton=00000000000000aa");
    // Of no effect: the span around it decides.
    let client = traces.settings(&broker).trace_ratio(1.0).build().unwrap();
    let three = published(&broker, &client, item("c"))
        .with_context(around)
        .await;
    let three_parent = parent(&three);
    assert_eq!(three_parent.trace_id.bytes(), TRACE.to_bytes());
    assert!(!three_parent.sampled && id(three_parent.span_id) != AMBIENT);
    assert_eq!(three.tracestate, "congo=t61");
    assert_eq!(traces.names(), [""; 0]);
}

#[tokio::test]
async fn without_an_sdk_only_what_is_around_is_passed_on() {
    let broker = Broker::start_tracing(true).await;
    let client = broker.client();
    let bare = published(&broker, &client, item("a")).await;
    assert_eq!(
        (bare.traceparent.as_str(), bare.tracestate.as_str()),
        ("", "")
    );
    for sampled in [true, false] {
        let around = ambient(sampled, "congo=t61,baton=00000000000000aa");
        let passed_on = published(&broker, &client, item("b"))
            .with_context(around)
            .await;
        let parent = parent(&passed_on);
        assert_eq!((id(parent.span_id), parent.sampled), (AMBIENT, sampled));
        assert_eq!(passed_on.tracestate, "congo=t61");
    }
}

#[tokio::test]
async fn what_the_user_set_is_left_alone() {
    let (broker, traces) = (Broker::start_tracing(true).await, Traces::new());
    let own = item("a").traceparent("00-mine").tracestate("mine=1");
    let sent = published(&broker, &traces.client(&broker), own)
        .with_context(ambient(true, ""))
        .await;
    assert_eq!(
        (sent.traceparent.as_str(), sent.tracestate.as_str()),
        ("00-mine", "mine=1")
    );
    assert_eq!(traces.names(), [""; 0]);
}

#[tokio::test]
async fn a_broker_that_does_not_trace_is_nobodys_parent() {
    for broker in [Broker::start_tracing(false).await, Broker::start().await] {
        let traces = Traces::new();
        let client = traces.client(&broker);
        let root = published(&broker, &client, item("a")).await;
        let create = traces.one("create orders");
        assert_eq!(create.parent_span_id, SpanId::INVALID);
        assert_eq!(id(parent(&root).span_id), create.span_context.span_id());
        assert_eq!(root.tracestate, "");

        let traces = Traces::new();
        let around = ambient(true, "congo=t61");
        let client = traces.client(&broker);
        let child = published(&broker, &client, item("b"))
            .with_context(around)
            .await;
        assert_eq!(traces.one("create orders").parent_span_id, AMBIENT);
        assert_eq!(child.tracestate, "congo=t61");
    }
}

#[tokio::test]
async fn each_stream_says_anew_whether_the_broker_traces() {
    let (broker, traces) = (Broker::start_tracing(true).await, Traces::new());
    let producer = traces.client(&broker).producer("orders").open();
    let _first = soon(producer.send(item("a"))).await.unwrap();
    let mut session = broker.publish_stream().await;
    session.start().await;
    assert!(session.decoded().await[0].tracestate.starts_with("baton="));
    session.started(false).await;
    session.confirm(vec![stored(1, 1, 1)]).await;
    soon(producer.flush()).await.unwrap();
    let _second = soon(producer.send(item("b"))).await.unwrap();
    assert_eq!(session.decoded().await[0].tracestate, "");
}

#[tokio::test]
async fn the_sdk_has_the_last_word() {
    let broker = Broker::start_tracing(true).await;
    let traces = Traces::sampling(Sampler::AlwaysOff);
    let item = published(&broker, &traces.client(&broker), item("a")).await;
    assert!(!parent(&item).sampled && item.tracestate.is_empty());
    assert_eq!(traces.names(), [""; 0]);
}

#[tokio::test]
async fn a_refused_item_fails_its_own_span() {
    let (broker, traces) = (Broker::start_tracing(true).await, Traces::new());
    let producer = traces.client(&broker).producer("orders").open();
    let (good, bad) = (item("a"), item("b"));
    let confirms = [
        soon(producer.send(good)).await,
        soon(producer.send(bad)).await,
    ];
    let mut session = broker.publish_stream().await;
    session.start().await;
    session.items(2).await;
    let refused = PublishConfirm {
        first_sequence: 2,
        count: 1,
        error: ErrorCode::ItemInvalid.into(),
        ..PublishConfirm::default()
    };
    session.confirm(vec![stored(1, 1, 7), refused]).await;
    for confirm in confirms {
        let _ = soon(confirm.unwrap()).await;
    }
    let mut creates = traces.spans();
    creates.retain(|span| span.name == "create orders");
    creates.sort_by_key(|span| attribute(span, "error.type"));
    let types: Vec<_> = creates
        .iter()
        .map(|span| attribute(span, "error.type"))
        .collect();
    assert_eq!(types, ["", "ITEM_INVALID"]);
    assert!(!failed(&creates[0]) && failed(&creates[1]));
    let publishes = traces.spans();
    let mut publishes = publishes
        .iter()
        .filter(|span| span.name == "publish orders");
    // The two items may have gone out together or one after the other.
    assert!(publishes.any(|span| !failed(span)));
}

#[tokio::test]
async fn a_batch_whose_items_all_failed_has_failed() {
    let (broker, traces) = (Broker::start_tracing(true).await, Traces::new());
    let producer = traces.client(&broker).producer("orders").open();
    let confirm = soon(producer.send(item("a"))).await.unwrap();
    let mut session = broker.publish_stream().await;
    session.start().await;
    session.items(1).await;
    let refused = PublishConfirm {
        first_sequence: 1,
        count: 1,
        error: ErrorCode::ItemInvalid.into(),
        ..PublishConfirm::default()
    };
    session.confirm(vec![refused]).await;
    assert!(soon(confirm).await.is_err());
    let publish = traces.one("publish orders");
    assert_eq!(attribute(&publish, "error.type"), "ITEM_INVALID");
    assert_eq!(attribute(&publish, "messaging.message.id"), "");
}

#[tokio::test]
async fn where_telemetry_is_suppressed_an_item_gets_nothing() {
    let (broker, traces) = (Broker::start_tracing(true).await, Traces::new());
    let suppressed = Context::new().with_telemetry_suppressed();
    let item = published(&broker, &traces.client(&broker), item("a"))
        .with_context(suppressed)
        .await;
    assert_eq!(
        (item.traceparent.as_str(), item.tracestate.as_str()),
        ("", "")
    );
    assert_eq!(traces.names(), [""; 0]);
}

#[tokio::test]
async fn a_consumers_stream_says_it_for_producers_too() {
    // This one answers no questions.
    let (broker, traces) = (Broker::start().await, Traces::new());
    let client = traces.client(&broker);
    let mut consumer = client.consumer("orders").open();
    let mut session = broker.consume().await;
    session.start().await;
    session.started_tracing(true).await;
    session.deliver(1..=1).await;
    let _delivery = soon(consumer.next()).await.unwrap().unwrap();
    let item = published(&broker, &client, item("a")).await;
    assert!(item.tracestate.starts_with("baton="), "{}", item.tracestate);
}

/// Sends items without looking at them, in as many batches as they come.
async fn confirm_all(session: &mut PublishSession, count: u32) -> Vec<usize> {
    let (mut batches, mut confirmed) = (Vec::new(), 0);
    while confirmed < count {
        let items = session.decoded().await.len();
        batches.push(items);
        confirmed += u32::try_from(items).unwrap();
    }
    session.confirm(vec![stored(1, count, 100)]).await;
    batches
}

async fn send_all(producer: &Producer, count: usize) {
    for n in 0..count {
        drop(soon(producer.send(item(&n.to_string()))).await.unwrap());
    }
}

#[tokio::test]
async fn a_batch_is_linked_to_its_items_but_not_to_all_of_too_many() {
    let (broker, traces) = (Broker::start_tracing(true).await, Traces::new());
    let producer = traces.client(&broker).producer("orders").open();
    send_all(&producer, 300).await;
    let mut session = broker.publish_stream().await;
    session.start().await;
    let batches = confirm_all(&mut session, 300).await;
    soon(producer.flush()).await.unwrap();
    let mut publishes = traces.spans();
    let mut creates = publishes.clone();
    publishes.retain(|span| span.name == "publish orders");
    creates.retain(|span| span.name == "create orders");
    assert_eq!((publishes.len(), creates.len()), (batches.len(), 300));
    for (publish, items) in publishes.iter().zip(&batches) {
        assert_eq!(publish.links.len(), 128.min(*items));
        assert_eq!(publish.links.dropped_count, 0);
        if *items > 1 {
            let count = attribute(publish, "messaging.batch.message_count");
            assert_eq!(count, items.to_string());
        }
    }
    let first = &creates
        .iter()
        .find(|span| attribute(span, "messaging.message.id") == "100");
    let first = first.unwrap().span_context.span_id();
    assert_eq!(publishes[0].parent_span_id, first);
    assert_eq!(links(&publishes[0])[0], (first, "100".to_owned()));
}

#[tokio::test]
async fn a_lost_stream_is_a_failed_publish_of_the_same_creation() {
    let (broker, traces) = (Broker::start_tracing(true).await, Traces::new());
    let producer = traces.client(&broker).producer("orders").open();
    let _confirm = soon(producer.send(item("a"))).await.unwrap();
    let mut session = broker.publish_stream().await;
    session.start().await;
    let sent = session.decoded().await;
    session.fail(Status::unavailable("as the test says")).await;
    let mut session = broker.publish_stream().await;
    session.start().await;
    assert_eq!(session.decoded().await, sent, "the same again");
    session.confirm(vec![stored(1, 1, 42)]).await;
    soon(producer.flush()).await.unwrap();
    let create = traces.one("create orders");
    let mut publishes = traces.spans();
    publishes.retain(|span| span.name == "publish orders");
    let ends: Vec<_> = publishes
        .iter()
        .map(|span| attribute(span, "error.type"))
        .collect();
    assert_eq!(ends, ["UNAVAILABLE", ""]);
    let creation = create.span_context.span_id();
    assert!(publishes.iter().all(|span| span.parent_span_id == creation));
    assert_eq!(links(&publishes[0]), [(creation, String::new())]);
    assert!(!failed(&create));
}

#[tokio::test]
async fn what_never_entered_the_window_is_a_creation_that_failed() {
    let (broker, traces) = (Broker::start_tracing(true).await, Traces::new());
    let producer = traces
        .client(&broker)
        .producer("orders")
        .window_items(1)
        .open();
    let _first = soon(producer.send(item("a"))).await.unwrap();
    let cancelled = tokio::time::timeout(Duration::from_millis(50), producer.send(item("b")));
    assert!(cancelled.await.is_err(), "there is no room");
    assert_eq!(
        attribute(&traces.one("create orders"), "error.type"),
        "CANCELLED"
    );

    let traces = Traces::new();
    let producer = traces.client(&broker).producer("orders").open();
    soon(producer.close()).await.unwrap();
    assert!(soon(producer.send(item("c"))).await.is_err());
    let large = item(&"x".repeat(17 << 20));
    assert!(soon(producer.send(large)).await.is_err());
    let types: Vec<_> = traces
        .spans()
        .iter()
        .map(|span| attribute(span, "error.type"))
        .collect();
    assert_eq!(types, ["CLOSED", "ITEM_TOO_LARGE"]);
}

fn decoded(encoded: &bytes::Bytes) -> v1::Item {
    v1::Item::decode(encoded.clone()).unwrap()
}

#[tokio::test]
async fn unary_publishes_are_traced_alike() {
    let (broker, traces) = (Broker::start_tracing(true).await, Traces::new());
    let queue = traces.client(&broker).queue("orders");
    let script = async {
        let (request, reply) = broker.publish().await;
        let result = PublishResult {
            item_id: 42,
            ..PublishResult::default()
        };
        let response = PublishResponse {
            results: vec![result],
            durability: 2,
        };
        reply.send(Ok(response)).unwrap();
        decoded(&request.items[0])
    };
    let (receipt, item) = soon(async { tokio::join!(queue.publish_one(item("a")), script) }).await;
    assert_eq!(receipt.unwrap().item_id, 42);
    let (create, publish) = (traces.one("create orders"), traces.one("publish orders"));
    assert_eq!(create.parent_span_id, id(context(&item).item));
    assert_eq!(attribute(&create, "messaging.message.id"), "42");
    assert_eq!(publish.parent_span_id, create.span_context.span_id());
}

#[tokio::test]
async fn a_unary_publish_that_is_refused_says_why() {
    let (broker, traces) = (Broker::start_tracing(true).await, Traces::new());
    let producer = traces.client(&broker).producer("orders").open();
    let script = async {
        let (_, reply) = broker.publish().await;
        let full = refusal(Code::ResourceExhausted, ErrorCode::QueueFull, None);
        reply.send(Err(full)).unwrap();
    };
    let (refused, ()) = soon(async { tokio::join!(producer.try_publish(item("a")), script) }).await;
    assert!(matches!(refused, Err(Error::QueueFull)));
    for name in ["create orders", "publish orders"] {
        let span = traces.one(name);
        assert_eq!(
            (attribute(&span, "error.type"), failed(&span)),
            ("QUEUE_FULL".into(), true)
        );
    }
}
