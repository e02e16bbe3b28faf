//! From facts to state: the only code that changes a queue, live and in replay.
//!
//! It trusts its events, since they come from this crate; one that does not fit the state is a broken invariant and panics.

use std::sync::Arc;

use crate::column::Column;
use crate::dead::Dead;
use crate::ended::End;
use crate::event::{Dues, Event, Failed, Leased, Next, PublishedItems, Repeated};
use crate::history::{FailedAttempt, History};
use crate::id::{ItemId, SessionId};
use crate::leases::Lease;
use crate::queue::Queue;
use crate::ready::{Ready, Since};
use crate::run::{Items, Run};
use crate::scheduled::Scheduled;
use crate::time::Timestamp;

impl Queue {
    /// Makes the queue what it is after `event`. Called by the inputs themselves, and for replay.
    ///
    /// # Panics
    /// Where the event is not one that this queue, as it stands, can have reported.
    pub fn apply(&mut self, event: &Event) {
        match *event {
            Event::Published(ref published) => self.apply_published(published),
            Event::PublishedFrom(ref published, origin) => self.apply_published(&PublishedItems {
                origin: Some(origin),
                ..published.clone()
            }),
            Event::Repeated(ref repeated) => self.apply_repeated(repeated),
            Event::Leased(ref leased) => self.apply_leased(leased),
            Event::Extended {
                first,
                count,
                deadline,
                ..
            } => {
                self.apply_extended(first, count, deadline);
            }
            Event::Acked { first, count, .. } => self.apply_acked(first, count),
            Event::Failed(ref failed) => self.apply_failed(failed),
            Event::Released { at, first, count } => self.apply_released(at, first, count),
            Event::Due { at, first, count } => self.apply_due(at, first, count),
            Event::Expired { first, count, .. } => self.apply_expired(first, count),
            Event::Cancelled { first, count, .. } => self.apply_cancelled(first, count),
            Event::Redriven { at, first, count } => self.apply_redriven(at, first, count),
            Event::Discarded { first, count, .. } => self.apply_discarded(first, count),
            Event::ConfigChanged { ref config, .. } => self.config = config.clone(),
            Event::SessionOpened {
                session,
                ref consumer,
                ..
            } => {
                self.sessions.insert(session, Arc::clone(consumer));
            }
            Event::SessionClosed {
                session, deadline, ..
            } => {
                self.apply_session_closed(session, deadline);
            }
            Event::SessionForgotten { session, .. } => self.sessions.forget(session),
            Event::ProducerForgotten { ref producer, .. } => self.producers.forget(producer),
            Event::KeysForgotten { count, .. } => self.keys.forget(count),
        }
        self.assert_every_item_is_somewhere();
    }

    fn assert_every_item_is_somewhere(&self) {
        let totals = &self.totals;
        let done = totals.acked + totals.expired + totals.cancelled + totals.discarded;
        let here = self.depth_items() + self.dead.count();
        assert_eq!(
            here + done,
            self.last_item.get(),
            "every item is in exactly one state"
        );
    }

    fn apply_published(&mut self, event: &PublishedItems) {
        let &PublishedItems {
            at, first, count, ..
        } = event;
        assert_eq!(first, self.last_item.plus(1), "ids are consecutive");
        assert!(count > 0, "a run has items");
        self.last_item = self.last_item.plus(u64::from(count));
        let items = Items {
            first,
            count,
            sizes: event.sizes.clone(),
            published_at: Column::Uniform(at),
            expires_at: event.expires_at.map(Column::Uniform),
            attempts: 0,
            forgiven: 0,
            history: None,
            origin: event.origin,
        };
        match event.due {
            Some(due) => self.schedule(items, at, due),
            None => self.make_ready(items, Since::Published),
        }
        for key in &event.keys {
            self.keys
                .remember(&key.key, first.plus(u64::from(key.offset)), key.until);
        }
        if let Some(producer) = &event.producer {
            let sequences = (producer.first_sequence, count);
            self.producers
                .remember(&producer.id, at, sequences, Some(first));
        }
    }

    fn apply_repeated(&mut self, event: &Repeated) {
        self.totals.duplicates += u64::from(event.count);
        if let Some(producer) = &event.producer {
            let sequences = (producer.first_sequence, event.count);
            self.producers
                .remember(&producer.id, event.at, sequences, event.first);
        }
    }

    fn apply_leased(&mut self, event: &Leased) {
        let consumer = event.consumer.as_ref();
        let consumer = consumer.unwrap_or_else(|| self.sessions.consumer(event.session));
        let consumer = Arc::clone(consumer);
        self.sessions
            .hand_out(event.session, event.first_seq, event.count);
        self.totals.delivered += u64::from(event.count);
        let mut first_seq = event.first_seq;
        for mut run in self.ready.take(event.first, event.count) {
            let phase = Lease {
                session: event.session,
                first_seq,
                consumer: Arc::clone(&consumer),
                ready_at: run.ready_at(0),
                leased_at: event.at,
                deadline: event.deadline,
                orphaned: false,
            };
            run.items.attempts += 1;
            first_seq += u64::from(run.items.count);
            let items = run.items.trimmed();
            self.leased.insert(Run { items, phase });
        }
    }

    fn apply_extended(&mut self, first: ItemId, count: u32, deadline: Timestamp) {
        for Run { items, phase } in self.leased.take(first, count) {
            let phase = Lease {
                deadline,
                orphaned: false,
                ..phase
            };
            self.leased.insert(Run { items, phase });
        }
    }

    fn apply_acked(&mut self, first: ItemId, count: u32) {
        for run in self.leased.take(first, count) {
            self.end_lease(&run, false);
        }
        self.totals.acked += u64::from(count);
        self.removed.push(first, count);
    }

    fn apply_failed(&mut self, event: &Failed) {
        self.totals.failed_attempts += u64::from(event.count);
        for run in self.leased.take(event.first, event.count) {
            self.end_lease(&run, event.reason.is_loss());
            let failure = FailedAttempt {
                attempt: run.items.attempts,
                consumer: Arc::clone(&run.phase.consumer),
                leased_at: run.phase.leased_at,
                ended_at: event.at,
                reason: event.reason,
                error: Arc::clone(&event.error),
            };
            let history = History::after(run.items.history.as_deref(), failure);
            let items = Items {
                history: Some(Arc::new(history)),
                ..run.items
            };
            self.send_on(items, event);
        }
    }

    fn send_on(&mut self, items: Items, event: &Failed) {
        match &event.next {
            Next::Ready => self.make_ready(items, Since::At(event.at)),
            Next::Scheduled(Dues::All(due)) => self.schedule(items, event.at, *due),
            Next::Scheduled(dues) => {
                for item in items.each() {
                    let due = dues.at(item.first.since(event.first));
                    self.schedule(item, event.at, due);
                }
            }
            Next::Dead => {
                self.totals.dead += u64::from(items.count);
                let phase = Dead {
                    since: event.at,
                    reason: event.reason,
                };
                self.dead.insert(Run { items, phase });
            }
        }
    }

    fn apply_released(&mut self, at: Timestamp, first: ItemId, count: u32) {
        for run in self.leased.take(first, count) {
            self.end_lease(&run, false);
            let items = Items {
                attempts: run.items.attempts - 1,
                ..run.items
            };
            self.make_ready(items, Since::At(at));
        }
    }

    fn apply_due(&mut self, at: Timestamp, first: ItemId, count: u32) {
        for run in self.scheduled.take(first, count) {
            self.make_ready(run.items, Since::At(at));
        }
    }

    fn apply_expired(&mut self, first: ItemId, count: u32) {
        self.remove_waiting(first, count, End::Expired);
        self.totals.expired += u64::from(count);
    }

    fn apply_cancelled(&mut self, first: ItemId, count: u32) {
        self.remove_waiting(first, count, End::Cancelled);
        self.totals.cancelled += u64::from(count);
    }

    fn apply_redriven(&mut self, at: Timestamp, first: ItemId, count: u32) {
        for run in self.dead.take(first, count) {
            let forgiven = run.items.attempts;
            let items = Items {
                forgiven,
                expires_at: None,
                ..run.items
            };
            self.make_ready(items, Since::At(at));
        }
        self.totals.redriven += u64::from(count);
    }

    fn apply_discarded(&mut self, first: ItemId, count: u32) {
        self.dead.take(first, count);
        self.totals.discarded += u64::from(count);
        self.end(first, count, End::Discarded);
    }

    fn apply_session_closed(&mut self, session: SessionId, grace_end: Timestamp) {
        for live in self.leased.index().within(session, 1, u64::MAX) {
            for Run { items, phase } in self.leased.take(live.first, live.count()) {
                let deadline = phase.deadline.min(grace_end);
                let phase = Lease {
                    deadline,
                    orphaned: true,
                    ..phase
                };
                self.leased.insert(Run { items, phase });
            }
        }
        self.sessions.close(session);
    }

    fn make_ready(&mut self, items: Items, since: Since) {
        self.ready.insert(Run {
            items,
            phase: Ready { since },
        });
    }

    fn schedule(&mut self, items: Items, since: Timestamp, due: Timestamp) {
        self.scheduled.insert(Run {
            items,
            phase: Scheduled { since, due },
        });
    }

    fn end_lease(&mut self, run: &Run<Lease>, lost: bool) {
        self.sessions.end(
            run.phase.session,
            run.phase.first_seq,
            run.items.count,
            lost,
        );
    }

    fn remove_waiting(&mut self, first: ItemId, count: u32, end: End) {
        let before = self.ready.count() + self.scheduled.count();
        for run in self.ready.take_some(first, count) {
            self.gone.ready(&run);
        }
        for run in self.scheduled.take_some(first, count) {
            self.gone.scheduled(&run);
        }
        let after = self.ready.count() + self.scheduled.count();
        assert_eq!(before - after, u64::from(count), "the items wait");
        self.end(first, count, end);
    }

    fn end(&mut self, first: ItemId, count: u32, end: End) {
        self.ended.add(first, first.plus(u64::from(count) - 1), end);
        self.removed.push(first, count);
    }
}
