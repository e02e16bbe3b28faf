//! Handing items out, and the sessions they are handed to.

use std::sync::Arc;
use std::time::Duration;

use crate::column::Sizes;
use crate::event::{Event, Leased, Origin};
use crate::id::{ItemId, SessionId};
use crate::queue::Queue;
use crate::ready::Ready;
use crate::run::Run;
use crate::time::Timestamp;

/// What a consumer will take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Want {
    /// At most so many items.
    pub items: u32,
    /// Stop after the item that reaches so many bytes. None: bytes do not count; 0: nothing.
    pub bytes: Option<u64>,
    /// None: the queue's.
    pub lease_duration: Option<Duration>,
    /// Who takes them; None: the session's consumer.
    pub consumer: Option<Arc<str>>,
    /// No item beyond this one. None: no bound.
    pub up_to: Option<ItemId>,
}

impl Want {
    /// How many items from `first` on are not beyond the bound. None: not even `first`.
    fn room_from(&self, first: ItemId) -> Option<u32> {
        let Some(up_to) = self.up_to else {
            return Some(u32::MAX);
        };
        let room = up_to.get().checked_sub(first.get())?.saturating_add(1);
        Some(u32::try_from(room).unwrap_or(u32::MAX))
    }
}

/// Items in a row that were handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeasedRun {
    /// Number of the first lease in its session; the others follow by 1.
    pub first_seq: u64,
    /// First item; the others follow by 1.
    pub first: ItemId,
    /// At least 1.
    pub count: u32,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Ready since.
    pub ready_at: Timestamp,
    /// Taken in.
    pub published_at: Timestamp,
    /// The wait for this attempt began: taken in, or the attempt before failed, or redriven.
    pub waiting_since: Timestamp,
    /// Attempts before the last redrive; 0: it was never redriven.
    pub forgiven: u32,
    /// How their producer's clock compared.
    pub origin: Option<Origin>,
    /// The leases run out then.
    pub deadline: Timestamp,
    /// Bytes of each.
    pub sizes: Sizes,
    /// What the consumer of the attempt before said, if anything.
    pub last_error: Option<Arc<str>>,
}

impl Queue {
    /// A consumer's stream begins. Its leases are numbered from 1.
    pub fn open_session(
        &mut self,
        now: Timestamp,
        consumer: Arc<str>,
        events: &mut Vec<Event>,
    ) -> SessionId {
        let session = self.sessions.next();
        self.emit(
            Event::SessionOpened {
                at: now,
                session,
                consumer,
            },
            events,
        );
        session
    }

    /// A consumer's stream ends. Its leases may still be settled for `grace`, but not past their own end. Does nothing to
    /// [`SessionId::UNARY`] and to sessions that are closed or unknown.
    pub fn close_session(
        &mut self,
        now: Timestamp,
        session: SessionId,
        grace: Duration,
        events: &mut Vec<Event>,
    ) {
        if session == SessionId::UNARY || self.sessions.open(session).is_none() {
            return;
        }
        let deadline = now.saturating_add(grace);
        self.emit(
            Event::SessionClosed {
                at: now,
                session,
                deadline,
            },
            events,
        );
    }

    /// Hands out ready items, lowest ids first. Those at the head that have expired go. None while the queue is paused, and none to a session that is closed or
    /// unknown.
    pub fn handle_lease(
        &mut self,
        now: Timestamp,
        session: SessionId,
        want: Want,
        events: &mut Vec<Event>,
    ) -> Vec<LeasedRun> {
        let Some(known) = self.sessions.open(session).filter(|_| !self.config.paused) else {
            return Vec::new();
        };
        let duration = want.lease_duration.unwrap_or(self.config.lease_duration);
        let deadline = now.saturating_add(duration);
        let mut first_seq = known.next_seq;
        let mut items = want.items;
        let mut bytes = want.bytes.unwrap_or(u64::MAX);
        let mut leased = Vec::new();
        while items > 0 && bytes > 0 && self.expire_first_ready(now, events) {
            let Some(run) = self.ready.first() else { break };
            let Some(room) = want.room_from(run.items.first) else {
                break;
            };
            let count = run.items.of_one_age().min(items).min(room);
            let count = run.items.sizes.reaching(count, bytes);
            let run = leased_run(run, count, first_seq, deadline);
            let consumer = want.consumer.clone();
            let &LeasedRun { first, .. } = &run;
            let at = now;
            let event = Leased {
                at,
                session,
                consumer,
                first_seq,
                first,
                count,
                deadline,
            };
            self.emit(Event::Leased(event), events);
            items -= count;
            bytes = bytes.saturating_sub(run.sizes.total(count));
            first_seq += u64::from(count);
            leased.push(run);
        }
        leased
    }

    /// Lets items go that expired since the last tick and would be handed out next. Whether any item is left.
    fn expire_first_ready(&mut self, now: Timestamp, events: &mut Vec<Event>) -> bool {
        while let Some(run) = self.ready.first() {
            let (first, count) = (run.items.first, run.items.expired(now));
            if count == 0 {
                return true;
            }
            self.emit(
                Event::Expired {
                    at: now,
                    first,
                    count,
                },
                events,
            );
        }
        false
    }
}

fn leased_run(run: &Run<Ready>, count: u32, first_seq: u64, deadline: Timestamp) -> LeasedRun {
    let history = run.items.history.as_ref();
    let ready_at = run.ready_at(0);
    let published_at = run.items.published_at.at(0);
    LeasedRun {
        first_seq,
        first: run.items.first,
        count,
        attempt: run.items.attempts + 1,
        ready_at,
        published_at,
        waiting_since: run.waiting_since(0),
        forgiven: run.items.forgiven,
        origin: run.items.origin,
        deadline,
        sizes: run.items.sizes.clone(),
        last_error: history.and_then(|history| history.last_error()).cloned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::publish::NewItem;
    use crate::settle::NackKind;
    use crate::testing::{SECOND, Story};

    #[test]
    fn a_retried_item_comes_before_newer_ones() {
        let mut story = Story::new(Config::default());
        story.add(3);
        let session = story.open();
        story.lease(session, 1);
        let at_once = NackKind::Retry {
            delay: Some(Duration::ZERO),
        };
        story.nack(session, 1, at_once, "");
        let order: Vec<_> = story
            .lease(session, 3)
            .iter()
            .map(|run| (run.first.get(), run.count))
            .collect();
        assert_eq!(order, [(1, 1), (2, 2)]);
    }

    #[test]
    fn a_wait_begins_where_the_attempt_before_ended() {
        let mut story = Story::new(Config {
            max_attempts: 2,
            ..Config::default()
        });
        story.add(1);
        let published = story.now;
        let mut since = Vec::new();
        for seq in 1..=3 {
            story.wait(SECOND);
            let run = story.lease(SessionId::UNARY, 1).remove(0);
            since.push((
                run.waiting_since.saturating_since(published).as_secs(),
                run.forgiven,
            ));
            story.wait(SECOND);
            let at_once = NackKind::Retry {
                delay: Some(Duration::ZERO),
            };
            story.nack(SessionId::UNARY, seq, at_once, "");
            if seq == 2 {
                story.wait(SECOND);
                let all = crate::admin::RedriveWhat::Oldest(None);
                story.queue.redrive(story.now, all, &mut story.events);
            }
        }
        assert_eq!(since, [(0, 0), (2, 0), (5, 2)]);
    }

    #[test]
    fn byte_credit_stops_after_the_item_that_reaches_it() {
        let mut story = Story::new(Config::default());
        story.add(10);
        let want = |bytes| Want {
            items: 10,
            bytes: Some(bytes),
            ..Want::default()
        };
        for (bytes, expected) in [(0, 0), (1, 1), (20, 2), (21, 3)] {
            let unary = SessionId::UNARY;
            let runs = story
                .queue
                .handle_lease(story.now, unary, want(bytes), &mut story.events);
            assert_eq!(runs.iter().map(|run| run.count).sum::<u32>(), expected);
        }
    }

    #[test]
    fn what_expired_is_not_handed_out_before_the_tick_either() {
        let mut story = Story::new(Config::default());
        let expires_at = Some(story.now.saturating_add(SECOND));
        story
            .publish(
                None,
                &[NewItem {
                    expires_at,
                    ..NewItem::default()
                }],
            )
            .unwrap();
        story.add(1);
        story.wait(SECOND);
        assert_eq!(story.lease(SessionId::UNARY, 5)[0].first, ItemId(2));
    }

    #[test]
    fn nothing_beyond_the_bound_is_handed_out() {
        let mut story = Story::new(Config::default());
        story.add(10);
        for (up_to, expected) in [(0, vec![]), (3, vec![1, 2, 3]), (4, vec![4]), (4, vec![])] {
            let want = Want {
                items: 10,
                up_to: Some(ItemId(up_to)),
                ..Want::default()
            };
            let unary = SessionId::UNARY;
            let runs = story
                .queue
                .handle_lease(story.now, unary, want, &mut story.events);
            let ids = runs
                .iter()
                .flat_map(|run| (run.first.get()..).take(run.count as usize));
            assert_eq!(ids.collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn expiry_at_the_head_does_not_carry_past_the_bound() {
        let mut story = Story::new(Config::default());
        let expires_at = Some(story.now);
        let past = NewItem {
            expires_at,
            ..NewItem::default()
        };
        story.publish(None, &[past]).unwrap();
        story.add(1);
        let want = Want {
            items: 2,
            up_to: Some(ItemId(1)),
            ..Want::default()
        };
        let runs = story
            .queue
            .handle_lease(story.now, SessionId::UNARY, want, &mut story.events);
        assert_eq!(runs, []);
        assert_eq!(story.queue.stats(story.now).expired_total, 1);
        assert_eq!(story.queue.ready_items(), 1);
    }

    #[test]
    fn neither_paused_queues_nor_closed_sessions_hand_out() {
        let mut story = Story::new(Config {
            paused: true,
            ..Config::default()
        });
        story.add(1);
        assert!(story.lease(SessionId::UNARY, 1).is_empty());
        story
            .queue
            .set_config(story.now, Config::default(), &mut story.events);
        let session = story.open();
        story
            .queue
            .close_session(story.now, session, SECOND, &mut story.events);
        assert!(story.lease(session, 1).is_empty());
        assert!(story.lease(SessionId(99), 1).is_empty());
        assert_eq!(story.lease(SessionId::UNARY, 1).len(), 1);
    }
}
