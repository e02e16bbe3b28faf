//! The cheap handle to one queue: what the rpc layer calls. Each method is one message to the actor and its answer.
//!
//! Cancel-safe throughout: a caller that goes away before its message was taken has done nothing; after, the request runs
//! to its end and the answer is dropped.

use std::sync::Arc;
use std::time::Duration;

use baton_queue::SessionId;
use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::timeout;

use super::Outbox;
use super::last_active::LastActive;
use super::outbox::{self, OutboxReader};
use super::request::{
    Act, Attach, ConsumeOutput, End, Join, Joined, Lease, Request, Settle, Settlement, Stored,
};
use super::request::{Delivered, Publish, PublishReply, SettleReply, View};
use super::shared::Shared;
use super::storage::BodyReader;
use super::token::Epoch;
use crate::error::Error;

/// How long a unary call waits for a place in the mailbox: a queue that is busy for longer is overloaded.
const MAILBOX_WAIT: Duration = Duration::from_secs(5);

/// A queue.
#[derive(Debug, Clone)]
pub struct QueueHandle {
    name: Arc<str>,
    epoch: Epoch,
    mailbox: mpsc::Sender<Request>,
    wake: Arc<Notify>,
    shared: Arc<Shared>,
    active: Arc<LastActive>,
    /// Of bodies that are on disk; none: all are in memory.
    reader: Option<BodyReader>,
}

impl QueueHandle {
    pub(super) fn new(
        name: Arc<str>,
        epoch: Epoch,
        (mailbox, wake): (mpsc::Sender<Request>, Arc<Notify>),
        (shared, active): (Arc<Shared>, Arc<LastActive>),
        reader: Option<BodyReader>,
    ) -> Self {
        Self {
            name,
            epoch,
            mailbox,
            wake,
            shared,
            active,
            reader,
        }
    }

    /// When its ledger was told something last.
    pub(crate) fn last_active(&self) -> &Arc<LastActive> {
        &self.active
    }

    /// What marks this queue's lease tokens.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Stores a unary batch, all or nothing.
    ///
    /// # Errors
    /// What the queue refuses it for.
    pub async fn publish(
        &self,
        publish: impl FnOnce(PublishReply) -> Publish,
    ) -> Result<Stored, Error> {
        self.ask(|reply| Request::Publish(publish(PublishReply::Once(reply))))
            .await
    }

    /// Passes a stream's batch on; its answer goes to the stream's outbox. Waits as long as the mailbox is full.
    ///
    /// # Errors
    /// The queue is gone.
    pub async fn publish_streamed(&self, publish: Publish) -> Result<(), Error> {
        self.tell(Request::Publish(publish)).await
    }

    /// Counts a publisher's stream in, until it is closed.
    ///
    /// # Errors
    /// The queue is gone, or has too many.
    pub async fn open_producer(&self) -> Result<ProducerGuard, Error> {
        self.ask(|reply| Request::ProducerOpened { reply }).await?;
        Ok(ProducerGuard {
            queue: self.clone(),
        })
    }

    /// An outbox for a consumer of this queue.
    #[must_use]
    pub fn outbox(&self) -> (Outbox, mpsc::Sender<ConsumeOutput>, OutboxReader) {
        outbox::outbox(self.wake.clone())
    }

    /// Attaches a consumer's stream.
    ///
    /// # Errors
    /// Too many of them, too much credit, or the broker drains.
    pub async fn attach(
        &self,
        attach: impl FnOnce(oneshot::Sender<Result<(SessionId, Duration), Error>>) -> Attach,
    ) -> Result<(SessionId, Duration), Error> {
        self.ask(|reply| Request::Attach(attach(reply))).await
    }

    /// Gives a consumer credit.
    ///
    /// # Errors
    /// The queue is gone.
    pub async fn credit(&self, session: SessionId, items: u64, bytes: u64) -> Result<(), Error> {
        self.tell(Request::Credit {
            session,
            items,
            bytes,
        })
        .await
    }

    /// Passes a stream's settles on; their answer goes to its outbox.
    ///
    /// # Errors
    /// The queue is gone.
    pub async fn settle_streamed(&self, settle: Settle) -> Result<(), Error> {
        self.tell(Request::Settle(settle)).await
    }

    /// Settles leases.
    ///
    /// # Errors
    /// The outcome may be unknown; see [`Error::OutcomeUnknown`].
    pub async fn settle(
        &self,
        settle: impl FnOnce(SettleReply) -> Settle,
    ) -> Result<Settlement, Error> {
        self.ask(|reply| Request::Settle(settle(SettleReply::Once(reply))))
            .await
    }

    /// Gives a consumer no more items; its stream ends when its leases have.
    ///
    /// # Errors
    /// The queue is gone.
    pub async fn drain(&self, session: SessionId, end: End) -> Result<(), Error> {
        self.tell(Request::Drain { session, end }).await
    }

    /// Forgets a consumer.
    ///
    /// # Errors
    /// The queue is gone.
    pub async fn detach(&self, session: SessionId) -> Result<(), Error> {
        self.tell(Request::Detach { session }).await
    }

    /// Leases items for a unary caller.
    ///
    /// # Errors
    /// Too many callers wait, or the broker drains.
    pub async fn lease(
        &self,
        lease: impl FnOnce(oneshot::Sender<Result<Vec<Delivered>, Error>>) -> Lease,
    ) -> Result<Vec<Delivered>, Error> {
        self.ask(|reply| Request::Lease(lease(reply))).await
    }

    /// Waits until items are settled.
    ///
    /// # Errors
    /// Too many callers wait.
    pub async fn join(
        &self,
        join: impl FnOnce(oneshot::Sender<Result<Joined, Error>>) -> Join,
    ) -> Result<Joined, Error> {
        self.ask(|reply| Request::Join(join(reply))).await
    }

    /// Does something on the queue in its own turn, and returns once what it changed is durable.
    ///
    /// # Errors
    /// The queue is gone, or its commit failed.
    pub async fn act<R: Send + 'static>(
        &self,
        act: impl FnOnce(&mut View<'_>) -> R + Send + 'static,
    ) -> Result<R, Error> {
        self.ask(|reply| {
            Request::Act(Act(Box::new(|view| match view {
                Ok(view) => {
                    let result = act(view);
                    Some(Box::new(|durable| {
                        drop(reply.send(durable.map(|()| result)))
                    }))
                }
                Err(refusal) => {
                    drop(reply.send(Err(refusal)));
                    None
                }
            })))
        })
        .await
    }

    /// The encodings of items that were not at hand; none: they have gone, or cannot be read.
    pub async fn bodies(&self, items: Vec<u64>) -> Vec<Option<Bytes>> {
        match &self.reader {
            Some(reader) => reader.show(items).await,
            None => vec![None; items.len()],
        }
    }

    /// Returns when the queue is gone: deleted, or its actor has ended.
    pub async fn gone(&self) -> Error {
        self.mailbox.closed().await;
        self.not_found()
    }

    /// Gives the actor a turn.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Whether the queue was deleted, or its actor has ended.
    pub(super) fn is_gone(&self) -> bool {
        self.mailbox.is_closed()
    }

    /// Deletes the queue, unless it holds something and `force` is not set.
    pub(super) async fn delete(&self, force: bool) -> Result<(), Error> {
        self.ask(|reply| Request::Delete { force, reply }).await
    }

    async fn tell(&self, request: Request) -> Result<(), Error> {
        self.mailbox
            .send(request)
            .await
            .map_err(|_| self.not_found())
    }

    async fn ask<R>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<R, Error>>) -> Request,
    ) -> Result<R, Error> {
        let place = timeout(MAILBOX_WAIT, self.mailbox.reserve()).await;
        let place = place
            .map_err(|_| Error::Overloaded)?
            .map_err(|_| self.not_found())?;
        let (reply, answer) = oneshot::channel();
        place.send(request(reply));
        answer.await.unwrap_or(Err(Error::OutcomeUnknown))
    }

    fn not_found(&self) -> Error {
        if self.shared.has_failed() {
            return Error::JournalFailed;
        }
        Error::QueueNotFound(self.name.to_string())
    }
}

/// A publisher's stream that is counted.
#[derive(Debug)]
pub struct ProducerGuard {
    queue: QueueHandle,
}

impl ProducerGuard {
    /// Counts it out.
    pub async fn close(self) {
        drop(self.queue.tell(Request::ProducerClosed).await);
    }
}
