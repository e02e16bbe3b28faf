//! What clients were promised, and whether it was kept. Everything it knows it has from what clients saw.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use baton_queue::{Outcome, QueueName, Timestamp};
use bytes::Bytes;

use super::consumer::LEASE;
use crate::engine::request::Delivered;

/// What a consumer wants to become of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Acked,
    Failed,
    GivenBack,
    Rejected,
    Extended,
    /// It does nothing; the lease runs out.
    Forgotten,
    /// A settle that comes too late.
    Stale,
    /// By the token of an earlier broker's lease.
    OldLife,
}

/// One thing that a producer wants done.
#[derive(Debug)]
struct Identity {
    queue: QueueName,
    delayed: bool,
    keyed: bool,
    id: Option<u64>,
    confirmed: bool,
    /// Its producer stopped asking: it may be there or not.
    given_up: bool,
}

/// One item that a consumer saw.
#[derive(Debug, Default)]
struct Item {
    identity: u64,
    attempt: u32,
    given_back: bool,
    /// Until then nobody else may have it.
    leased_until: Option<Timestamp>,
    acked: bool,
    perhaps_acked: bool,
    rejected: bool,
}

pub(super) struct Oracle {
    clock: &'static AtomicU64,
    identities: BTreeMap<u64, Identity>,
    items: BTreeMap<(QueueName, u64), Item>,
    /// By stream: the last undelayed item that was delivered for the first time.
    newest: BTreeMap<u64, u64>,
    /// Items came back that nobody saw, and are delivered for the first time once more.
    disordered: BTreeSet<QueueName>,
    deleted: BTreeSet<QueueName>,
}

/// A body that says whose it is.
pub(super) fn identity_body(identity: u64, size: u64) -> Bytes {
    let filler = (0..size).map(|at| b'a' + u8::try_from((identity + at) % 26).expect("a letter"));
    let text = format!("{identity:012}:").into_bytes();
    text.into_iter().chain(filler).collect::<Vec<u8>>().into()
}

fn identity_of(body: &Bytes) -> u64 {
    let number = body
        .get(..12)
        .and_then(|text| std::str::from_utf8(text).ok());
    let identity = number
        .and_then(|text| text.parse().ok())
        .expect("a body of ours");
    assert_eq!(
        *body,
        identity_body(identity, body.len() as u64 - 13),
        "a body was changed"
    );
    identity
}

impl Oracle {
    pub(super) fn new(clock: &'static AtomicU64) -> Self {
        Self {
            clock,
            identities: BTreeMap::new(),
            items: BTreeMap::new(),
            newest: BTreeMap::new(),
            disordered: BTreeSet::new(),
            deleted: BTreeSet::new(),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp(self.clock.load(Ordering::Relaxed))
    }

    pub(super) fn publishes(&mut self, queue: &QueueName, delayed: bool, keyed: bool) -> u64 {
        let number = self.identities.len() as u64 + 1;
        let queue = queue.clone();
        let identity = Identity {
            queue,
            delayed,
            keyed,
            id: None,
            confirmed: false,
            given_up: false,
        };
        self.identities.insert(number, identity);
        number
    }

    /// The producer was told that it is stored as item `id`; `repeated`: perhaps as somebody else's of the same key.
    pub(super) fn confirmed(
        &mut self,
        queue: &QueueName,
        number: u64,
        id: Option<u64>,
        repeated: bool,
    ) {
        let identity = self.identities.get_mut(&number).expect("it was published");
        assert_eq!(identity.queue, *queue);
        if repeated && identity.id.is_none() {
            // The item of that key stands for it.
            identity.given_up = true;
            return;
        }
        identity.confirmed = true;
        if let (Some(before), Some(now)) = (identity.id, id) {
            assert_eq!(before, now, "{number} is two items");
        }
        identity.id = identity.id.or(id);
    }

    pub(super) fn gave_up(&mut self, number: u64) {
        self.identities
            .get_mut(&number)
            .expect("it was published")
            .given_up = true;
    }

    pub(super) fn delivered(
        &mut self,
        queue: &QueueName,
        delivered: &Delivered,
        (stream, asked_at): (u64, Timestamp),
    ) {
        let number = identity_of(&delivered.body);
        let id = delivered.item.0;
        let identity = self
            .identities
            .get_mut(&number)
            .expect("nobody published it");
        assert_eq!(identity.queue, *queue, "{number} came out of another queue");
        if let Some(known) = identity.id {
            assert_eq!(known, id, "{number} is two items");
        }
        identity.id = Some(id);
        let now = Timestamp(self.clock.load(Ordering::Relaxed));
        let item = self.items.entry((queue.clone(), id)).or_default();
        assert!(
            item.identity == 0 || item.identity == number,
            "item {id} became another one"
        );
        assert!(!item.acked, "item {id} was acked for good and came again");
        let still = item.leased_until.is_some_and(|until| now < until);
        assert!(
            !still,
            "item {id} is leased to somebody else until {:?}",
            item.leased_until
        );
        let rises = delivered.attempt > item.attempt
            || (item.given_back && delivered.attempt == item.attempt);
        assert!(
            rises,
            "attempt {} after {} of item {id}",
            delivered.attempt, item.attempt
        );
        let first_time = item.identity == 0 && delivered.attempt == 1;
        *item = Item {
            identity: number,
            attempt: delivered.attempt,
            leased_until: Some(asked_at.saturating_add(LEASE)),
            given_back: false,
            ..*item
        };
        if first_time && !identity.delayed && !self.disordered.contains(queue) {
            let newest = self.newest.entry(stream).or_default();
            assert!(
                *newest < id,
                "item {id} was delivered after {newest}, which was published later"
            );
            *newest = id;
        }
    }

    fn item(&mut self, queue: &QueueName, id: u64) -> &mut Item {
        self.items
            .get_mut(&(queue.clone(), id))
            .expect("it was delivered")
    }

    /// A consumer asks for this; from here on somebody else may get the item, unless it is extended.
    pub(super) fn settles(&mut self, queue: &QueueName, id: u64, fate: Fate) {
        let item = self.item(queue, id);
        item.leased_until = None;
        item.given_back |= fate == Fate::GivenBack;
    }

    /// The connection of a consumer broke: its leases last for its grace.
    pub(super) fn grace_begins(&mut self, queue: &QueueName, items: impl Iterator<Item = u64>) {
        self.disordered.insert(queue.clone());
        for id in items {
            self.item(queue, id).leased_until = None;
        }
    }

    /// The consumer never heard what became of it.
    pub(super) fn perhaps(&mut self, queue: &QueueName, id: u64, fate: Fate) {
        let item = self.item(queue, id);
        item.leased_until = None;
        item.perhaps_acked |= fate == Fate::Acked || fate == Fate::Stale;
        item.rejected |= fate == Fate::Rejected;
        item.given_back |= fate == Fate::GivenBack;
    }

    /// The consumer heard what became of it.
    pub(super) fn settled(&mut self, queue: &QueueName, id: u64, fate: Fate, outcome: Outcome) {
        let item = self.item(queue, id);
        match (fate, outcome) {
            (Fate::OldLife, outcome) => {
                assert_eq!(
                    outcome,
                    Outcome::LeaseLost,
                    "a lease of an earlier life was honoured"
                );
            }
            (Fate::Acked, Outcome::Ok) => item.acked = true,
            (Fate::Rejected, Outcome::Ok) => item.rejected = true,
            // The lease had not run out yet, or the first ack came twice.
            (Fate::Stale, Outcome::Ok | Outcome::AlreadySettled) => item.perhaps_acked = true,
            _ => {}
        }
    }

    /// Nothing holds over from a broker that is gone; leases of before are not honoured.
    pub(super) fn broker_gone(&mut self) {
        self.items
            .values_mut()
            .for_each(|item| item.leased_until = None);
    }

    pub(super) fn deleted(&mut self, queue: &QueueName) {
        self.deleted.insert(queue.clone());
    }

    pub(super) fn is_deleted(&self, queue: &QueueName) -> bool {
        self.deleted.contains(queue)
    }

    /// Everything was consumed; `dead` are the dead letters. What was confirmed has to have ended well.
    pub(super) fn settle(&self, dead: &BTreeMap<(QueueName, u64), Bytes>) {
        for (number, identity) in &self.identities {
            if self.is_deleted(&identity.queue) || !identity.confirmed {
                continue;
            }
            let Some(id) = identity.id else {
                assert!(identity.keyed, "{number} was confirmed without an id");
                continue;
            };
            let key = (identity.queue.clone(), id);
            let item = self.items.get(&key);
            let done = item
                .is_some_and(|item| item.identity == *number && (item.acked || item.perhaps_acked));
            let letter = dead
                .get(&key)
                .is_some_and(|body| identity_of(body) == *number);
            assert!(
                done || letter,
                "item {id} of {}, {number}, was confirmed and is lost",
                identity.queue
            );
        }
        for (key, item) in &self.items {
            let lost = !item.acked && !item.perhaps_acked && !dead.contains_key(key);
            assert!(
                !lost || self.is_deleted(&key.0),
                "item {key:?} was delivered and is lost"
            );
            assert!(
                !item.acked || !dead.contains_key(key),
                "item {key:?} was acked and is a dead letter"
            );
        }
    }
}
