//! A queue with a clock of its own, for tests that tell a short story.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::event::Event;
use crate::id::{ItemId, SessionId};
use crate::lease::{LeasedRun, Want};
use crate::outcome::{Outcome, OutcomeRun};
use crate::publish::{Admit, NewItem, ProducerRef, Publish, Published};
use crate::queue::Queue;
use crate::reject::Reject;
use crate::settle::{Nack, NackKind};
use crate::time::Timestamp;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) struct Story {
    pub(crate) queue: Queue,
    pub(crate) now: Timestamp,
    pub(crate) events: Vec<Event>,
}

impl Story {
    pub(crate) fn new(config: Config) -> Self {
        let now = Timestamp(1_700_000_000_000_000_000);
        Self {
            queue: Queue::new(config),
            now,
            events: Vec::new(),
        }
    }

    pub(crate) fn wait(&mut self, duration: Duration) {
        self.now = self.now.saturating_add(duration);
    }

    pub(crate) fn tick(&mut self) {
        self.queue.tick(self.now, 7, &mut self.events);
    }

    pub(crate) fn publish(
        &mut self,
        producer: Option<(&str, u64)>,
        items: &[NewItem],
    ) -> Result<Published, Reject> {
        let producer = producer.map(|(id, first_sequence)| ProducerRef { id, first_sequence });
        let publish = Publish {
            producer,
            items,
            admit: Admit::All,
            origin: None,
        };
        self.queue
            .handle_publish(self.now, publish, &mut self.events)
    }

    /// So many new items of 10 bytes; returns the id of the first.
    pub(crate) fn add(&mut self, count: u32) -> ItemId {
        let published = self.publish(None, &plain(count)).unwrap();
        published.runs[0].first.unwrap()
    }

    pub(crate) fn open(&mut self) -> SessionId {
        self.queue
            .open_session(self.now, "consumer".into(), &mut self.events)
    }

    pub(crate) fn lease(&mut self, session: SessionId, items: u32) -> Vec<LeasedRun> {
        let want = Want {
            items,
            ..Want::default()
        };
        self.queue
            .handle_lease(self.now, session, want, &mut self.events)
    }

    pub(crate) fn ack(&mut self, session: SessionId, first: u64, last: u64) -> Vec<OutcomeRun> {
        self.queue
            .handle_ack(self.now, session, first, last, &mut self.events)
    }

    pub(crate) fn nack(&mut self, session: SessionId, seq: u64, kind: NackKind, error: &str) {
        let nack = Nack {
            kind,
            error: Arc::from(error),
            random: 7,
        };
        let outcomes = self
            .queue
            .handle_nack(self.now, session, seq, seq, nack, &mut self.events);
        assert_eq!(outcomes, [outcome(seq, seq, Outcome::Ok)]);
    }
}

pub(crate) fn plain(count: u32) -> Vec<NewItem> {
    (0..count)
        .map(|index| NewItem {
            index,
            size: 10,
            ..NewItem::default()
        })
        .collect()
}

pub(crate) const fn outcome(first: u64, last: u64, outcome: Outcome) -> OutcomeRun {
    OutcomeRun {
        first,
        last,
        outcome,
    }
}
