//! Every item of two producers and two consumers has one trace, and it says what happened.

use std::collections::{BTreeMap, BTreeSet};

use baton_client::{ItemState, QueueConfig};
use baton_e2e::broker::{Broker, Launch};
use baton_e2e::processes::Process;

use crate::agent::Agent;
use crate::item_trace::{ItemTrace, message_id, operation, text};
use crate::programs::Programs;
use crate::rotel::Rotel;
use crate::spans::Span;
use crate::tree::Trace;

const QUEUE: &str = "orders";
const PRODUCERS: [&str; 2] = ["shop", "post"];
const CONSUMERS: [&str; 2] = ["cook", "baker"];
/// `item`, `create`, `store`, `queue`, `deliver`, `process`, `ack`, `settle`.
const SPANS_AN_ITEM: usize = 8;

/// An item's trace context, as it is stored.
struct Stored {
    traceparent: String,
    tracestate: String,
}

/// Items come while the queue is paused, and go once two consumers are there. What was stored, by id.
async fn flow(programs: &Programs, broker: &Broker, items: u64) -> BTreeMap<u64, Stored> {
    let client = broker.client();
    let queue = client.queue(QUEUE);
    let paused = QueueConfig {
        paused: true,
        ..QueueConfig::default()
    };
    queue.create(paused).await.unwrap();
    let url = broker.url();
    let consumers = CONSUMERS.map(|service| {
        let programs = programs.clone().with("OTEL_SERVICE_NAME", service);
        programs.consumer(&url, &[QUEUE, "print", "--work", "2ms", "--prefetch", "0"])
    });
    let count = (items / 2).to_string();
    let producers = PRODUCERS.map(|service| {
        let programs = programs.clone().with("OTEL_SERVICE_NAME", service);
        programs.producer(&url, &[QUEUE, "generate", "--count", &count])
    });
    finished(producers).await;
    let mut stored = BTreeMap::new();
    while let Ok(page) = queue.peek(ItemState::Ready, 100, stored.len() as u64).await {
        if page.is_empty() {
            break;
        }
        for peeked in page {
            let (id, item) = (peeked.explanation.unwrap().item_id, peeked.item.unwrap());
            let (traceparent, tracestate) = (item.traceparent, item.tracestate);
            let context = Stored {
                traceparent,
                tracestate,
            };
            stored.insert(id, context);
        }
    }
    while client.server_info().await.unwrap().clients.len() < CONSUMERS.len() {
        tokio::task::yield_now().await;
    }
    queue.resume().await.unwrap();
    queue.close().await.unwrap();
    finished(consumers).await;
    stored
}

async fn finished(processes: [Process; 2]) {
    for process in processes {
        process.finish().await.ok();
    }
}

fn is_of_an_item(span: &&Span) -> bool {
    operation(span) != "publish"
}

/// The producer is whoever's `create` it is, and so on: `batch` is the line of a `publish`, if it hangs on this item.
fn outline(producer: &str, consumer: &str, batch: &str) -> String {
    format!(
        "\
item orders (internal, baton-broker)
  create orders (producer, {producer})
{batch}  store orders (server, baton-broker) -> create orders
  queue orders (internal, baton-broker)
  deliver orders (client, baton-broker)
    process orders (consumer, {consumer}) -> create orders
    ack orders (client, {consumer})
  settle orders (server, baton-broker)
"
    )
}

/// Children that start in the same microsecond may come in any order.
fn sorted(outline: &str) -> BTreeSet<&str> {
    outline.lines().collect()
}

fn check(trace: &Trace, stored: &BTreeMap<u64, Stored>) {
    let item = ItemTrace::only(trace);
    item.check();
    let (producer, consumer) = (
        item.find("create").service(),
        item.find("process").service(),
    );
    assert!(PRODUCERS.contains(&producer) && CONSUMERS.contains(&consumer));
    let outline_of = trace.outline();
    let batch = outline_of.lines().find(|line| line.contains("publish"));
    let batch = batch.map(|line| format!("{line}\n")).unwrap_or_default();
    let expected = outline(producer, consumer, &batch);
    assert_eq!(sorted(&outline_of), sorted(&expected), "{outline_of}");
    assert_eq!(trace.roots_but_one(), Vec::<String>::new());
    assert_eq!(trace.absent_parents(), Vec::<String>::new());
    let sent = &stored[&item.id()];
    let (trace_id, create_id) = (&trace.id, &item.find("create").span_id);
    assert_eq!(sent.traceparent, format!("00-{trace_id}-{create_id}-01"));
    assert_eq!(sent.tracestate, format!("baton={}", item.item.span_id));
    assert_eq!((item.outcome(), item.sampled_by()), ("acked", "head"));
    same_client(&item, &["create", "item", "store"]);
    same_client(&item, &["process", "deliver", "ack", "settle"]);
    assert_eq!(item.find("store").events[0].name, "durable");
}

fn same_client(item: &ItemTrace<'_>, names: &[&str]) {
    let id = |name: &&str| text(item.find(name), "messaging.client.id").to_owned();
    let ids: BTreeSet<_> = names.iter().map(id).collect();
    assert_eq!(ids.len(), 1, "{names:?} are of {ids:?}");
}

/// Each item's creation is in one batch, which says which item it is.
fn check_batches(spans: &[Span]) {
    let batches: Vec<_> = spans.iter().filter(|span| !is_of_an_item(span)).collect();
    let links = batches.iter().flat_map(|batch| &batch.links);
    let mut linked: Vec<_> = links
        .map(|link| {
            let id = &link.attributes["messaging.message.id"];
            (link.span_id.clone(), id.text().unwrap().to_owned())
        })
        .collect();
    let creates = spans.iter().filter(|span| operation(span) == "create");
    let mut created: Vec<_> = creates
        .map(|span| (span.span_id.clone(), message_id(span).to_string()))
        .collect();
    linked.sort();
    created.sort();
    assert_eq!(linked, created);
    for batch in batches {
        let count = batch.attributes.get("messaging.batch.message_count");
        assert_eq!(count.is_some(), batch.links.len() > 1, "{batch:#?}");
    }
}

/// Who shares a clock says so, and nobody is taken for somebody else.
fn check_resources(spans: &[Span]) {
    let of = |key: &str| -> BTreeSet<String> {
        let value = |span: &Span| span.resource[key].text().unwrap().to_owned();
        spans.iter().map(value).collect()
    };
    let services: BTreeSet<_> = [&["baton-broker"][..], &PRODUCERS, &CONSUMERS]
        .concat()
        .into_iter()
        .map(str::to_owned)
        .collect();
    assert_eq!(of("service.name"), services);
    assert_eq!(of("service.instance.id").len(), services.len());
    assert_eq!(of("host.id").len(), 1, "one machine");
}

async fn all_items_are_traced(agent: &Agent, collector: &str, items: u64) {
    let programs = Programs::exporting_to(collector.to_owned());
    let launch = Launch::durable().and(&["--trace-limit", "1000000"]);
    let broker = programs.broker(launch).await;
    let stored = flow(&programs, &broker, items).await;
    assert_eq!(stored.len() as u64, items);
    let expected = SPANS_AN_ITEM * stored.len();
    let spans = agent
        .spans_when(|spans| spans.iter().filter(is_of_an_item).count() >= expected)
        .await;
    check_batches(&spans);
    check_resources(&spans);
    let traces = Trace::all(spans);
    assert_eq!(traces.len(), stored.len(), "a trace an item, no more");
    let mut ids: Vec<_> = traces
        .iter()
        .map(|trace| ItemTrace::only(trace).id())
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, stored.keys().copied().collect::<Vec<_>>());
    for trace in &traces {
        check(trace, &stored);
    }
    let consumer = |trace: &Trace| ItemTrace::only(trace).find("process").service().to_owned();
    let consumers: BTreeSet<_> = traces.iter().map(consumer).collect();
    assert_eq!(consumers.len(), CONSUMERS.len(), "both had some");
}

#[tokio::test]
async fn each_item_has_one_trace_that_says_all() {
    let agent = Agent::start().await;
    all_items_are_traced(&agent, &agent.url(), 200).await;
}

#[tokio::test]
async fn a_collector_between_changes_nothing() {
    let agent = Agent::start().await;
    let rotel = Rotel::start(&agent).await;
    all_items_are_traced(&agent, &rotel.url(), 50).await;
}
