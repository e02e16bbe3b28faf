//! The naive model: what the queue promises, said in the plainest way.

use std::collections::BTreeMap;
use std::time::Duration;

use baton_queue::{
    Admit, Config, FailureReason, ItemState, NackKind, Outcome, PurgeState, Reject, Timestamp,
};

use crate::ops::OpItem;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum At {
    Scheduled {
        since: Timestamp,
        due: Timestamp,
    },
    Ready {
        since: Timestamp,
    },
    Leased {
        session: usize,
        since: Timestamp,
        deadline: Timestamp,
        orphaned: bool,
    },
    Dead {
        since: Timestamp,
        reason: FailureReason,
    },
    Acked,
    Expired,
    Cancelled,
    Discarded,
}

#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) at: At,
    pub(crate) size: u32,
    pub(crate) published_at: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) attempts: u32,
    pub(crate) forgiven: u32,
    pub(crate) failed: Vec<(u32, FailureReason, String)>,
    pub(crate) delayed: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Session {
    pub(crate) closed: bool,
    pub(crate) forgotten: bool,
    /// By seq - 1: the item, and how the lease ended.
    pub(crate) leases: Vec<(usize, Option<Outcome>)>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Producer {
    pub(crate) heard_at: Timestamp,
    pub(crate) ids: BTreeMap<u64, u64>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) duplicates: u64,
    pub(crate) delivered: u64,
    pub(crate) failed: u64,
    pub(crate) dead: u64,
    pub(crate) redriven: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) now: Timestamp,
    pub(crate) config: Config,
    pub(crate) items: Vec<Item>,
    pub(crate) sessions: Vec<Session>,
    pub(crate) producers: BTreeMap<u8, Producer>,
    pub(crate) keys: BTreeMap<u8, (u64, Timestamp)>,
    pub(crate) totals: Totals,
}

/// What a publish of the model says of an item: its id, and whether it is a repeat.
pub(crate) type Said = (u64, bool);

impl Model {
    pub(crate) fn new(config: Config, now: Timestamp) -> Self {
        Self {
            now,
            config,
            items: Vec::new(),
            sessions: vec![Session::default()],
            producers: BTreeMap::new(),
            keys: BTreeMap::new(),
            totals: Totals::default(),
        }
    }

    pub(crate) fn state(&self, index: usize) -> ItemState {
        match self.items[index].at {
            At::Scheduled { .. } => ItemState::Scheduled,
            At::Ready { .. } => ItemState::Ready,
            At::Leased { .. } => ItemState::Leased,
            At::Dead { .. } => ItemState::Dead,
            _ => ItemState::Done,
        }
    }

    pub(crate) fn within(&self, state: ItemState) -> Vec<usize> {
        (0..self.items.len())
            .filter(|index| self.state(*index) == state)
            .collect()
    }

    pub(crate) fn bytes(&self, indices: &[usize]) -> u64 {
        indices
            .iter()
            .map(|index| u64::from(self.items[*index].size))
            .sum()
    }

    pub(crate) fn depth(&self) -> Vec<usize> {
        let states = [ItemState::Scheduled, ItemState::Ready, ItemState::Leased];
        (0..self.items.len())
            .filter(|index| states.contains(&self.state(*index)))
            .collect()
    }

    pub(crate) fn publish(
        &mut self,
        producer: Option<(u8, u64)>,
        items: &[OpItem],
        admit: Admit,
    ) -> Result<(Vec<Said>, Option<Reject>), Reject> {
        let mut trial = self.clone();
        let mut said = Vec::new();
        let mut index = 0;
        let mut added = (0, 0);
        for item in items {
            index += u64::from(item.gap);
            let sequence = producer.map(|(name, first)| (name, first + index));
            index += 1;
            match trial.publish_one(sequence, item, admit) {
                Ok(one) => {
                    said.push(one);
                    added.0 += u64::from(!one.1);
                    added.1 += if one.1 { 0 } else { u64::from(item.size) };
                }
                Err(reject) if admit == Admit::All => return Err(reject),
                Err(reject) if said.is_empty() && !matches!(reject, Reject::Full { .. }) => {
                    return Err(reject);
                }
                Err(reject) => {
                    *self = trial;
                    return Ok((said, Some(reject)));
                }
            }
        }
        if admit == Admit::All && added.0 > 0 {
            self.fits(added, added)?;
        }
        *self = trial;
        Ok((said, None))
    }

    fn publish_one(
        &mut self,
        sequence: Option<(u8, u64)>,
        item: &OpItem,
        admit: Admit,
    ) -> Result<Said, Reject> {
        let by_sequence = sequence.and_then(|(name, at)| self.producers.get(&name)?.ids.get(&at));
        let by_key = item.key.and_then(|key| self.keys.get(&key));
        let by_key = by_key
            .filter(|(_, until)| *until > self.now)
            .map(|(id, _)| id);
        let said = match by_sequence.or(by_key) {
            Some(id) => {
                self.totals.duplicates += 1;
                (*id, true)
            }
            None if self.config.closed => return Err(Reject::Closed),
            None => {
                if admit == Admit::Prefix {
                    let one = (1, u64::from(item.size));
                    self.fits(one, one)?;
                }
                (self.store(item), false)
            }
        };
        if let Some((name, at)) = sequence {
            let known = self.producers.entry(name).or_default();
            known.heard_at = self.now;
            known.ids.entry(at).or_insert(said.0);
        }
        Ok(said)
    }

    fn fits(&self, alone: (u64, u64), added: (u64, u64)) -> Result<(), Reject> {
        let limit = |limit: Option<u64>| limit.filter(|max| *max > 0).unwrap_or(u64::MAX);
        let limits = (limit(self.config.max_items), limit(self.config.max_bytes));
        let depth = self.depth();
        let (items, bytes) = (depth.len() as u64, self.bytes(&depth));
        if alone.0 > limits.0 || alone.1 > limits.1 {
            return Err(Reject::NeverFits {
                items: alone.0,
                bytes: alone.1,
            });
        }
        if items + added.0 > limits.0 || bytes + added.1 > limits.1 {
            return Err(Reject::Full { items, bytes });
        }
        Ok(())
    }

    fn store(&mut self, item: &OpItem) -> u64 {
        let id = self.items.len() as u64 + 1;
        let delay = item.delay.filter(|delay| !delay.is_zero());
        let since = self.now;
        let at = match delay {
            Some(delay) => At::Scheduled {
                since,
                due: since.saturating_add(delay),
            },
            None => At::Ready { since },
        };
        let ttl = item.ttl.or(self.config.default_ttl);
        self.items.push(Item {
            at,
            size: item.size,
            published_at: self.now,
            expires_at: ttl.map(|ttl| self.now.saturating_add(ttl)),
            attempts: 0,
            forgiven: 0,
            failed: Vec::new(),
            delayed: delay.is_some(),
        });
        if let Some(key) = item.key {
            self.keys
                .insert(key, (id, self.now.saturating_add(self.config.dedup_window)));
        }
        id
    }

    /// The items that are handed out, in order. What expired before the last of them is let go.
    pub(crate) fn lease(
        &mut self,
        session: usize,
        items: u32,
        (bytes, up_to): (Option<u64>, Option<u64>),
        duration: Option<Duration>,
    ) -> Vec<usize> {
        let mut given = Vec::new();
        if self.config.paused || self.sessions[session].closed {
            return given;
        }
        let deadline = self
            .now
            .saturating_add(duration.unwrap_or(self.config.lease_duration));
        let mut left = bytes.unwrap_or(u64::MAX);
        for index in self.within(ItemState::Ready) {
            if given.len() == items as usize || left == 0 {
                break;
            }
            let item = &mut self.items[index];
            if item.expires_at.is_some_and(|at| at <= self.now) {
                item.at = At::Expired;
                continue;
            }
            if up_to.is_some_and(|up_to| index as u64 + 1 > up_to) {
                break;
            }
            item.attempts += 1;
            item.at = At::Leased {
                session,
                since: self.now,
                deadline,
                orphaned: false,
            };
            left = left.saturating_sub(u64::from(item.size));
            self.sessions[session].leases.push((index, None));
            self.totals.delivered += 1;
            given.push(index);
        }
        given
    }

    /// Outcomes of seqs that were handed out, and the items of the live ones.
    pub(crate) fn settle(
        &mut self,
        session: usize,
        seqs: (u64, u64),
    ) -> (Vec<Outcome>, Vec<usize>) {
        let mut outcomes = Vec::new();
        let mut live = Vec::new();
        let handed_out = self.sessions[session].leases.len() as u64;
        for seq in seqs.0..=seqs.1.min(handed_out) {
            let Some(index) = seq.checked_sub(1) else {
                outcomes.push(Outcome::InvalidLease);
                continue;
            };
            let index = usize::try_from(index).expect("small");
            let (item, ended) = self.sessions[session].leases[index];
            outcomes.push(ended.unwrap_or(Outcome::Ok));
            if ended.is_none() {
                live.push(item);
            }
        }
        (outcomes, live)
    }

    fn end_lease(&mut self, index: usize, outcome: Outcome) {
        let lease = self
            .sessions
            .iter_mut()
            .flat_map(|session| &mut session.leases);
        let mut live = lease.filter(|(item, ended)| *item == index && ended.is_none());
        live.next().expect("a leased item has a lease").1 = Some(outcome);
        assert!(live.next().is_none(), "an item has one lease");
    }

    pub(crate) fn ack(&mut self, index: usize) {
        self.end_lease(index, Outcome::AlreadySettled);
        self.items[index].at = At::Acked;
    }

    pub(crate) fn extend(&mut self, index: usize, duration: Option<Duration>) {
        let until = self
            .now
            .saturating_add(duration.unwrap_or(self.config.lease_duration));
        if let At::Leased {
            deadline, orphaned, ..
        } = &mut self.items[index].at
        {
            *deadline = until;
            *orphaned = false;
        }
    }

    pub(crate) fn release(&mut self, index: usize) {
        self.end_lease(index, Outcome::AlreadySettled);
        self.items[index].attempts -= 1;
        self.items[index].at = At::Ready { since: self.now };
        self.expire_if_past(index);
    }

    /// `due`: what the queue chose, where it had a choice.
    pub(crate) fn fail(
        &mut self,
        index: usize,
        (reason, error): (FailureReason, &str),
        kind: NackKind,
        due: impl FnOnce() -> Option<Timestamp>,
    ) {
        let lost = matches!(
            reason,
            FailureReason::LeaseExpired
                | FailureReason::ConsumerGone
                | FailureReason::BrokerRestarted
        );
        self.end_lease(
            index,
            if lost {
                Outcome::LeaseLost
            } else {
                Outcome::AlreadySettled
            },
        );
        self.totals.failed += 1;
        let (now, config) = (self.now, self.config.clone());
        let item = &mut self.items[index];
        item.failed.push((item.attempts, reason, error.to_owned()));
        let spent = item.attempts - item.forgiven;
        if reason == FailureReason::Rejected || spent >= config.max_attempts {
            item.at = At::Dead { since: now, reason };
            self.totals.dead += 1;
            return;
        }
        let ceiling = config.backoff.initial * 2_u32.pow(spent - 1);
        let ceiling = ceiling.min(config.backoff.max);
        let outlived = item.expires_at.is_some_and(|at| at <= now);
        item.at = match kind {
            _ if outlived => At::Expired,
            NackKind::Retry { delay: Some(delay) } if delay.is_zero() => At::Ready { since: now },
            NackKind::Retry { delay: Some(delay) } => At::Scheduled {
                since: now,
                due: now.saturating_add(delay),
            },
            _ if ceiling.is_zero() => At::Ready { since: now },
            _ => {
                let due = due().expect("the item backs off");
                assert!(
                    now <= due && due <= now.saturating_add(ceiling),
                    "jitter in its bounds"
                );
                At::Scheduled { since: now, due }
            }
        };
    }

    pub(crate) fn expire_if_past(&mut self, index: usize) {
        let item = &mut self.items[index];
        let waits = matches!(item.at, At::Scheduled { .. } | At::Ready { .. });
        if waits && item.expires_at.is_some_and(|at| at <= self.now) {
            item.at = At::Expired;
        }
    }

    pub(crate) fn tick(&mut self, due: impl Fn(usize) -> Option<Timestamp>) {
        let now = self.now;
        for index in 0..self.items.len() {
            if let At::Leased {
                deadline, orphaned, ..
            } = self.items[index].at
                && deadline <= now
            {
                let reason = if orphaned {
                    FailureReason::ConsumerGone
                } else {
                    FailureReason::LeaseExpired
                };
                let kind = NackKind::Retry { delay: None };
                self.fail(index, (reason, ""), kind, || due(index));
            }
            self.expire_if_past(index);
            if let At::Scheduled { due, .. } = self.items[index].at
                && due <= now
            {
                self.items[index].at = At::Ready { since: now };
            }
        }
        let window = self.config.dedup_window;
        self.producers
            .retain(|_, producer| producer.heard_at.saturating_add(window) > now);
    }

    pub(crate) fn restart(&mut self) {
        for index in self.within(ItemState::Leased) {
            let delay = Some(Duration::ZERO);
            let reason = (FailureReason::BrokerRestarted, "");
            self.fail(index, reason, NackKind::Retry { delay }, || None);
        }
        for session in &mut self.sessions[1..] {
            (session.closed, session.forgotten) = (true, true);
        }
    }

    pub(crate) fn purge(&mut self, state: PurgeState) -> u64 {
        let mut purged = 0;
        for item in &mut self.items {
            let (scheduled, ready, dead) = match state {
                PurgeState::Scheduled => (true, false, false),
                PurgeState::Ready => (false, true, false),
                PurgeState::Waiting => (true, true, false),
                PurgeState::Dead => (false, false, true),
            };
            let end = match item.at {
                At::Scheduled { .. } if scheduled => At::Cancelled,
                At::Ready { .. } if ready => At::Cancelled,
                At::Dead { .. } if dead => At::Discarded,
                _ => continue,
            };
            item.at = end;
            purged += 1;
        }
        purged
    }

    pub(crate) fn redrive(&mut self, index: usize) -> bool {
        let item = &mut self.items[index];
        let dead = matches!(item.at, At::Dead { .. });
        if dead {
            item.at = At::Ready { since: self.now };
            item.forgiven = item.attempts;
            item.expires_at = None;
            self.totals.redriven += 1;
        }
        dead
    }
}
