//! The server of the bare stream: a batch that comes in is confirmed and handed to the next consumer's stream. There is no
//! queue (it stops reading where a consumer does not), no disk, no lease, no account of time; only the wire contract's
//! messages, in the sizes that a broker would send.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Result;
use baton_proto::opaque::consume_request::Request as Consuming;
use baton_proto::opaque::consume_response::Response as Consumed;
use baton_proto::opaque::publish_stream_request::Request as Publishing;
use baton_proto::opaque::publish_stream_response::Response as Published;
use baton_proto::opaque::queue_service_server::{QueueService, QueueServiceServer};
use baton_proto::opaque::{
    CloseQueueRequest, CloseQueueResponse, ConsumeRequest, ConsumeResponse, Delivery,
    DeliveryBatch, JoinRequest, JoinResponse, LeaseRequest, LeaseResponse, PublishBatch,
    PublishConfirm, PublishConfirms, PublishRequest, PublishResponse, PublishStreamRequest,
    PublishStreamResponse, SettleBatch, SettleRequest, SettleResponse, Settled, SettledRange,
};
use baton_proto::v1::SettleOutcome;
use bytes::Bytes;
use tokio::sync::{Mutex, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

use super::wire::{self, MAX_MESSAGE_BYTES, MESSAGES};

/// As long as a broker's.
const LEASE: Bytes = Bytes::from_static(&[7; 20]);

pub(crate) async fn serve(listen: SocketAddr) -> Result<()> {
    let service = QueueServiceServer::new(Floor::default())
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    Ok(wire::server().add_service(service).serve(listen).await?)
}

#[derive(Debug, Default)]
struct Floor {
    relay: Arc<Relay>,
    tasks: TaskTracker,
}

/// What connects producers with consumers.
#[derive(Debug, Default)]
struct Relay {
    consumers: RwLock<Vec<Arc<Outlet>>>,
    turn: AtomicUsize,
    published: AtomicU64,
    acked: AtomicU64,
}

/// A consumer's stream.
#[derive(Debug)]
struct Outlet {
    responses: mpsc::Sender<Result<ConsumeResponse, Status>>,
    /// Ids ascend in the order of sending, so both are done at a time.
    last_id: Mutex<u64>,
}

impl Relay {
    /// Hands items to the next consumer.
    async fn pass_on(&self, items: Vec<Bytes>) -> Result<(), Status> {
        let outlet = {
            let consumers = self.consumers.read();
            let consumers = consumers.unwrap_or_else(PoisonError::into_inner);
            let turn = self.turn.fetch_add(1, Relaxed);
            let next = turn.checked_rem(consumers.len());
            next.and_then(|next| consumers.get(next).cloned())
        };
        let outlet = outlet.ok_or_else(|| Status::failed_precondition("no consumer"))?;
        self.published.fetch_add(items.len() as u64, Relaxed);
        let mut last_id = outlet.last_id.lock().await;
        let deliveries = items.into_iter().map(|item| {
            *last_id += 1;
            Delivery {
                delivery_id: *last_id,
                item_id: *last_id,
                attempt: 1,
                lease: LEASE,
                queue_wait_ns: 1_000_000,
                age_ns: 1_000_000,
                item,
                ..Delivery::default()
            }
        });
        let deliveries = deliveries.collect();
        let batch = Consumed::Deliveries(DeliveryBatch { deliveries });
        let sent = outlet.responses.send(Ok(consumed(batch))).await;
        sent.map_err(|_| Status::unavailable("the consumer has gone"))
    }

    fn settle(&self, batch: &SettleBatch) -> Settled {
        let ok = i32::from(SettleOutcome::Ok);
        let ranges = batch.deliveries.iter().map(|range| {
            self.acked.fetch_add(range.last + 1 - range.first, Relaxed);
            SettledRange {
                first: range.first,
                last: range.last,
                outcome: ok,
            }
        });
        Settled {
            settle_id: batch.settle_id,
            deliveries: ranges.collect(),
            ..Settled::default()
        }
    }
}

fn consumed(response: Consumed) -> ConsumeResponse {
    ConsumeResponse {
        response: Some(response),
        ..ConsumeResponse::default()
    }
}

fn confirmed(first_sequence: u64, count: u32) -> PublishStreamResponse {
    let confirm = PublishConfirm {
        first_sequence,
        count,
        first_item_id: first_sequence,
        ..PublishConfirm::default()
    };
    PublishStreamResponse {
        response: Some(Published::Confirms(PublishConfirms {
            confirms: vec![confirm],
            ..PublishConfirms::default()
        })),
        ..PublishStreamResponse::default()
    }
}

async fn publishing(
    relay: Arc<Relay>,
    mut requests: Streaming<PublishStreamRequest>,
    responses: mpsc::Sender<Result<PublishStreamResponse, Status>>,
) {
    while let Ok(Some(request)) = requests.message().await {
        let Some(Publishing::Batch(batch)) = request.request else {
            continue;
        };
        let PublishBatch {
            first_sequence,
            items,
        } = batch;
        let count = u32::try_from(items.len()).unwrap_or(u32::MAX);
        let passed = relay.pass_on(items).await;
        let failed = passed.is_err();
        let response = passed.map(|()| confirmed(first_sequence, count));
        if responses.send(response).await.is_err() || failed {
            return;
        }
    }
}

async fn settling(relay: Arc<Relay>, mut requests: Streaming<ConsumeRequest>, outlet: Arc<Outlet>) {
    while let Ok(Some(request)) = requests.message().await {
        if let Some(Consuming::Settle(batch)) = request.request {
            let settled = consumed(Consumed::Settled(relay.settle(&batch)));
            if outlet.responses.send(Ok(settled)).await.is_err() {
                break;
            }
        }
    }
    let mut consumers = relay
        .consumers
        .write()
        .unwrap_or_else(PoisonError::into_inner);
    consumers.retain(|other| !Arc::ptr_eq(other, &outlet));
}

#[tonic::async_trait]
impl QueueService for Floor {
    type PublishStreamStream = ReceiverStream<Result<PublishStreamResponse, Status>>;
    type ConsumeStream = ReceiverStream<Result<ConsumeResponse, Status>>;

    async fn publish_stream(
        &self,
        request: Request<Streaming<PublishStreamRequest>>,
    ) -> Result<Response<Self::PublishStreamStream>, Status> {
        let (responses, outgoing) = mpsc::channel(MESSAGES);
        let task = publishing(self.relay.clone(), request.into_inner(), responses);
        self.tasks.spawn(task);
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }

    async fn consume(
        &self,
        request: Request<Streaming<ConsumeRequest>>,
    ) -> Result<Response<Self::ConsumeStream>, Status> {
        let (responses, outgoing) = mpsc::channel(MESSAGES);
        let outlet = Arc::new(Outlet {
            responses,
            last_id: Mutex::new(0),
        });
        let consumers = self.relay.consumers.write();
        let mut consumers = consumers.unwrap_or_else(PoisonError::into_inner);
        consumers.push(outlet.clone());
        drop(consumers);
        let task = settling(self.relay.clone(), request.into_inner(), outlet);
        self.tasks.spawn(task);
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }

    /// How much is under way.
    async fn join(&self, _: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        let acked = self.relay.acked.load(Relaxed);
        let pending = self.relay.published.load(Relaxed).saturating_sub(acked);
        Ok(Response::new(JoinResponse {
            done: pending == 0,
            pending,
            acked,
            ..JoinResponse::default()
        }))
    }

    async fn publish(
        &self,
        _: Request<PublishRequest>,
    ) -> Result<Response<PublishResponse>, Status> {
        Err(Status::unimplemented("streams only"))
    }

    async fn lease(&self, _: Request<LeaseRequest>) -> Result<Response<LeaseResponse>, Status> {
        Err(Status::unimplemented("streams only"))
    }

    async fn settle(&self, _: Request<SettleRequest>) -> Result<Response<SettleResponse>, Status> {
        Err(Status::unimplemented("streams only"))
    }

    async fn close_queue(
        &self,
        _: Request<CloseQueueRequest>,
    ) -> Result<Response<CloseQueueResponse>, Status> {
        Err(Status::unimplemented("streams only"))
    }
}
