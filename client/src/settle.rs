//! What becomes of a delivery, on its way to the broker.
//!
//! Owns the outbox between deliveries and the task that settles them. It needs no bound of its own: it holds at most the
//! final word of each delivery in hand, and those are bounded by the consumer's credit (or by one `lease` call). Filled by
//! `Delivery`; emptied by the consumer's driver, or by the driver of one `lease` call.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use baton_proto::opaque;
use baton_proto::opaque::lease_settle;
use baton_proto::v1::SettleOutcome;
use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

use crate::clock::wire_duration;
use crate::error::Error;
use crate::telemetry::{Settlement, Verdict};

/// `error.type` of work that may be tried again, and of work that may not; the contract's FailureReason.
const NACKED: &str = "nacked";
const REJECTED: &str = "rejected";

/// How a settle ended; each of them is final, and none is a failure of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Done, and durable.
    Done,
    /// It was settled before: a repeat of a settle whose answer was lost.
    AlreadySettled,
    /// The lease had ended (it ran out, the item was purged, or the broker restarted): nothing was changed, and the item
    /// may be delivered again.
    LeaseLost,
}

/// A failed attempt, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nack {
    wire: opaque::Nack,
}

impl Nack {
    /// Try again, after the queue's back-off unless [`delay`](Self::delay) says otherwise.
    pub fn retry() -> Self {
        Self {
            wire: opaque::Nack::default(),
        }
    }

    /// No further attempt can help: make it a dead letter now.
    pub fn dead_letter(error: impl Into<String>) -> Self {
        let wire = opaque::Nack {
            dead_letter: true,
            error: error.into(),
            ..opaque::Nack::default()
        };
        Self { wire }
    }

    /// No handler saw the item: ready again at once, and the attempt does not count.
    pub fn unstarted() -> Self {
        let wire = opaque::Nack {
            unstarted: true,
            ..opaque::Nack::default()
        };
        Self { wire }
    }

    /// Before the next attempt; at most 1 year. Of no effect on a dead letter and on an unstarted item.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        if !self.wire.dead_letter && !self.wire.unstarted {
            self.wire.delay = Some(wire_duration(delay));
        }
        self
    }

    /// Kept with the item and handed to the next consumer; cut after 1 KiB.
    #[must_use]
    pub fn error(mut self, error: impl Into<String>) -> Self {
        self.wire.error = error.into();
        self
    }
}

/// Resolves when the broker has made the settle durable. It is under way whether or not this is awaited; dropping it
/// cancels nothing.
#[derive(Debug)]
pub struct Settling {
    reply: oneshot::Receiver<Result<Settled, Error>>,
}

impl Future for Settling {
    type Output = Result<Settled, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let reply = Pin::new(&mut self.reply).poll(cx);
        // No sender: the runtime took the driver down.
        reply.map(|reply| reply.unwrap_or(Err(Error::Closed)))
    }
}

/// Names a delivery of a consumer: ids are those of one stream, and a consumer may see several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) struct Tag {
    pub(crate) session: u32,
    pub(crate) delivery: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    Ack,
    Nack(opaque::Nack),
    Extend(opaque::Extend),
}

impl Action {
    pub(crate) fn is_extend(&self) -> bool {
        matches!(self, Self::Extend(_))
    }

    /// What became of a handler's work; None: it is not over.
    pub(crate) fn verdict(&self) -> Option<Verdict<'_>> {
        match self {
            Self::Ack => Some(Verdict::Acked),
            Self::Nack(nack) if nack.unstarted => Some(Verdict::Unstarted),
            Self::Nack(nack) => Some(Verdict::Nacked {
                error_type: if nack.dead_letter { REJECTED } else { NACKED },
                error: &nack.error,
            }),
            Self::Extend(_) => None,
        }
    }

    pub(crate) fn on_lease(&self) -> lease_settle::Action {
        match self {
            Self::Ack => lease_settle::Action::Ack(opaque::Ack {}),
            Self::Nack(nack) => lease_settle::Action::Nack(nack.clone()),
            Self::Extend(extend) => lease_settle::Action::Extend(*extend),
        }
    }
}

impl From<Nack> for Action {
    fn from(nack: Nack) -> Self {
        Self::Nack(nack.wire)
    }
}

/// One delivery and what becomes of it.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) tag: Tag,
    pub(crate) lease: Bytes,
    pub(crate) action: Action,
    pub(crate) stamps: Option<opaque::HandlerStamps>,
    pub(crate) reply: Option<oneshot::Sender<Result<Settled, Error>>>,
    /// Ends with the answer.
    pub(crate) settlement: Option<Box<Settlement>>,
}

impl Command {
    /// With somebody who waits for the answer.
    pub(crate) fn answered(mut self) -> (Self, Settling) {
        let (sender, reply) = oneshot::channel();
        self.reply = Some(sender);
        (self, Settling { reply })
    }

    pub(crate) fn resolve(self, outcome: Result<Settled, Error>) {
        if let Some(settlement) = self.settlement {
            settlement.end(&outcome);
        }
        if let Some(reply) = self.reply {
            // Nobody listening is fine: the settle stands.
            let _ = reply.send(outcome);
        }
    }

    pub(crate) fn on_lease(&self) -> opaque::LeaseSettle {
        opaque::LeaseSettle {
            lease: self.lease.clone(),
            stamps: self.stamps,
            action: Some(self.action.on_lease()),
        }
    }
}

/// The broker's answer to one command.
pub(crate) fn outcome(wire: i32) -> Result<Settled, Error> {
    match SettleOutcome::try_from(wire) {
        Ok(SettleOutcome::Ok) => Ok(Settled::Done),
        Ok(SettleOutcome::AlreadySettled) => Ok(Settled::AlreadySettled),
        Ok(SettleOutcome::LeaseLost) => Ok(Settled::LeaseLost),
        Ok(SettleOutcome::InvalidLease) => Err(Error::InvalidLease),
        Ok(SettleOutcome::Unspecified) | Err(_) => {
            Err(Error::Protocol("a settle without a known outcome"))
        }
    }
}

/// Commands on their way.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    commands: Vec<Command>,
    /// Why nobody empties it any more.
    closed: Option<Error>,
}

impl Outbox {
    pub(crate) fn push(&self, command: Command) {
        let mut state = self.lock();
        if let Some(error) = state.closed.clone() {
            drop(state);
            return command.resolve(Err(error));
        }
        let idle = state.commands.is_empty();
        state.commands.push(command);
        drop(state);
        if idle {
            self.wake.notify_one();
        }
    }

    /// Moves everything that queued up to the end of `commands`.
    pub(crate) fn take(&self, commands: &mut Vec<Command>) {
        commands.append(&mut self.lock().commands);
    }

    /// Completes when something queued up, or `wake` was called, since the last time.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Fails what is in it, and all that comes after.
    pub(crate) fn close(&self, error: &Error) {
        let mut state = self.lock();
        state.closed.get_or_insert_with(|| error.clone());
        let commands = std::mem::take(&mut state.commands);
        drop(state);
        for command in commands {
            command.resolve(Err(error.clone()));
        }
    }

    /// Guards short, await-free sections; nothing in them can leave the state half changed.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
