//! The operators' service. Each call is one act on the queue, in its own turn.

use std::collections::BTreeSet;
use std::time::Duration;

use baton_proto::opaque as wire;
use baton_proto::opaque::admin_service_server::AdminService;
use baton_queue::{ItemId, ItemState, PurgeState, RedriveWhat};
use baton_telemetry::stage::Stage;
use bytes::Bytes;
use tonic::{Request, Response, Status};
use tracing::info;

use super::Context;
use super::convert::{count, duration, wire_duration, wire_state, wire_time};
use super::explain::{wire_account, wire_explained, wire_explanation, wire_stats};
use super::latency;
use super::queue_config;
use crate::engine::{Client, Clock, QueueHandle, Role, View};
use crate::error::Error;
use crate::limits::{
    BATCH_BYTES_MAX, BATCH_ITEMS_MAX, CLIENTS_SHOWN_MAX, IDS_MAX, LATENCY_WINDOW_MAX,
    PAGE_BYTES_MAX, PAGE_ITEMS_MAX, PAGE_NAMES_MAX,
};

/// Items of a page unless the caller says otherwise.
const PAGE_ITEMS_DEFAULT: i32 = 10;
/// Names of a page unless the caller says otherwise.
const PAGE_NAMES_DEFAULT: i32 = 100;

/// See the module.
#[derive(Debug)]
pub(crate) struct AdminRpc {
    context: Context,
    started_ns: u64,
}

impl AdminRpc {
    pub(crate) fn new(context: Context) -> Self {
        let started_ns = context.engine.clock().monotonic_ns();
        Self {
            context,
            started_ns,
        }
    }

    fn queue(&self, name: &str) -> Result<QueueHandle, Error> {
        self.context.engine.queue(name)
    }

    async fn create(&self, request: wire::CreateQueueRequest) -> Result<wire::Queue, Error> {
        let sent = request
            .queue
            .ok_or_else(|| Error::invalid("queue", "is missing"))?;
        if sent.stats.is_some() || !sent.etag.is_empty() {
            return Err(Error::invalid(
                "queue",
                "has stats or an etag; a new queue brings a name and a config only",
            ));
        }
        let config = queue_config::read(sent.config.unwrap_or_default())?;
        let queue = self.context.engine.create(&sent.name, config)?;
        show(&queue).await
    }

    pub(crate) async fn get(&self, request: wire::GetQueueRequest) -> Result<wire::Queue, Error> {
        show(&self.queue(&request.name)?).await
    }

    async fn update(&self, request: wire::UpdateQueueRequest) -> Result<wire::Queue, Error> {
        let sent = request
            .queue
            .ok_or_else(|| Error::invalid("queue", "is missing"))?;
        let queue = self.queue(&sent.name)?;
        let mask = request.update_mask.unwrap_or_default().paths;
        let update = move |view: &mut View<'_>| {
            let old = view.queue.config().clone();
            if !sent.etag.is_empty() && sent.etag != queue_config::etag(&old) {
                return Err(Error::EtagMismatch);
            }
            let config = queue_config::update(old, sent.config.unwrap_or_default(), &mask)?;
            view.queue.set_config(view.now, config, view.events);
            Ok(())
        };
        queue.act(update).await??;
        show(&queue).await
    }

    async fn delete(&self, request: wire::DeleteQueueRequest) -> Result<(), Error> {
        let engine = &self.context.engine;
        engine.delete(&request.name, request.force).await
    }

    pub(crate) async fn list(
        &self,
        request: wire::ListQueuesRequest,
    ) -> Result<wire::ListQueuesResponse, Error> {
        let max = count(
            "page_size",
            request.page_size,
            PAGE_NAMES_DEFAULT,
            PAGE_NAMES_MAX,
        )? as usize;
        let mut page = self
            .context
            .engine
            .list(&request.name_prefix, &request.page_token, max + 1);
        let more = page.len() > max;
        page.truncate(max);
        let next_page_token = page
            .last()
            .filter(|_| more)
            .map(|last| last.name().to_owned())
            .unwrap_or_default();
        let mut queues = Vec::with_capacity(page.len());
        for queue in page {
            match show(&queue).await {
                Ok(queue) => queues.push(queue),
                // Deleted since the page was made.
                Err(Error::QueueNotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(wire::ListQueuesResponse {
            queues,
            next_page_token,
        })
    }

    async fn purge(&self, request: wire::PurgeQueueRequest) -> Result<u64, Error> {
        let what = match request.state() {
            wire::ItemState::Unspecified => PurgeState::Waiting,
            wire::ItemState::Scheduled => PurgeState::Scheduled,
            wire::ItemState::Ready => PurgeState::Ready,
            wire::ItemState::Dead => PurgeState::Dead,
            wire::ItemState::Leased | wire::ItemState::Done => {
                return Err(Error::invalid(
                    "state",
                    "is SCHEDULED, READY or DEAD, or unset for the first two",
                ));
            }
        };
        let queue = self.queue(&request.name)?;
        queue
            .act(move |view| view.queue.purge(view.now, what, view.events))
            .await
    }

    async fn peek(&self, request: wire::PeekItemsRequest) -> Result<Vec<wire::PeekedItem>, Error> {
        let max = count(
            "max_items",
            request.max_items,
            PAGE_ITEMS_DEFAULT,
            PAGE_ITEMS_MAX,
        )?;
        let state = match request.state() {
            wire::ItemState::Scheduled => ItemState::Scheduled,
            wire::ItemState::Unspecified | wire::ItemState::Ready => ItemState::Ready,
            wire::ItemState::Leased => ItemState::Leased,
            wire::ItemState::Dead | wire::ItemState::Done => {
                return Err(Error::invalid(
                    "state",
                    "is SCHEDULED, READY or LEASED; ListDeadLetters shows the dead",
                ));
            }
        };
        let after = ItemId(request.after);
        let queue = self.queue(&request.queue)?;
        let shown = queue.act(move |view| {
            let ids = view.queue.peek(state, after, max as usize);
            explained(view, &ids)
        });
        let shown = shown.await?;
        Ok(page(&queue, shown).await.0)
    }

    pub(crate) async fn item(
        &self,
        request: wire::GetItemRequest,
    ) -> Result<wire::Explanation, Error> {
        let id = ItemId(request.item_id);
        let explained = self.queue(&request.queue)?.explain(id).await?;
        let explained = explained.ok_or(Error::ItemNotFound(request.item_id))?;
        Ok(wire_explained(&explained))
    }

    pub(crate) async fn slow_items(
        &self,
        request: wire::ListSlowItemsRequest,
    ) -> Result<wire::ListSlowItemsResponse, Error> {
        let (default, max) = (PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX);
        let items = count("max_items", request.max_items, default, max)?;
        let stage = latency::stage(request.stage()).unwrap_or(Stage::Total);
        let windows = Duration::from_secs(1)..=LATENCY_WINDOW_MAX;
        let window = duration("window", request.window, windows)?;
        let window = window.unwrap_or(Duration::from_secs(3600));
        let queue = self.queue(&request.queue)?;
        let (now, slowest) = queue.slowest(stage, items as usize, window).await?;
        let items = slowest.iter().map(|(ns, account)| wire::SlowItem {
            explanation: Some(wire_account(account, now)),
            duration: Some(wire_duration(Duration::from_nanos(*ns))),
        });
        Ok(wire::ListSlowItemsResponse {
            items: items.collect(),
        })
    }

    pub(crate) async fn latency(
        &self,
        request: wire::GetLatencyRequest,
    ) -> Result<wire::GetLatencyResponse, Error> {
        let windows = Duration::from_secs(1)..=LATENCY_WINDOW_MAX;
        let window = duration("window", request.window, windows)?;
        let window = window.unwrap_or(Duration::from_secs(60));
        let latency = self.queue(&request.queue)?.latency(window).await?;
        Ok(latency::wire_latency(&latency))
    }

    async fn cancel(
        &self,
        request: wire::CancelItemsRequest,
    ) -> Result<wire::CancelItemsResponse, Error> {
        let ids = item_ids(request.item_ids)?;
        let named = ids.clone();
        let queue = self.queue(&request.queue)?;
        let states = queue
            .act(move |view| view.queue.cancel(view.now, &ids, view.events))
            .await?;
        let waited = |state: &Option<ItemState>| {
            matches!(state, Some(ItemState::Scheduled | ItemState::Ready))
        };
        let cancelled = named.iter().zip(&states).filter(|(_, state)| waited(state));
        let cancelled: BTreeSet<_> = cancelled.map(|(id, _)| id).collect();
        Ok(wire::CancelItemsResponse {
            cancelled: u32::try_from(cancelled.len()).unwrap_or(u32::MAX),
            states: states
                .iter()
                .map(|state| state.map_or(0, |state| wire_state(state).into()))
                .collect(),
        })
    }

    async fn dead_letters(
        &self,
        request: wire::ListDeadLettersRequest,
    ) -> Result<wire::ListDeadLettersResponse, Error> {
        let max = count(
            "page_size",
            request.page_size,
            PAGE_ITEMS_DEFAULT,
            PAGE_ITEMS_MAX,
        )?;
        let after = ItemId(request.after);
        let queue = self.queue(&request.queue)?;
        let shown = queue.act(move |view| {
            let (ids, more) = view.queue.dead_letters(after, max as usize);
            (explained(view, &ids), more)
        });
        let (shown, more) = shown.await?;
        let (items, cut) = page(&queue, shown).await;
        Ok(wire::ListDeadLettersResponse {
            items,
            more: more || cut,
        })
    }

    async fn redrive(&self, request: wire::RedriveItemsRequest) -> Result<u64, Error> {
        let queue = self.queue(&request.queue)?;
        if request.item_ids.is_empty() {
            let oldest = RedriveWhat::Oldest((request.max_items > 0).then_some(request.max_items));
            return queue
                .act(move |view| view.queue.redrive(view.now, oldest, view.events))
                .await;
        }
        if request.max_items > 0 {
            return Err(Error::invalid("max_items", "is for a redrive without ids"));
        }
        let ids = item_ids(request.item_ids)?;
        queue
            .act(move |view| {
                view.queue
                    .redrive(view.now, RedriveWhat::Ids(&ids), view.events)
            })
            .await
    }

    async fn discard(&self, request: wire::DiscardItemsRequest) -> Result<u64, Error> {
        let ids = item_ids(request.item_ids)?;
        let queue = self.queue(&request.queue)?;
        queue
            .act(move |view| view.queue.discard(view.now, &ids, view.events))
            .await
    }

    fn clients(&self, clock: Clock) -> Vec<wire::ClientInfo> {
        let now_ns = clock.monotonic_ns();
        let clients = self.context.engine.clients().list(CLIENTS_SHOWN_MAX);
        clients
            .iter()
            .map(|client| wire_client(client, now_ns))
            .collect()
    }

    pub(crate) fn server_info(&self) -> wire::GetServerInfoResponse {
        let clock = self.context.engine.clock();
        let uptime = clock.monotonic_ns().saturating_sub(self.started_ns);
        wire::GetServerInfoResponse {
            version: env!("CARGO_PKG_VERSION").into(),
            durability: self.context.engine.durability().into(),
            max_payload_bytes: self.context.payload_bytes_max as u64,
            max_batch_items: u32::try_from(BATCH_ITEMS_MAX).unwrap_or(u32::MAX),
            max_batch_bytes: BATCH_BYTES_MAX as u64,
            broker_time: Some(wire_time(clock.now())),
            uptime: Some(wire_duration(Duration::from_nanos(uptime))),
            auto_create: self.context.engine.settings().auto_create,
            tracing: self.context.engine.is_tracing(),
            clients: self.clients(clock),
        }
    }
}

fn wire_client(client: &Client, now_ns: u64) -> wire::ClientInfo {
    let role = match client.role {
        Role::Producer => wire::ClientRole::Producer,
        Role::Consumer => wire::ClientRole::Consumer,
    };
    let clock = client.clock(now_ns);
    let connected = Duration::from_nanos(now_ns.saturating_sub(client.since_ns));
    wire::ClientInfo {
        client_id: client.party.client_id.to_string(),
        client_version: client.version.clone(),
        service_name: client.party.service.to_string(),
        queue: client.queue.clone(),
        role: role.into(),
        connected: Some(wire_duration(connected)),
        same_clock: client.same_clock,
        clock_offset_ns: clock.map(|clock| clock.offset_ns),
        clock_error_ns: clock.map_or(0, |clock| clock.error_ns),
    }
}

async fn show(queue: &QueueHandle) -> Result<wire::Queue, Error> {
    let name = queue.name().to_owned();
    let shown = queue.act(move |view| {
        let config = view.queue.config();
        wire::Queue {
            name,
            config: Some(queue_config::write(config)),
            stats: Some(wire_stats(view)),
            etag: queue_config::etag(config),
        }
    });
    shown.await
}

/// An item of a page; its body, if that is at hand.
type Shown = (u64, wire::Explanation, Option<Bytes>);

/// Items in ascending order.
fn explained(view: &View<'_>, ids: &[ItemId]) -> Vec<Shown> {
    let explained = view.queue.explain_all(view.now, ids, view.demand);
    let shown = explained.into_iter().map(|explained| {
        let explanation = wire_explanation(&explained, view.now);
        (explained.item.0, explanation, view.body(explained.item))
    });
    shown.collect()
}

/// The items of a page with all bodies that can be read, and whether it was cut short because they are large.
async fn page(queue: &QueueHandle, shown: Vec<Shown>) -> (Vec<wire::PeekedItem>, bool) {
    let cold = shown.iter().filter(|(_, _, body)| body.is_none());
    let cold: Vec<u64> = cold.map(|(id, ..)| *id).collect();
    let mut read = if cold.is_empty() {
        Vec::new()
    } else {
        queue.bodies(cold).await
    }
    .into_iter();
    let mut items = Vec::with_capacity(shown.len());
    let mut bytes = 0;
    for (_, explanation, body) in shown {
        let item = body.or_else(|| read.next().flatten()).unwrap_or_default();
        bytes += item.len();
        if bytes > PAGE_BYTES_MAX && !items.is_empty() {
            return (items, true);
        }
        let explanation = Some(explanation);
        items.push(wire::PeekedItem { explanation, item });
    }
    (items, false)
}

fn item_ids(ids: Vec<u64>) -> Result<Vec<ItemId>, Error> {
    if ids.is_empty() || ids.len() > IDS_MAX {
        let fault = format!("are {}, have to be 1 to {IDS_MAX}", ids.len());
        return Err(Error::invalid("item_ids", fault));
    }
    Ok(ids.into_iter().map(ItemId).collect())
}

#[tonic::async_trait]
impl AdminService for AdminRpc {
    async fn create_queue(
        &self,
        request: Request<wire::CreateQueueRequest>,
    ) -> Result<Response<wire::CreateQueueResponse>, Status> {
        let queue = Some(self.create(request.into_inner()).await?);
        Ok(Response::new(wire::CreateQueueResponse { queue }))
    }

    async fn get_queue(
        &self,
        request: Request<wire::GetQueueRequest>,
    ) -> Result<Response<wire::GetQueueResponse>, Status> {
        let queue = Some(self.get(request.into_inner()).await?);
        Ok(Response::new(wire::GetQueueResponse { queue }))
    }

    async fn update_queue(
        &self,
        request: Request<wire::UpdateQueueRequest>,
    ) -> Result<Response<wire::UpdateQueueResponse>, Status> {
        let queue = self.update(request.into_inner()).await?;
        info!(queue = queue.name, "queue updated");
        let queue = Some(queue);
        Ok(Response::new(wire::UpdateQueueResponse { queue }))
    }

    async fn delete_queue(
        &self,
        request: Request<wire::DeleteQueueRequest>,
    ) -> Result<Response<wire::DeleteQueueResponse>, Status> {
        self.delete(request.into_inner()).await?;
        Ok(Response::new(wire::DeleteQueueResponse {}))
    }

    async fn list_queues(
        &self,
        request: Request<wire::ListQueuesRequest>,
    ) -> Result<Response<wire::ListQueuesResponse>, Status> {
        Ok(Response::new(self.list(request.into_inner()).await?))
    }

    async fn purge_queue(
        &self,
        request: Request<wire::PurgeQueueRequest>,
    ) -> Result<Response<wire::PurgeQueueResponse>, Status> {
        let request = request.into_inner();
        let (queue, state) = (request.name.clone(), request.state().as_str_name());
        let purged = self.purge(request).await?;
        info!(queue, state, items = purged, "queue purged");
        Ok(Response::new(wire::PurgeQueueResponse { purged }))
    }

    async fn peek_items(
        &self,
        request: Request<wire::PeekItemsRequest>,
    ) -> Result<Response<wire::PeekItemsResponse>, Status> {
        let items = self.peek(request.into_inner()).await?;
        Ok(Response::new(wire::PeekItemsResponse { items }))
    }

    async fn get_item(
        &self,
        request: Request<wire::GetItemRequest>,
    ) -> Result<Response<wire::GetItemResponse>, Status> {
        let explanation = Some(self.item(request.into_inner()).await?);
        Ok(Response::new(wire::GetItemResponse { explanation }))
    }

    async fn list_slow_items(
        &self,
        request: Request<wire::ListSlowItemsRequest>,
    ) -> Result<Response<wire::ListSlowItemsResponse>, Status> {
        Ok(Response::new(self.slow_items(request.into_inner()).await?))
    }

    async fn get_latency(
        &self,
        request: Request<wire::GetLatencyRequest>,
    ) -> Result<Response<wire::GetLatencyResponse>, Status> {
        Ok(Response::new(self.latency(request.into_inner()).await?))
    }

    async fn cancel_items(
        &self,
        request: Request<wire::CancelItemsRequest>,
    ) -> Result<Response<wire::CancelItemsResponse>, Status> {
        let request = request.into_inner();
        let queue = request.queue.clone();
        let cancelled = self.cancel(request).await?;
        info!(queue, items = cancelled.cancelled, "items cancelled");
        Ok(Response::new(cancelled))
    }

    async fn list_dead_letters(
        &self,
        request: Request<wire::ListDeadLettersRequest>,
    ) -> Result<Response<wire::ListDeadLettersResponse>, Status> {
        Ok(Response::new(
            self.dead_letters(request.into_inner()).await?,
        ))
    }

    async fn redrive_items(
        &self,
        request: Request<wire::RedriveItemsRequest>,
    ) -> Result<Response<wire::RedriveItemsResponse>, Status> {
        let request = request.into_inner();
        let queue = request.queue.clone();
        let redriven = self.redrive(request).await?;
        info!(queue, items = redriven, "dead letters redriven");
        Ok(Response::new(wire::RedriveItemsResponse { redriven }))
    }

    async fn discard_items(
        &self,
        request: Request<wire::DiscardItemsRequest>,
    ) -> Result<Response<wire::DiscardItemsResponse>, Status> {
        let request = request.into_inner();
        let queue = request.queue.clone();
        let discarded = self.discard(request).await?;
        info!(queue, items = discarded, "dead letters discarded");
        Ok(Response::new(wire::DiscardItemsResponse { discarded }))
    }

    async fn get_server_info(
        &self,
        _request: Request<wire::GetServerInfoRequest>,
    ) -> Result<Response<wire::GetServerInfoResponse>, Status> {
        Ok(Response::new(self.server_info()))
    }
}
