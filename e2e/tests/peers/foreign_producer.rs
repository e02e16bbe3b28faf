//! Producers that know nothing of Baton's library: their spans are the items' parents, or nobody's.

use opentelemetry::Context;
use opentelemetry::trace::{Span as _, SpanContext, SpanKind, Tracer as _, TracerProvider as _};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::task::spawn_blocking;

use baton_client::QueueConfig;

use crate::bare::{Bare, item};
use crate::ids;
use crate::item_trace::{ItemTrace, is_synthesized};
use crate::scene::{ALL, CONSUMER, NO_LIMIT, Scene};

/// Exports a span of somebody's checkout.
async fn checkout(collector: String) -> SpanContext {
    let emit = spawn_blocking(move || {
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(collector);
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter.build().unwrap())
            .with_resource(Resource::builder_empty().with_service_name("web").build())
            .build();
        let tracer = provider.tracer("web");
        let builder = tracer.span_builder("check out").with_kind(SpanKind::Server);
        let mut span = tracer.build_with_context(builder, &Context::new());
        let context = span.span_context().clone();
        span.end();
        provider.shutdown().unwrap();
        context
    });
    emit.await.unwrap()
}

fn traceparent(context: &SpanContext, flags: &str) -> String {
    format!("00-{}-{}-{flags}", context.trace_id(), context.span_id())
}

#[tokio::test]
async fn a_foreign_span_that_is_recorded_is_the_parent_of_its_items() {
    let scene = Scene::with(&NO_LIMIT).await;
    let parent = checkout(scene.agent.url()).await;
    let mut bare = Bare::connect(scene.broker.url()).await;
    let sent = item(
        &traceparent(&parent, "01"),
        "congo=t61,rojo=00f067aa0ba902b7",
    );
    bare.publish("jobs", vec![sent; 3]).await.unwrap();
    scene.work_off("jobs", "true").await;
    let traces = scene.traces(3, 1 + 3 * 7).await;
    let [trace] = &traces[..] else {
        panic!("one trace, not {traces:#?}");
    };
    assert_eq!(trace.roots_but_one(), Vec::<String>::new());
    assert_eq!(trace.absent_parents(), Vec::<String>::new());
    let items = ItemTrace::all(trace);
    assert_eq!(items.len(), 3);
    for item in items {
        item.check();
        assert_eq!(item.shape(), "store queue deliver(process ack) settle");
        let (trace_id, parent_id) = (parent.trace_id().to_string(), parent.span_id().to_string());
        let expected = ids::of_foreign_item(&trace_id, &parent_id, "jobs", item.id());
        assert_eq!(
            (&item.item.span_id, item.item.parent.as_ref()),
            (&expected, Some(&parent_id))
        );
        for linked in [item.find("store"), item.find("process")] {
            assert_eq!(linked.links[0].span_id, parent_id, "{linked:#?}");
        }
        let process = item.find("process");
        assert_eq!(
            (process.service(), is_synthesized(process)),
            (CONSUMER, false)
        );
    }
}

const FAILS_ONCE: &str = "[ $BATON_ATTEMPT -gt 1 ]";

#[tokio::test]
async fn a_foreign_span_that_is_not_recorded_is_nobodys_parent() {
    let scene = Scene::with(&["--trace-baseline", "0"]).await;
    scene.queue("fine", QueueConfig::default()).await;
    scene.queue("jobs", QueueConfig::default()).await;
    let parent = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";
    let sent = item(&format!("00-{parent}-00"), "");
    let mut bare = Bare::connect(scene.broker.url()).await;
    bare.publish("fine", vec![sent.clone()]).await.unwrap();
    bare.publish("jobs", vec![sent]).await.unwrap();
    scene.work_off("fine", "true").await;
    scene.work_off("jobs", FAILS_ONCE).await;
    let traces = scene.traces(1, 12).await;
    assert_eq!(traces.len(), 1, "{traces:#?}");
    let item = ItemTrace::only(&traces[0]);
    item.check();
    let (trace_id, span_id) = parent.split_once('-').unwrap();
    assert_eq!(item.trace.id, trace_id);
    let id = ids::of_foreign_item(trace_id, span_id, "jobs", item.id());
    assert_eq!((&item.item.span_id, &item.item.parent), (&id, &None));
    let shape = "store queue deliver(process nack) settle queue deliver(process ack) settle";
    assert_eq!((item.shape().as_str(), item.sampled_by()), (shape, "retry"));
    check_made_up(&item);
    for process in item.of("process") {
        assert_eq!(process.links[0].span_id, span_id);
    }
}

/// The consumer's spans are the broker's words, under the consumer's name.
fn check_made_up(item: &ItemTrace<'_>) {
    for span in item.spans() {
        let of_consumer = span.service() == CONSUMER;
        assert_eq!(is_synthesized(span), of_consumer, "{span:#?}");
    }
    assert!(is_synthesized(item.of("process")[0]) && is_synthesized(item.of("ack")[0]));
}

#[tokio::test]
async fn an_item_without_a_context_gets_one_if_it_is_chosen() {
    let scene = Scene::with(&ALL).await;
    let mut bare = Bare::connect(scene.broker.url()).await;
    bare.publish("jobs", vec![item("", ""); 2]).await.unwrap();
    scene.work_off("jobs", "true").await;
    let traces = scene.traces(2, 2 * 7).await;
    assert_eq!(traces.len(), 2, "{traces:#?}");
    for trace in &traces {
        let item = ItemTrace::only(trace);
        item.check();
        let shape = "store queue deliver(process ack) settle";
        assert_eq!(
            (item.shape().as_str(), item.sampled_by()),
            (shape, "baseline")
        );
        assert_eq!(trace.roots_but_one(), Vec::<String>::new());
        assert_eq!(item.item.parent, None);
        check_made_up(&item);
    }
}
