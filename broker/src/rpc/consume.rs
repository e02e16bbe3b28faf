//! One consumer's stream: credit and settles in, deliveries out.
//!
//! A task of its own reads what the client sends and passes it on, taking a place in the client's outbox before anything
//! that will be answered: a client that does not read is not read from either. The response is the outbox, turned into
//! wire messages as the connection takes them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use baton_ledger::party::Party;
use baton_proto::opaque::consume_request::Request as Sent;
use baton_proto::opaque::consume_response::Response as Answer;
use baton_proto::opaque::{self as wire, ConsumeRequest, ConsumeResponse};
use baton_queue::{SessionId, limits};
use futures_util::Stream;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::Context;
use super::convert::{duration, wire_clock, wire_delivery, wire_duration, wire_time};
use super::hello;
use super::settle::{self, lease_duration};
use super::stream_clock::StreamClock;
use crate::engine::{
    Attach, Clock, ConsumeOutput, End, Outbox, OutboxReader, Pong, QueueHandle, Role, Settle,
    SettleReply,
};
use crate::error::Error;

/// How long leases outlive their stream unless the client says otherwise: long enough to reconnect, short enough that a
/// killed consumer's items are soon with another.
const DISCONNECT_GRACE: Duration = Duration::from_secs(5);

/// Opens a stream and starts its reader.
///
/// # Errors
/// What is wrong with its first message, or why the queue cannot be consumed.
pub(super) async fn open(
    context: &Context,
    mut inbound: Streaming<ConsumeRequest>,
) -> Result<Deliveries, Status> {
    let Some(Sent::Start(start)) = hello::first_message(&mut inbound).await?.request else {
        return Err(Error::HelloMissing.into());
    };
    if context.engine.is_draining() {
        return Err(Error::Draining.into());
    }
    let (start, hello) = Start::read(start)?;
    let queue = context.engine.queue_or_create(&start.queue)?;
    let connected = hello::enter(
        &context.engine,
        hello,
        (start.queue.clone(), Role::Consumer),
    );
    let party = Arc::clone(&connected.client().party);
    let (outbox, answers, reader) = queue.outbox();
    let attached = queue.attach(|reply| start.attach(party, outbox, reply));
    let (session, lease_duration) = attached.await?;
    let inbox = Inbox {
        context: context.clone(),
        queue,
        session,
        clock: StreamClock::new(context.engine.clock(), connected),
        answers,
    };
    context.streams.spawn(inbox.run(inbound));
    let started = wire::ConsumeStarted {
        clock: Some(wire_clock()),
        wall_shift_ns: Some(context.engine.clock().wall_shift_ns()),
        lease_duration: Some(wire_duration(lease_duration)),
        tracing: context.engine.is_tracing(),
    };
    Ok(Deliveries {
        clock: context.engine.clock(),
        started: Some(started),
        outbox: Some(reader),
    })
}

struct Start {
    queue: String,
    lease_duration: Option<Duration>,
    grace: Duration,
    until_drained: bool,
    credit: (u64, u64),
}

impl Start {
    fn read(start: wire::ConsumeStart) -> Result<(Self, wire::Hello), Error> {
        let hello = hello::check(start.hello)?;
        let grace = duration(
            "start.disconnect_grace",
            start.disconnect_grace,
            Duration::ZERO..=limits::LEASE_DURATION_MAX,
        )?;
        let start = Self {
            queue: start.queue,
            lease_duration: lease_duration("start.lease_duration", start.lease_duration)?,
            grace: grace.unwrap_or(DISCONNECT_GRACE),
            until_drained: start.until_drained,
            credit: start.credit.map_or(Ok((0, 0)), read_credit)?,
        };
        Ok((start, hello))
    }

    fn attach(
        &self,
        consumer: Arc<Party>,
        outbox: Outbox,
        reply: tokio::sync::oneshot::Sender<Result<(SessionId, Duration), Error>>,
    ) -> Attach {
        Attach {
            consumer,
            lease_duration: self.lease_duration,
            grace: self.grace,
            until_drained: self.until_drained,
            items: self.credit.0,
            bytes: self.credit.1,
            outbox,
            reply,
        }
    }
}

fn read_credit(credit: wire::Credit) -> Result<(u64, u64), Error> {
    let items = u64::try_from(credit.items);
    let bytes = u64::try_from(credit.bytes);
    let (Ok(items), Ok(bytes)) = (items, bytes) else {
        let fault = format!(
            "{} items and {} bytes; credit is only ever added",
            credit.items, credit.bytes
        );
        return Err(Error::Credit(fault));
    };
    Ok((items, bytes))
}

/// The reading half.
struct Inbox {
    context: Context,
    queue: QueueHandle,
    session: SessionId,
    clock: StreamClock,
    answers: mpsc::Sender<ConsumeOutput>,
}

impl Inbox {
    async fn run(mut self, mut inbound: Streaming<ConsumeRequest>) {
        let mut draining = false;
        loop {
            let message = tokio::select! {
                message = inbound.message() => message,
                () = self.answers.closed() => break,
                gone = self.queue.gone() => {
                    drop(self.answers.send(ConsumeOutput::End(Err(gone))).await);
                    break;
                }
                () = self.context.draining.cancelled(), if !draining => {
                    draining = true;
                    drop(self.answers.send(ConsumeOutput::Draining).await);
                    drop(self.queue.drain(self.session, End::Draining).await);
                    continue;
                }
            };
            let end = match message {
                Ok(Some(message)) => match self.handle(message).await {
                    Ok(()) => continue,
                    Err(error) => Err(error),
                },
                Ok(None) => Ok(End::Asked),
                Err(status) => Err(Error::Unreadable(status.message().into())),
            };
            drop(self.answers.send(ConsumeOutput::End(end)).await);
            break;
        }
        drop(self.queue.detach(self.session).await);
    }

    async fn handle(&mut self, message: ConsumeRequest) -> Result<(), Error> {
        let received_ns = self.context.engine.clock().monotonic_ns();
        self.clock
            .received(message.sent_ns, message.down_leg_ns, received_ns);
        match message.request {
            Some(Sent::Credit(credit)) => self.credit(credit).await,
            Some(Sent::Settle(batch)) => self.settle(batch, received_ns).await,
            Some(Sent::Ping(ping)) => {
                let pong = Pong {
                    nonce: ping.nonce,
                    ping_sent_ns: message.sent_ns,
                    ping_received_ns: received_ns,
                };
                drop(self.answers.send(ConsumeOutput::Pong(pong)).await);
                Ok(())
            }
            Some(Sent::Drain(wire::Drain {})) => self.queue.drain(self.session, End::Asked).await,
            Some(Sent::Start(_)) => Err(Error::invalid(
                "start",
                "was sent twice; it is the first message only",
            )),
            None => Err(Error::invalid(
                "request",
                "is missing, or newer than this broker",
            )),
        }
    }

    async fn credit(&self, credit: wire::Credit) -> Result<(), Error> {
        let (items, bytes) = read_credit(credit)?;
        if (items, bytes) == (0, 0) {
            return Err(Error::Credit(
                "0 items and 0 bytes; a credit message adds some".into(),
            ));
        }
        self.queue.credit(self.session, items, bytes).await
    }

    async fn settle(&self, batch: wire::SettleBatch, received_ns: u64) -> Result<(), Error> {
        let deliveries = settle::deliveries(batch.deliveries)?;
        let leases = settle::leases(self.queue.epoch(), batch.leases)?;
        let Ok(place) = self.answers.clone().reserve_owned().await else {
            // Nobody reads any more: the loop ends.
            return Ok(());
        };
        let reply = SettleReply::Stream(place, batch.settle_id);
        self.queue
            .settle_streamed(Settle {
                session: self.session,
                deliveries,
                leases,
                received: self.context.engine.clock().at(received_ns),
                clock: self.clock.shift(),
                reply,
            })
            .await
    }
}

/// The response: what the outbox holds, as wire messages.
#[derive(Debug)]
pub(super) struct Deliveries {
    clock: Clock,
    started: Option<wire::ConsumeStarted>,
    /// None once the stream has ended.
    outbox: Option<OutboxReader>,
}

impl Deliveries {
    fn message(&self, answer: Answer) -> Poll<Option<Result<ConsumeResponse, Status>>> {
        let sent_ns = self.clock.monotonic_ns();
        Poll::Ready(Some(Ok(ConsumeResponse {
            sent_ns,
            response: Some(answer),
        })))
    }

    fn end(&mut self, end: Result<End, Error>) -> Poll<Option<Result<ConsumeResponse, Status>>> {
        self.outbox = None;
        match end {
            Ok(End::Asked) => Poll::Ready(None),
            Ok(End::Drained) => {
                self.message(notice(wire::NoticeKind::Drained, "the queue has drained"))
            }
            Ok(End::Draining) => Poll::Ready(Some(Err(Error::Draining.into()))),
            Err(error) => Poll::Ready(Some(Err(error.into()))),
        }
    }
}

impl Stream for Deliveries {
    type Item = Result<ConsumeResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if let Some(started) = this.started.take() {
            return this.message(Answer::Started(started));
        }
        let Some(outbox) = &mut this.outbox else {
            return Poll::Ready(None);
        };
        match ready!(Pin::new(outbox).poll_next(cx)) {
            Some(ConsumeOutput::Deliveries(batch)) => {
                let deliveries = batch.into_iter().map(|delivered| {
                    let id = delivered.seq;
                    wire_delivery(delivered, id)
                });
                this.message(Answer::Deliveries(wire::DeliveryBatch {
                    deliveries: deliveries.collect(),
                }))
            }
            Some(ConsumeOutput::Settled(id, outcome)) => {
                this.message(Answer::Settled(settle::wire_settled(id, outcome)))
            }
            Some(ConsumeOutput::Pong(pong)) => {
                let pong = wire_pong(pong, this.clock);
                this.message(Answer::Pong(pong))
            }
            Some(ConsumeOutput::Paused(true)) => {
                this.message(notice(wire::NoticeKind::Paused, "the queue is paused"))
            }
            Some(ConsumeOutput::Paused(false)) => {
                this.message(notice(wire::NoticeKind::Resumed, "the queue goes on"))
            }
            Some(ConsumeOutput::Draining) => this.message(notice(
                wire::NoticeKind::Draining,
                "the broker shuts down; settle what is in hand",
            )),
            Some(ConsumeOutput::End(end)) => this.end(end),
            // The actor stopped without a word: its commits failed, or the broker's grace is over.
            None => this.end(Err(Error::OutcomeUnknown)),
        }
    }
}

fn notice(kind: wire::NoticeKind, message: &str) -> Answer {
    Answer::Notice(wire::Notice {
        kind: kind.into(),
        message: message.into(),
    })
}

pub(super) fn wire_pong(pong: Pong, clock: Clock) -> wire::Pong {
    wire::Pong {
        nonce: pong.nonce,
        ping_sent_ns: pong.ping_sent_ns,
        ping_received_ns: pong.ping_received_ns,
        broker_time: Some(wire_time(clock.now())),
    }
}
