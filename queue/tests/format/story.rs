//! A queue in which everything is that a snapshot can hold.

use std::time::Duration;

use baton_queue::{
    Admit, Config, Event, ItemId, Nack, NackKind, NewItem, Origin, ProducerRef, Publish, Queue,
    RedriveWhat, SessionId, Timestamp, Want,
};
use bytes::Bytes;

pub(crate) const START: Timestamp = Timestamp(1_700_000_000_000_000_000);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn items(count: u32) -> Vec<NewItem> {
    let item = |index| NewItem {
        index,
        size: 10,
        ..NewItem::default()
    };
    (0..count).map(item).collect()
}

pub(crate) struct Story {
    pub(crate) queue: Queue,
    pub(crate) now: Timestamp,
    pub(crate) events: Vec<Event>,
    /// Of what is published.
    pub(crate) origin: Option<Origin>,
}

impl Story {
    pub(crate) fn new() -> Self {
        let config = Config {
            max_attempts: 3,
            ..Config::default()
        };
        Self {
            queue: Queue::new(config),
            now: START,
            events: Vec::new(),
            origin: None,
        }
    }

    pub(crate) fn wait(&mut self, duration: Duration) {
        self.now = self.now.saturating_add(duration);
    }

    pub(crate) fn publish(&mut self, producer: Option<(&str, u64)>, items: &[NewItem]) {
        let producer = producer.map(|(id, first_sequence)| ProducerRef { id, first_sequence });
        let publish = Publish {
            producer,
            items,
            admit: Admit::All,
            origin: self.origin,
        };
        let published = self
            .queue
            .handle_publish(self.now, publish, &mut self.events);
        published.expect("there is room");
    }

    pub(crate) fn lease(&mut self, session: SessionId, items: u32) {
        let consumer = (session == SessionId::UNARY).then(|| "by-hand".into());
        let want = Want {
            items,
            consumer,
            ..Want::default()
        };
        self.queue
            .handle_lease(self.now, session, want, &mut self.events);
    }

    pub(crate) fn nack(&mut self, session: SessionId, seqs: (u64, u64), kind: NackKind) {
        let nack = Nack {
            kind,
            error: "no route to host".into(),
            random: 7,
        };
        let (first, last) = seqs;
        self.queue
            .handle_nack(self.now, session, first, last, nack, &mut self.events);
    }

    pub(crate) fn tick(&mut self) {
        self.queue.tick(self.now, 7, &mut self.events);
    }

    pub(crate) fn snapshot(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.queue.snapshot(&mut bytes);
        bytes
    }

    pub(crate) fn open(&mut self, consumer: &str) -> SessionId {
        self.queue
            .open_session(self.now, consumer.into(), &mut self.events)
    }

    pub(crate) fn close(&mut self, session: SessionId) {
        self.queue
            .close_session(self.now, session, 5 * SECOND, &mut self.events);
    }
}

/// Items in every state, in runs of every kind.
pub(crate) fn everything() -> Story {
    let mut story = Story::new();
    publish_all_kinds(&mut story);
    finish(&mut story, None);
    story
}

/// The same with items whose producer's clock is known, and others.
pub(crate) fn everything_of_version_2() -> Story {
    let mut story = Story::new();
    let origin = |error_ns| {
        Some(Origin {
            shift_ns: u64::MAX - 5,
            error_ns,
        })
    };
    story.origin = origin(0);
    publish_all_kinds(&mut story);
    finish(&mut story, origin(42_000));
    story
}

fn finish(story: &mut Story, last_origin: Option<Origin>) {
    end_some(story);
    fail_some(story);
    story.wait(SECOND);
    story.publish(Some(("producer-1", 10)), &items(3));
    let gone = story.open("gone");
    let here = story.open("worker-2");
    story.lease(gone, 2);
    story.close(gone);
    story.lease(here, 6);
    story.lease(SessionId::UNARY, 1);
    let _forgotten_at_once = story.open("idle");
    story.origin = last_origin;
    story.publish(None, &items(100));
}

fn publish_all_kinds(story: &mut Story) {
    story.publish(Some(("producer-1", 1)), &items(20));
    story.publish(Some(("producer-2", 5)), &items(2));
    for size in [1, 300, 70_000] {
        story.wait(SECOND);
        let expires_at = Some(story.now.saturating_add(3600 * SECOND));
        let item = NewItem {
            size,
            expires_at,
            dedup_key: Some(Bytes::from(format!("key-{size}"))),
            ..NewItem::default()
        };
        story.publish(None, &[item]);
    }
    let due = Some(story.now.saturating_add(60 * SECOND));
    let later = NewItem {
        due,
        ..NewItem::default()
    };
    story.publish(
        None,
        &[
            later.clone(),
            NewItem {
                index: 1,
                size: 9,
                ..later
            },
        ],
    );
    story.publish(Some(("producer-1", 18)), &items(2));
}

fn end_some(story: &mut Story) {
    let expired = NewItem {
        expires_at: Some(story.now),
        ..NewItem::default()
    };
    story.publish(None, &[expired]);
    story.tick();
    story
        .queue
        .cancel(story.now, &[ItemId(3), ItemId(4)], &mut story.events);
}

fn fail_some(story: &mut Story) {
    let session = story.open("worker-1");
    story.lease(session, 12);
    story
        .queue
        .handle_ack(story.now, session, 1, 2, &mut story.events);
    story.nack(session, (3, 6), NackKind::Retry { delay: None });
    story.nack(session, (7, 9), NackKind::DeadLetter);
    story.nack(session, (10, 10), NackKind::Unstarted);
    let at_once = NackKind::Retry {
        delay: Some(Duration::ZERO),
    };
    story.nack(session, (11, 11), at_once);
    story
        .queue
        .redrive(story.now, RedriveWhat::Oldest(Some(1)), &mut story.events);
    let (first, _) = story.queue.dead_letters(ItemId::NONE, 1);
    story.queue.discard(story.now, &first, &mut story.events);
    story.wait(31 * SECOND);
    story.tick();
    story.close(session);
    let ended = story.open("ended");
    story.close(ended);
}
