//! What operators do with queues and items.
//!
//! Owns the admin half of [`Queue`]. Calls that only read, or that may be repeated without harm, are retried; `create` and
//! `delete` are not, because a repeat of one that worked fails.

use baton_proto::v1::{
    self, CancelItemsRequest, CreateQueueRequest, DeleteQueueRequest, DiscardItemsRequest,
    Explanation, GetItemRequest, GetQueueRequest, ItemState, ListDeadLettersRequest,
    ListQueuesRequest, PeekItemsRequest, PeekedItem, PurgeQueueRequest, QueueConfig, QueueStats,
    RedriveItemsRequest, UpdateQueueRequest,
};
use prost_types::FieldMask;
use tonic::{Response, Status};

use crate::call::retrying;
use crate::context::Context;
use crate::error::Error;
use crate::queue::Queue;

const MISSING_QUEUE: Error = Error::Protocol("an answer without its queue");

/// Calls a method of the admin service until there is an answer.
pub(crate) async fn admin<T, R, F, Fut>(context: &Context, request: R, call: F) -> Result<T, Error>
where
    R: Clone,
    F: Fn(AdminClient, R) -> Fut,
    Fut: Future<Output = Result<Response<T>, Status>>,
{
    retrying(context, || call(context.admin(), request.clone())).await
}

pub(crate) type AdminClient =
    v1::admin_service_client::AdminServiceClient<tonic::transport::Channel>;

/// A page of dead letters.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetters {
    /// Ascending by id.
    pub items: Vec<PeekedItem>,
    /// There are more after the last one.
    pub more: bool,
}

impl Queue {
    /// Settings, counts and etag. Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`Error::Rpc`] (`QUEUE_NOT_FOUND`), [`Error::GaveUp`].
    pub async fn describe(&self) -> Result<v1::Queue, Error> {
        let request = GetQueueRequest {
            name: self.name.clone(),
        };
        let call = |mut admin: AdminClient, r| async move { admin.get_queue(r).await };
        let response = admin(&self.context, request, call).await?;
        response.queue.ok_or(MISSING_QUEUE)
    }

    /// Exact counts: `asyncio.Queue.qsize()` is `ready`, `empty()` is `ready == 0`. Cancel-safe.
    ///
    /// # Errors
    ///
    /// As [`describe`](Self::describe).
    pub async fn stats(&self) -> Result<QueueStats, Error> {
        let missing = Error::Protocol("a queue without stats");
        self.describe().await?.stats.ok_or(missing)
    }

    /// How it behaves; `asyncio.Queue.maxsize` is `max_items`. Cancel-safe.
    ///
    /// # Errors
    ///
    /// As [`describe`](Self::describe).
    pub async fn config(&self) -> Result<QueueConfig, Error> {
        Ok(self.describe().await?.config.unwrap_or_default())
    }

    /// Whether a publish would have to wait: `asyncio.Queue.full()`. Cancel-safe.
    ///
    /// # Errors
    ///
    /// As [`describe`](Self::describe).
    pub async fn is_full(&self) -> Result<bool, Error> {
        let queue = self.describe().await?;
        let config = queue.config.unwrap_or_default();
        let stats = queue.stats.unwrap_or_default();
        let depth = stats.scheduled + stats.ready + stats.leased;
        let by_items = config.max_items > 0 && depth >= config.max_items;
        let by_bytes = config.max_bytes > 0 && stats.bytes >= config.max_bytes;
        Ok(by_items || by_bytes)
    }

    /// Makes it; unset settings have their defaults. Not retried. Dropped, it may have been made or not.
    ///
    /// # Errors
    ///
    /// [`Error::Rpc`] (`QUEUE_EXISTS`).
    pub async fn create(&self, config: QueueConfig) -> Result<v1::Queue, Error> {
        let request = CreateQueueRequest {
            queue: Some(self.with_config(config)),
        };
        let response = self.context.admin().create_queue(request).await?;
        response.into_inner().queue.ok_or(MISSING_QUEUE)
    }

    /// Replaces its whole configuration; unset settings get their defaults. Safe to repeat after a cancel.
    ///
    /// # Errors
    ///
    /// As [`describe`](Self::describe).
    pub async fn update(&self, config: QueueConfig) -> Result<v1::Queue, Error> {
        self.update_masked(self.with_config(config), &["*"]).await
    }

    /// Replaces the settings that `paths` name (below the config, for example `"max_items"`). With an etag in `queue`, a
    /// change by somebody else in the meantime is refused. Safe to repeat after a cancel.
    ///
    /// # Errors
    ///
    /// As [`describe`](Self::describe), and [`Error::Rpc`] (`ETAG_MISMATCH`).
    pub async fn update_masked(
        &self,
        queue: v1::Queue,
        paths: &[&str],
    ) -> Result<v1::Queue, Error> {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        let request = UpdateQueueRequest {
            queue: Some(v1::Queue {
                name: self.name.clone(),
                stats: None,
                ..queue
            }),
            update_mask: Some(FieldMask { paths }),
        };
        let call = |mut admin: AdminClient, r| async move { admin.update_queue(r).await };
        let response = admin(&self.context, request, call).await?;
        response.queue.ok_or(MISSING_QUEUE)
    }

    /// Withholds deliveries; publishes are still accepted. Safe to repeat after a cancel.
    ///
    /// # Errors
    ///
    /// As [`describe`](Self::describe).
    pub async fn pause(&self) -> Result<(), Error> {
        self.set_paused(true).await
    }

    /// Ends a pause. Safe to repeat after a cancel.
    ///
    /// # Errors
    ///
    /// As [`describe`](Self::describe).
    pub async fn resume(&self) -> Result<(), Error> {
        self.set_paused(false).await
    }

    async fn set_paused(&self, paused: bool) -> Result<(), Error> {
        let config = QueueConfig {
            paused,
            ..QueueConfig::default()
        };
        let queue = self.with_config(config);
        self.update_masked(queue, &["paused"]).await.map(|_| ())
    }

    /// Refuses further publishes; consumers end once it has drained: `asyncio.Queue.shutdown()`. Safe to repeat after a
    /// cancel.
    ///
    /// # Errors
    ///
    /// [`Error::Rpc`] (`QUEUE_NOT_FOUND`), [`Error::GaveUp`].
    pub async fn close(&self) -> Result<(), Error> {
        let request = baton_proto::opaque::CloseQueueRequest {
            queue: self.name.clone(),
        };
        retrying(&self.context, || {
            let (mut calls, request) = (self.context.calls(), request.clone());
            async move { calls.close_queue(request).await }
        })
        .await
        .map(|_| ())
    }

    /// Removes it; with `force` also when it has items or dead letters. Not retried. Dropped, it may have been removed or
    /// not.
    ///
    /// # Errors
    ///
    /// [`Error::Rpc`] (`QUEUE_NOT_FOUND`, `QUEUE_NOT_EMPTY`).
    pub async fn delete(&self, force: bool) -> Result<(), Error> {
        let request = DeleteQueueRequest {
            name: self.name.clone(),
            force,
        };
        self.context.admin().delete_queue(request).await?;
        Ok(())
    }

    /// Cancels every item that waits (`None`: scheduled and ready ones), or discards all dead letters; returns how many.
    /// Leased items are their consumers'. Safe to repeat after a cancel.
    ///
    /// # Errors
    ///
    /// As [`describe`](Self::describe).
    pub async fn purge(&self, state: Option<ItemState>) -> Result<u64, Error> {
        let request = PurgeQueueRequest {
            name: self.name.clone(),
            state: state.unwrap_or_default().into(),
        };
        let call = |mut admin: AdminClient, r| async move { admin.purge_queue(r).await };
        Ok(admin(&self.context, request, call).await?.purged)
    }

    /// Shows up to `max` items (1 to 100) after an id, without leasing them. Cancel-safe.
    ///
    /// # Errors
    ///
    /// As [`describe`](Self::describe).
    pub async fn peek(
        &self,
        state: ItemState,
        max: u32,
        after: u64,
    ) -> Result<Vec<PeekedItem>, Error> {
        let request = PeekItemsRequest {
            queue: self.name.clone(),
            state: state.into(),
            max_items: i32::try_from(max).unwrap_or(i32::MAX),
            after,
        };
        let call = |mut admin: AdminClient, r| async move { admin.peek_items(r).await };
        Ok(admin(&self.context, request, call).await?.items)
    }

    /// Explains one item: where it is, since when and why, and where its time went. Cancel-safe.
    ///
    /// # Errors
    ///
    /// As [`describe`](Self::describe), and [`Error::Rpc`] (`ITEM_NOT_FOUND`).
    pub async fn explain(&self, item_id: u64) -> Result<Explanation, Error> {
        let request = GetItemRequest {
            queue: self.name.clone(),
            item_id,
        };
        let call = |mut admin: AdminClient, r| async move { admin.get_item(r).await };
        let response = admin(&self.context, request, call).await?;
        let missing = Error::Protocol("an answer without its explanation");
        response.explanation.ok_or(missing)
    }

    /// Settles waiting items, so that they are never delivered. One state for each id, in order, from before the call:
    /// scheduled and ready ones were cancelled, others left alone. At most 1000. Safe to repeat after a cancel.
    ///
    /// # Errors
    ///
    /// As [`describe`](Self::describe).
    pub async fn cancel(&self, item_ids: &[u64]) -> Result<Vec<ItemState>, Error> {
        let request = CancelItemsRequest {
            queue: self.name.clone(),
            item_ids: item_ids.to_vec(),
        };
        let call = |mut admin: AdminClient, r| async move { admin.cancel_items(r).await };
        let response = admin(&self.context, request, call).await?;
        Ok(response.states().collect())
    }

    /// A page of up to `max` dead letters (1 to 100) after an id. Cancel-safe.
    ///
    /// # Errors
    ///
    /// As [`describe`](Self::describe).
    pub async fn dead_letters(&self, max: u32, after: u64) -> Result<DeadLetters, Error> {
        let request = ListDeadLettersRequest {
            queue: self.name.clone(),
            page_size: i32::try_from(max).unwrap_or(i32::MAX),
            after,
        };
        let call = |mut admin: AdminClient, r| async move { admin.list_dead_letters(r).await };
        let response = admin(&self.context, request, call).await?;
        Ok(DeadLetters {
            items: response.items,
            more: response.more,
        })
    }

    /// Makes these dead letters ready again, with a new allowance of attempts (at most 1000); returns how many. Safe to
    /// repeat after a cancel.
    ///
    /// # Errors
    ///
    /// As [`describe`](Self::describe).
    pub async fn redrive(&self, item_ids: &[u64]) -> Result<u64, Error> {
        // No id means "the oldest" on the wire, and "none" here.
        if item_ids.is_empty() {
            return Ok(0);
        }
        self.redrive_items(item_ids.to_vec(), 0).await
    }

    /// Makes the oldest dead letters ready again, up to `max` of them; 0: all. Returns how many.
    ///
    /// # Errors
    ///
    /// As [`describe`](Self::describe).
    pub async fn redrive_oldest(&self, max: u32) -> Result<u64, Error> {
        self.redrive_items(Vec::new(), max).await
    }

    async fn redrive_items(&self, item_ids: Vec<u64>, max_items: u32) -> Result<u64, Error> {
        let request = RedriveItemsRequest {
            queue: self.name.clone(),
            item_ids,
            max_items,
        };
        let call = |mut admin: AdminClient, r| async move { admin.redrive_items(r).await };
        Ok(admin(&self.context, request, call).await?.redriven)
    }

    /// Removes these dead letters for good (at most 1000); returns how many. Safe to repeat after a cancel.
    ///
    /// # Errors
    ///
    /// As [`describe`](Self::describe).
    pub async fn discard(&self, item_ids: &[u64]) -> Result<u64, Error> {
        let request = DiscardItemsRequest {
            queue: self.name.clone(),
            item_ids: item_ids.to_vec(),
        };
        let call = |mut admin: AdminClient, r| async move { admin.discard_items(r).await };
        Ok(admin(&self.context, request, call).await?.discarded)
    }

    fn with_config(&self, config: QueueConfig) -> v1::Queue {
        v1::Queue {
            name: self.name.clone(),
            config: Some(config),
            ..v1::Queue::default()
        }
    }
}

/// All pages.
pub(crate) async fn list_queues(context: &Context, prefix: &str) -> Result<Vec<v1::Queue>, Error> {
    let mut request = ListQueuesRequest {
        page_size: 1000,
        page_token: String::new(),
        name_prefix: prefix.to_owned(),
    };
    let mut queues = Vec::new();
    loop {
        let call = |mut admin: AdminClient, r| async move { admin.list_queues(r).await };
        let response = admin(context, request.clone(), call).await?;
        queues.extend(response.queues);
        if response.next_page_token.is_empty() {
            return Ok(queues);
        }
        request.page_token = response.next_page_token;
    }
}

pub(crate) async fn server_info(context: &Context) -> Result<v1::GetServerInfoResponse, Error> {
    let call = |mut admin: AdminClient, r| async move { admin.get_server_info(r).await };
    admin(context, v1::GetServerInfoRequest {}, call).await
}
