//! Publishing: the handle that users hold.
//!
//! Owns nothing but references: items wait in the [`window`], and the [`driver`], one task for each producer, moves them
//! to the broker. Dropping the last handle lets the driver finish what is in the window, and then ends it.

mod driver;
mod unconfirmed;
mod window;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::SystemTime;

use baton_proto::v1::Durability;
use tokio::sync::oneshot;

use crate::context::{Context, random_name};
use crate::error::Error;
use crate::item::Item;
use crate::join::{self, Joined};
use crate::lane::{self, Lanes};
use crate::telemetry::Scope;
use driver::Driver;
use window::Window;

const WINDOW_ITEMS: usize = 8192;
const WINDOW_BYTES: usize = 4 << 20;

/// Settings of a [`Producer`].
#[derive(Debug, Clone)]
pub struct ProducerBuilder {
    context: Arc<Context>,
    queue: String,
    producer_id: String,
    first_sequence: u64,
    window_items: usize,
    window_bytes: usize,
}

impl ProducerBuilder {
    pub(crate) fn new(context: Arc<Context>, queue: String) -> Self {
        let producer_id = random_name("p");
        Self {
            context,
            queue,
            producer_id,
            first_sequence: 1,
            window_items: WINDOW_ITEMS,
            window_bytes: WINDOW_BYTES,
        }
    }

    /// Names the sequence that makes retries safe; 1 to 64 bytes. Default: random, which makes retries of this producer
    /// safe for as long as it lives.
    ///
    /// A stable id also makes a restart safe, for a program that then publishes the same items in the same order (say, the
    /// lines of a file): those that are stored already come back as duplicates. A program that publishes *other* items
    /// after a restart must not reuse an id, or has to go on counting with [`first_sequence`](Self::first_sequence):
    /// otherwise its new items are taken for repeats of the old ones.
    #[must_use]
    pub fn producer_id(mut self, id: impl Into<String>) -> Self {
        self.producer_id = id.into();
        self
    }

    /// The sequence of the first item published; the others follow by 1. Default: 1; 0 is read as 1.
    #[must_use]
    pub fn first_sequence(mut self, sequence: u64) -> Self {
        self.first_sequence = sequence.max(1);
        self
    }

    /// Items that may be unconfirmed at a time; at least 1. Default: 8192.
    #[must_use]
    pub fn window_items(mut self, items: usize) -> Self {
        self.window_items = items.max(1);
        self
    }

    /// Bytes of encoded items that may be unconfirmed at a time. Default: 4 MiB. An item that is larger goes alone.
    #[must_use]
    pub fn window_bytes(mut self, bytes: usize) -> Self {
        self.window_bytes = bytes.max(1);
        self
    }

    /// Opens the producer. It connects when the first item is published.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn open(self) -> Producer {
        let window = Arc::new(Window::new(self.window_items, self.window_bytes));
        let scope = Arc::new(Scope::new(Arc::clone(&self.context), &self.queue));
        let driver = Driver::new(&self, Arc::clone(&window), Arc::clone(&scope));
        self.context.tasks().spawn(driver.run());
        Producer {
            handle: Arc::new(Handle {
                window,
                context: self.context,
                queue: self.queue,
                lanes: Lanes::new(),
                scope,
            }),
        }
    }
}

/// Publishes items to one queue: batched, retried safely over lost connections, and confirmed once durable. A clone is
/// another handle to the same producer.
///
/// When every handle is dropped, what is in the window is still sent and confirmed, in the background;
/// [`Client::finished`](crate::Client::finished) waits for that.
#[derive(Debug, Clone)]
pub struct Producer {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    window: Arc<Window>,
    context: Arc<Context>,
    queue: String,
    lanes: Lanes,
    scope: Arc<Scope>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.window.close();
    }
}

/// Where a published item went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Per queue, from 1, in publish order. On a duplicate the first item's; 0 where that is forgotten.
    pub item_id: u64,
    /// The item was there already and was not stored again.
    pub duplicate: bool,
    /// What the item has outlived.
    pub durability: Durability,
}

impl Producer {
    /// Publishes an item and waits until it is durable. Waits for room while the window or the queue is full, however long
    /// that takes; only a missing broker counts against `give_up_after`.
    ///
    /// Cancel-safe in this sense: dropped before the item is in the window, nothing is published; dropped after, the item
    /// is published all the same, once.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] for this item; [`Error::Rpc`], [`Error::GaveUp`] where the stream failed for good, and the item
    /// may be stored or not; [`Error::Closed`], [`Error::ItemTooLarge`]. After `GaveUp` the producer can still be used;
    /// after `Rpc` it answers everything with the same error.
    pub async fn publish(&self, item: Item) -> Result<Receipt, Error> {
        self.send(item).await?.await
    }

    /// Waits only until the item is in the window; the [`Confirm`] tells the rest. Items are stored in the order in which
    /// they entered the window. Where items are traced, the first of them also waits until the broker has said whether it
    /// traces too, for at most a second.
    ///
    /// Cancel-safe: dropped before it is done, nothing is published.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish), for failures before this item.
    pub async fn send(&self, item: Item) -> Result<Confirm, Error> {
        let outgoing = self.handle.scope.outgoing(item).await?;
        let reply = self.handle.window.enter(outgoing).await?;
        Ok(Confirm { reply })
    }

    /// Publishes an item now or not at all: `asyncio.Queue.put_nowait`. One unary call, beside the stream and in no order
    /// with it; retried safely where the broker is out of reach.
    ///
    /// Not cancel-safe: dropped, the item may be published or not.
    ///
    /// # Errors
    ///
    /// [`Error::QueueFull`] when the queue or this producer's window is full; otherwise as [`publish`](Self::publish).
    pub async fn try_publish(&self, item: Item) -> Result<Receipt, Error> {
        let handle = &*self.handle;
        let mut outgoing = handle.scope.outgoing(item).await?;
        let room = handle.window.try_reserve(outgoing.bytes.len());
        let _room = room.inspect_err(|error| outgoing.end(SystemTime::now(), Err(error)))?;
        let call = lane::Call {
            context: &handle.context,
            queue: &handle.queue,
            scope: &handle.scope,
            when_full: lane::WhenFull::Refuse,
        };
        let receipt = call.publish(&handle.lanes, outgoing).await?;
        handle.window.note_item_id(receipt.item_id);
        Ok(receipt)
    }

    /// Waits until everything published so far is confirmed.
    ///
    /// Cancel-safe: the error that it would have returned is then returned by the next one.
    ///
    /// # Errors
    ///
    /// The first failure since the last flush, also where the item's own caller has seen it.
    pub async fn flush(&self) -> Result<(), Error> {
        self.handle.window.flush().await
    }

    /// Waits until every item up to the last one that this producer published is settled (acknowledged, dead, expired or
    /// cancelled), for as long as that takes. Counts from this producer's first item on; items of other producers in
    /// between count too. Returns at once where nothing was published.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush), and [`Error::Rpc`], [`Error::GaveUp`] of the join itself.
    pub async fn join(&self) -> Result<Joined, Error> {
        self.flush().await?;
        let Some((first, last)) = self.handle.window.item_ids() else {
            return Ok(Joined::default());
        };
        let span = join::Span {
            after: first - 1,
            up_to: last,
        };
        join::join(&self.handle.context, &self.handle.queue, span).await
    }

    /// Refuses further items, waits until everything is confirmed, and ends the stream; for all handles.
    ///
    /// Cancel-safe: the producer stays closed, and what is in the window is still sent.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush).
    pub async fn close(&self) -> Result<(), Error> {
        self.handle.window.close();
        let flushed = self.flush().await;
        self.handle.window.finished().await;
        flushed
    }

    /// Items in the window: published but not yet confirmed.
    pub fn unconfirmed(&self) -> usize {
        self.handle.window.len()
    }
}

/// Resolves once the item is durable, or was refused. Dropping it does not cancel anything.
#[derive(Debug)]
pub struct Confirm {
    reply: oneshot::Receiver<Result<Receipt, Error>>,
}

impl Future for Confirm {
    type Output = Result<Receipt, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let reply = Pin::new(&mut self.reply).poll(cx);
        // No sender: the runtime took the driver down.
        reply.map(|reply| reply.unwrap_or(Err(Error::Closed)))
    }
}
