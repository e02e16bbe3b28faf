//! The HTTP port: pages for people and programs that have no gRPC.

use std::collections::BTreeMap;

use baton_broker::Config;
use baton_proto::DESCRIPTORS;
use baton_proto::v1::*;
use baton_telemetry::clock::monotonic_ns;
use baton_telemetry::otlp;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::*;
use crate::web::{Page, say};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Traces go where nobody listens: they are made all the same.
pub(crate) fn traced_to_nobody(config: &mut Config) {
    let read = |name: &str| {
        let endpoint = name == "OTEL_EXPORTER_OTLP_ENDPOINT";
        endpoint.then(|| "http://127.0.0.1:9".to_owned())
    };
    config.otlp = otlp::Settings::from_env("broker", &read).unwrap();
}

pub(crate) fn traced_item(payload: &str) -> Item {
    Item {
        created_ns: monotonic_ns(),
        traceparent: format!("00-{TRACE}-00f067aa0ba902b7-01"),
        ..item(payload)
    }
}

impl Fixture {
    /// An item that was published, handed out and acknowledged; its id.
    pub(crate) async fn done(&mut self, queue: &str, item: Item) -> u64 {
        self.publish(queue, vec![item]).await.unwrap();
        let delivery = self.lease(queue, 1).await.remove(0);
        let outcome = self.settle(queue, &delivery, ack()).await;
        assert_eq!(outcome, SettleOutcome::Ok);
        delivery.item_id
    }
}

/// But for its first line, which says how long ago it was.
fn rest(text: &str) -> &str {
    text.split_once('\n').unwrap().1
}

/// Reads the canonical JSON of a message, which knows every field.
fn read<M: Message + Default>(page: &Page, name: &str) -> M {
    assert_eq!(page.status, 200, "{}", page.text());
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let known = pool
        .get_message_by_name(&format!("baton.v1.{name}"))
        .unwrap();
    let read = DynamicMessage::deserialize(known, page.json()).unwrap();
    M::decode(read.encode_to_vec().as_slice()).unwrap()
}

#[tokio::test]
async fn a_queue_is_what_the_rpc_says_it_is() {
    let mut broker = broker().await;
    let config = QueueConfig {
        paused: true,
        lease_duration: seconds(77),
        ..QueueConfig::default()
    };
    for name in ["orders", "orders.eu", "other"] {
        broker.create(name, config).await.unwrap();
    }
    let page: GetQueueResponse = read(
        &broker.get("/api/v1/queues/orders.eu").await,
        "GetQueueResponse",
    );
    let request = GetQueueRequest {
        name: "orders.eu".into(),
    };
    let rpc = broker.admin.get_queue(request).await.unwrap().into_inner();
    assert_eq!(page, rpc);
    assert_eq!(
        rpc.queue.unwrap().config.unwrap().lease_duration,
        seconds(77)
    );

    let listed = "/api/v1/queues?prefix=ord&page_size=1";
    let page: ListQueuesResponse = read(&broker.get(listed).await, "ListQueuesResponse");
    let mut request = ListQueuesRequest {
        page_size: 1,
        name_prefix: "ord".into(),
        ..ListQueuesRequest::default()
    };
    let rpc = broker
        .admin
        .list_queues(request.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(page, rpc);
    assert_eq!(page.next_page_token, "orders");
    request.page_token = page.next_page_token;
    let next = format!("{listed}&page_token=orders");
    let page: ListQueuesResponse = read(&broker.get(&next).await, "ListQueuesResponse");
    let rpc = broker
        .admin
        .list_queues(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (page.queues.len(), page.queues[0].name.as_str()),
        (1, "orders.eu")
    );
    assert_eq!(page, rpc);
}

#[tokio::test]
async fn numbers_are_there_even_where_they_are_0_and_fields_are_in_lower_camel_case() {
    let mut broker = broker().await;
    broker.create("q", QueueConfig::default()).await.unwrap();
    let page = broker.get("/api/v1/queues/q").await;
    let stats = &page.json()["queue"]["stats"];
    assert_eq!(stats["ready"], "0");
    assert_eq!(stats["deadBytes"], "0");
    assert_eq!(stats["consumers"], 0);
    assert!(page.text().ends_with("}\n"));
}

#[tokio::test]
async fn an_item_is_explained_as_json_and_as_text() {
    let mut broker = broker().await;
    let id = broker.done("q", traced_item("x")).await;
    let target = format!("/api/v1/queues/q/items/{id}");
    let request = GetItemRequest {
        queue: "q".into(),
        item_id: id,
    };
    let rpc = broker.admin.get_item(request).await.unwrap().into_inner();
    let page: GetItemResponse = read(&broker.get(&target).await, "GetItemResponse");
    let timeless = |response: &GetItemResponse| {
        let mut explanation = response.explanation.clone().unwrap();
        // They say how long ago it was.
        explanation.in_state = None;
        explanation.summary.clear();
        explanation.text = rest(&explanation.text).to_owned();
        explanation
    };
    assert_eq!(timeless(&page), timeless(&rpc));
    let explanation = rpc.explanation.unwrap();
    assert!(!explanation.stages.is_empty() && explanation.outcome() == ItemOutcome::Acked);

    let texts = [
        broker.get(&format!("{target}?format=text")).await,
        broker.get_as(&target, "text/plain").await,
    ];
    for text in texts {
        assert_eq!(
            text.header("content-type"),
            Some("text/plain; charset=utf-8")
        );
        assert_eq!(rest(text.text()), rest(&explanation.text));
        assert!(text.text().starts_with("item 1 was acknowledged by test"));
    }
    let json = [
        broker.get(&format!("{target}?format=json")).await,
        broker.get_as(&target, "text/html,*/*;q=0.8").await,
    ];
    for page in json {
        assert_eq!(page.json()["explanation"]["itemId"], "1");
    }
}

#[tokio::test]
async fn an_item_that_nothing_is_remembered_of_is_explained_in_a_sentence() {
    let mut broker = broker_with(|config| config.latency_budget = 0).await;
    let id = broker.done("q", item("x")).await;
    let explained = broker.explain("q", id).await;
    let sentence = format!("item {id} was acknowledged\n");
    assert_eq!(explained.text, sentence);
    let target = format!("/api/v1/queues/q/items/{id}?format=text");
    let page = broker.get(&target).await;
    assert_eq!((page.status, page.text()), (200, &*sentence));
}

#[tokio::test]
async fn latencies_and_slow_items_are_what_the_rpc_says_they_are() {
    let mut broker = broker().await;
    for _ in 0..3 {
        broker.done("q", traced_item("x")).await;
    }
    let target = "/api/v1/queues/q/slowest?stage=process&n=2&window=10m";
    let page: ListSlowItemsResponse = read(&broker.get(target).await, "ListSlowItemsResponse");
    let request = ListSlowItemsRequest {
        queue: "q".into(),
        stage: Stage::Process.into(),
        max_items: 2,
        window: seconds(600),
    };
    let rpc = broker
        .admin
        .list_slow_items(request)
        .await
        .unwrap()
        .into_inner();
    let durations = |response: &ListSlowItemsResponse| {
        let items = response.items.iter().map(|item| {
            let explanation = item.explanation.as_ref().unwrap();
            (explanation.item_id, item.duration, explanation.total)
        });
        items.collect::<Vec<_>>()
    };
    assert_eq!(durations(&page).len(), 2);
    assert_eq!(durations(&page), durations(&rpc));

    let target = "/api/v1/queues/q/latency?window=60m";
    let page: GetLatencyResponse = read(&broker.get(target).await, "GetLatencyResponse");
    let request = GetLatencyRequest {
        queue: "q".into(),
        window: seconds(3600),
    };
    let rpc = broker
        .admin
        .get_latency(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(page.stages, rpc.stages);
    assert_eq!(
        page.stages
            .iter()
            .find(|stage| stage.stage() == Stage::Total)
            .unwrap()
            .count,
        3
    );
}

#[tokio::test]
async fn clients_are_listed_while_they_are_connected() {
    let mut broker = broker().await;
    let none = broker.get("/api/v1/clients").await.json();
    assert_eq!(none, serde_json::json!({"clients": []}));
    broker.create("q", QueueConfig::default()).await.unwrap();
    let _consumer = broker.consume(start("q", 1)).await;
    let server: GetServerInfoResponse =
        read(&broker.get("/api/v1/server").await, "GetServerInfoResponse");
    let rpc = broker
        .admin
        .get_server_info(GetServerInfoRequest {})
        .await
        .unwrap()
        .into_inner();
    let timeless = |mut response: GetServerInfoResponse| {
        (response.broker_time, response.uptime) = (None, None);
        response
            .clients
            .iter_mut()
            .for_each(|client| client.connected = None);
        response
    };
    assert_eq!(timeless(server), timeless(rpc));
    let clients = broker.get("/api/v1/clients").await.json();
    assert_eq!(clients["clients"][0]["clientId"], "test");
    assert_eq!(clients["clients"][0]["role"], "CLIENT_ROLE_CONSUMER");
}

/// The spans of a file by the names of their operations, and each one's parent.
fn tree(file: &serde_json::Value, batches: &str, scopes: &str) -> BTreeMap<String, String> {
    let groups = file[batches].as_array().unwrap();
    let spans = groups.iter().flat_map(|group| {
        let spans = group[scopes][0]["spans"].as_array();
        spans.unwrap()
    });
    let spans: Vec<_> = spans.collect();
    let operation = |span: &serde_json::Value| {
        let name = span["name"].as_str().unwrap();
        name.split(' ').next().unwrap().to_owned()
    };
    let parent = |span: &serde_json::Value| {
        let Some(parent) = span.get("parentSpanId") else {
            return String::new();
        };
        let parent = spans.iter().find(|it| it["spanId"] == *parent);
        operation(parent.expect("the parent is in the file"))
    };
    let spans = spans.iter().map(|span| (operation(span), parent(span)));
    spans.collect()
}

#[tokio::test]
async fn the_trace_of_an_item_that_has_ended_can_be_had_as_a_file() {
    // Nobody takes traces, and one of the items came without a context.
    let mut broker = broker().await;
    let bare = Item {
        traceparent: String::new(),
        ..traced_item("x")
    };
    let mut pages = Vec::new();
    for item in [traced_item("x"), bare] {
        let id = broker.done("q", item).await;
        let target = format!("/api/v1/queues/q/items/{id}/trace");
        let page = broker.get(&target).await;
        let name = format!("attachment; filename=\"q-{id}.json\"");
        assert_eq!(page.header("content-disposition"), Some(name.as_str()));
        pages.push((page.json(), "resourceSpans", "scopeSpans"));
        let tempo = broker.get(&format!("{target}?format=tempo")).await;
        pages.push((tempo.json(), "batches", "instrumentationLibrarySpans"));
        let text = broker.get(&format!("{target}?format=text")).await;
        text.assert_refused(400, "REQUEST_INVALID");
    }
    let expected = [
        ("item", ""),
        ("store", "item"),
        ("queue", "item"),
        ("deliver", "item"),
        ("settle", "item"),
    ];
    let expected = expected.map(|(span, parent)| (span.to_owned(), parent.to_owned()));
    for (index, (file, batches, scopes)) in pages.iter().enumerate() {
        assert_eq!(
            tree(file, batches, scopes),
            expected.clone().into(),
            "{file}"
        );
        let text = file.to_string();
        assert_eq!(text.contains(TRACE), index < 2, "{text}");
        assert!(!text.contains("sampled_by"), "{text}");
    }

    broker
        .publish("q", vec![traced_item("waits")])
        .await
        .unwrap();
    let waits = broker.get("/api/v1/queues/q/items/3/trace").await;
    waits.assert_refused(404, "ITEM_NOT_FOUND");
    broker
        .get("/api/v1/queues/q/items/4/trace")
        .await
        .assert_refused(404, "ITEM_NOT_FOUND");
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused_with_a_status_a_code_and_a_sentence() {
    let mut broker = broker().await;
    broker.create("q", QueueConfig::default()).await.unwrap();
    let long_path = format!("/api/v1/queues/{}", "q".repeat(600));
    let long_query = format!("/api/v1/queues?prefix={}", "q".repeat(1100));
    let table = [
        ("/api/v1/queues/none", 404, "QUEUE_NOT_FOUND"),
        ("/api/v1/queues/none/latency", 404, "QUEUE_NOT_FOUND"),
        ("/api/v1/queues/a%20b", 400, "QUEUE_NAME_INVALID"),
        ("/api/v1/queues/%ff", 400, "REQUEST_INVALID"),
        ("/api/v1/queues/q/items/1", 404, "ITEM_NOT_FOUND"),
        ("/api/v1/queues/q/items/0", 404, "ITEM_NOT_FOUND"),
        ("/api/v1/queues/q/items/x", 400, "REQUEST_INVALID"),
        ("/api/v1/queues/q/items/-1", 400, "REQUEST_INVALID"),
        ("/api/v1/queues/q/items/+1", 400, "REQUEST_INVALID"),
        (
            "/api/v1/queues/q/items/18446744073709551616",
            400,
            "REQUEST_INVALID",
        ),
        (
            "/api/v1/queues/q/items/1?format=xml",
            400,
            "REQUEST_INVALID",
        ),
        ("/api/v1/queues/q?x=1", 400, "REQUEST_INVALID"),
        ("/api/v1/queues/q/slowest?stage=nap", 400, "REQUEST_INVALID"),
        (
            "/api/v1/queues/q/slowest?stage=unspecified",
            400,
            "REQUEST_INVALID",
        ),
        ("/api/v1/queues/q/slowest?n=101", 400, "REQUEST_INVALID"),
        ("/api/v1/queues/q/slowest?n=1&n=2", 400, "REQUEST_INVALID"),
        (
            "/api/v1/queues/q/slowest?window=25h",
            400,
            "REQUEST_INVALID",
        ),
        (
            "/api/v1/queues/q/latency?window=soon",
            400,
            "REQUEST_INVALID",
        ),
        (
            "/api/v1/queues/q/latency?window=600000000000y",
            400,
            "REQUEST_INVALID",
        ),
        ("/api/v1/queues?page_size=1001", 400, "REQUEST_INVALID"),
        ("/api/v1/queues/q/nothing", 404, "REQUEST_INVALID"),
        ("/api/v2", 404, "REQUEST_INVALID"),
        ("/", 404, "REQUEST_INVALID"),
        (&long_path, 400, "REQUEST_INVALID"),
        (&long_query, 400, "REQUEST_INVALID"),
    ];
    for (target, status, code) in table {
        let page = broker.get(target).await;
        assert_eq!(page.status, status, "{target}: {}", page.text());
        page.assert_refused(status, code);
    }
}

#[tokio::test]
async fn the_port_is_for_looking_only() {
    let mut broker = broker().await;
    broker.create("q", QueueConfig::default()).await.unwrap();
    for target in [
        "/metrics",
        "/livez",
        "/api/v1/queues/q",
        "/api/v1/queues/q/items/1",
    ] {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"] {
            let page = broker.ask(method, target, "").await;
            page.assert_refused(405, "REQUEST_INVALID");
            assert_eq!(page.header("allow"), Some("GET,HEAD"), "{method} {target}");
            assert_eq!(page.header("access-control-allow-origin"), None);
        }
    }
    for target in ["/metrics", "/readyz", "/api/v1/queues/q"] {
        let head = broker.ask("HEAD", target, "").await;
        let get = broker.get(target).await;
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(head.header("content-type"), get.header("content-type"));
        assert_eq!(get.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(get.header("cache-control"), Some("no-store"));
    }
}

#[tokio::test]
async fn a_body_is_never_waited_for() {
    let broker = broker().await;
    // A tebibyte is announced and none of it sent.
    let head = "GET /readyz HTTP/1.1\r\nHost: b\r\nConnection: close\r\nContent-Length: 1099511627776\r\n\r\n";
    let page = say(broker.broker.http, head.as_bytes()).await;
    assert_eq!((page.status, page.text()), (200, "ready\n"));
}

#[tokio::test]
async fn noise_is_refused_and_the_port_goes_on() {
    let broker = broker().await;
    let page = say(broker.broker.http, b"\x16\x03\x01\x02\x00\r\n\r\n").await;
    assert_eq!(page.status, 400);
    let mut half = TcpStream::connect(broker.broker.http).await.unwrap();
    half.write_all(b"GET /metrics HTT").await.unwrap();
    drop(half);
    let page = broker.get("/livez").await;
    assert_eq!((page.status, page.text()), (200, "alive\n"));
}
