//! A queue, one call at a time: everything that `asyncio.Queue` does, without a stream.
//!
//! Owns the unary counterparts of producer and consumer; what operators do is in `admin`.

use std::sync::Arc;
use std::time::Duration;

use baton_proto::opaque::LeaseRequest;
use tokio::time::Instant;

use crate::call::retrying;
use crate::clock;
use crate::context::Context;
use crate::delivery::Delivery;
use crate::error::Error;
use crate::item::Item;
use crate::join::{self, Joined, Span};
use crate::lane::{self, Lanes};
use crate::lease;
use crate::producer::Receipt;
use crate::telemetry::Scope;

/// The most items of one call.
const MAX_LEASE_ITEMS: u32 = 1000;
/// Half of the longest that the broker waits, so that a connection which died is noticed.
const POLL: Duration = Duration::from_secs(30);

/// A queue by name. Cheap to clone; nothing is checked or created by making one.
#[derive(Debug, Clone)]
pub struct Queue {
    pub(crate) context: Arc<Context>,
    pub(crate) name: String,
    lanes: Arc<Lanes>,
    scope: Arc<Scope>,
}

impl Queue {
    pub(crate) fn new(context: Arc<Context>, name: String) -> Self {
        let scope = Scope::new(Arc::clone(&context), &name);
        Self {
            context,
            name,
            lanes: Arc::new(Lanes::new()),
            scope: Arc::new(scope),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Publishes one item and waits until it is durable; waits for room while the queue is full. For more than a few
    /// items a second, open a [`Producer`](crate::Producer).
    ///
    /// Not cancel-safe: dropped, the item may be published or not.
    ///
    /// # Errors
    ///
    /// As [`Producer::publish`](crate::Producer::publish).
    pub async fn publish_one(&self, item: Item) -> Result<Receipt, Error> {
        let call = lane::Call {
            context: &self.context,
            queue: &self.name,
            scope: &self.scope,
            when_full: lane::WhenFull::Wait,
        };
        let outgoing = self.scope.outgoing(item).await?;
        call.publish(&self.lanes, outgoing).await
    }

    /// Takes up to `max` items (at most 1000) for the queue's lease duration; waits up to `wait` for the first one. None
    /// is no error. The leases are not extended by themselves: see [`Delivery::extend`].
    ///
    /// Not cancel-safe: dropped, items may stay leased to nobody until their leases run out.
    ///
    /// # Errors
    ///
    /// [`Error::Rpc`], [`Error::GaveUp`].
    pub async fn lease(&self, max: u32, wait: Duration) -> Result<Vec<Delivery>, Error> {
        let deadline = Instant::now() + wait;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let deliveries = self.lease_once(max, left.min(POLL)).await?;
            if !deliveries.is_empty() || left <= POLL {
                return Ok(deliveries);
            }
        }
    }

    /// Takes one item: `asyncio.Queue.get`. Waits for as long as it takes. For more than a few items a second, open a
    /// [`Consumer`](crate::Consumer).
    ///
    /// Not cancel-safe, as [`lease`](Self::lease).
    ///
    /// # Errors
    ///
    /// [`Error::Rpc`], [`Error::GaveUp`].
    pub async fn get(&self) -> Result<Delivery, Error> {
        loop {
            if let Some(delivery) = self.lease_once(1, POLL).await?.pop() {
                return Ok(delivery);
            }
        }
    }

    /// Takes one item, now or not at all.
    ///
    /// Not cancel-safe, as [`lease`](Self::lease).
    ///
    /// # Errors
    ///
    /// [`Error::QueueEmpty`] when none is ready; [`Error::Rpc`], [`Error::GaveUp`].
    pub async fn get_nowait(&self) -> Result<Delivery, Error> {
        let mut deliveries = self.lease_once(1, Duration::ZERO).await?;
        deliveries.pop().ok_or(Error::QueueEmpty)
    }

    /// Waits until every item published before the call is settled. What it counts is everything since the queue was made.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`Error::Rpc`], [`Error::GaveUp`].
    pub async fn join(&self) -> Result<Joined, Error> {
        self.join_up_to(0).await
    }

    /// Waits until every item up to this id is settled; 0: up to the last one published.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`Error::Rpc`], [`Error::GaveUp`].
    pub async fn join_up_to(&self, item_id: u64) -> Result<Joined, Error> {
        let span = Span {
            after: 0,
            up_to: item_id,
        };
        join::join(&self.context, &self.name, span).await
    }

    async fn lease_once(&self, max: u32, wait: Duration) -> Result<Vec<Delivery>, Error> {
        self.scope.prepare_to_receive().await;
        let called_ns = clock::now_ns();
        let received = self.lease_call(max, wait).await;
        self.scope.received(called_ns, received.as_deref());
        received
    }

    async fn lease_call(&self, max: u32, wait: Duration) -> Result<Vec<Delivery>, Error> {
        let max_items = max.clamp(1, MAX_LEASE_ITEMS);
        let request = LeaseRequest {
            queue: self.name.clone(),
            max_items: i32::try_from(max_items).unwrap_or(i32::MAX),
            max_bytes: 0,
            wait: (!wait.is_zero()).then(|| clock::wire_duration(wait)),
            lease_duration: None,
            consumer: self.context.client_id().to_owned(),
        };
        let response = retrying(&self.context, || {
            let (mut calls, request) = (self.context.calls(), request.clone());
            async move { calls.lease(request).await }
        })
        .await?;
        self.scope.consumed(response.items.len() as u64);
        Ok(lease::hand_out(&self.scope, response.items))
    }
}
