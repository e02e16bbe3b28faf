//! Handlers: a function for each delivery, and what its outcome means.
//!
//! Owns `Consumer::for_each`.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::Either;
use futures_util::stream::FuturesUnordered;
use opentelemetry::context::FutureExt as _;

use crate::consumer::Consumer;
use crate::delivery::{Delivery, InHand};
use crate::error::Error;
use crate::settle::{Action, Nack};

/// Why a handler failed. Made from anything that can be displayed, which means "try again":
///
/// ```
/// use baton_client::HandlerError;
///
/// fn handle(text: &str) -> Result<(), HandlerError> {
///     let _number: u32 = text.parse()?;
///     Ok(())
/// }
/// assert!(matches!(handle("x"), Err(HandlerError::Retry { .. })));
/// ```
// Displays nothing itself, or the conversion from everything that does would meet its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandlerError {
    /// Another attempt may help.
    Retry {
        /// Before it; `None`: the queue's back-off.
        delay: Option<Duration>,
        /// Kept with the item.
        error: String,
    },
    /// No further attempt can help.
    DeadLetter {
        /// Kept with the item.
        error: String,
    },
}

impl HandlerError {
    /// Make it a dead letter.
    pub fn dead_letter(error: impl Display) -> Self {
        Self::DeadLetter {
            error: error.to_string(),
        }
    }

    /// Try again after this long.
    pub fn retry_in(delay: Duration, error: impl Display) -> Self {
        Self::Retry {
            delay: Some(delay),
            error: error.to_string(),
        }
    }
}

impl<E: Display> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self::Retry {
            delay: None,
            error: error.to_string(),
        }
    }
}

impl From<HandlerError> for Action {
    fn from(error: HandlerError) -> Self {
        let nack = match error {
            HandlerError::DeadLetter { error } => Nack::dead_letter(error),
            HandlerError::Retry { delay: None, error } => Nack::retry().error(error),
            HandlerError::Retry {
                delay: Some(delay),
                error,
            } => Nack::retry().delay(delay).error(error),
        };
        nack.into()
    }
}

impl Consumer {
    /// Runs a handler for each delivery, up to `concurrency` of them at a time (at least 1), on the caller's task: they
    /// take turns, so a handler that computes for long should hand that to a thread. Ok is an ack, an error a nack; a
    /// handler may also settle the delivery itself. It runs in the delivery's [trace context](Delivery::trace_context). Returns when the stream has ended and the last handler is done.
    ///
    /// Cancel-safe in this sense: dropped, the deliveries whose handlers were running are nacked as "dropped unsettled".
    ///
    /// # Errors
    ///
    /// What the stream ended with. Failures of a handler are nacks and no errors here.
    pub async fn for_each<F, Fut>(&mut self, concurrency: usize, handler: F) -> Result<(), Error>
    where
        F: Fn(Delivery) -> Fut,
        Fut: Future<Output = Result<(), HandlerError>>,
    {
        let mut running = FuturesUnordered::new();
        let mut ended = None;
        while ended.is_none() || !running.is_empty() {
            let may_take = ended.is_none() && running.len() < concurrency.max(1);
            let next = match may_take {
                true => Either::Left(self.next()),
                false => Either::Right(std::future::pending()),
            };
            tokio::select! {
                Some(()) = running.next() => {}
                delivery = next => match delivery {
                    Some(Ok(delivery)) => running.push(run(&handler, delivery)),
                    Some(Err(error)) => ended = Some(Err(error)),
                    None => ended = Some(Ok(())),
                },
            }
        }
        ended.unwrap_or(Ok(()))
    }
}

async fn run<F, Fut>(handler: &F, delivery: Delivery)
where
    F: Fn(Delivery) -> Fut,
    Fut: Future<Output = Result<(), HandlerError>>,
{
    delivery.start();
    let in_hand: Arc<InHand> = Arc::clone(&delivery.in_hand);
    let outcome = match in_hand.trace_context() {
        None => handler(delivery).await,
        Some(context) => {
            // A handler may do something before it returns its future.
            let work = {
                let _attached = context.clone().attach();
                handler(delivery)
            };
            work.with_context(context.clone()).await
        }
    };
    if !in_hand.is_settled() {
        let action = outcome.map_or_else(Action::from, |()| Action::Ack);
        drop(in_hand.settle(action));
    }
}
