//! Ends items of a queue whose past is not known: by events that fit the state that they are in.

use std::sync::Arc;

use baton_queue::{Event, ItemId, ItemState, Leased, Queue, SessionId, Timestamp};

use super::ranges::Ranges;

/// How items ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    Acked,
    Expired,
    Cancelled,
    Discarded,
    /// Nothing is left of them to be delivered. Counted as cancelled.
    Dropped,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Endings {
    now: Timestamp,
    /// Who has what was acknowledged behind a gap; and the number of its next lease.
    session: Option<(SessionId, u64)>,
}

/// Items of one state: the first, and how many.
type Run = (ItemId, u32);

impl Endings {
    pub(super) const fn new(now: Timestamp) -> Self {
        Self { now, session: None }
    }

    /// Ends those of the items that are not done.
    pub(super) fn apply(&mut self, queue: &mut Queue, end: End, items: &Ranges) {
        let mut waiting = Ranges::default();
        queue.unsettled(&mut |first, count| waiting.insert(first.0, first.0 + u64::from(count)));
        for (first, stop) in items.iter() {
            for (first, stop) in waiting.within(first, stop) {
                for (state, run) in runs(queue, first, stop) {
                    self.end(queue, end, state, run);
                }
            }
        }
    }

    /// The session was never there for anybody.
    pub(super) fn finish(self, queue: &mut Queue) {
        if let Some((session, _)) = self.session {
            let deadline = self.now;
            queue.apply(&Event::SessionClosed {
                at: self.now,
                session,
                deadline,
            });
        }
    }

    fn end(&mut self, queue: &mut Queue, end: End, state: ItemState, run: Run) {
        let (first, count) = run;
        let at = self.now;
        match (end, state) {
            (End::Acked, _) => self.ack(queue, state, run),
            (End::Discarded | End::Dropped, ItemState::Dead) => {
                queue.apply(&Event::Discarded { at, first, count });
            }
            (End::Expired, _) => {
                self.give_back(queue, state, run);
                queue.apply(&Event::Expired { at, first, count });
            }
            (End::Cancelled | End::Discarded | End::Dropped, _) => {
                self.give_back(queue, state, run);
                queue.apply(&Event::Cancelled { at, first, count });
            }
        }
    }

    fn ack(&mut self, queue: &mut Queue, state: ItemState, run: Run) {
        let (first, count) = run;
        let at = self.now;
        if state != ItemState::Leased {
            self.give_back(queue, state, run);
            if state == ItemState::Scheduled {
                queue.apply(&Event::Due { at, first, count });
            }
            self.lease(queue, run);
        }
        queue.apply(&Event::Acked { at, first, count });
    }

    /// Makes items wait that are leased or dead.
    fn give_back(&self, queue: &mut Queue, state: ItemState, (first, count): Run) {
        let at = self.now;
        match state {
            ItemState::Leased => queue.apply(&Event::Released { at, first, count }),
            ItemState::Dead => queue.apply(&Event::Redriven { at, first, count }),
            _ => {}
        }
    }

    fn lease(&mut self, queue: &mut Queue, (first, count): Run) {
        let at = self.now;
        let (session, first_seq) = self.session.take().unwrap_or_else(|| {
            let consumer: Arc<str> = "salvage".into();
            (queue.open_session(at, consumer, &mut Vec::new()), 1)
        });
        queue.apply(&Event::Leased(Leased {
            at,
            session,
            consumer: None,
            first_seq,
            first,
            count,
            deadline: at,
        }));
        self.session = Some((session, first_seq + u64::from(count)));
    }
}

/// The items of `first..end`, none of which is done, by their states.
fn runs(queue: &Queue, first: u64, end: u64) -> Vec<(ItemState, Run)> {
    let mut runs: Vec<(ItemState, Run)> = Vec::new();
    for item in first..end {
        let Some(state) = queue.state_of(ItemId(item)) else {
            continue;
        };
        match runs.last_mut() {
            Some((same, (_, count))) if *same == state && *count < u32::MAX => *count += 1,
            _ => runs.push((state, (ItemId(item), 1))),
        }
    }
    runs
}
