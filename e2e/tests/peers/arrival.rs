//! Spans and metrics of OpenTelemetry's own SDK arrive as they were sent: so what is wrong with ours is not the harness'.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::{
    Link, SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Array, Context, KeyValue, Value as Sent};
use opentelemetry_otlp::{MetricExporter, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::task::spawn_blocking;

use crate::agent::Agent;
use crate::attributes::{List, Value};
use crate::rotel::Rotel;
use crate::spans::{Code, Kind};
use crate::tree::Trace;

const SERVICE: &str = "somebody";

/// One item's spans. Times are microseconds after `began`.
struct Emitter {
    tracer: SdkTracer,
    began: SystemTime,
}

impl Emitter {
    fn span(
        &self,
        name: &'static str,
        kind: SpanKind,
        parent: &Context,
        us: (u64, u64),
    ) -> Context {
        let consumes = kind == SpanKind::Consumer;
        let mut builder = self.tracer.span_builder(name).with_kind(kind);
        builder = builder.with_start_time(self.began + Duration::from_micros(us.0));
        if consumes {
            let link = Link::with_context(parent.span().span_context().clone());
            builder = builder.with_links(vec![link]).with_attributes(attributes());
        }
        let span = self.tracer.build_with_context(builder, parent);
        let context = parent.with_span(span);
        let end = self.began + Duration::from_micros(us.1);
        if consumes {
            context
                .span()
                .add_event_with_timestamp("half-way", end, Vec::new());
            context.span().set_status(Status::error("no paper"));
        }
        context.span().end_with_timestamp(end);
        context
    }

    /// Sound, if the handler ends in time.
    fn item(&self, handler_end: u64) {
        let item = self.span("item q", SpanKind::Internal, &Context::new(), (0, 100));
        self.span("create q", SpanKind::Producer, &item, (0, 9));
        self.span("queue q", SpanKind::Internal, &item, (10, 50));
        let deliver = self.span("deliver q", SpanKind::Client, &item, (51, 90));
        self.span("process q", SpanKind::Consumer, &deliver, (60, handler_end));
    }
}

fn attributes() -> Vec<KeyValue> {
    vec![
        KeyValue::new("text", "ö"),
        KeyValue::new("int", i64::MIN),
        KeyValue::new("float", 0.5),
        KeyValue::new("bool", true),
        KeyValue::new("list", Sent::Array(Array::I64(vec![1, 2]))),
    ]
}

/// Sends an item's spans to a collector and waits until it has them.
async fn emit(url: String, handler_end: u64) -> SystemTime {
    let began = SystemTime::now();
    let emit = spawn_blocking(move || {
        let exporter = SpanExporter::builder().with_tonic().with_endpoint(url);
        let resource = Resource::builder_empty().with_service_name(SERVICE);
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter.build().unwrap())
            .with_resource(resource.build())
            .build();
        let tracer = provider.tracer("by hand");
        Emitter { tracer, began }.item(handler_end);
        provider.shutdown().unwrap();
    });
    emit.await.unwrap();
    began
}

/// What has arrived of it is all of it.
fn check(trace: &Trace, began: SystemTime) {
    assert_eq!(trace.violations(SERVICE), Vec::<String>::new());
    let outline = "\
item q (internal, somebody)
  create q (producer, somebody)
  queue q (internal, somebody)
  deliver q (client, somebody)
    process q (consumer, somebody) -> deliver q
";
    assert_eq!(trace.outline(), outline);
    let process = trace.find("process q");
    let began = began.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let began = u64::try_from(began.as_nanos()).unwrap();
    assert_eq!(
        (process.start_ns, process.end_ns),
        (began + 60_000, began + 80_000)
    );
    let list = vec![Value::Int(1), Value::Int(2)];
    let attributes = BTreeMap::from(
        [
            ("text", Value::Text("ö".to_owned())),
            ("int", Value::Int(i64::MIN)),
            ("float", Value::Float(0.5)),
            ("bool", Value::Bool(true)),
            ("list", Value::List(List { values: list })),
        ]
        .map(|(key, value)| (key.to_owned(), value)),
    );
    assert_eq!(process.attributes, attributes);
    assert_eq!(
        (process.status.code, process.status.message.as_str()),
        (Code::Error, "no paper")
    );
    assert_eq!(
        (process.events[0].name.as_str(), process.events[0].at_ns),
        ("half-way", process.end_ns)
    );
    assert_eq!(process.links[0].trace_id, trace.id);
    // Sampled; the parent is known not to be remote.
    assert_eq!((process.flags, process.kind), (0x101, Kind::Consumer));
    assert_eq!(
        (process.scope.as_str(), process.schema.as_str()),
        ("by hand", "")
    );
}

async fn trace_of(agent: &Agent) -> Trace {
    let spans = agent.spans_when(|spans| spans.len() == 5).await;
    let mut traces = Trace::all(spans);
    assert_eq!(traces.len(), 1, "{traces:?}");
    traces.remove(0)
}

#[tokio::test]
async fn spans_arrive_as_they_were_sent() {
    let agent = Agent::start().await;
    let began = emit(agent.url(), 80).await;
    check(&trace_of(&agent).await, began);
}

#[tokio::test]
async fn spans_arrive_as_they_were_sent_through_a_collector() {
    let agent = Agent::start().await;
    let rotel = Rotel::start(&agent).await;
    let began = emit(rotel.url(), 80).await;
    check(&trace_of(&agent).await, began);
}

#[tokio::test]
async fn a_wrong_tree_that_arrives_is_told() {
    let agent = Agent::start().await;
    emit(agent.url(), 95).await;
    let violations = trace_of(&agent).await.violations(SERVICE);
    let expected = r#""process q" in "deliver q" ends 5000 ns after it"#;
    assert_eq!(violations, [expected]);
}

#[tokio::test]
async fn an_agent_that_was_cleared_or_killed_has_nothing_and_takes_more_at_the_same_place() {
    let mut agent = Agent::start().await;
    emit(agent.url(), 80).await;
    trace_of(&agent).await;
    agent.clear().await;
    assert_eq!(agent.spans().await, []);
    let began = emit(agent.url(), 80).await;
    trace_of(&agent).await;
    agent.kill().await;
    agent.restart().await;
    assert_eq!(agent.spans().await, []);
    let again = emit(agent.url(), 80).await;
    assert!(again >= began);
    check(&trace_of(&agent).await, again);
}

#[tokio::test]
async fn metrics_arrive_as_they_were_sent() {
    let agent = Agent::start().await;
    let url = agent.url();
    let emit = spawn_blocking(move || {
        let exporter = MetricExporter::builder().with_tonic().with_endpoint(url);
        let reader = PeriodicReader::builder(exporter.build().unwrap()).build();
        let resource = Resource::builder_empty().with_service_name(SERVICE);
        let provider = SdkMeterProvider::builder()
            .with_reader(reader)
            .with_resource(resource.build())
            .build();
        let meter = provider.meter("by hand");
        let queue = [KeyValue::new("queue", "q")];
        meter.u64_counter("sent").build().add(3, &queue);
        let duration = meter.f64_histogram("duration").with_unit("s");
        let duration = duration.with_boundaries(vec![0.5, 1.0]).build();
        duration.record(0.25, &queue);
        duration.record(2.0, &queue);
        provider.shutdown().unwrap();
    });
    emit.await.unwrap();
    let metrics = agent.metrics().await;
    let find = |name: &str| metrics.iter().find(|metric| metric.name == name).unwrap();
    let (sent, duration) = (find("sent"), find("duration"));
    assert_eq!((sent.points[0].int, sent.points[0].float), (Some(3), None));
    let queue = Some(&Value::Text("q".to_owned()));
    assert_eq!(sent.points[0].attributes.get("queue"), queue);
    assert_eq!(
        (duration.service.as_str(), duration.unit.as_str()),
        (SERVICE, "s")
    );
    let point = &duration.points[0];
    assert_eq!((point.count, point.sum), (Some(2), Some(2.25)));
    assert_eq!(point.bounds, [0.5, 1.0]);
    assert!(point.at_ns >= sent.points[0].at_ns);
}
