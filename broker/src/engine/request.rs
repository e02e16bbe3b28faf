//! What a queue actor is asked, and what it answers: the types that cross its mailbox.
//!
//! Requests that put something into a client's outbox carry the place for it as a permit, so that neither a slow reader
//! nor a cancelled caller can make the actor hold more than was admitted.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use baton_ledger::party::{Party, Shift};
use baton_ledger::{HandlerStamps, Ledger};
use baton_proto::v1::Durability;
use baton_queue::{
    Admit, Event, ItemId, Nack, NewItem, Outcome, OutcomeRun, PublishedRun, Queue, SessionId,
    Timestamp,
};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::bodies::Bodies;
use super::outbox::Outbox;
use super::token::Token;
use crate::error::Error;

/// One message to a queue actor.
#[derive(Debug)]
pub(super) enum Request {
    Publish(Publish),
    Attach(Attach),
    Credit {
        session: SessionId,
        items: u64,
        bytes: u64,
    },
    Settle(Settle),
    Drain {
        session: SessionId,
        end: End,
    },
    Detach {
        session: SessionId,
    },
    Lease(Lease),
    Join(Join),
    Act(Act),
    ProducerOpened {
        reply: oneshot::Sender<Result<(), Error>>,
    },
    ProducerClosed,
    Delete {
        force: bool,
        reply: oneshot::Sender<Result<(), Error>>,
    },
}

impl Request {
    /// Answers a request that was not carried out. Streams learn it by their queue being gone.
    pub(super) fn refuse(self, error: &Error) {
        let error = error.clone();
        match self {
            Self::Publish(Publish {
                reply: PublishReply::Once(reply),
                ..
            }) => drop(reply.send(Err(error))),
            Self::Attach(attach) => drop(attach.reply.send(Err(error))),
            Self::Settle(Settle {
                reply: SettleReply::Once(reply),
                ..
            }) => drop(reply.send(Err(error))),
            Self::Lease(lease) => drop(lease.reply.send(Err(error))),
            Self::Join(join) => drop(join.reply.send(Err(error))),
            Self::Delete { reply, .. } | Self::ProducerOpened { reply } => {
                drop(reply.send(Err(error)))
            }
            Self::Act(act) => drop((act.0)(Err(error))),
            Self::Publish(_)
            | Self::Settle(_)
            | Self::Credit { .. }
            | Self::Drain { .. }
            | Self::Detach { .. }
            | Self::ProducerClosed => {}
        }
    }
}

/// Items to store.
#[derive(Debug)]
pub struct Publish {
    /// Whose sequence it is, and the batch's first one.
    pub producer: Option<(Arc<str>, u64)>,
    /// What the queue has to know of each item.
    pub items: Vec<NewItem>,
    /// Their encodings, in the same order.
    pub bodies: Vec<Bytes>,
    /// How they came.
    pub sending: Sending,
    /// Where the answer goes.
    pub reply: PublishReply,
}

/// How items came from their producer.
#[derive(Debug, Clone, Default)]
pub struct Sending {
    /// When they were received; 0: just now.
    pub received: Timestamp,
    /// The producer's stamps, one an item; none: not said.
    pub created: Vec<u64>,
    /// How the producer's clock compares; none: not known.
    pub clock: Option<Shift>,
    /// Who the producer is; none: it did not say.
    pub producer: Option<Arc<Party>>,
}

/// Where the answer to a publish goes.
#[derive(Debug)]
pub enum PublishReply {
    /// All or nothing, answered once.
    Once(oneshot::Sender<Result<Stored, Error>>),
    /// As room appears, answered in pieces.
    Stream {
        /// The stream's outbox, for pieces.
        outbox: mpsc::Sender<PublishOutput>,
        /// The place of the last answer.
        permit: mpsc::OwnedPermit<PublishOutput>,
        /// Given back with the answers.
        batch: Arc<StreamBatch>,
    },
}

impl PublishReply {
    pub(super) fn admit(&self) -> Admit {
        match self {
            Self::Once(_) => Admit::All,
            Self::Stream { .. } => Admit::Prefix,
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        match self {
            Self::Once(sender) => sender.is_closed(),
            Self::Stream { outbox, .. } => outbox.is_closed(),
        }
    }
}

/// A unary publish's answer.
#[derive(Debug)]
pub struct Stored {
    /// Neighbours with one fate.
    pub runs: Vec<PublishedRun>,
    /// How much the answer has outlived.
    pub durability: Durability,
}

/// What the publisher's stream remembers of a batch until it is confirmed.
#[derive(Debug)]
pub struct StreamBatch {
    /// Of the item at index 0.
    pub first_sequence: u64,
    /// Items of the batch as it was sent.
    pub count: u32,
    /// Items refused at the edge, ascending by index; the queue never saw them.
    pub refused: Vec<(u32, Error)>,
    /// When it was received: nanoseconds of CLOCK_MONOTONIC.
    pub received_ns: u64,
    /// Its place in the stream's window, until it is confirmed.
    pub window: OwnedSemaphorePermit,
}

/// What a publisher's stream is told.
#[derive(Debug)]
pub enum PublishOutput {
    /// Part of a batch is durable, or was refused.
    Confirm(PublishPiece),
    /// The queue is full: further batches wait.
    Full,
    /// Answer to a ping: its nonce, its stamp, when it was received.
    Pong(Pong),
}

/// What became of items in a row.
#[derive(Debug)]
pub enum Fate {
    /// Stored, or found to be repeats.
    Stored(PublishedRun),
    /// Not stored.
    Refused {
        /// Of the first one.
        position: usize,
        /// At least 1.
        count: usize,
        /// Why.
        error: Error,
    },
}

/// The items of a batch from position `from` to before `to` (positions count the items that the queue saw).
#[derive(Debug)]
pub struct PublishPiece {
    /// Whose part it is.
    pub batch: Arc<StreamBatch>,
    /// First position.
    pub from: usize,
    /// One after the last position; the last piece of a batch reaches its end.
    pub to: usize,
    /// What became of them, without gaps; positions count from `from`.
    pub fates: Vec<Fate>,
    /// How much it has outlived.
    pub durability: Durability,
    /// When it became durable: nanoseconds of CLOCK_MONOTONIC.
    pub durable_ns: u64,
}

/// A consumer's stream that wants items.
#[derive(Debug)]
pub struct Attach {
    /// Who it is.
    pub consumer: Arc<Party>,
    /// Of its leases; none: the queue's.
    pub lease_duration: Option<Duration>,
    /// How long its leases outlive it.
    pub grace: Duration,
    /// End it when the queue is empty.
    pub until_drained: bool,
    /// First credit.
    pub items: u64,
    /// First credit in bytes.
    pub bytes: u64,
    /// Where its deliveries go.
    pub outbox: Outbox,
    /// The session that it got and the duration of its leases.
    pub reply: oneshot::Sender<Result<(SessionId, Duration), Error>>,
}

/// Why a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The consumer asked for it.
    Asked,
    /// The queue has drained.
    Drained,
    /// The broker shuts down.
    Draining,
}

/// What a consumer's stream is told.
#[derive(Debug)]
pub enum ConsumeOutput {
    /// Items, each leased.
    Deliveries(Vec<Delivered>),
    /// What became of one settle message.
    Settled(u64, Settlement),
    /// The queue was paused, or goes on.
    Paused(bool),
    /// The broker shuts down.
    Draining,
    /// Answer to a ping.
    Pong(Pong),
    /// The last message: why the stream ends.
    End(Result<End, Error>),
}

/// Answer to a ping.
#[derive(Debug, Clone, Copy)]
pub struct Pong {
    /// From the ping.
    pub nonce: u64,
    /// From the ping.
    pub ping_sent_ns: u64,
    /// When it was received: nanoseconds of CLOCK_MONOTONIC.
    pub ping_received_ns: u64,
}

/// One leased item.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// Number of the lease in its session: a stream's delivery id.
    pub seq: u64,
    /// The item.
    pub item: ItemId,
    /// From 1.
    pub attempt: u32,
    /// Settles it from anywhere.
    pub token: Bytes,
    /// From ready to leased.
    pub queue_wait_ns: u64,
    /// From received to leased.
    pub age_ns: u64,
    /// What the attempt before said.
    pub last_error: String,
    /// Its `item` span, where that cannot be computed from the item; else empty.
    pub traceparent: String,
    /// As the producer encoded it.
    pub body: Bytes,
}

/// What is to become of leases.
#[derive(Debug)]
pub struct Settle {
    /// Whose deliveries the ranges are of.
    pub session: SessionId,
    /// Ranges of the session's leases.
    pub deliveries: Vec<SettledDeliveries>,
    /// Leases of any session.
    pub leases: Vec<SettledLease>,
    /// When it was received; 0: just now.
    pub received: Timestamp,
    /// How the consumer's clock compares; none: not known.
    pub clock: Option<Shift>,
    /// Where the answer goes.
    pub reply: SettleReply,
}

/// Deliveries in a row and what becomes of them.
#[derive(Debug, Clone)]
pub struct SettledDeliveries {
    /// Number of the first lease.
    pub first: u64,
    /// Number of the last lease.
    pub last: u64,
    /// What becomes of them.
    pub action: Action,
    /// How the attempts went: none, one for all, or one for each.
    pub stamps: Vec<HandlerStamps>,
}

/// A lease and what becomes of it.
#[derive(Debug, Clone)]
pub struct SettledLease {
    /// Which.
    pub token: Token,
    /// What becomes of it.
    pub action: Action,
    /// How the attempt went; none: not said.
    pub stamps: Option<HandlerStamps>,
}

/// What is to become of a lease.
#[derive(Debug, Clone)]
pub enum Action {
    /// Done.
    Ack,
    /// Not done.
    Nack(Nack),
    /// Still working; none: for the queue's lease duration.
    Extend(Option<Duration>),
}

/// Where the answer to a settle goes.
#[derive(Debug)]
pub enum SettleReply {
    /// A unary call.
    Once(oneshot::Sender<Result<Settlement, Error>>),
    /// A consumer's stream, with the id to echo.
    Stream(mpsc::OwnedPermit<ConsumeOutput>, u64),
}

/// What became of leases.
#[derive(Debug, Default)]
pub struct Settlement {
    /// Of the ranges, in request order.
    pub deliveries: Vec<OutcomeRun>,
    /// Of the tokens, in request order.
    pub leases: Vec<Outcome>,
    /// How much it has outlived.
    pub durability: Durability,
}

/// A unary lease.
#[derive(Debug)]
pub struct Lease {
    /// Who it is.
    pub consumer: Arc<Party>,
    /// Most items.
    pub items: u32,
    /// Stop after the item that reaches this.
    pub bytes: u64,
    /// None: the queue's.
    pub lease_duration: Option<Duration>,
    /// How long to wait for a first item.
    pub until: Timestamp,
    /// None in time is an empty answer.
    pub reply: oneshot::Sender<Result<Vec<Delivered>, Error>>,
}

/// A wait for items to be settled.
#[derive(Debug)]
pub struct Join {
    /// Count only items after this one.
    pub after: ItemId,
    /// Wait for the items up to this one; none: up to the last one.
    pub up_to: Option<ItemId>,
    /// How long to wait.
    pub until: Timestamp,
    /// How it stands, done or not.
    pub reply: oneshot::Sender<Result<Joined, Error>>,
}

/// Answer to a join.
#[derive(Debug, Clone, Copy)]
pub struct Joined {
    /// What was waited for.
    pub up_to: ItemId,
    /// How it stands.
    pub join: baton_queue::Join,
}

/// Something to do on the queue in its own turn: the admin calls.
pub(super) struct Act(pub(super) Carry);

/// Carries an [`Act`] out, or takes the reason why it is not.
type Carry = Box<dyn FnOnce(Result<&mut View<'_>, Error>) -> Option<Answer> + Send>;

/// Tells the caller of an [`Act`], once its commit is durable or has failed.
pub(super) type Answer = Box<dyn FnOnce(Result<(), Error>) + Send>;

impl fmt::Debug for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Act")
    }
}

/// What an admin call sees of a queue and its actor.
pub struct View<'a> {
    /// The state machine.
    pub queue: &'a mut Queue,
    /// The time of this turn.
    pub now: Timestamp,
    /// Where its events go.
    pub events: &'a mut Vec<Event>,
    /// Who could take items, and how many.
    pub demand: baton_queue::Demand,
    /// Publishers' streams.
    pub producers: u32,
    /// Where its items' time went; none: nobody wants to know.
    pub ledger: Option<&'a mut Ledger>,
    pub(super) bodies: &'a Bodies,
}

impl View<'_> {
    /// The encoding of an item, if it is at hand; see [`QueueHandle::bodies`](super::QueueHandle::bodies) for the others.
    #[must_use]
    pub fn body(&self, item: ItemId) -> Option<Bytes> {
        self.bodies.get(item.0)
    }
}

impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View")
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}
