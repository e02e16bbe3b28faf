//! The client's metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use baton_client::{Client, ErrorCode, HandlerError, Nack};
use baton_proto::opaque::{LeaseResponse, NoticeKind, PublishConfirm, SettleOutcome};
use opentelemetry::KeyValue;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};

use crate::broker::{Broker, delivery, item, soon, stored};

struct Measured {
    sdk: SdkMeterProvider,
    exporter: InMemoryMetricExporter,
}

/// Of each series, by name, operation and error: how many, and in which buckets if it has any.
type Series = BTreeMap<(String, String, String), (u64, Vec<f64>)>;

impl Measured {
    fn new() -> Self {
        let exporter = InMemoryMetricExporter::default();
        let reader = PeriodicReader::builder(exporter.clone()).build();
        let sdk = SdkMeterProvider::builder().with_reader(reader).build();
        Self { sdk, exporter }
    }

    fn client(&self, broker: &Broker) -> Client {
        let settings = broker.settings().meter_provider(self.sdk.clone());
        settings.build().unwrap()
    }

    fn series(&self) -> Series {
        self.sdk.force_flush().unwrap();
        let exported = self.exporter.get_finished_metrics().unwrap();
        let mut series = Series::new();
        let latest = exported.last().unwrap();
        for metric in latest.scope_metrics().flat_map(|scope| scope.metrics()) {
            match metric.data() {
                AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                    assert_eq!(metric.unit(), "{message}");
                    for point in sum.data_points() {
                        let key = key(metric.name(), point.attributes());
                        series.insert(key, (point.value(), Vec::new()));
                    }
                }
                AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
                    assert_eq!(metric.unit(), "s");
                    for point in histogram.data_points() {
                        let key = key(metric.name(), point.attributes());
                        series.insert(key, (point.count(), point.bounds().collect()));
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        series
    }
}

fn key<'a>(
    metric: &str,
    attributes: impl Iterator<Item = &'a KeyValue>,
) -> (String, String, String) {
    let attributes: BTreeMap<_, _> = attributes
        .map(|attribute| (attribute.key.as_str(), attribute.value.to_string()))
        .collect();
    assert_eq!(attributes["messaging.system"], "baton");
    assert_eq!(attributes["messaging.destination.name"], "orders");
    assert_eq!(attributes["server.address"], "127.0.0.1");
    assert!(attributes.contains_key("server.port"));
    let operation = format!(
        "{} {}",
        attributes["messaging.operation.name"], attributes["messaging.operation.type"]
    );
    let error = attributes.get("error.type").cloned().unwrap_or_default();
    let known = attributes.len() - usize::from(!error.is_empty());
    assert_eq!(known, 6, "{attributes:?}");
    (metric.to_owned(), operation, error)
}

fn series(name: &str, operation: &str, error: &str) -> (String, String, String) {
    (name.to_owned(), operation.to_owned(), error.to_owned())
}

#[tokio::test]
async fn publishes_are_counted_and_timed() {
    let (broker, measured) = (Broker::start().await, Measured::new());
    let producer = measured.client(&broker).producer("orders").open();
    for payload in ["a", "b", "c"] {
        drop(soon(producer.send(item(payload))).await.unwrap());
    }
    let mut session = broker.publish_stream().await;
    session.start().await;
    let (_, payloads) = session.items(3).await;
    assert_eq!(payloads.len(), 3);
    let refused = PublishConfirm {
        first_sequence: 3,
        count: 1,
        error: ErrorCode::ItemInvalid.into(),
        ..PublishConfirm::default()
    };
    session.confirm(vec![stored(1, 2, 1), refused]).await;
    let _ = soon(producer.flush()).await;
    let found = measured.series();
    let sent = "messaging.client.sent.messages";
    assert_eq!(found[&series(sent, "publish send", "")].0, 2);
    assert_eq!(found[&series(sent, "publish send", "ITEM_INVALID")].0, 1);
    let (batches, buckets) =
        &found[&series("messaging.client.operation.duration", "publish send", "")];
    assert!((1..=3).contains(batches), "{batches}");
    assert_eq!(*buckets, baton_telemetry::names::DURATION_BUCKETS_SECONDS);
}

#[tokio::test]
async fn work_is_counted_and_timed() {
    let (broker, measured) = (Broker::start().await, Measured::new());
    let mut consumer = measured.client(&broker).consumer("orders").open();
    let mut session = broker.consume().await;
    session.start().await;
    let script = async {
        session.deliver(1..=3).await;
        let mut settled = 0;
        while settled < 3 {
            let batch = session.settle().await;
            settled += batch
                .deliveries
                .iter()
                .map(|s| s.last - s.first + 1)
                .sum::<u64>();
            session.answer(&batch, SettleOutcome::Ok).await;
        }
        session.notice(NoticeKind::Drained).await;
        drop(session);
    };
    let work = consumer.for_each(1, async |delivery| match delivery.item_id() {
        102 => Err(HandlerError::from("no paper")),
        103 => {
            // Nobody's work.
            drop(delivery.nack(Nack::unstarted()));
            Ok(())
        }
        _ => Ok(()),
    });
    let (ended, ()) = soon(async { tokio::join!(work, script) }).await;
    ended.unwrap();
    let found = measured.series();
    let process = "messaging.process.duration";
    assert_eq!(found[&series(process, "process process", "")].0, 1);
    assert_eq!(found[&series(process, "process process", "nacked")].0, 1);
    let (_, buckets) = &found[&series(process, "process process", "")];
    assert_eq!(*buckets, baton_telemetry::names::DURATION_BUCKETS_SECONDS);
    let consumed = "messaging.client.consumed.messages";
    assert_eq!(found[&series(consumed, "receive receive", "")].0, 3);
    let settles = &found[&series("messaging.client.operation.duration", "settle settle", "")];
    assert!((1..=3).contains(&settles.0));
}

#[tokio::test]
async fn asking_for_items_is_counted_and_timed() {
    let (broker, measured) = (Broker::start().await, Measured::new());
    let queue = measured.client(&broker).queue("orders");
    let script = async {
        let (_, reply) = broker.lease().await;
        let items = vec![delivery(1), delivery(2)];
        reply.send(Ok(LeaseResponse { items })).unwrap();
    };
    let asking = queue.lease(2, Duration::ZERO);
    let (leased, ()) = soon(async { tokio::join!(asking, script) }).await;
    assert_eq!(leased.unwrap().len(), 2);
    let found = measured.series();
    let consumed = series("messaging.client.consumed.messages", "receive receive", "");
    let duration = series("messaging.client.operation.duration", "receive receive", "");
    assert_eq!((found[&consumed].0, found[&duration].0), (2, 1));
}
