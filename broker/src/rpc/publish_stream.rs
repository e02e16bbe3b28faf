//! One publisher's stream: batches in, confirms out.
//!
//! A task of its own reads batches and passes them on, each with a place for its confirm and a share of the stream's
//! window of bytes, both held until the confirm is on its way. While the queue is full, batches wait in the actor, the
//! window fills, and the broker stops reading: HTTP/2 tells the client.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use baton_ledger::party::Party;
use baton_proto::opaque::publish_stream_request::Request as Sent;
use baton_proto::opaque::publish_stream_response::Response as Answer;
use baton_proto::opaque::{self as wire, PublishStreamRequest, PublishStreamResponse};
use futures_util::Stream;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tonic::{Status, Streaming};

use super::Context;
use super::batch::Batch;
use super::confirms::confirms;
use super::consume::wire_pong;
use super::convert::{required_label, wire_clock};
use super::hello;
use super::stream_clock::StreamClock;
use crate::engine::{
    Clock, Pong, Publish, PublishOutput, PublishReply, QueueHandle, Role, Sending, StreamBatch,
};
use crate::error::Error;
use crate::limits::{
    BATCH_BYTES_MAX, BATCH_ITEMS_MAX, PUBLISH_BATCHES_IN_FLIGHT, PUBLISH_BYTES_IN_FLIGHT,
};

/// Confirms that are put into one message.
const CONFIRMS_PER_MESSAGE: usize = PUBLISH_BATCHES_IN_FLIGHT;

/// Opens a stream and starts its reader.
///
/// # Errors
/// What is wrong with its first message, or why the queue cannot be published to.
pub(super) async fn open(
    context: &Context,
    mut inbound: Streaming<PublishStreamRequest>,
) -> Result<Confirms, Status> {
    let Some(Sent::Start(start)) = hello::first_message(&mut inbound).await?.request else {
        return Err(Error::HelloMissing.into());
    };
    if context.engine.is_draining() {
        return Err(Error::Draining.into());
    }
    let hello = hello::check(start.hello)?;
    required_label("start.producer_id", &start.producer_id)?;
    let queue = context.engine.queue_or_create(&start.queue)?;
    let connected = hello::enter(&context.engine, hello, (start.queue, Role::Producer));
    let (confirms, outputs) = mpsc::channel(PUBLISH_BATCHES_IN_FLIGHT);
    let (end, ended) = oneshot::channel();
    let inbox = Inbox {
        context: context.clone(),
        queue,
        producer_id: start.producer_id.into(),
        window: Arc::new(Semaphore::new(PUBLISH_BYTES_IN_FLIGHT)),
        producer: Arc::clone(&connected.client().party),
        clock: StreamClock::new(context.engine.clock(), connected),
        confirms,
    };
    context.streams.spawn(inbox.run(inbound, end));
    let started = wire::PublishStarted {
        clock: Some(wire_clock()),
        wall_shift_ns: Some(context.engine.clock().wall_shift_ns()),
        max_payload_bytes: context.payload_bytes_max as u64,
        max_batch_items: u32::try_from(BATCH_ITEMS_MAX).unwrap_or(u32::MAX),
        max_batch_bytes: BATCH_BYTES_MAX as u64,
        tracing: context.engine.is_tracing(),
    };
    let clock = context.engine.clock();
    let first = VecDeque::from([Answer::Started(started)]);
    Ok(Confirms {
        clock,
        ready: first,
        outputs,
        taken: Vec::new(),
        ended: Some(ended),
    })
}

/// The reading half.
struct Inbox {
    context: Context,
    queue: QueueHandle,
    producer_id: Arc<str>,
    window: Arc<Semaphore>,
    producer: Arc<Party>,
    clock: StreamClock,
    confirms: mpsc::Sender<PublishOutput>,
}

impl Inbox {
    async fn run(
        mut self,
        mut inbound: Streaming<PublishStreamRequest>,
        end: oneshot::Sender<Error>,
    ) {
        let counted = match self.queue.open_producer().await {
            Ok(counted) => counted,
            Err(error) => return drop(end.send(error)),
        };
        if let Err(error) = self.read(&mut inbound).await {
            drop(end.send(error));
        }
        self.all_confirmed().await;
        counted.close().await;
    }

    async fn read(&mut self, inbound: &mut Streaming<PublishStreamRequest>) -> Result<(), Error> {
        loop {
            let message = tokio::select! {
                message = inbound.message() => message,
                () = self.confirms.closed() => return Ok(()),
                gone = self.queue.gone() => return Err(gone),
                () = self.context.draining.cancelled() => return Err(Error::Draining),
            };
            let message = match message {
                Ok(Some(message)) => message,
                Ok(None) => return Ok(()),
                Err(status) => return Err(Error::Unreadable(status.message().into())),
            };
            let received_ns = self.context.engine.clock().monotonic_ns();
            self.clock
                .received(message.sent_ns, message.down_leg_ns, received_ns);
            match message.request {
                Some(Sent::Batch(batch)) => self.publish(batch, received_ns).await?,
                Some(Sent::Ping(ping)) => {
                    let pong = Pong {
                        nonce: ping.nonce,
                        ping_sent_ns: message.sent_ns,
                        ping_received_ns: received_ns,
                    };
                    drop(self.confirms.send(PublishOutput::Pong(pong)).await);
                }
                Some(Sent::Start(_)) => {
                    return Err(Error::invalid(
                        "start",
                        "was sent twice; it is the first message only",
                    ));
                }
                None => {
                    return Err(Error::invalid(
                        "request",
                        "is missing, or newer than this broker",
                    ));
                }
            }
        }
    }

    async fn publish(&self, sent: wire::PublishBatch, received_ns: u64) -> Result<(), Error> {
        if sent.first_sequence == 0 {
            return Err(Error::invalid(
                "batch.first_sequence",
                "is 0; sequences are from 1",
            ));
        }
        if sent
            .first_sequence
            .checked_add(sent.items.len() as u64)
            .is_none()
        {
            return Err(Error::invalid(
                "batch.first_sequence",
                "leaves no room for the batch",
            ));
        }
        let now = self.context.engine.clock().now();
        let batch = Batch::read(sent.items, self.context.payload_bytes_max, now)?;
        let share =
            u32::try_from(batch.bytes.clamp(1, PUBLISH_BYTES_IN_FLIGHT)).unwrap_or(u32::MAX);
        let Ok(window) = self.window.clone().acquire_many_owned(share).await else {
            return Ok(());
        };
        let Ok(permit) = self.confirms.clone().reserve_owned().await else {
            return Ok(());
        };
        let sending = Sending {
            received: self.context.engine.clock().at(received_ns),
            created: batch.created,
            clock: self.clock.shift(),
            producer: Some(Arc::clone(&self.producer)),
        };
        let stream_batch = StreamBatch {
            first_sequence: sent.first_sequence,
            count: batch.count,
            refused: batch.refused,
            received_ns,
            window,
        };
        let reply = PublishReply::Stream {
            outbox: self.confirms.clone(),
            permit,
            batch: Arc::new(stream_batch),
        };
        let producer = Some((self.producer_id.clone(), sent.first_sequence));
        self.queue
            .publish_streamed(Publish {
                producer,
                items: batch.items,
                bodies: batch.bodies,
                sending,
                reply,
            })
            .await
    }

    /// Waits until every batch that went in was answered, or nobody reads the answers.
    async fn all_confirmed(&self) {
        tokio::select! {
            _ = self.confirms.reserve_many(PUBLISH_BATCHES_IN_FLIGHT) => {}
            () = self.confirms.closed() => {}
        }
    }
}

/// The response: confirms as wire messages, as many in one as are ready.
#[derive(Debug)]
pub(super) struct Confirms {
    clock: Clock,
    ready: VecDeque<Answer>,
    outputs: mpsc::Receiver<PublishOutput>,
    taken: Vec<PublishOutput>,
    /// Why the reader ended; none once it was told.
    ended: Option<oneshot::Receiver<Error>>,
}

impl Stream for Confirms {
    type Item = Result<PublishStreamResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(answer) = this.ready.pop_front() {
                let sent_ns = this.clock.monotonic_ns();
                return Poll::Ready(Some(Ok(PublishStreamResponse {
                    sent_ns,
                    response: Some(answer),
                })));
            }
            if ready!(
                this.outputs
                    .poll_recv_many(cx, &mut this.taken, CONFIRMS_PER_MESSAGE)
            ) == 0
            {
                let error = this
                    .ended
                    .take()
                    .and_then(|mut ended| ended.try_recv().ok());
                return Poll::Ready(error.map(|error| Err(error.into())));
            }
            for output in this.taken.drain(..) {
                answer(&mut this.ready, output, this.clock);
            }
        }
    }
}

fn answer(ready: &mut VecDeque<Answer>, output: PublishOutput, clock: Clock) {
    match output {
        PublishOutput::Confirm(piece) => {
            let durability = piece.durability.into();
            if let Some(Answer::Confirms(last)) = ready.back_mut()
                && last.durability == durability
            {
                confirms(&piece, &mut last.confirms);
                return;
            }
            let mut first = Vec::new();
            confirms(&piece, &mut first);
            ready.push_back(Answer::Confirms(wire::PublishConfirms {
                confirms: first,
                durability,
            }));
        }
        PublishOutput::Full => ready.push_back(Answer::Notice(wire::Notice {
            kind: wire::NoticeKind::Full.into(),
            message: "the queue is full; batches wait for room".into(),
        })),
        PublishOutput::Pong(pong) => ready.push_back(Answer::Pong(wire_pong(pong, clock))),
    }
}
