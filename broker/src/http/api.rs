//! The JSON API: what the operators' service answers to its reading calls, for whoever has curl and no gRPC.
//!
//! | path below `/api/v1` | answer |
//! |---|---|
//! | `/queues?prefix=&page_size=&page_token=` | `ListQueuesResponse` |
//! | `/queues/{queue}` | `GetQueueResponse` |
//! | `/queues/{queue}/items/{id}?format=` | `GetItemResponse`; its `text` alone with `format=text` or `Accept: text/plain` |
//! | `/queues/{queue}/items/{id}/trace?format=` | an ended item's spans as an OTLP/JSON file, or as Grafana reads it with `format=tempo` |
//! | `/queues/{queue}/slowest?stage=&n=&window=` | `ListSlowItemsResponse` |
//! | `/queues/{queue}/latency?window=` | `GetLatencyResponse` |
//! | `/clients` | the `clients` of `GetServerInfoResponse` |
//! | `/server` | `GetServerInfoResponse` |
//!
//! Each is one call of the same code that gRPC calls, so limits and refusals are the same; see [`json`] for the mapping.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{FromRequestParts, RawPathParams, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use baton_proto::opaque as wire;
use baton_queue::ItemId;
use baton_telemetry::otlp::Form;

use super::query::Query;
use super::refusal::Refusal;
use super::{Site, accept, json};
use crate::error::Error;

type Answer = Result<Response, Refusal>;

/// What a request names.
#[derive(Debug)]
struct Asked {
    queue: String,
    item: u64,
    query: Query,
}

impl FromRequestParts<Arc<Site>> for Asked {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Self, Refusal> {
        let query = Query::read(parts.uri.query())?;
        let params = RawPathParams::from_request_parts(parts, site).await;
        let params = params.map_err(|_| Error::invalid("path", "is no UTF-8"))?;
        let value = |name| params.iter().find(|(known, _)| *known == name);
        let item = value("id").map_or(Ok(0), |(_, id)| item_id(id))?;
        Ok(Self {
            queue: value("queue").map_or_else(String::new, |(_, name)| name.to_owned()),
            item,
            query,
        })
    }
}

/// Digits alone: a plus sign is as wrong as a letter.
fn item_id(text: &str) -> Result<u64, Error> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let id = text.parse().ok().filter(|_| digits);
    id.ok_or_else(|| Error::invalid("item_id", format!("is {text:?}, has to be a number")))
}

pub(super) fn routes() -> Router<Arc<Site>> {
    Router::new()
        .route("/queues", get(queues))
        .route("/queues/{queue}", get(queue))
        .route("/queues/{queue}/items/{id}", get(item))
        .route("/queues/{queue}/items/{id}/trace", get(trace))
        .route("/queues/{queue}/slowest", get(slowest))
        .route("/queues/{queue}/latency", get(latency))
        .route("/clients", get(clients))
        .route("/server", get(server))
}

async fn queues(State(site): State<Arc<Site>>, asked: Asked) -> Answer {
    let mut query = asked.query;
    let request = wire::ListQueuesRequest {
        name_prefix: query.text("prefix").unwrap_or_default(),
        page_size: query.number("page_size")?.unwrap_or(0),
        page_token: query.text("page_token").unwrap_or_default(),
    };
    query.done()?;
    let response = site.admin.list(request).await?;
    Ok(json::answer(json::of("ListQueuesResponse", &response)))
}

async fn queue(State(site): State<Arc<Site>>, asked: Asked) -> Answer {
    asked.query.done()?;
    let request = wire::GetQueueRequest { name: asked.queue };
    let queue = Some(site.admin.get(request).await?);
    let response = wire::GetQueueResponse { queue };
    Ok(json::answer(json::of("GetQueueResponse", &response)))
}

async fn item(State(site): State<Arc<Site>>, headers: HeaderMap, asked: Asked) -> Answer {
    let mut query = asked.query;
    let text = match query.text("format").as_deref() {
        None => wants_text(&headers),
        Some("text") => true,
        Some("json") => false,
        Some(_) => return Err(Error::invalid("query", "format is text or json").into()),
    };
    query.done()?;
    let request = wire::GetItemRequest {
        queue: asked.queue,
        item_id: asked.item,
    };
    let explanation = site.admin.item(request).await?;
    if text {
        return Ok(explanation.text.into_response());
    }
    let explanation = Some(explanation);
    let response = wire::GetItemResponse { explanation };
    Ok(json::answer(json::of("GetItemResponse", &response)))
}

/// Nothing that a browser or curl says by itself.
fn wants_text(headers: &HeaderMap) -> bool {
    let offers = ["application/json", "text/plain"];
    let best = accept::best(headers, &offers, |kind, wanted| wanted.includes(kind));
    best == Some("text/plain")
}

async fn trace(State(site): State<Arc<Site>>, asked: Asked) -> Answer {
    let mut query = asked.query;
    let form = match query.text("format").as_deref() {
        None | Some("otlp") => Form::Otlp,
        Some("tempo") => Form::Tempo,
        Some(_) => return Err(Error::invalid("query", "format is otlp or tempo").into()),
    };
    query.done()?;
    let queue = site.engine.queue(&asked.queue)?;
    let explained = queue.explain(ItemId(asked.item)).await?;
    let explained = explained.ok_or(Error::ItemNotFound(asked.item))?;
    let account = explained.account;
    let file = account.and_then(|account| site.trace_files.of(&account, queue.epoch().0, form));
    let file = file.ok_or(Error::TraceNotFound(asked.item))?;
    let mut response = json::answer(file.to_string());
    let name = format!(
        "attachment; filename=\"{}-{}.json\"",
        queue.name(),
        asked.item
    );
    let name = HeaderValue::from_str(&name).expect("queue names are plain ASCII");
    response
        .headers_mut()
        .insert(header::CONTENT_DISPOSITION, name);
    Ok(response)
}

async fn slowest(State(site): State<Arc<Site>>, asked: Asked) -> Answer {
    let mut query = asked.query;
    let request = wire::ListSlowItemsRequest {
        queue: asked.queue,
        stage: stage(query.text("stage"))?.into(),
        max_items: query.number("n")?.unwrap_or(0),
        window: query.duration("window")?.map(wire_duration),
    };
    query.done()?;
    let response = site.admin.slow_items(request).await?;
    Ok(json::answer(json::of("ListSlowItemsResponse", &response)))
}

async fn latency(State(site): State<Arc<Site>>, asked: Asked) -> Answer {
    let mut query = asked.query;
    let request = wire::GetLatencyRequest {
        queue: asked.queue,
        window: query.duration("window")?.map(wire_duration),
    };
    query.done()?;
    let response = site.admin.latency(request).await?;
    Ok(json::answer(json::of("GetLatencyResponse", &response)))
}

async fn clients(State(site): State<Arc<Site>>, asked: Asked) -> Answer {
    asked.query.done()?;
    let clients = site.admin.server_info().clients;
    let clients = clients.iter().map(|client| json::of("ClientInfo", client));
    let clients: Vec<_> = clients.collect();
    Ok(json::answer(format!(
        "{{\"clients\":[{}]}}",
        clients.join(",")
    )))
}

async fn server(State(site): State<Arc<Site>>, asked: Asked) -> Answer {
    asked.query.done()?;
    let response = site.admin.server_info();
    Ok(json::answer(json::of("GetServerInfoResponse", &response)))
}

/// As stages are called everywhere else; none: the call's default.
fn stage(name: Option<String>) -> Result<wire::Stage, Error> {
    let Some(name) = name else {
        return Ok(wire::Stage::Unspecified);
    };
    let stage = wire::Stage::from_str_name(&format!("STAGE_{}", name.to_ascii_uppercase()));
    let known = stage.filter(|stage| *stage != wire::Stage::Unspecified);
    known.ok_or_else(|| Error::invalid("query", format!("stage is {name:?}, as in total or queue")))
}

/// One that no duration can be is told by the call, like any other that is too long.
fn wire_duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(duration).unwrap_or(prost_types::Duration {
        seconds: i64::MAX,
        nanos: 0,
    })
}
