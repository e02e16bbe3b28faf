//! Consumers' sessions: who may lease, and which lease numbers were handed out, are live or were lost.
//!
//! Invariants: numbers are handed out by 1 from 1; `live` is the number of leased items of the session; a closed session
//! without any is in `lingering`, once.

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::codec::{COUNTER_MAX, DecodeError, ensure};
use crate::id::SessionId;
use crate::leases::Lease;
use crate::limits::{ENDED_SESSIONS_MAX, LOST_RANGES_MAX};
use crate::range_set::RangeSet;
use crate::run_map::RunMap;
use crate::snapshot::{Reader, Writer};

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

    fn load(reader: &mut Reader<'_>) -> Result<(SessionId, Self), DecodeError> {
        let (id, next_seq, closed): (SessionId, u64, bool) = reader.take()?;
        let consumer = reader.name()?;
        let lost = RangeSet::load(reader, LOST_RANGES_MAX)?;
        let numbers = 1..COUNTER_MAX;
        let given_out = lost.last().is_none_or(|last| last < next_seq);
        let in_order = numbers.contains(&next_seq) && given_out;
        ensure(in_order, "leases are numbered in order")?;
        let session = Self {
            next_seq,
            closed,
            lost,
            ..Self::new(consumer)
        };
        Ok((id, session))
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

    /// All but the unary one, ascending.
    pub(crate) fn streams(&self) -> Vec<SessionId> {
        let ids = self.known.keys().copied();
        let mut streams: Vec<_> = ids.filter(|id| *id != SessionId::UNARY).collect();
        streams.sort_unstable();
        streams
    }

    /// The closed session that has been without leases for the longest.
    pub(crate) fn oldest_ended(&self) -> Option<SessionId> {
        self.lingering.front().copied()
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

    pub(crate) fn store<'a>(&'a self, writer: &mut Writer<'a>) {
        writer.put(&(self.next, self.known.len()));
        let ids = std::iter::once(SessionId::UNARY).chain(self.streams());
        for id in ids {
            let known = &self.known[&id];
            writer.put(&(id, known.next_seq, known.closed));
            writer.put_name(&known.consumer);
            known.lost.store(writer);
        }
        writer.put(&self.lingering.len());
        self.lingering.iter().for_each(|id| writer.put(id));
    }

    /// Without what leases they hold: see [`Sessions::reclaim`].
    pub(crate) fn load(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (next, count): (u64, u64) = reader.take()?;
        ensure(next < COUNTER_MAX, "ids are far from their end")?;
        let mut known = FxHashMap::default();
        for _ in 0..count {
            let (id, session) = Session::load(reader)?;
            let before = known.insert(id, session);
            let once = before.is_none() && id.get() < next;
            ensure(once, "sessions are numbered in order")?;
        }
        let count: u64 = reader.take()?;
        let mut lingering = VecDeque::new();
        for _ in 0..count {
            lingering.push_back(reader.take()?);
        }
        let sessions = Self {
            next,
            known,
            lingering,
        };
        let unary = sessions.open(SessionId::UNARY).is_some();
        ensure(unary, "the unary session is open")?;
        Ok(sessions)
    }

    /// After a restore: the sessions hold these leases.
    pub(crate) fn reclaim(&mut self, leased: &RunMap<Lease>) -> Result<(), DecodeError> {
        let apart = leased.index().are_apart(leased.runs());
        ensure(apart, "a lease number is given out once")?;
        for run in leased.iter() {
            let rule = "a session with leases is known";
            let known = self.known.get_mut(&run.phase.session);
            let known = known.ok_or(DecodeError::Inconsistent { rule })?;
            let count = u64::from(run.items.count);
            let end = run.phase.first_seq.saturating_add(count);
            let given_out = run.phase.first_seq > 0 && end <= known.next_seq;
            ensure(given_out, "a lease was given out")?;
            known.live += count;
        }
        self.check_lingering()
    }

    fn check_lingering(&self) -> Result<(), DecodeError> {
        let ended = |session: &Session| session.closed && session.live == 0;
        let expected = self.known.values().filter(|known| ended(known)).count();
        let mut lingering: Vec<_> = self.lingering.iter().copied().collect();
        lingering.sort_unstable();
        lingering.dedup();
        let all = lingering.len() == expected && self.lingering.len() == expected;
        let linger = |id: &SessionId| self.get(*id).is_some_and(ended);
        ensure(all && lingering.iter().all(linger), "ended sessions linger")
    }

    /// Whose stream a session is.
    pub(crate) fn consumer(&self, session: SessionId) -> &Arc<str> {
        let known = self.known.get(&session);
        &known.expect("a session that leases is known").consumer
    }

    fn known_mut(&mut self, session: SessionId) -> &mut Session {
        self.known
            .get_mut(&session)
            .expect("a session with leases is known")
    }
}
