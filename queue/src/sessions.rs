//! Consumers' sessions: who may lease, and which lease numbers were handed out, are live or were lost.
//!
//! Invariants: numbers are handed out by 1 from 1; `live` is the number of leased items of the session; a closed session
//! without any is in `lingering`, once.

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::id::SessionId;
use crate::limits::{ENDED_SESSIONS_MAX, LOST_RANGES_MAX};
use crate::range_set::RangeSet;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Session {
    pub(crate) consumer: Arc<str>,
    pub(crate) next_seq: u64,
    pub(crate) live: u64,
    pub(crate) closed: bool,
    /// Leases that were taken away, so that their late settles are told apart from repeated ones.
    pub(crate) lost: RangeSet,
}

impl Session {
    fn new(consumer: Arc<str>) -> Self {
        let lost = RangeSet::with_capacity(LOST_RANGES_MAX);
        Self {
            consumer,
            next_seq: 1,
            live: 0,
            closed: false,
            lost,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sessions {
    next: u64,
    known: FxHashMap<SessionId, Session>,
    /// Closed and without leases, the one that has been so for the longest first.
    lingering: VecDeque<SessionId>,
}

impl Default for Sessions {
    fn default() -> Self {
        let known = [(SessionId::UNARY, Session::new("".into()))]
            .into_iter()
            .collect();
        Self {
            next: 1,
            known,
            lingering: VecDeque::new(),
        }
    }
}

impl Sessions {
    /// The id that the next session gets.
    pub(crate) const fn next(&self) -> SessionId {
        SessionId(self.next)
    }

    pub(crate) fn get(&self, session: SessionId) -> Option<&Session> {
        self.known.get(&session)
    }

    /// A session that may lease.
    pub(crate) fn open(&self, session: SessionId) -> Option<&Session> {
        self.get(session).filter(|known| !known.closed)
    }

    /// A session that has to be forgotten, for there are too many that linger.
    pub(crate) fn overdue(&self) -> Option<SessionId> {
        let over = self.lingering.len() > ENDED_SESSIONS_MAX;
        self.lingering.front().copied().filter(|_| over)
    }

    pub(crate) fn insert(&mut self, session: SessionId, consumer: Arc<str>) {
        assert_eq!(session.get(), self.next, "sessions are numbered in order");
        self.next += 1;
        self.known.insert(session, Session::new(consumer));
    }

    pub(crate) fn close(&mut self, session: SessionId) {
        let known = self.known_mut(session);
        assert!(!known.closed, "a session is closed once");
        known.closed = true;
        if known.live == 0 {
            self.lingering.push_back(session);
        }
    }

    pub(crate) fn forget(&mut self, session: SessionId) {
        let oldest = self.lingering.pop_front();
        assert_eq!(oldest, Some(session), "sessions are forgotten in order");
        self.known.remove(&session);
    }

    /// The leases `first_seq` and on are handed out.
    pub(crate) fn hand_out(&mut self, session: SessionId, first_seq: u64, count: u32) {
        let known = self.known_mut(session);
        assert!(!known.closed, "a closed session leases nothing");
        assert_eq!(first_seq, known.next_seq, "leases are numbered in order");
        known.next_seq += u64::from(count);
        known.live += u64::from(count);
    }

    /// The leases `first_seq` and on have ended; `lost`: they were taken away.
    pub(crate) fn end(&mut self, session: SessionId, first_seq: u64, count: u32, lost: bool) {
        let known = self.known_mut(session);
        assert!(u64::from(count) <= known.live, "a lease ends once");
        known.live -= u64::from(count);
        if lost {
            known
                .lost
                .insert(first_seq, first_seq + u64::from(count) - 1);
        }
        if known.closed && known.live == 0 {
            self.lingering.push_back(session);
        }
    }

    fn known_mut(&mut self, session: SessionId) -> &mut Session {
        self.known
            .get_mut(&session)
            .expect("a session with leases is known")
    }
}
