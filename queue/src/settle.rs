//! What consumers say of their leases: ack, nack, extend.
//!
//! Leases are named by ranges of their numbers. The work grows with the live leases in a range, never with its width. A
//! lease lives until a tick ends it: one that is settled after its deadline, but before anybody else got the item, counts.

use std::sync::Arc;
use std::time::Duration;

use crate::event::{Event, Failed, Next};
use crate::history::{FailureReason, cut_error};
use crate::id::{ItemId, SessionId};
use crate::leases::{Lease, SeqRun};
use crate::outcome::{Outcome, OutcomeRun, Outcomes};
use crate::queue::Queue;
use crate::retry::{self, Failure};
use crate::run::Run;
use crate::tick::coalesced;
use crate::time::Timestamp;

/// Not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nack {
    /// What is to become of the items.
    pub kind: NackKind,
    /// What went wrong. Kept, up to 1 KiB.
    pub error: Arc<str>,
    /// Gives the jitter of the back-off.
    pub random: u64,
}

/// What is to become of items that were not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NackKind {
    /// Try again, unless the attempts are spent.
    Retry {
        /// None: the queue's back-off.
        delay: Option<Duration>,
    },
    /// No further attempt can help.
    DeadLetter,
    /// No handler saw the items: ready at once, and the attempt does not count.
    Unstarted,
}

impl Queue {
    /// The items are done for good. The outcomes cover `first_seq..=last_seq` in order; none where that is empty.
    #[expect(
        clippy::too_many_arguments,
        reason = "a range is two, and every input brings now and events"
    )]
    pub fn handle_ack(
        &mut self,
        now: Timestamp,
        session: SessionId,
        first_seq: u64,
        last_seq: u64,
        events: &mut Vec<Event>,
    ) -> Vec<OutcomeRun> {
        let (live, outcomes) = self.sort_out(session, first_seq, last_seq);
        for (first, count) in item_ranges(&live) {
            self.emit(
                Event::Acked {
                    at: now,
                    first,
                    count,
                },
                events,
            );
        }
        outcomes
    }

    /// The leases get a new deadline, so long from now; None: the queue's duration. Outcomes as in [`Queue::handle_ack`].
    #[expect(
        clippy::too_many_arguments,
        reason = "a range is two, and every input brings now and events"
    )]
    pub fn handle_extend(
        &mut self,
        now: Timestamp,
        session: SessionId,
        first_seq: u64,
        last_seq: u64,
        lease_duration: Option<Duration>,
        events: &mut Vec<Event>,
    ) -> Vec<OutcomeRun> {
        let (live, outcomes) = self.sort_out(session, first_seq, last_seq);
        let deadline = now.saturating_add(lease_duration.unwrap_or(self.config.lease_duration));
        for (first, count) in item_ranges(&live) {
            self.emit(
                Event::Extended {
                    at: now,
                    first,
                    count,
                    deadline,
                },
                events,
            );
        }
        outcomes
    }

    /// The items are not done. Outcomes as in [`Queue::handle_ack`].
    #[expect(
        clippy::too_many_arguments,
        reason = "a range is two, and every input brings now and events"
    )]
    pub fn handle_nack(
        &mut self,
        now: Timestamp,
        session: SessionId,
        first_seq: u64,
        last_seq: u64,
        nack: Nack,
        events: &mut Vec<Event>,
    ) -> Vec<OutcomeRun> {
        let (live, outcomes) = self.sort_out(session, first_seq, last_seq);
        let (reason, delay) = match nack.kind {
            NackKind::Unstarted => {
                self.release(now, &live, events);
                return outcomes;
            }
            NackKind::Retry { delay } => (FailureReason::Nacked, delay),
            NackKind::DeadLetter => (FailureReason::Rejected, None),
        };
        let error = cut(&nack.error);
        for leases in live {
            let failure = self.failure(leases.first, leases.count(), reason, delay);
            self.fail(now, failure, (&error, nack.random), events);
        }
        outcomes
    }

    /// An attempt of items that are in one leased run has failed.
    pub(crate) fn failure(
        &self,
        first: ItemId,
        count: u32,
        reason: FailureReason,
        delay: Option<Duration>,
    ) -> Failure {
        let spent = self.leased_run(first).items.spent();
        Failure {
            first,
            count,
            spent,
            reason,
            delay,
        }
    }

    /// Ends an attempt. An item that has outlived its time to live meanwhile expires instead of waiting again.
    pub(crate) fn fail(
        &mut self,
        now: Timestamp,
        failure: Failure,
        (error, random): (&Arc<str>, u64),
        events: &mut Vec<Event>,
    ) {
        let Failure {
            first,
            count,
            reason,
            ..
        } = failure;
        let outlived = self.leased_run(first).items.expired(now) > 0;
        let next = match retry::next(&self.config, now, failure, random) {
            Next::Scheduled(_) if outlived => Next::Ready,
            next => next,
        };
        let returns = next != Next::Dead;
        let error = Arc::clone(error);
        self.emit(
            Event::Failed(Failed {
                at: now,
                first,
                count,
                reason,
                error,
                next,
            }),
            events,
        );
        if outlived && returns {
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

    fn release(&mut self, now: Timestamp, live: &[SeqRun], events: &mut Vec<Event>) {
        for leases in live {
            let (first, count) = (leases.first, leases.count());
            let outlived = self.leased_run(first).items.expired(now) > 0;
            self.emit(
                Event::Released {
                    at: now,
                    first,
                    count,
                },
                events,
            );
            if outlived {
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
    }

    /// The live leases of a session within `first_seq..=last_seq`, ascending, as runs: the first number, the first item, and
    /// how many of both.
    pub fn live_leases_within(
        &self,
        session: SessionId,
        first_seq: u64,
        last_seq: u64,
    ) -> impl Iterator<Item = (u64, ItemId, u32)> {
        let live = self.leased.index().within(session, first_seq, last_seq);
        live.into_iter()
            .map(|run| (run.first_seq, run.first, run.count()))
    }

    fn leased_run(&self, item: ItemId) -> &Run<Lease> {
        self.leased.find(item).expect("a live lease has its item")
    }

    /// The live leases among `first..=last`, and the outcome of all of them if the live ones are settled now.
    fn sort_out(
        &self,
        session: SessionId,
        first: u64,
        last: u64,
    ) -> (Vec<SeqRun>, Vec<OutcomeRun>) {
        let mut outcomes = Outcomes::default();
        let Some(known) = self.sessions.get(session) else {
            outcomes.push(first, last, Outcome::LeaseLost);
            return (Vec::new(), outcomes.into_runs());
        };
        let end = known.next_seq; // Exclusive: the first number that was never handed out.
        outcomes.push(first, 0, Outcome::InvalidLease); // There is no lease 0.
        let live = self.leased.index().within(session, first, last);
        let mut next = first.max(1);
        for leases in &live {
            outcomes.push_ended(known, next, leases.first_seq - 1);
            outcomes.push(leases.first_seq, leases.last_seq, Outcome::Ok);
            next = leases.last_seq + 1;
        }
        outcomes.push_ended(known, next, last.min(end - 1));
        outcomes.push(next.max(end), last, Outcome::InvalidLease);
        (live, outcomes.into_runs())
    }
}

/// The items of leases; neighbours are one range.
fn item_ranges(live: &[SeqRun]) -> Vec<(ItemId, u32)> {
    coalesced(
        live.iter()
            .map(|leases| (leases.first, leases.count()))
            .collect(),
    )
}

fn cut(error: &Arc<str>) -> Arc<str> {
    let kept = cut_error(error);
    if kept.len() == error.len() {
        Arc::clone(error)
    } else {
        kept.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::explain::{Demand, ItemState};
    use crate::limits::LOST_RANGES_MAX;
    use crate::testing::{SECOND, Story, outcome};

    #[test]
    fn a_settle_tells_settled_lost_live_and_invalid_leases_apart() {
        let mut story = Story::new(Config::default());
        story.add(9);
        let session = story.open();
        story.lease(session, 6);
        story.ack(session, 1, 2);
        story.ack(session, 5, 6);
        story.wait(31 * SECOND);
        story.tick();
        story.lease(session, 3);
        let expected = [
            outcome(0, 0, Outcome::InvalidLease),
            outcome(1, 2, Outcome::AlreadySettled),
            outcome(3, 4, Outcome::LeaseLost),
            outcome(5, 6, Outcome::AlreadySettled),
            outcome(7, 9, Outcome::Ok),
            outcome(10, u64::MAX, Outcome::InvalidLease),
        ];
        assert_eq!(story.ack(session, 0, u64::MAX), expected);
        assert_eq!(story.ack(session, 2, 1), []);
    }

    #[test]
    fn leases_of_an_unknown_session_are_lost() {
        let mut story = Story::new(Config::default());
        let expected = [outcome(1, 1 << 63, Outcome::LeaseLost)];
        assert_eq!(story.ack(SessionId(9), 1, 1 << 63), expected);
        assert!(story.events.is_empty());
    }

    #[test]
    fn leases_below_too_many_losses_are_answered_as_lost() {
        let mut story = Story::new(Config::default());
        let session = story.open();
        let count = u32::try_from(2 * (LOST_RANGES_MAX + 1)).unwrap();
        story.add(count);
        story.lease(session, count);
        for seq in (1..=u64::from(count)).step_by(2) {
            story.ack(session, seq, seq);
        }
        story.wait(31 * SECOND);
        for _ in 0..10 {
            story.tick();
        }
        assert_eq!(
            story.ack(session, 1, 2),
            [outcome(1, 2, Outcome::LeaseLost)]
        );
        let expected = [
            outcome(3, 3, Outcome::AlreadySettled),
            outcome(4, 4, Outcome::LeaseLost),
        ];
        assert_eq!(story.ack(session, 3, 4), expected);
    }

    #[test]
    fn one_ack_of_neighbouring_leases_is_one_event() {
        let mut story = Story::new(Config::default());
        story.add(100);
        let session = story.open();
        for _ in 0..10 {
            story.wait(SECOND);
            story.lease(session, 10);
        }
        story.events.clear();
        story.ack(session, 1, 100);
        let acked = Event::Acked {
            at: story.now,
            first: ItemId(1),
            count: 100,
        };
        assert_eq!(story.events, [acked]);
    }

    #[test]
    fn a_late_ack_counts_while_nobody_else_has_the_item() {
        let mut story = Story::new(Config::default());
        story.add(1);
        let session = story.open();
        story.lease(session, 1);
        story.wait(60 * SECOND);
        assert_eq!(story.ack(session, 1, 1), [outcome(1, 1, Outcome::Ok)]);
        story.tick();
        assert!(story.queue.is_empty());
    }

    #[test]
    fn an_extended_lease_of_a_gone_consumer_is_its_own_again() {
        let mut story = Story::new(Config::default());
        story.add(2);
        let session = story.open();
        story.lease(session, 2);
        story
            .queue
            .close_session(story.now, session, 5 * SECOND, &mut story.events);
        let minute = Some(60 * SECOND);
        story
            .queue
            .handle_extend(story.now, session, 2, 2, minute, &mut story.events);
        story.wait(61 * SECOND);
        story.tick();
        let reasons = [1, 2].map(|id| {
            let why = story
                .queue
                .explain(story.now, ItemId(id), Demand::default())
                .unwrap();
            why.failed_attempts[0].reason
        });
        assert_eq!(
            reasons,
            [FailureReason::ConsumerGone, FailureReason::LeaseExpired]
        );
    }

    #[test]
    fn items_that_fail_together_come_back_at_different_times() {
        let mut story = Story::new(Config::default());
        story.add(3);
        story.lease(SessionId::UNARY, 3);
        story.wait(31 * SECOND);
        story.tick();
        let mut dues: Vec<_> = [1, 2, 3]
            .map(|id| {
                story
                    .queue
                    .explain(story.now, ItemId(id), Demand::default())
                    .unwrap()
                    .until
            })
            .into();
        dues.sort_unstable();
        dues.dedup();
        assert_eq!(dues.len(), 3);
    }

    #[test]
    fn an_unstarted_delivery_leaves_no_trace() {
        let mut story = Story::new(Config {
            max_attempts: 1,
            ..Config::default()
        });
        story.add(1);
        for seq in 1..=5 {
            assert_eq!(story.lease(SessionId::UNARY, 1)[0].attempt, 1);
            story.nack(SessionId::UNARY, seq, NackKind::Unstarted, "ignored");
        }
        assert_eq!(story.queue.state_of(ItemId(1)), Some(ItemState::Ready));
        assert_eq!(story.queue.last_error(ItemId(1)), None);
    }

    #[test]
    fn the_next_consumer_sees_what_the_last_one_said() {
        let mut story = Story::new(Config::default());
        story.add(1);
        story.lease(SessionId::UNARY, 1);
        let at_once = NackKind::Retry {
            delay: Some(Duration::ZERO),
        };
        story.nack(SessionId::UNARY, 1, at_once, &"x".repeat(2000));
        let run = &story.lease(SessionId::UNARY, 1)[0];
        assert_eq!(
            (run.attempt, run.last_error.as_ref().unwrap().len()),
            (2, 1024)
        );
    }
}
