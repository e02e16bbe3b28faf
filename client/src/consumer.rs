//! Consuming: the handle that users hold.
//!
//! Owns nothing but references: deliveries wait in the [`inbox`], settles in the outbox, and the [`driver`], one task for
//! each consumer, moves both. The driver outlives a dropped consumer until what users still hold is settled.

mod driver;
mod inbox;
mod ledger;
mod ranges;
mod stream;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use futures_util::Stream;

use crate::context::Context;
use crate::delivery::Delivery;
use crate::error::Error;
use crate::settle::Outbox;
use crate::telemetry::Scope;
use driver::Driver;
use inbox::{Inbox, Next};

const CREDIT_ITEMS: u32 = 100;
const CREDIT_BYTES: u64 = 8 << 20;
/// The most that a broker takes.
const MAX_CREDIT_ITEMS: u32 = 1_000_000;
const MAX_CREDIT_BYTES: u64 = 1 << 30;

/// Settings of a [`Consumer`].
#[derive(Debug, Clone)]
pub struct ConsumerBuilder {
    context: Arc<Context>,
    queue: String,
    options: Options,
}

/// What the driver needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    credit_items: u32,
    credit_bytes: u64,
    lease_duration: Option<Duration>,
    disconnect_grace: Option<Duration>,
    until_drained: bool,
}

impl ConsumerBuilder {
    pub(crate) fn new(context: Arc<Context>, queue: String) -> Self {
        let options = Options {
            credit_items: CREDIT_ITEMS,
            credit_bytes: CREDIT_BYTES,
            lease_duration: None,
            disconnect_grace: None,
            until_drained: false,
        };
        Self {
            context,
            queue,
            options,
        }
    }

    /// Items that may be prefetched or in hand at a time, 1 to 1,000,000. Default: 100. More of them hide the network's
    /// latency from fast handlers; fewer share slow work out more evenly between consumers.
    #[must_use]
    pub fn credit_items(mut self, items: u32) -> Self {
        self.options.credit_items = items.clamp(1, MAX_CREDIT_ITEMS);
        self
    }

    /// Bytes of encoded items that may be prefetched or in hand at a time, up to 1 GiB; the last item may exceed it.
    /// Default: 8 MiB.
    #[must_use]
    pub fn credit_bytes(mut self, bytes: u64) -> Self {
        self.options.credit_bytes = bytes.clamp(1, MAX_CREDIT_BYTES);
        self
    }

    /// How long an item stays ours when nothing is heard of us, 1 s to 12 h. Default: the queue's. Leases are extended at
    /// a third of it for as long as deliveries are in hand.
    #[must_use]
    pub fn lease_duration(mut self, lease: Duration) -> Self {
        self.options.lease_duration = Some(lease);
        self
    }

    /// How long leases outlive a lost connection, up to 12 h and never past the lease itself. Default: 5 s.
    #[must_use]
    pub fn disconnect_grace(mut self, grace: Duration) -> Self {
        self.options.disconnect_grace = Some(grace);
        self
    }

    /// End when the queue is empty (nothing scheduled, ready or leased), not only when it is closed and empty.
    #[must_use]
    pub fn until_drained(mut self, until_drained: bool) -> Self {
        self.options.until_drained = until_drained;
        self
    }

    /// Opens the consumer, which connects at once.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn open(self) -> Consumer {
        let inbox = Arc::new(Inbox::default());
        let outbox = Arc::new(Outbox::default());
        let scope = Arc::new(Scope::new(Arc::clone(&self.context), &self.queue));
        let driver = Driver::new(
            &self,
            Arc::clone(&inbox),
            Arc::clone(&outbox),
            Arc::clone(&scope),
        );
        self.context.tasks().spawn(driver.run());
        Consumer {
            stop: Stop {
                inbox: Arc::clone(&inbox),
                outbox: Arc::clone(&outbox),
            },
            inbox,
            outbox,
            scope,
        }
    }
}

/// Takes items from one queue: a [`Stream`] of deliveries.
///
/// It ends when the broker says that the queue has drained (it was closed, or `until_drained` was asked for), after
/// [`shutdown`](Self::shutdown), and after an error that no reconnect can cure. Lost connections are not seen here: the
/// consumer connects again, settles what was finished meanwhile, and keeps what is in hand.
///
/// Dropping it is a shutdown that nobody waits for. Deliveries in hand can still be settled.
///
/// ```no_run
/// # async fn example(client: baton_client::Client) -> Result<(), baton_client::Error> {
/// let mut consumer = client.consumer("orders").credit_items(200).open();
/// while let Some(delivery) = consumer.next().await {
///     let delivery = delivery?;
///     println!("{}: {:?}", delivery.item_id(), delivery.payload());
///     delivery.ack();
/// }
/// consumer.close().await
/// # }
/// ```
#[derive(Debug)]
pub struct Consumer {
    inbox: Arc<Inbox>,
    outbox: Arc<Outbox>,
    scope: Arc<Scope>,
    stop: Stop,
}

impl Consumer {
    /// The next delivery; `None` at the end.
    ///
    /// Cancel-safe: no delivery is lost.
    ///
    /// # Errors
    ///
    /// What ended the stream, once; `None` after that. [`Error::Rpc`] for what no reconnect can cure, [`Error::GaveUp`]
    /// without a broker for `give_up_after`.
    pub async fn next(&mut self) -> Option<Result<Delivery, Error>> {
        std::future::poll_fn(|cx| self.poll_delivery(cx)).await
    }

    /// Takes no more: gives back, as unstarted, what was prefetched, and lets what is in hand be finished. The stream ends
    /// once everything in hand is settled and the broker has confirmed it: so whoever keeps deliveries while waiting for
    /// the next one has to watch [`Stop::stopped`] too.
    pub fn shutdown(&self) {
        self.stop.stop();
    }

    /// Shuts this consumer down from elsewhere, for example from a signal handler.
    pub fn stop_handle(&self) -> Stop {
        self.stop.clone()
    }

    /// Shuts down, and waits until every delivery in hand is settled and every settle is confirmed.
    ///
    /// Cancel-safe: the shutdown goes on in the background.
    ///
    /// # Errors
    ///
    /// What the stream ended with, unless [`next`](Self::next) has returned it already.
    pub async fn close(self) -> Result<(), Error> {
        self.shutdown();
        std::future::poll_fn(|cx| self.inbox.poll_end(cx)).await
    }

    fn poll_delivery(&mut self, cx: &mut TaskContext<'_>) -> Poll<Option<Result<Delivery, Error>>> {
        loop {
            match self.inbox.poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Next::End) => return Poll::Ready(None),
                Poll::Ready(Next::Failed(error)) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(Next::Arrival(arrival)) => {
                    if let Some(delivery) = arrival.hand_out(&self.outbox, &self.scope) {
                        return Poll::Ready(Some(Ok(delivery)));
                    }
                }
            }
        }
    }
}

impl Stream for Consumer {
    type Item = Result<Delivery, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        self.poll_delivery(cx)
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// Shuts a [`Consumer`] down from elsewhere. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Stop {
    inbox: Arc<Inbox>,
    outbox: Arc<Outbox>,
}

impl Stop {
    /// As [`Consumer::shutdown`]; again is harmless.
    pub fn stop(&self) {
        self.inbox.stop();
        self.outbox.wake();
    }

    /// Whether the consumer was told to stop.
    pub fn is_stopped(&self) -> bool {
        self.inbox.is_stopping()
    }

    /// Completes when the consumer is told to stop. Cancel-safe.
    pub async fn stopped(&self) {
        self.inbox.stopping().await;
    }
}
