//! All work that time drives. The shell calls [`Queue::tick`] when [`Queue::next_deadline`] has come.

use std::sync::Arc;

use crate::event::Event;
use crate::history::FailureReason;
use crate::id::ItemId;
use crate::limits::TICK_RUNS_MAX;
use crate::queue::Queue;
use crate::time::Timestamp;

impl Queue {
    /// Ends leases that have run out, lets items expire, makes scheduled ones ready and forgets what dedup need not know
    /// any more. `random` gives the jitter of back-offs.
    ///
    /// Does a bounded amount of work; where that does not suffice, [`Queue::next_deadline`] is still in the past.
    pub fn tick(&mut self, now: Timestamp, random: u64, events: &mut Vec<Event>) {
        let mut budget = TICK_RUNS_MAX;
        self.end_leases(now, random, &mut budget, events);
        self.expire(now, &mut budget, events);
        self.wake(now, &mut budget, events);
        self.forget_dedup(now, &mut budget, events);
        self.forget_sessions(now, &mut budget, events);
    }

    /// When the next [`Queue::tick`] is due; a time in the past: now. None: time changes nothing.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        if self.sessions.overdue().is_some() {
            return Some(Timestamp::default());
        }
        let window = self.config.dedup_window;
        let idle = self
            .producers
            .most_idle()
            .map(|(heard_at, _)| heard_at.saturating_add(window));
        let times = [
            self.leased.index().deadlines.first().map(|(at, _)| *at),
            self.ready.index().expiries.first(),
            self.scheduled.index().expiries.first(),
            self.scheduled.index().dues.first().map(|(at, _)| *at),
            self.keys.next_end(),
            idle,
        ];
        times.into_iter().flatten().min()
    }

    fn end_leases(
        &mut self,
        now: Timestamp,
        random: u64,
        budget: &mut usize,
        events: &mut Vec<Event>,
    ) {
        let silence: Arc<str> = "".into();
        while *budget > 0
            && let Some(&(deadline, first)) = self.leased.index().deadlines.first()
            && deadline <= now
        {
            let run = self.leased.find(first).expect("the index has live leases");
            let (first, count) = (run.items.first, run.items.count);
            let reason = if run.phase.orphaned {
                FailureReason::ConsumerGone
            } else {
                FailureReason::LeaseExpired
            };
            let failure = self.failure(first, count, reason, None);
            self.fail(now, failure, (&silence, random), events);
            // Each item may get a time of its own.
            *budget = budget.saturating_sub(count as usize);
        }
    }

    fn expire(&mut self, now: Timestamp, budget: &mut usize, events: &mut Vec<Event>) {
        let ready = self.ready.index().expiries.until(now).take(*budget);
        let ready = ready
            .filter_map(|first| self.ready.find(first))
            .map(|run| &run.items);
        let scheduled = self.scheduled.index().expiries.until(now).take(*budget);
        let scheduled = scheduled.filter_map(|first| self.scheduled.find(first));
        let expired = ready.chain(scheduled.map(|run| &run.items)).take(*budget);
        let ranges: Vec<_> = expired
            .map(|items| (items.first, items.expired(now)))
            .collect();
        *budget -= ranges.len();
        for (first, count) in coalesced(ranges) {
            self.emit(
                Event::Expired {
                    at: now,
                    first,
                    count,
                },
                events,
            );
        }
    }

    fn wake(&mut self, now: Timestamp, budget: &mut usize, events: &mut Vec<Event>) {
        let dues = self
            .scheduled
            .index()
            .dues
            .iter()
            .take_while(|(due, _)| *due <= now);
        let runs = dues
            .take(*budget)
            .filter_map(|(_, first)| self.scheduled.find(*first));
        let ranges: Vec<_> = runs.map(|run| (run.items.first, run.items.count)).collect();
        *budget -= ranges.len();
        for (first, count) in coalesced(ranges) {
            self.emit(
                Event::Due {
                    at: now,
                    first,
                    count,
                },
                events,
            );
        }
    }

    fn forget_dedup(&mut self, now: Timestamp, budget: &mut usize, events: &mut Vec<Event>) {
        let count = self.keys.ended(now, *budget);
        if count > 0 {
            *budget -= count as usize;
            self.emit(Event::KeysForgotten { at: now, count }, events);
        }
        while *budget > 0
            && let Some((heard_at, producer)) = self.producers.most_idle()
            && heard_at.saturating_add(self.config.dedup_window) <= now
        {
            let producer = Arc::clone(producer);
            self.emit(Event::ProducerForgotten { at: now, producer }, events);
            *budget -= 1;
        }
    }

    fn forget_sessions(&mut self, now: Timestamp, budget: &mut usize, events: &mut Vec<Event>) {
        while *budget > 0
            && let Some(session) = self.sessions.overdue()
        {
            self.emit(Event::SessionForgotten { at: now, session }, events);
            *budget -= 1;
        }
    }
}

/// The ranges in order, neighbours as one.
pub(crate) fn coalesced(mut ranges: Vec<(ItemId, u32)>) -> Vec<(ItemId, u32)> {
    ranges.sort_unstable();
    ranges.dedup_by(|next, range| {
        let sum = range.1.checked_add(next.1);
        let touches = range.0.plus(u64::from(range.1)) == next.0;
        match sum {
            Some(sum) if touches => {
                range.1 = sum;
                true
            }
            _ => false,
        }
    });
    ranges
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Config;
    use crate::limits::ENDED_SESSIONS_MAX;
    use crate::outcome::Outcome;
    use crate::publish::NewItem;
    use crate::testing::{SECOND, Story, outcome, plain};

    #[test]
    fn an_idle_queue_has_no_deadline() {
        let mut story = Story::new(Config::default());
        assert_eq!(story.queue.next_deadline(), None);
        story.add(5);
        assert_eq!(story.queue.next_deadline(), None);
    }

    #[test]
    fn the_deadline_is_that_of_the_first_lease_to_run_out() {
        let mut story = Story::new(Config::default());
        story.add(5);
        let session = story.open();
        story.lease(session, 1);
        let first = story.now.saturating_add(30 * SECOND);
        story.wait(SECOND);
        story.lease(session, 1);
        assert_eq!(story.queue.next_deadline(), Some(first));
        story.ack(session, 1, 1);
        assert_eq!(
            story.queue.next_deadline(),
            Some(first.saturating_add(SECOND))
        );
    }

    #[test]
    fn one_tick_does_a_bounded_amount_of_work() {
        let mut story = Story::new(Config::default());
        let items = 3 * TICK_RUNS_MAX;
        for offset in 0..items {
            let due = Some(
                story
                    .now
                    .saturating_add(SECOND + Duration::from_nanos(offset as u64)),
            );
            let item = NewItem {
                due,
                ..NewItem::default()
            };
            story.publish(None, &[item]).unwrap();
        }
        story.wait(2 * SECOND);
        let mut ticks = 0;
        while story
            .queue
            .next_deadline()
            .is_some_and(|next| next <= story.now)
        {
            story.events.clear();
            story.tick();
            assert_eq!(story.events.len(), 1, "neighbours are one event");
            ticks += 1;
        }
        assert_eq!((ticks, story.queue.ready_items()), (3, items as u64));
    }

    #[test]
    fn items_expire_wherever_they_wait() {
        let mut story = Story::new(Config {
            default_ttl: Some(SECOND),
            ..Config::default()
        });
        let due = Some(story.now.saturating_add(60 * SECOND));
        let late = NewItem {
            due,
            ..NewItem::default()
        };
        let past = NewItem {
            expires_at: Some(Timestamp(1)),
            index: 1,
            ..NewItem::default()
        };
        story.publish(None, &[late, past]).unwrap();
        story.add(1);
        story.tick();
        assert_eq!(story.queue.stats(story.now).expired_total, 1);
        story.wait(SECOND);
        story.tick();
        assert_eq!(story.queue.stats(story.now).expired_total, 3);
        assert!(story.queue.is_empty());
    }

    #[test]
    fn a_producer_that_was_silent_for_the_window_is_forgotten() {
        let mut story = Story::new(Config::default());
        story.publish(Some(("p", 1)), &plain(3)).unwrap();
        story.wait(Config::default().dedup_window);
        story.tick();
        let again = story.publish(Some(("p", 1)), &plain(3)).unwrap();
        assert!(!again.runs[0].duplicate);
    }

    #[test]
    fn the_sessions_that_ended_last_are_remembered() {
        let mut story = Story::new(Config::default());
        story.add(1);
        let sessions: Vec<_> = (0..=ENDED_SESSIONS_MAX).map(|_| story.open()).collect();
        story.lease(sessions[1], 1);
        story.ack(sessions[1], 1, 1);
        for session in &sessions {
            story
                .queue
                .close_session(story.now, *session, Duration::ZERO, &mut story.events);
        }
        assert!(story.queue.next_deadline().is_some());
        story.tick();
        assert_eq!(story.queue.next_deadline(), None);
        assert_eq!(
            story.ack(sessions[0], 1, 1),
            [outcome(1, 1, Outcome::LeaseLost)]
        );
        assert_eq!(
            story.ack(sessions[1], 1, 1),
            [outcome(1, 1, Outcome::AlreadySettled)]
        );
    }

    #[test]
    fn the_unary_session_never_ends() {
        let mut story = Story::new(Config::default());
        let unary = crate::id::SessionId::UNARY;
        story
            .queue
            .close_session(story.now, unary, Duration::ZERO, &mut story.events);
        assert!(story.events.is_empty());
        story.add(1);
        assert_eq!(story.lease(unary, 1).len(), 1);
    }
}
