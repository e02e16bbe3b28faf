//! What /metrics says: the numbers of what was done, in each of its forms, and nothing without a bound.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use baton_proto::v1::*;
use baton_telemetry::otlp;
use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::time::timeout;

use crate::exposition::{Exposition, exemplar_of, read_messages, read_text};
use crate::http::{traced_item, traced_to_nobody};
use crate::support::*;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0";
const MESSAGES: &str =
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";

impl Fixture {
    pub(crate) async fn scrape(&self) -> Exposition {
        read_text(self.get("/metrics").await.text(), false)
    }

    async fn open_metrics(&self) -> Exposition {
        read_text(self.get_as("/metrics", OPEN_METRICS).await.text(), true)
    }

    /// Scrapes until ready items have waited for this.
    async fn waited_for(&self, reason: &str) {
        let labels = [Q, ("reason", reason)];
        let name = "baton_queue_stall_seconds_total";
        let look = async { while self.scrape().await.value(name, &labels) == 0.0 {} };
        timeout(PATIENCE, look)
            .await
            .expect("nothing was waited for");
    }

    pub(crate) async fn with_traffic(&mut self) {
        self.publish("q", items(5)).await.unwrap();
        let key = Item {
            dedup_key: "k".into(),
            ..item("once")
        };
        self.publish("q", vec![key.clone()]).await.unwrap();
        self.publish("q", vec![key]).await.unwrap();
        let leased = self.lease("q", 4).await;
        for delivery in &leased[..2] {
            self.settle("q", delivery, ack()).await;
        }
        self.settle("q", &leased[2], nack("again")).await;
        let reject = lease_settle::Action::Nack(Nack {
            dead_letter: true,
            ..Nack::default()
        });
        self.settle("q", &leased[3], reject).await;
        let cancel = CancelItemsRequest {
            queue: "q".into(),
            item_ids: vec![6],
        };
        self.admin.cancel_items(cancel).await.unwrap();
    }
}

const Q: (&str, &str) = ("queue", "q");

#[tokio::test]
async fn the_numbers_are_those_of_what_was_done() {
    let mut broker = broker().await;
    broker.with_traffic().await;
    let _held = broker.lease("q", 1).await;
    let _consumer = broker.consume(start("idle", 1)).await;
    let said = broker.scrape().await;
    let events = [
        ("published", 6.0),
        ("duplicate", 1.0),
        ("delivered", 5.0),
        ("acked", 2.0),
        ("failed", 2.0),
        ("dead", 1.0),
        ("expired", 0.0),
        ("cancelled", 1.0),
        ("redriven", 0.0),
        ("discarded", 0.0),
    ];
    for (outcome, count) in events {
        let labels = [Q, ("outcome", outcome)];
        assert_eq!(
            said.value("baton_queue_events_total", &labels),
            count,
            "{outcome}"
        );
    }
    for (state, count) in [
        ("scheduled", 0.0),
        ("ready", 1.0),
        ("leased", 1.0),
        ("dead", 1.0),
    ] {
        let labels = [Q, ("state", state)];
        assert_eq!(said.value("baton_queue_items", &labels), count, "{state}");
        let age = said.value("baton_queue_oldest_age_seconds", &labels);
        assert_eq!(age > 0.0, count > 0.0, "{state}: {age}");
    }
    let stats = broker.stats("q").await;
    assert_eq!(said.value("baton_queue_bytes", &[Q]), stats.bytes as f64);
    assert_eq!(
        said.value("baton_queue_dead_bytes", &[Q]),
        stats.dead_bytes as f64
    );
    assert!(stats.dead_bytes > 0 && stats.bytes > 0);
    let counts = |stage| said.value("baton_item_stage_seconds_count", &[Q, ("stage", stage)]);
    assert_eq!((counts("store"), counts("queue")), (6.0, 6.0));
    assert_eq!((counts("process"), counts("total")), (4.0, 2.0));
    let idle = [("queue", "idle"), ("role", "consumer")];
    assert_eq!(said.value("baton_queue_clients", &idle), 1.0);
    let clients = [("role", "consumer"), ("clock", "unknown")];
    assert_eq!(said.value("baton_clients", &clients), 1.0);
    assert_eq!(
        (
            said.value("baton_queues", &[]),
            said.value("baton_queues_merged", &[])
        ),
        (2.0, 0.0)
    );
    assert_eq!(said.value("baton_queues_unanswered", &[]), 0.0);
}

#[tokio::test]
async fn what_ready_items_wait_for_is_counted_by_reason() {
    let mut broker = broker().await;
    broker.publish("q", items(1)).await.unwrap();
    broker.waited_for("no_consumer").await;
    let _consumer = broker.consume(start("q", 0)).await;
    broker.waited_for("no_credit").await;
    let paused = QueueConfig {
        paused: true,
        ..QueueConfig::default()
    };
    broker.update("q", paused, "paused").await;
    broker.waited_for("paused").await;
    let said = broker.scrape().await;
    assert_eq!(said.value("baton_queue_paused", &[Q]), 1.0);
}

#[tokio::test]
async fn the_broker_tells_of_itself() {
    let mut broker = broker().await;
    broker.with_traffic().await;
    let said = broker.scrape().await;
    let journal = durability() == Durability::Fsynced;
    let commits = said.value("baton_journal_commits_total", &[]);
    assert_eq!(commits > 5.0, journal);
    let timed = said.value("baton_journal_commit_seconds_count", &[]);
    assert!(timed <= commits && (timed > 5.0) == journal);
    assert_eq!(
        said.value("baton_journal_synced_bytes_total", &[]) > 0.0,
        journal
    );
    assert_eq!(
        said.value("baton_journal_segments", &[("state", "used")]) > 0.0,
        journal
    );
    assert_eq!(said.value("baton_disk_full", &[]), 0.0);
    let engine = ("engine", if journal { "journal" } else { "memory" });
    let build = [("version", env!("CARGO_PKG_VERSION")), engine];
    assert_eq!(said.value("baton_build_info", &build), 1.0);
    assert!(said.value("baton_ledger_bytes", &[]) > 0.0);
    assert!(said.value("baton_ledger_limit_bytes", &[]) > said.value("baton_ledger_bytes", &[]));
    assert_eq!(said.sum("baton_ledger_dropped_total", &[]), 0.0);
    assert_eq!(
        said.sum("baton_traces_total", &[]),
        0.0,
        "nobody takes traces"
    );
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    let begun = said.value("process_start_time_seconds", &[]);
    assert!(
        begun <= now + 2.0 && begun > now - 24.0 * 3600.0,
        "{begun} {now}"
    );
    assert!(said.value("process_resident_memory_bytes", &[]) > 1e6);
    assert!(said.value("process_open_fds", &[]) >= 3.0);
}

#[tokio::test]
async fn all_forms_say_the_same() {
    let mut broker = broker_with(traced_to_nobody).await;
    broker.with_traffic().await;
    broker.done("q", traced_item("x")).await;
    let plain = broker.get("/metrics").await;
    let open = broker.get_as("/metrics", OPEN_METRICS).await;
    let messages = broker.get_as("/metrics", MESSAGES).await;
    let types = [&plain, &open, &messages].map(|page| page.header("content-type").unwrap());
    assert_eq!(
        types,
        [
            "text/plain; version=0.0.4; charset=utf-8",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
        ]
    );
    let forms = [
        read_text(plain.text(), false),
        read_text(open.text(), true),
        read_messages(&messages.body).0,
    ];
    // What stands still between scrapes.
    let still = [
        "baton_queue_events_total",
        "baton_queue_items",
        "baton_item_stage_seconds",
        "baton_traces_total",
    ];
    for form in &forms[1..] {
        for (name, family) in &forms[0].families {
            let other = &form.families[name];
            assert_eq!(
                (&family.kind, &family.help),
                (&other.kind, &other.help),
                "{name}"
            );
            let series = |family: &crate::exposition::Family| {
                let samples = family.samples.iter().map(|sample| {
                    let value = still
                        .contains(&name.as_str())
                        .then_some(sample.value.to_bits());
                    (sample.name.clone(), sample.labels.clone(), value)
                });
                samples.collect::<BTreeSet<_>>()
            };
            assert_eq!(series(family), series(other), "{name}");
        }
        assert_eq!(form.families.len(), forms[0].families.len());
        let unit = |name: &str| form.families[name].unit.as_deref();
        assert_eq!(unit("baton_item_stage_seconds"), Some("seconds"));
        assert_eq!(
            (unit("baton_queue_bytes"), unit("baton_queue_items")),
            (Some("bytes"), None)
        );
    }
}

#[tokio::test]
async fn an_item_that_is_to_come_has_an_age_too() {
    let mut broker = broker().await;
    let later = Item {
        schedule: Some(item::Schedule::Delay(seconds(60).unwrap())),
        ..item("later")
    };
    broker.publish("q", vec![later]).await.unwrap();
    let said = broker.scrape().await;
    let age = |state| said.value("baton_queue_oldest_age_seconds", &[Q, ("state", state)]);
    assert!(age("scheduled") > 0.0);
    assert_eq!(age("ready"), 0.0);
}

/// Asks until more spans than that were dropped.
async fn dropped_when(broker: &mut Fixture, more_than: f64) -> f64 {
    let ask = async {
        loop {
            let said = broker.scrape().await;
            let dropped = said.value("baton_trace_spans_total", &[("result", "dropped")]);
            if dropped > more_than {
                return dropped;
            }
            tokio::task::yield_now().await;
        }
    };
    let asked = timeout(std::time::Duration::from_secs(60), ask).await;
    asked.expect("spans are dropped")
}

/// Nothing here depends on how fast anything is: were anybody to wait for the collector, it would be for ever.
#[tokio::test]
async fn a_collector_that_never_answers_holds_up_nothing() {
    const ITEMS: u64 = 50;
    /// Room for a few of them.
    const QUEUE_BYTES: u64 = 32 << 10;
    let collector = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", collector.local_addr().unwrap());
    let mut broker = broker_with(|config| {
        let read = |name: &str| (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| endpoint.clone());
        let otlp = otlp::Settings::from_env("broker", &read).unwrap();
        config.otlp = otlp.map(|otlp| otlp.with_queue_bytes(QUEUE_BYTES));
        config.sampling.traces_per_second = 1_000_000;
    })
    .await;
    for _ in 0..ITEMS {
        broker.done("q", traced_item("x")).await;
    }
    let stats = broker.stats("q").await;
    assert_eq!((stats.published_total, stats.acked_total), (ITEMS, ITEMS));
    // Spans are written by a task of their own, which may be behind.
    let dropped = dropped_when(&mut broker, 0.0).await;
    let said = broker.scrape().await;
    let spans = |result| said.value("baton_trace_spans_total", &[("result", result)]);
    // Not one answer came, and what found no room is gone and counted.
    assert_eq!((spans("exported"), spans("rejected")), (0.0, 0.0));
    let kept = said.sum("baton_traces_total", &[("result", "kept")]);
    assert_eq!(kept, ITEMS as f64);
    broker.done("q", traced_item("x")).await;
    // The queue is still full.
    dropped_when(&mut broker, dropped).await;
}

#[tokio::test]
async fn examples_carry_the_traces_that_were_kept() {
    let mut broker = broker_with(traced_to_nobody).await;
    let id = broker.done("q", traced_item("x")).await;
    let said = broker.open_metrics().await;
    let kept = [("result", "kept"), ("reason", "head")];
    assert_eq!(said.value("baton_traces_total", &kept), 1.0);
    let total = [Q, ("stage", "total")];
    let buckets: Vec<_> = said
        .matching("baton_item_stage_seconds_bucket", &total)
        .collect();
    let with: Vec<_> = buckets
        .iter()
        .filter_map(|bucket| bucket.exemplar.as_ref())
        .collect();
    assert_eq!(with.len(), 1, "{buckets:?}");
    assert_eq!(
        with[0].labels["trace_id"],
        "4bf92f3577b34da6a3ce929d0e0e4736"
    );
    assert_eq!(with[0].labels["item_id"], id.to_string());
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    assert!((with[0].at - now).abs() < 60.0);

    let (_, native) = read_messages(&broker.get_as("/metrics", MESSAGES).await.body);
    let (_, histogram) = native
        .iter()
        .find(|(labels, _)| labels.get("stage").is_some_and(|stage| stage == "total"))
        .unwrap();
    assert_eq!(histogram.exemplars.len(), 1);
    assert_eq!(exemplar_of(&histogram.exemplars[0]).labels, with[0].labels);
    assert_eq!(
        (histogram.schema, histogram.positive_delta.as_slice()),
        (4, &[1][..])
    );
    let plain = broker.get("/metrics").await;
    assert!(!plain.text().contains("trace_id"));
}

#[tokio::test]
async fn a_scraper_gets_what_it_asks_for_and_everybody_else_text() {
    let broker = broker().await;
    let table = [
        ("*/*", "text/plain"),
        ("text/html,application/xhtml+xml", "text/plain"),
        (
            "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
            "application/openmetrics-text",
        ),
        (
            "text/plain;version=0.0.4,application/openmetrics-text;q=0.5",
            "text/plain",
        ),
        (MESSAGES, "application/vnd.google.protobuf"),
        ("application/vnd.google.protobuf", "text/plain"),
        ("\u{ff}", "text/plain"),
    ];
    for (accept, expected) in table {
        let page = broker.get_as("/metrics", accept).await;
        assert_eq!(page.status, 200);
        let kind = page
            .header("content-type")
            .unwrap()
            .split(';')
            .next()
            .unwrap();
        assert_eq!(kind, expected, "{accept}");
    }
}

/// One item done in each of these queues.
async fn one_each(broker: &Fixture, numbers: std::ops::Range<usize>) {
    let publishes = numbers.map(|number| {
        let mut queues = broker.queues.clone();
        async move {
            let request = PublishRequest {
                queue: format!("q-{number:04}"),
                items: items(1),
                ..PublishRequest::default()
            };
            queues.publish(request).await.unwrap();
        }
    });
    stream::iter(publishes)
        .buffer_unordered(64)
        .collect::<()>()
        .await;
}

#[tokio::test]
async fn queues_beyond_a_thousand_are_merged_and_their_counters_never_go_back() {
    let mut broker = broker().await;
    one_each(&broker, 0..1500).await;
    let said = broker.scrape().await;
    assert_eq!(said.values_of("queue").len(), 1001);
    assert_eq!(
        (
            said.value("baton_queues", &[]),
            said.value("baton_queues_merged", &[])
        ),
        (1500.0, 500.0)
    );
    let published = ("outcome", "published");
    let other = ("queue", "_other");
    let others = |said: &Exposition| {
        let events = said.value("baton_queue_events_total", &[other, published]);
        let stored = [other, ("stage", "store")];
        (
            events,
            said.value("baton_item_stage_seconds_count", &stored),
        )
    };
    assert_eq!(said.sum("baton_queue_events_total", &[published]), 1500.0);
    let stored = said.sum("baton_item_stage_seconds_count", &[("stage", "store")]);
    assert_eq!((others(&said), stored), ((500.0, 500.0), 1500.0));
    assert_eq!(
        said.value("baton_queue_items", &[other, ("state", "ready")]),
        500.0
    );

    // One of them goes, and one of those with a place, which another one gets then.
    let named = said.values_of("queue");
    let merged = (0..1500).map(|number| format!("q-{number:04}"));
    let merged: Vec<String> = merged
        .filter(|name| !named.contains(name.as_str()))
        .collect();
    let gone = named.iter().find(|name| **name != "_other").unwrap();
    for name in [&merged[7], *gone] {
        let request = DeleteQueueRequest {
            name: name.to_string(),
            force: true,
        };
        broker.admin.delete_queue(request).await.unwrap();
    }
    let said = broker.scrape().await;
    assert_eq!(others(&said), (500.0, 500.0));
    assert_eq!(
        said.value("baton_queue_items", &[other, ("state", "ready")]),
        498.0
    );
    assert_eq!(
        (
            said.value("baton_queues_merged", &[]),
            said.values_of("queue").len()
        ),
        (498.0, 1001)
    );
    broker.publish(&merged[8], items(3)).await.unwrap();
    assert_eq!(others(&broker.scrape().await), (503.0, 503.0));
}

#[tokio::test]
async fn many_scrapes_at_a_time_take_turns() {
    let broker = broker().await;
    let scrapes = (0..20).map(|_| broker.get("/metrics"));
    let pages: Vec<_> = stream::iter(scrapes).buffer_unordered(20).collect().await;
    for page in pages {
        read_text(page.text(), false);
    }
}
