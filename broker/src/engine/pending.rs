//! The ledger of what a queue owes to clients and may not hand over yet, because the commit that it depends on is not
//! durable.
//!
//! Invariant: effects leave in the order in which they were owed, and none before its commit. Owned by the queue actor.

use std::collections::VecDeque;

use super::commit::CommitPosition;

/// Effects that wait, oldest first.
#[derive(Debug)]
pub(super) struct Pending<E> {
    owed: VecDeque<(CommitPosition, E)>,
}

impl<E> Pending<E> {
    pub(super) fn new() -> Self {
        Self {
            owed: VecDeque::new(),
        }
    }

    /// Owes `effect` once everything up to `after` is durable.
    ///
    /// # Panics
    /// When `after` lies before what is owed already: the order would be lost.
    pub(super) fn owe(&mut self, after: CommitPosition, effect: E) {
        let last = self
            .owed
            .back()
            .map_or_else(CommitPosition::default, |(position, _)| *position);
        assert!(last <= after, "effects are owed in commit order");
        self.owed.push_back((after, effect));
    }

    /// There will be no commit after `last` for now: what waits for the next one waits for `last` only.
    pub(super) fn nothing_after(&mut self, last: CommitPosition) {
        let waiting = self.owed.iter_mut().rev();
        for (position, _) in waiting.take_while(|(position, _)| *position > last) {
            *position = last;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.owed.is_empty()
    }

    /// The next effect that nothing holds back any more.
    pub(super) fn next_released(&mut self, durable: CommitPosition) -> Option<E> {
        if self.owed.front()?.0 > durable {
            return None;
        }
        self.owed.pop_front().map(|(_, effect)| effect)
    }

    /// The next effect, whatever holds it back: for failing all of them.
    pub(super) fn next_failed(&mut self) -> Option<E> {
        self.owed.pop_front().map(|(_, effect)| effect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_before_its_commit_is_durable() {
        let mut pending = Pending::new();
        pending.owe(CommitPosition(1), "a");
        pending.owe(CommitPosition(2), "b");
        pending.owe(CommitPosition(2), "c");
        assert_eq!(pending.next_released(CommitPosition(0)), None);
        assert_eq!(pending.next_released(CommitPosition(1)), Some("a"));
        assert_eq!(pending.next_released(CommitPosition(1)), None);
        assert_eq!(pending.next_released(CommitPosition(2)), Some("b"));
        assert_eq!(pending.next_failed(), Some("c"));
        assert_eq!(pending.next_failed(), None);
    }

    #[test]
    fn where_nothing_is_committed_the_commit_before_is_waited_for() {
        let mut pending = Pending::new();
        pending.owe(CommitPosition(1), "a");
        pending.owe(CommitPosition(2), "b");
        pending.nothing_after(CommitPosition(1));
        assert_eq!(pending.next_released(CommitPosition(0)), None);
        assert_eq!(pending.next_released(CommitPosition(1)), Some("a"));
        assert_eq!(pending.next_released(CommitPosition(1)), Some("b"));
    }

    #[test]
    #[should_panic(expected = "commit order")]
    fn an_effect_owed_out_of_order_is_a_fault() {
        let mut pending = Pending::new();
        pending.owe(CommitPosition(2), ());
        pending.owe(CommitPosition(1), ());
    }
}
