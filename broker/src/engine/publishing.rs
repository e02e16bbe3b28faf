//! Publishing: admits items to the queue, and parks the batches of streams while it is full.
//!
//! Parked batches are admitted in the order in which they came, each as far as there is room, so that one large batch
//! cannot wait for ever; unary publishes never overtake them. What is parked is bounded by each stream's window, and
//! goes when its stream goes. A draining queue says nothing to streams of what it did not take: their clients send it
//! again elsewhere.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use baton_ledger::party::Shift;
use baton_queue::{self as queue, ProducerRef, Published, PublishedRun, Reject, Timestamp};
use tokio::sync::oneshot;

use super::actor::{Effect, QueueActor};
use super::bodies::Bodies;
use super::request::{Fate, Publish, PublishOutput, PublishPiece, PublishReply, Stored};
use crate::error::Error;
use crate::limits::{CLIENTS_PER_QUEUE_MAX, COMMIT_BYTES};

/// What an item costs a turn beside its bytes, so that empty ones are not free.
const ITEM_COST_BYTES: usize = 32;
/// How often parked batches are looked at for clients that left.
const SWEEP_INTERVAL: Duration = Duration::from_millis(100);

/// Batches that wait for room.
#[derive(Debug, Default)]
pub(super) struct Parked {
    batches: VecDeque<Admission>,
    swept_at: Timestamp,
}

impl Parked {
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    fn sweep(&mut self, now: Timestamp) {
        if now.saturating_since(self.swept_at) >= SWEEP_INTERVAL {
            self.swept_at = now;
            self.batches.retain(|batch| !batch.publish.reply.is_gone());
        }
    }
}

/// A publish and how far it has come.
#[derive(Debug)]
struct Admission {
    publish: Publish,
    /// Items whose fate is known.
    admitted: usize,
    /// Items that the stream was told of, or is owed to be.
    told: usize,
    /// What became of those between; positions count from `told`.
    untold: Vec<Fate>,
}

impl Admission {
    fn new(publish: Publish) -> Self {
        Self {
            publish,
            admitted: 0,
            told: 0,
            untold: Vec::new(),
        }
    }

    fn took(&mut self, published: Published) {
        let shift = self.admitted - self.told;
        self.untold.extend(published.runs.into_iter().map(|run| {
            Fate::Stored(PublishedRun {
                position: run.position + shift,
                ..run
            })
        }));
        self.admitted += published.admitted;
    }

    fn refused(&mut self, count: usize, error: Error) {
        let position = self.admitted - self.told;
        self.untold.push(Fate::Refused {
            position,
            count,
            error,
        });
        self.admitted += count;
    }

    fn is_whole(&self) -> bool {
        self.admitted == self.publish.items.len()
    }

    fn is_streamed(&self) -> bool {
        matches!(self.publish.reply, PublishReply::Stream { .. })
    }
}

impl QueueActor {
    pub(super) fn open_producer(&mut self, reply: oneshot::Sender<Result<(), Error>>) {
        let room = (self.producers as usize) < CLIENTS_PER_QUEUE_MAX;
        let opened = room.then_some(()).ok_or(Error::Limit {
            what: "producers of one queue",
            max: CLIENTS_PER_QUEUE_MAX,
        });
        let counts = opened.is_ok();
        if reply.send(opened).is_ok() && counts {
            self.producers += 1;
        }
    }

    pub(super) fn publish(&mut self, publish: Publish) {
        let mut admission = Admission::new(publish);
        if self.shared.is_draining() {
            return self.abandon(admission, Error::Draining);
        }
        if self.parked.is_empty() {
            if !self.admit(&mut admission) {
                return self.park(admission);
            }
            self.confirm(admission);
        } else if admission.is_streamed() {
            self.park(admission);
        } else {
            self.abandon(admission, Error::QueueFull);
        }
    }

    /// Admits what waited, in order, as far as there is room now.
    pub(super) fn admit_parked(&mut self) {
        if self.parked.is_empty() {
            return;
        }
        self.parked.sweep(self.now);
        while let Some(mut admission) = self.parked.batches.pop_front() {
            if self.turn_bytes >= COMMIT_BYTES {
                self.parked.batches.push_front(admission);
                return self.wake.notify_one();
            }
            if admission.publish.reply.is_gone() {
                continue;
            }
            if self.shared.is_draining() {
                self.abandon(admission, Error::Draining);
            } else if self.admit(&mut admission) {
                self.confirm(admission);
            } else {
                self.confirm_piece(&mut admission);
                self.parked.batches.push_front(admission);
                return;
            }
        }
    }

    fn park(&mut self, mut admission: Admission) {
        self.confirm_piece(&mut admission);
        if let PublishReply::Stream { outbox, .. } = &admission.publish.reply {
            // Only a courtesy: a client that reads this late has other worries.
            drop(outbox.try_send(PublishOutput::Full));
        }
        self.parked.batches.push_back(admission);
    }

    /// Takes in as many items as may be. False: the rest waits for room.
    fn admit(&mut self, admission: &mut Admission) -> bool {
        while !admission.is_whole() {
            let refusal = match self.offer(admission) {
                Ok(published) => {
                    self.store(admission, &published.runs);
                    let blocked = published.blocked;
                    admission.took(published);
                    let Some(refusal) = blocked else { continue };
                    refusal.into()
                }
                Err(refusal) => refusal,
            };
            match refusal {
                Error::QueueFull | Error::MemoryFull | Error::DiskFull
                    if admission.is_streamed() =>
                {
                    return false;
                }
                // A fault of one item; its neighbours on the stream may be somebody else's.
                Error::BatchNeverFits | Error::DedupFull { .. } | Error::SequenceForgotten
                    if admission.is_streamed() =>
                {
                    admission.refused(1, refusal);
                }
                refusal => {
                    admission.refused(admission.publish.items.len() - admission.admitted, refusal);
                }
            }
        }
        true
    }

    fn offer(&mut self, admission: &Admission) -> Result<Published, Error> {
        // A closed queue has an answer that does not depend on room.
        if !self.queue.config().closed {
            self.has_room()?;
        }
        let publish = &admission.publish;
        let producer = publish.producer.as_ref();
        let publish = queue::Publish {
            producer: producer.map(|(id, first_sequence)| ProducerRef {
                id,
                first_sequence: *first_sequence,
            }),
            items: &publish.items[admission.admitted..],
            admit: publish.reply.admit(),
            origin: publish.sending.clock.map(origin),
        };
        let published = self
            .queue
            .handle_publish(self.now, publish, &mut self.events);
        published.map_err(Error::from)
    }

    fn has_room(&self) -> Result<(), Error> {
        // Bodies that are on disk too take memory only where there is some.
        if matches!(self.bodies, Bodies::Memory(_)) && self.shared.stored_bytes.room() == 0 {
            return Err(Error::MemoryFull);
        }
        self.commits.has_room().then_some(()).ok_or(Error::DiskFull)
    }

    fn store(&mut self, admission: &Admission, runs: &[PublishedRun]) {
        for run in runs.iter().filter(|run| !run.duplicate) {
            let first = run.first.expect("a new item has an id").0;
            let at = admission.admitted + run.position;
            let bodies = &admission.publish.bodies[at..at + run.count as usize];
            for (id, body) in (first..).zip(bodies) {
                self.turn_bytes += body.len() + ITEM_COST_BYTES;
                self.bodies.insert(id, body);
            }
            self.account_arrival(first, (at, run.count), &admission.publish.sending);
        }
        self.count_bytes();
    }

    /// The last answer to a publish whose fate is known.
    fn confirm(&mut self, admission: Admission) {
        let durability = self.durability();
        let to = admission.admitted;
        match admission.publish.reply {
            PublishReply::Once(reply) => match stored(admission.untold) {
                Ok(runs) => self.owe(Effect::Stored(reply, Stored { runs, durability })),
                // Nothing was stored, so nothing has to be durable first.
                Err(error) => drop(reply.send(Err(error))),
            },
            PublishReply::Stream { permit, batch, .. } => {
                let piece = PublishPiece {
                    batch,
                    from: admission.told,
                    to,
                    fates: admission.untold,
                    durability,
                    durable_ns: 0,
                };
                self.owe(Effect::Piece(permit, piece));
            }
        }
    }

    /// An answer to the first part of a batch, if the stream has a place to spare; otherwise a later one tells of it.
    fn confirm_piece(&mut self, admission: &mut Admission) {
        let PublishReply::Stream { outbox, batch, .. } = &admission.publish.reply else {
            return;
        };
        if admission.untold.is_empty() {
            return;
        }
        let Ok(permit) = outbox.clone().try_reserve_owned() else {
            return;
        };
        let piece = PublishPiece {
            batch: Arc::clone(batch),
            from: admission.told,
            to: admission.admitted,
            fates: std::mem::take(&mut admission.untold),
            durability: self.durability(),
            durable_ns: 0,
        };
        admission.told = admission.admitted;
        self.owe(Effect::Piece(permit, piece));
    }

    /// Takes no more of a publish. A stream is told of what was taken and of nothing else, so that what was not is sent
    /// again; a unary call took nothing and is told why.
    fn abandon(&mut self, admission: Admission, error: Error) {
        match admission.publish.reply {
            PublishReply::Once(reply) => drop(reply.send(Err(error))),
            PublishReply::Stream { .. } if admission.untold.is_empty() => {}
            PublishReply::Stream { .. } => self.confirm(admission),
        }
    }
}

/// What a unary publish, taken whole or not at all, came to.
fn stored(fates: Vec<Fate>) -> Result<Vec<PublishedRun>, Error> {
    let runs = fates.into_iter().map(|fate| match fate {
        Fate::Stored(run) => Ok(run),
        Fate::Refused { error, .. } => Err(error),
    });
    runs.collect()
}

/// As it is kept with the items.
fn origin(clock: Shift) -> queue::Origin {
    queue::Origin {
        shift_ns: clock.ns,
        error_ns: clock.error_ns,
    }
}

impl From<Reject> for Error {
    fn from(reject: Reject) -> Self {
        match reject {
            Reject::Closed => Self::QueueClosed,
            Reject::Full { .. } => Self::QueueFull,
            Reject::NeverFits { .. } => Self::BatchNeverFits,
            Reject::DedupFull { retry_after } => Self::DedupFull { retry_after },
            Reject::SequenceForgotten { .. } => Self::SequenceForgotten,
            Reject::SequenceInvalid => {
                Self::invalid("first_sequence", "sequences ascend from 1 and fit 64 bits")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use baton_queue::{ItemId, NewItem};

    use super::super::request::Sending;

    use super::*;

    fn admission(items: usize) -> Admission {
        Admission::new(Publish {
            producer: None,
            items: vec![NewItem::default(); items],
            bodies: vec![],
            sending: Sending::default(),
            reply: PublishReply::Once(oneshot::channel().0),
        })
    }

    fn run(count: u32, first: u64) -> Published {
        let run = PublishedRun {
            position: 0,
            count,
            first: Some(ItemId(first)),
            duplicate: false,
        };
        Published {
            admitted: count as usize,
            runs: vec![run],
            blocked: None,
        }
    }

    fn positions(admission: &Admission) -> Vec<usize> {
        let position = |fate: &Fate| match fate {
            Fate::Stored(run) => run.position,
            Fate::Refused { position, .. } => *position,
        };
        admission.untold.iter().map(position).collect()
    }

    #[test]
    fn what_was_not_told_yet_counts_on_from_what_was() {
        let mut admission = admission(10);
        admission.took(run(2, 1));
        admission.refused(1, Error::BatchNeverFits);
        admission.took(run(3, 3));
        assert_eq!(positions(&admission), [0, 2, 3]);
        admission.told = admission.admitted;
        admission.untold.clear();
        admission.took(run(1, 6));
        assert_eq!((positions(&admission), admission.admitted), (vec![0], 7));
        assert!(!admission.is_whole());
    }
}
