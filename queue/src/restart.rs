//! A broker's restart: consumers' connections are gone, and with them every lease.

use std::sync::Arc;
use std::time::Duration;

use crate::event::Event;
use crate::history::FailureReason;
use crate::queue::Queue;
use crate::time::Timestamp;

impl Queue {
    /// To be called once after the queue was restored and its events were replayed, before any other input.
    ///
    /// Every leased item has failed: ready again at once, or a dead letter where its attempts are spent. Then every session
    /// but [`SessionId::UNARY`](crate::SessionId::UNARY) is closed and forgotten, so that lease numbers from before mean
    /// nothing any more. Work grows with all leased runs and sessions.
    pub fn restart(&mut self, now: Timestamp, events: &mut Vec<Event>) {
        self.fail_all_leases(now, events);
        for session in self.sessions.streams() {
            self.close_session(now, session, Duration::ZERO, events);
        }
        while let Some(session) = self.sessions.oldest_ended() {
            self.emit(Event::SessionForgotten { at: now, session }, events);
        }
    }

    fn fail_all_leases(&mut self, now: Timestamp, events: &mut Vec<Event>) {
        let silence: Arc<str> = "".into();
        while let Some(run) = self.leased.first() {
            let (first, count) = (run.items.first, run.items.count);
            let at_once = Some(Duration::ZERO);
            let failure = self.failure(first, count, FailureReason::BrokerRestarted, at_once);
            // Nothing backs off, so chance decides nothing.
            self.fail(now, failure, (&silence, 0), events);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::explain::{Demand, ItemState};
    use crate::id::{ItemId, SessionId};
    use crate::outcome::Outcome;
    use crate::settle::NackKind;
    use crate::testing::{SECOND, Story, outcome};

    fn restart(story: &mut Story) {
        story.queue.restart(story.now, &mut story.events);
    }

    #[test]
    fn a_restart_takes_every_lease_away_and_counts_the_attempt() {
        let mut story = Story::new(Config::default());
        story.add(3);
        story.lease(SessionId::UNARY, 1);
        let session = story.open();
        story.lease(session, 2);
        restart(&mut story);
        let again = story.lease(SessionId::UNARY, 3);
        assert_eq!(again.iter().map(|run| run.count).sum::<u32>(), 3);
        assert!(again.iter().all(|run| run.attempt == 2));
        let why = story
            .queue
            .explain(story.now, ItemId(1), Demand::default())
            .unwrap();
        let reason = why.failed_attempts[0].reason;
        assert_eq!(reason, FailureReason::BrokerRestarted);
    }

    #[test]
    fn a_restart_makes_dead_letters_of_what_has_spent_its_attempts() {
        let mut story = Story::new(Config {
            max_attempts: 1,
            ..Config::default()
        });
        story.add(1);
        story.lease(SessionId::UNARY, 1);
        restart(&mut story);
        assert_eq!(story.queue.state_of(ItemId(1)), Some(ItemState::Dead));
    }

    #[test]
    fn lease_numbers_from_before_a_restart_mean_nothing() {
        let mut story = Story::new(Config::default());
        story.add(4);
        let [open, closed, lingering] = [(); 3].map(|()| story.open());
        for session in [open, closed, lingering, SessionId::UNARY] {
            story.lease(session, 1);
        }
        story.nack(lingering, 1, NackKind::Unstarted, "");
        for session in [closed, lingering] {
            story
                .queue
                .close_session(story.now, session, SECOND, &mut story.events);
        }
        restart(&mut story);
        for session in [open, closed, lingering, SessionId::UNARY] {
            assert_eq!(
                story.ack(session, 1, 1),
                [outcome(1, 1, Outcome::LeaseLost)]
            );
        }
        assert_eq!(story.queue.ready_items(), 4);
        assert_eq!(story.lease(SessionId::UNARY, 4)[0].first_seq, 2);
        assert_eq!(story.open(), SessionId(4));
    }

    #[test]
    fn a_second_restart_finds_nothing_to_do() {
        let mut story = Story::new(Config::default());
        story.add(1);
        let session = story.open();
        story.lease(session, 1);
        restart(&mut story);
        story.events.clear();
        restart(&mut story);
        assert_eq!(story.events, []);
    }
}
