//! A producer of the simulation: publishes batches under sequences, and the same again until it knows what became of them.

use std::sync::Arc;
use std::time::Duration;

use baton_proto::v1::Durability;
use baton_queue::{NewItem, QueueName, Timestamp};
use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::dice::Dice;
use super::oracle::{Oracle, identity_body};
use crate::engine::request::{Publish, PublishReply, Request, Sending, Stored};
use crate::error::Error;

pub(super) struct Producer {
    id: Arc<str>,
    pub(super) queue: QueueName,
    next_sequence: u64,
    batch: Option<Batch>,
}

struct Batch {
    first_sequence: u64,
    items: Vec<Spec>,
    answer: Option<oneshot::Receiver<Result<Stored, Error>>>,
}

#[derive(Clone)]
struct Spec {
    identity: u64,
    body: Bytes,
    due: Option<Timestamp>,
    key: Option<Bytes>,
}

impl Producer {
    pub(super) fn new(number: usize, queue: QueueName) -> Self {
        Self {
            id: format!("producer-{number}").into(),
            queue,
            next_sequence: 1,
            batch: None,
        }
    }

    /// Has it heard of all that it published?
    pub(super) fn is_idle(&self) -> bool {
        self.batch.is_none()
    }

    /// Its broker is gone, and with it all answers.
    pub(super) fn lose(&mut self) {
        if let Some(batch) = &mut self.batch {
            batch.answer = None;
        }
    }

    /// A request to send, if it has one. With `news` it may be a new batch.
    pub(super) fn request(
        &mut self,
        dice: &mut Dice,
        now: Timestamp,
        oracle: &mut Oracle,
        news: bool,
    ) -> Option<Request> {
        if self.batch.is_none() && news {
            self.batch = Some(self.new_batch(dice, now, oracle));
        }
        let batch = self.batch.as_mut().filter(|batch| batch.answer.is_none())?;
        let (reply, answer) = oneshot::channel();
        batch.answer = Some(answer);
        let items = (0..).zip(&batch.items).map(|(index, spec)| NewItem {
            index,
            size: u32::try_from(spec.body.len()).expect("small"),
            due: spec.due,
            expires_at: None,
            dedup_key: spec.key.clone(),
        });
        Some(Request::Publish(Publish {
            producer: Some((Arc::clone(&self.id), batch.first_sequence)),
            items: items.collect(),
            bodies: batch.items.iter().map(|spec| spec.body.clone()).collect(),
            sending: Sending::default(),
            reply: PublishReply::Once(reply),
        }))
    }

    fn new_batch(&mut self, dice: &mut Dice, now: Timestamp, oracle: &mut Oracle) -> Batch {
        let count = match dice.below(10) {
            0 => 200,
            1..4 => 30,
            _ => 1 + dice.below(4),
        };
        let items: Vec<Spec> = (0..count)
            .map(|_| spec(count > 100, dice, now, &self.queue, oracle))
            .collect();
        let first_sequence = self.next_sequence;
        self.next_sequence += count;
        Batch {
            first_sequence,
            items,
            answer: None,
        }
    }

    /// Takes the answer, if there is one.
    pub(super) fn listen(&mut self, oracle: &mut Oracle) -> Option<String> {
        let batch = self.batch.as_mut()?;
        let answer = match batch.answer.as_mut()?.try_recv() {
            Ok(answer) => answer,
            Err(TryRecvError::Empty) => return None,
            // The queue went away with the request.
            Err(TryRecvError::Closed) => Err(Error::OutcomeUnknown),
        };
        batch.answer = None;
        let told = format!(
            "{} {} of {}: ",
            self.id,
            batch.first_sequence,
            batch.items.len()
        );
        match answer {
            Ok(stored) => {
                assert_eq!(stored.durability, Durability::Fsynced);
                let ids = oracle_ids(&stored);
                assert_eq!(ids.len(), batch.items.len(), "every item has an answer");
                for (spec, (id, duplicate)) in batch.items.iter().zip(&ids) {
                    let keyed = spec.key.is_some();
                    oracle.confirmed(&self.queue, spec.identity, *id, *duplicate && keyed);
                }
                self.batch = None;
                Some(told + &format!("stored {ids:?}"))
            }
            Err(Error::QueueClosed | Error::QueueNotFound(_)) => {
                batch
                    .items
                    .iter()
                    .for_each(|spec| oracle.gave_up(spec.identity));
                self.batch = None;
                Some(told + "gave up")
            }
            Err(error) => Some(told + &format!("{:?}", error.code())),
        }
    }
}

fn oracle_ids(stored: &Stored) -> Vec<(Option<u64>, bool)> {
    let ids = stored.runs.iter().flat_map(|run| {
        let first = run.first.map(|first| first.0);
        (0..u64::from(run.count))
            .map(move |offset| (first.map(|first| first + offset), run.duplicate))
    });
    ids.collect()
}

fn spec(
    many: bool,
    dice: &mut Dice,
    now: Timestamp,
    queue: &QueueName,
    oracle: &mut Oracle,
) -> Spec {
    let size = match dice.below(40) {
        0 if !many => 70_000,
        0..12 => 1500,
        _ => dice.below(60),
    };
    let due = dice
        .one_in(12)
        .then(|| now.saturating_add(Duration::from_millis(dice.below(20_000))));
    let key = dice
        .one_in(10)
        .then(|| Bytes::from(format!("key-{}", dice.below(50))));
    let identity = oracle.publishes(queue, due.is_some(), key.is_some());
    Spec {
        identity,
        body: identity_body(identity, size),
        due,
        key,
    }
}
