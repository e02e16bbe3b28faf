//! The producers' and consumers' service.

use std::sync::Arc;
use std::time::Duration;

use baton_ledger::party::Party;
use baton_proto::opaque as wire;
use baton_proto::opaque::queue_service_server::QueueService;
use baton_queue::{ItemId, SessionId};
use tonic::{Request, Response, Status, Streaming};
use tracing::info;

use super::Context;
use super::batch::Batch;
use super::consume::{self, Deliveries};
use super::convert::{count, duration, label, required_label, wire_delivery};
use super::publish_stream::{self, Confirms};
use super::settle::{self, lease_duration};
use crate::engine::{Delivered, Join, Lease, Publish, Sending, Settle, Stored};
use crate::error::Error;
use crate::limits::{BATCH_ITEMS_MAX, LEASE_BYTES_MAX, NAME_BYTES_MAX, POLL_MAX};

/// See the module.
#[derive(Debug)]
pub(super) struct QueueRpc {
    context: Context,
}

impl QueueRpc {
    pub(super) fn new(context: Context) -> Self {
        Self { context }
    }

    async fn publish(&self, request: wire::PublishRequest) -> Result<wire::PublishResponse, Error> {
        let producer = producer(&request)?;
        let now = self.context.engine.clock().now();
        let batch = Batch::read(request.items, self.context.payload_bytes_max, now)?;
        if self.context.engine.is_draining() {
            return Err(Error::Draining);
        }
        let queue = self.context.engine.queue_or_create(&request.queue)?;
        let (items, bodies) = (batch.items, batch.bodies);
        let sending = Sending {
            received: now,
            ..Sending::default()
        };
        let stored = queue
            .publish(|reply| Publish {
                producer,
                items,
                bodies,
                sending,
                reply,
            })
            .await?;
        Ok(publish_response(batch.count, batch.refused, &stored))
    }

    async fn lease(&self, request: wire::LeaseRequest) -> Result<wire::LeaseResponse, Error> {
        let max_items = i32::try_from(BATCH_ITEMS_MAX).unwrap_or(i32::MAX);
        let items = count("max_items", request.max_items, 1, max_items)?;
        let bytes = lease_bytes(request.max_bytes)?;
        let wait = duration("wait", request.wait, Duration::ZERO..=POLL_MAX)?.unwrap_or_default();
        let lease_duration = lease_duration("lease_duration", request.lease_duration)?;
        label("consumer", &request.consumer, NAME_BYTES_MAX)?;
        if self.context.engine.is_draining() {
            return Err(Error::Draining);
        }
        let queue = self.context.engine.queue_or_create(&request.queue)?;
        let until = self.context.engine.clock().now().saturating_add(wait);
        let consumer = Arc::new(Party::named(request.consumer));
        let items: Vec<Delivered> = queue
            .lease(|reply| Lease {
                consumer,
                items,
                bytes,
                lease_duration,
                until,
                reply,
            })
            .await?;
        let items = items
            .into_iter()
            .map(|delivered| wire_delivery(delivered, 0))
            .collect();
        Ok(wire::LeaseResponse { items })
    }

    async fn settle(&self, request: wire::SettleRequest) -> Result<wire::SettleResponse, Error> {
        if request.settles.is_empty() {
            return Err(Error::invalid(
                "settles",
                "is empty; name at least one lease",
            ));
        }
        let queue = self.context.engine.queue(&request.queue)?;
        let leases = settle::leases(queue.epoch(), request.settles)?;
        let settlement = queue
            .settle(|reply| Settle {
                session: SessionId::UNARY,
                deliveries: Vec::new(),
                leases,
                received: self.context.engine.clock().now(),
                clock: None,
                reply,
            })
            .await?;
        let durability = settlement.durability.into();
        Ok(wire::SettleResponse {
            outcomes: settle::wire_outcomes(settlement.leases),
            durability,
        })
    }

    async fn join(&self, request: wire::JoinRequest) -> Result<wire::JoinResponse, Error> {
        let wait = duration("wait", request.wait, Duration::ZERO..=POLL_MAX)?.unwrap_or_default();
        let up_to = (request.up_to > 0).then_some(ItemId(request.up_to));
        if up_to.is_some_and(|up_to| up_to.0 <= request.after) {
            return Err(Error::invalid("after", "is not before up_to"));
        }
        let queue = self.context.engine.queue(&request.queue)?;
        let until = self.context.engine.clock().now().saturating_add(wait);
        let joined = queue
            .join(|reply| Join {
                after: ItemId(request.after),
                up_to,
                until,
                reply,
            })
            .await?;
        Ok(wire::JoinResponse {
            done: joined.join.done,
            up_to: joined.up_to.0,
            pending: joined.join.pending,
            acked: joined.join.acked,
            dead: joined.join.dead,
            expired: joined.join.expired,
            cancelled: joined.join.cancelled,
        })
    }

    async fn close(&self, request: wire::CloseQueueRequest) -> Result<(), Error> {
        let queue = self.context.engine.queue(&request.queue)?;
        queue
            .act(|view| {
                let mut config = view.queue.config().clone();
                config.closed = true;
                view.queue.set_config(view.now, config, view.events);
            })
            .await
    }
}

fn producer(request: &wire::PublishRequest) -> Result<Option<(Arc<str>, u64)>, Error> {
    if request.first_sequence == 0 {
        if !request.producer_id.is_empty() {
            return Err(Error::invalid(
                "first_sequence",
                "is 0 with a producer_id; sequences are from 1",
            ));
        }
        return Ok(None);
    }
    if request
        .first_sequence
        .checked_add(request.items.len() as u64)
        .is_none()
    {
        return Err(Error::invalid(
            "first_sequence",
            "leaves no room for the batch",
        ));
    }
    required_label("producer_id", &request.producer_id)?;
    Ok(Some((
        request.producer_id.as_str().into(),
        request.first_sequence,
    )))
}

fn lease_bytes(max_bytes: i64) -> Result<u64, Error> {
    let limit = LEASE_BYTES_MAX;
    match u64::try_from(max_bytes) {
        Ok(0) => Ok(limit),
        Ok(bytes) if bytes <= limit => Ok(bytes),
        _ => Err(Error::invalid(
            "max_bytes",
            format!("is {max_bytes}, has to be 0 to {limit}"),
        )),
    }
}

fn publish_response(
    count: u32,
    refused: Vec<(u32, Error)>,
    stored: &Stored,
) -> wire::PublishResponse {
    let mut accepted = stored.runs.iter().flat_map(|run| {
        (0..u64::from(run.count)).map(|offset| wire::PublishResult {
            item_id: run.first.map_or(0, |first| first.0 + offset),
            duplicate: run.duplicate,
            ..wire::PublishResult::default()
        })
    });
    let mut refused = refused.into_iter().peekable();
    let results =
        (0..count).filter_map(
            |index| match refused.next_if(|(refused, _)| *refused == index) {
                Some((_, error)) => Some(wire::PublishResult {
                    error: error.code() as i32,
                    error_message: error.to_string(),
                    ..wire::PublishResult::default()
                }),
                None => accepted.next(),
            },
        );
    wire::PublishResponse {
        results: results.collect(),
        durability: stored.durability.into(),
    }
}

#[tonic::async_trait]
impl QueueService for QueueRpc {
    type PublishStreamStream = Confirms;
    type ConsumeStream = Deliveries;

    async fn publish(
        &self,
        request: Request<wire::PublishRequest>,
    ) -> Result<Response<wire::PublishResponse>, Status> {
        Ok(Response::new(
            Self::publish(self, request.into_inner()).await?,
        ))
    }

    async fn lease(
        &self,
        request: Request<wire::LeaseRequest>,
    ) -> Result<Response<wire::LeaseResponse>, Status> {
        Ok(Response::new(
            Self::lease(self, request.into_inner()).await?,
        ))
    }

    async fn settle(
        &self,
        request: Request<wire::SettleRequest>,
    ) -> Result<Response<wire::SettleResponse>, Status> {
        Ok(Response::new(
            Self::settle(self, request.into_inner()).await?,
        ))
    }

    async fn publish_stream(
        &self,
        request: Request<Streaming<wire::PublishStreamRequest>>,
    ) -> Result<Response<Confirms>, Status> {
        Ok(Response::new(
            publish_stream::open(&self.context, request.into_inner()).await?,
        ))
    }

    async fn consume(
        &self,
        request: Request<Streaming<wire::ConsumeRequest>>,
    ) -> Result<Response<Deliveries>, Status> {
        Ok(Response::new(
            consume::open(&self.context, request.into_inner()).await?,
        ))
    }

    async fn join(
        &self,
        request: Request<wire::JoinRequest>,
    ) -> Result<Response<wire::JoinResponse>, Status> {
        Ok(Response::new(Self::join(self, request.into_inner()).await?))
    }

    async fn close_queue(
        &self,
        request: Request<wire::CloseQueueRequest>,
    ) -> Result<Response<wire::CloseQueueResponse>, Status> {
        let request = request.into_inner();
        let queue = request.queue.clone();
        self.close(request).await?;
        info!(queue, "queue closed");
        Ok(Response::new(wire::CloseQueueResponse {}))
    }
}
