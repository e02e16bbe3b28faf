//! What Rust programs import to use Baton, a durable work queue over gRPC.
//!
//! A [`Client`] opens [`Producer`]s and [`Consumer`]s, and does everything else that can be done with a [`Queue`]. The
//! library batches, keeps windows and credits, extends leases, connects again after failures, and retries what is safe to
//! retry: a publish is stored once, an acknowledgement reaches the broker, and nobody has to write a loop for it.
//!
//! ```no_run
//! use baton_client::{Client, Item};
//!
//! # async fn example() -> Result<(), baton_client::Error> {
//! let client = Client::connect("http://127.0.0.1:7400")?;
//!
//! let producer = client.producer("orders").open();
//! for n in 0..1000 {
//!     producer.send(Item::new(format!("order {n}"))).await?;
//! }
//! producer.flush().await?; // all of them are durable
//!
//! let mut consumer = client.consumer("orders").until_drained(true).open();
//! consumer
//!     .for_each(8, async |delivery| {
//!         println!("{:?} after {:?}", delivery.payload(), delivery.latency());
//!         Ok(())
//!     })
//!     .await
//! # }
//! ```
//!
//! # For those who know `asyncio.Queue`
//!
//! | `asyncio.Queue` | here |
//! |---|---|
//! | `Queue(maxsize)` | [`Queue::create`] with `max_items`; a queue also comes into being on first use |
//! | `await put(x)` | [`Producer::publish`] (waits for room and until it is durable), [`Producer::send`] (for room) |
//! | `put_nowait(x)`, `QueueFull` | [`Producer::try_publish`], [`Error::QueueFull`] |
//! | `await get()` | [`Consumer::next`]; [`Queue::get`] without a stream |
//! | `get_nowait()`, `QueueEmpty` | [`Queue::get_nowait`], [`Error::QueueEmpty`] |
//! | `task_done()` | [`Delivery::ack`]; and what `asyncio` has no word for: [`Delivery::nack`] |
//! | `await join()` | [`Queue::join`], [`Producer::join`] (own items) |
//! | `maxsize` | `max_items` of [`Queue::config`] |
//! | `qsize()`, `empty()` | `ready` of [`Queue::stats`] |
//! | `full()` | [`Queue::is_full`] |
//! | `shutdown()`, `QueueShutDown` | [`Queue::close`]; publishes then fail with `QUEUE_CLOSED`, consumers end once drained |
//! | `shutdown(immediate=True)` | [`Queue::close`], then [`Queue::purge`] |
//!
//! # Cancellation
//!
//! Each async function says what happens when its future is dropped. In short: a publish that has entered the window is
//! published, a settle is sent when it is made, and nothing is lost by dropping [`Consumer::next`].
//!
//! # Structure
//!
//! Each producer and each consumer is a handle and one task, its driver. The two share short critical sections and no
//! locks across awaits. Stamps are this machine's CLOCK_MONOTONIC, whose name goes along in each stream's Hello.

mod admin;
mod backoff;
mod call;
mod client;
mod clock;
mod consumer;
mod context;
mod delivery;
mod error;
mod handler;
mod item;
mod join;
mod lane;
mod latency;
mod lease;
mod producer;
#[cfg(feature = "program")]
pub mod program;
mod pulse;
mod queue;
mod settle;
mod telemetry;

pub use admin::DeadLetters;
pub use backoff::Backoff;
/// The broker's own words, as on the wire.
pub use baton_proto::v1::{
    Attempt, Backoff as QueueBackoff, ClientInfo, Durability, ErrorCode, Explanation,
    FailedAttempt, FailureReason, GetServerInfoResponse as ServerInfo, Item as StoredItem,
    ItemOutcome, ItemState, PeekedItem, Queue as QueueDescription, QueueConfig, QueueStats,
    StageTime, WaitReason, WaitShare,
};
pub use baton_telemetry::stage::Stage;
pub use baton_telemetry::stage_latency::StageLatency;
pub use client::{Client, ClientBuilder};
pub use consumer::{Consumer, ConsumerBuilder, Stop};
pub use delivery::Delivery;
pub use error::Error;
pub use handler::HandlerError;
pub use item::Item;
pub use join::Joined;
pub use latency::{Latency, SlowItem};
pub use producer::{Confirm, Producer, ProducerBuilder, Receipt};
pub use queue::Queue;
pub use settle::{Nack, Settled, Settling};
