//! The bare stream: the wire contract's messages over tonic, without a client library and without a broker behind them.
//!
//! Publish: a message is what queued up while two others were under way.
//! Receive: a message of deliveries at a time.
//! Ack: one range for each of them, with the stamps of every item, as Baton's client sends them.
//! A confirm means that the other process has read the item, and nothing else.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use baton_proto::opaque::consume_request::Request as Consuming;
use baton_proto::opaque::consume_response::Response as Consumed;
use baton_proto::opaque::delivery_settle::Action;
use baton_proto::opaque::publish_stream_request::Request as Publishing;
use baton_proto::opaque::publish_stream_response::Response as Published;
use baton_proto::opaque::queue_service_client::QueueServiceClient;
use baton_proto::opaque::{
    Ack, ConsumeRequest, ConsumeResponse, DeliverySettle, HandlerStamps, JoinRequest, PublishBatch,
    PublishStreamRequest, PublishStreamResponse, SettleBatch,
};
use baton_proto::v1::Item;
use bytes::Bytes;
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use super::window::Places;
use crate::driver::{Consumer, Driver, OnConfirm, Producer};
use crate::floor::wire::{self, MESSAGES};

/// As large a batch as a broker takes.
const BATCH_ITEMS: usize = 1000;
/// A stamp of a clock that has run for some hours: as many bytes on the wire as a real one.
const STAMP_NS: u64 = 20_000_000_000_000;

#[derive(Debug)]
pub(crate) struct Floor {
    url: String,
    control: QueueServiceClient<Channel>,
}

impl Driver for Floor {
    type Producer = FloorProducer;
    type Consumer = FloorConsumer;

    async fn connect(url: &str) -> Result<Self> {
        Ok(Self {
            url: url.into(),
            control: wire::connect(url).await?,
        })
    }

    async fn version(&self) -> Result<String> {
        Ok("tonic, both ends".into())
    }

    async fn reset(&self) -> Result<()> {
        Ok(())
    }

    async fn producer(
        &self,
        window: usize,
        on_confirm: Option<OnConfirm>,
    ) -> Result<FloorProducer> {
        let mut client = wire::connect(&self.url).await?;
        let (requests, outgoing) = mpsc::channel(MESSAGES);
        let responses = client.publish_stream(ReceiverStream::new(outgoing)).await?;
        // As many as have a place, so that there is always room.
        let (queue, items) = mpsc::channel(window);
        let places = Places::new(window);
        let stream = PublishStream {
            requests,
            responses: responses.into_inner(),
            items,
            on_confirm,
        };
        let failing = places.clone();
        let mut task = JoinSet::new();
        task.spawn(async move {
            if let Err(error) = stream.run().await {
                failing.fail(error);
            }
        });
        Ok(FloorProducer {
            places,
            queue,
            _task: task,
        })
    }

    async fn consumer(&self, _prefetch: usize) -> Result<FloorConsumer> {
        let mut client = wire::connect(&self.url).await?;
        let (requests, outgoing) = mpsc::channel(MESSAGES);
        let responses = client.consume(ReceiverStream::new(outgoing)).await?;
        Ok(FloorConsumer {
            requests,
            responses: responses.into_inner(),
            unacked: None,
            settles: 0,
        })
    }

    async fn depth(&self) -> Result<u64> {
        let join = self.control.clone().join(JoinRequest::default()).await?;
        Ok(join.into_inner().pending)
    }
}

type Queued = (u64, Bytes, OwnedSemaphorePermit);

struct PublishStream {
    requests: mpsc::Sender<PublishStreamRequest>,
    responses: Streaming<PublishStreamResponse>,
    items: mpsc::Receiver<Queued>,
    on_confirm: Option<OnConfirm>,
}

impl PublishStream {
    async fn run(mut self) -> Result<()> {
        let mut batch: Vec<Queued> = Vec::with_capacity(BATCH_ITEMS);
        let mut sent = std::collections::VecDeque::new();
        let mut next_sequence = 1;
        loop {
            tokio::select! {
                n = self.items.recv_many(&mut batch, BATCH_ITEMS), if sent.len() < MESSAGES => {
                    if n == 0 {
                        return Ok(());
                    }
                    self.requests.send(request(next_sequence, &batch)).await?;
                    next_sequence += n as u64;
                    sent.push_back(batch.drain(..).map(|(id, _, place)| (id, place)).collect::<Vec<_>>());
                }
                response = self.responses.message(), if !sent.is_empty() => {
                    let response = response?.context("the server ended the stream")?;
                    let Some(Published::Confirms(_)) = response.response else {
                        bail!("no confirm");
                    };
                    for (id, place) in sent.pop_front().unwrap_or_default() {
                        self.on_confirm.iter().for_each(|on_confirm| on_confirm.call(id));
                        drop(place);
                    }
                }
            }
        }
    }
}

fn request(first_sequence: u64, batch: &[Queued]) -> PublishStreamRequest {
    let items = batch.iter().map(|(_, item, _)| item.clone()).collect();
    PublishStreamRequest {
        sent_ns: STAMP_NS,
        request: Some(Publishing::Batch(PublishBatch {
            first_sequence,
            items,
        })),
        ..PublishStreamRequest::default()
    }
}

#[derive(Debug)]
pub(crate) struct FloorProducer {
    places: Places,
    queue: mpsc::Sender<Queued>,
    _task: JoinSet<()>,
}

impl Producer for FloorProducer {
    async fn publish(&mut self, id: u64, payload: Bytes) -> Result<()> {
        let place = self.places.take().await?;
        let item = Item {
            payload,
            created_ns: STAMP_NS,
            ..Item::default()
        };
        let _ = self
            .queue
            .try_send((id, item.encode_to_vec().into(), place)); // a failed window says so at `take`
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        self.places.all_free().await
    }
}

#[derive(Debug)]
pub(crate) struct FloorConsumer {
    requests: mpsc::Sender<ConsumeRequest>,
    responses: Streaming<ConsumeResponse>,
    /// First and last id of the deliveries in hand.
    unacked: Option<(u64, u64)>,
    settles: u64,
}

impl Consumer for FloorConsumer {
    async fn receive(&mut self, wait: Duration, out: &mut Vec<Bytes>) -> Result<()> {
        self.unacked = None;
        let deliveries = async {
            loop {
                let response = self.responses.message().await?;
                let response = response.context("the server ended the stream")?;
                if let Some(Consumed::Deliveries(batch)) = response.response {
                    return anyhow::Ok(batch.deliveries);
                }
            }
        };
        let Ok(deliveries) = tokio::time::timeout(wait, deliveries).await else {
            return Ok(());
        };
        for delivery in deliveries? {
            out.push(Item::decode(delivery.item)?.payload);
            let (first, _) = self.unacked.unwrap_or((delivery.delivery_id, 0));
            self.unacked = Some((first, delivery.delivery_id));
        }
        Ok(())
    }

    async fn ack(&mut self) -> Result<()> {
        let Some((first, last)) = self.unacked.take() else {
            return Ok(());
        };
        let stamp = HandlerStamps {
            received_ns: STAMP_NS,
            started_ns: STAMP_NS,
            ended_ns: STAMP_NS,
        };
        let stamps = (first..=last).map(|_| stamp).collect();
        self.settles += 1;
        let settle = Consuming::Settle(SettleBatch {
            settle_id: self.settles,
            deliveries: vec![DeliverySettle {
                first,
                last,
                stamps,
                action: Some(Action::Ack(Ack {})),
            }],
            ..SettleBatch::default()
        });
        let request = ConsumeRequest {
            sent_ns: STAMP_NS,
            request: Some(settle),
            ..ConsumeRequest::default()
        };
        Ok(self.requests.send(request).await?)
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}
