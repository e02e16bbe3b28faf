//! Publishing by unary call, safe to retry.
//!
//! Owns lanes: each is a producer id of its own with one call under way at a time, so its sequences reach the broker in
//! order whatever else goes on. A lane is made when all others are busy, and used again after its call: there are never
//! more than calls at the same time. Used by `Producer::try_publish` and `Queue::publish_one`.

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use baton_proto::opaque::{PublishRequest, PublishResponse};
use baton_proto::v1::{Durability, ErrorCode};
use bytes::Bytes;
use tonic::Code;

use crate::context::{Context, random_name};
use crate::error::{Error, refusal};
use crate::producer::Receipt;
use crate::telemetry::{Flight, Outgoing, Scope};

#[derive(Debug)]
pub(crate) struct Lanes {
    free: Mutex<Vec<Lane>>,
}

#[derive(Debug)]
struct Lane {
    producer_id: String,
    next_sequence: u64,
}

/// A lane in use; free again when dropped. A sequence whose call was given up is not used again.
struct Busy<'a> {
    lanes: &'a Lanes,
    lane: Option<Lane>,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        if let Some(lane) = self.lane.take() {
            self.lanes.lock().push(lane);
        }
    }
}

impl Lanes {
    pub(crate) fn new() -> Self {
        Self {
            free: Mutex::default(),
        }
    }

    fn enter(&self) -> (Busy<'_>, String, u64) {
        let free = self.lock().pop();
        let mut lane = free.unwrap_or_else(|| Lane {
            producer_id: random_name("u"),
            next_sequence: 1,
        });
        let sequence = lane.next_sequence;
        lane.next_sequence += 1;
        let producer_id = lane.producer_id.clone();
        let busy = Busy {
            lanes: self,
            lane: Some(lane),
        };
        (busy, producer_id, sequence)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Lane>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What to do where the broker has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WhenFull {
    Refuse,
    Wait,
}

/// One item to one queue.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) context: &'a Context,
    pub(crate) queue: &'a str,
    pub(crate) scope: &'a Scope,
    pub(crate) when_full: WhenFull,
}

impl Call<'_> {
    /// Retries with the same sequence until the outcome is known.
    pub(crate) async fn publish(
        &self,
        lanes: &Lanes,
        mut item: Outgoing,
    ) -> Result<Receipt, Error> {
        let mut flight = Flight::new(1);
        let published = self.publish_bytes(lanes, item.bytes.clone()).await;
        let (item_id, error) = match &published {
            Ok(receipt) => (receipt.item_id, None),
            Err(error) => (0, Some(error)),
        };
        if let Some(created) = &item.created {
            flight.note(created, item_id);
        }
        let ended_at = SystemTime::now();
        flight.end(self.scope, ended_at, error);
        item.end(ended_at, error.map_or(Ok(item_id), Err));
        self.scope.sent(1, error);
        published
    }

    async fn publish_bytes(&self, lanes: &Lanes, item: Bytes) -> Result<Receipt, Error> {
        let (_busy, producer_id, first_sequence) = lanes.enter();
        let request = PublishRequest {
            queue: self.queue.to_owned(),
            producer_id,
            first_sequence,
            items: vec![item],
        };
        let mut patience = self.context.patience();
        loop {
            let error = match self.context.calls().publish(request.clone()).await {
                Ok(response) => {
                    patience.answered();
                    return receipt(response.get_ref());
                }
                Err(status) => Error::from(status),
            };
            if !error.is_retryable() || self.is_refusal(&error) {
                return Err(plain(error));
            }
            patience.failed(error).await?;
        }
    }

    fn is_refusal(&self, error: &Error) -> bool {
        let exhausted = matches!(error, Error::Rpc(s) if s.code() == Code::ResourceExhausted);
        exhausted && self.when_full == WhenFull::Refuse
    }
}

fn plain(error: Error) -> Error {
    match error.code() {
        Some(ErrorCode::QueueFull) => Error::QueueFull,
        _ => error,
    }
}

fn receipt(response: &PublishResponse) -> Result<Receipt, Error> {
    let missing = Error::Protocol("a publish without a result");
    let result = response.results.first().ok_or(missing)?;
    if result.error != 0 {
        return Err(refusal(result.error, &result.error_message));
    }
    Ok(Receipt {
        item_id: result.item_id,
        duplicate: result.duplicate,
        durability: Durability::try_from(response.durability).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_counts_on_and_is_never_shared() {
        let lanes = Lanes::new();
        let (first, id, sequence) = lanes.enter();
        let (_second, other, _) = lanes.enter();
        assert_ne!(id, other);
        assert_eq!(sequence, 1);
        drop(first);
        let (_third, again, sequence) = lanes.enter();
        assert_eq!((again, sequence), (id, 2));
    }
}
