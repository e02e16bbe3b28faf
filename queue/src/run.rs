//! Runs: items with consecutive ids that have gone through the same, and so are kept as one record.
//!
//! A run can be cut anywhere and joined again with a neighbour that is like it. What tells the states apart (since when,
//! until when, who has it) is the run's [`Phase`].

use std::sync::Arc;

use crate::column::{Column, Sizes};
use crate::event::Origin;
use crate::history::History;
use crate::id::ItemId;
use crate::time::Timestamp;

/// What is known of the items of a run, whatever state they are in.
#[derive(Clone, Debug)]
pub(crate) struct Items {
    pub(crate) first: ItemId,
    /// At least 1.
    pub(crate) count: u32,
    pub(crate) sizes: Sizes,
    pub(crate) published_at: Column<Timestamp>,
    /// Ascending within the run.
    pub(crate) expires_at: Option<Column<Timestamp>>,
    /// Deliveries so far.
    pub(crate) attempts: u32,
    /// Deliveries that no longer count against the allowance: those before the last redrive.
    pub(crate) forgiven: u32,
    pub(crate) history: Option<Arc<History>>,
    /// How their producer's clock compared.
    pub(crate) origin: Option<Origin>,
}

impl Items {
    pub(crate) const fn last(&self) -> ItemId {
        self.first.plus(self.count as u64 - 1)
    }

    /// The id after the last.
    pub(crate) const fn end(&self) -> ItemId {
        self.first.plus(self.count as u64)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.sizes.total(self.count)
    }

    /// How many of the leading items have outlived their time to live; the others have not.
    pub(crate) fn expired(&self, now: Timestamp) -> u32 {
        let Some(expires_at) = &self.expires_at else {
            return 0;
        };
        expires_at.leading(self.count, |at| at <= now)
    }

    /// How many of the leading items have the times of the first one.
    pub(crate) fn of_one_age(&self) -> u32 {
        let expires_at = self.expires_at.as_ref();
        let alike = expires_at.map_or(self.count, |expires_at| expires_at.same(self.count));
        self.published_at.same(self.count).min(alike)
    }

    /// Deliveries that count against the allowance.
    pub(crate) const fn spent(&self) -> u32 {
        self.attempts - self.forgiven
    }

    /// The same items, one by one. They no longer hold on to the sizes of the others.
    pub(crate) fn each(&self) -> impl Iterator<Item = Self> {
        (0..self.count).map(|offset| Self {
            first: self.first.plus(u64::from(offset)),
            count: 1,
            sizes: Column::Uniform(self.sizes.at(offset)),
            published_at: Column::Uniform(self.published_at.at(offset)),
            expires_at: self
                .expires_at
                .as_ref()
                .map(|at| Column::Uniform(at.at(offset))),
            ..self.clone()
        })
    }

    /// The same items without columns that need not be.
    pub(crate) fn trimmed(self) -> Self {
        Self {
            sizes: self.sizes.shortest(self.count),
            published_at: self.published_at.shortest(self.count),
            expires_at: self.expires_at.map(|at| at.shortest(self.count)),
            ..self
        }
    }

    fn begin_like(&self, other: &Self, count: u32) -> bool {
        let expire_alike = match (&self.expires_at, &other.expires_at) {
            (Some(mine), Some(its)) => mine.begins_like(its, count),
            (mine, its) => mine.is_none() && its.is_none(),
        };
        expire_alike
            && self.first == other.first
            && self.sizes.begins_like(&other.sizes, count)
            && self.published_at.begins_like(&other.published_at, count)
            && (self.attempts, self.forgiven) == (other.attempts, other.forgiven)
            && self.history == other.history
            && self.origin == other.origin
    }

    fn joined(&self, next: &Self) -> Option<Self> {
        let alike = self.end() == next.first
            && self.expires_before(next)
            && self.attempts == next.attempts
            && self.forgiven == next.forgiven
            && self.origin == next.origin
            && self.history == next.history;
        if !alike {
            return None;
        }
        let sum = self.count.checked_add(next.count)?;
        let free = self.sizes.continues(self.count, &next.sizes)
            && self.published_at.continues(self.count, &next.published_at)
            && match (&self.expires_at, &next.expires_at) {
                (Some(mine), Some(next)) => mine.continues(self.count, next),
                _ => true,
            };
        (free || self.is_worth_a_copy(next, sum)).then(|| Self {
            count: sum,
            sizes: self.sizes.joined(self.count, &next.sizes, next.count),
            published_at: self
                .published_at
                .joined(self.count, &next.published_at, next.count),
            expires_at: match (&self.expires_at, &next.expires_at) {
                (Some(mine), Some(its)) => Some(mine.joined(self.count, its, next.count)),
                _ => None,
            },
            ..self.clone()
        })
    }

    /// Whether expiries still ascend where `next` follows.
    fn expires_before(&self, next: &Self) -> bool {
        match (&self.expires_at, &next.expires_at) {
            (Some(mine), Some(next)) => mine.at(self.count - 1) <= next.at(0),
            (mine, next) => mine.is_none() && next.is_none(),
        }
    }

    /// Items that come one by one would each be a run of 200 bytes; in a common run they cost 12 or 20. Where runs are longer, a
    /// column for each item would cost more than a run of their own.
    fn is_worth_a_copy(&self, next: &Self, sum: u32) -> bool {
        let lifetimes = self.expires_at.as_ref().is_none_or(Column::is_uniform);
        let grown = !(self.published_at.is_uniform() && self.sizes.is_uniform() && lifetimes);
        next.count <= COPIED_MAX && (grown || self.count <= COPIED_MAX) && sum <= COPIED_RUN_MAX
    }
}

/// Items that a run may have to be appended to another by copy: fewer than what a run of its own would cost.
const COPIED_MAX: u32 = 16;
/// Items in a run that was put together by copy: appending one to it copies no more than 5 KiB.
const COPIED_RUN_MAX: u32 = 256;

/// What a state keeps of its runs beside the items.
pub(crate) trait Phase: Clone {
    /// Further orders in which runs of this state are looked up.
    type Index: Index<Self>;

    /// The phase of the items from `offset` on, where a run is cut.
    #[must_use]
    fn skip(&self, offset: u32) -> Self;

    /// Whether items of one run may expire at different times.
    const MIXES_EXPIRIES: bool = true;

    /// Whether a run with `next` that begins `count` items later may be one with this.
    fn continues(&self, count: u32, next: &Self) -> bool;
}

/// Follows the runs of a state. Each run is added once and removed as it was added.
pub(crate) trait Index<P>: Default {
    fn add(&mut self, run: &Run<P>);
    fn remove(&mut self, run: &Run<P>);
}

/// A run of items in one state.
#[derive(Clone, Debug)]
pub(crate) struct Run<P> {
    pub(crate) items: Items,
    pub(crate) phase: P,
}

impl<P: Phase> Run<P> {
    /// Keeps the first `count` items and returns the others. `count` lies inside the run.
    pub(crate) fn cut(&mut self, count: u32) -> Self {
        assert!(0 < count && count < self.items.count, "a run is cut inside");
        let rest = Items {
            first: self.items.first.plus(u64::from(count)),
            count: self.items.count - count,
            sizes: self.items.sizes.skip(count),
            published_at: self.items.published_at.skip(count),
            expires_at: self.items.expires_at.as_ref().map(|at| at.skip(count)),
            ..self.items.clone()
        };
        self.items.count = count;
        self.items = self.items.clone().trimmed();
        let items = if rest.count == 1 {
            rest.trimmed()
        } else {
            rest
        };
        let phase = self.phase.skip(count);
        Self { items, phase }
    }

    /// Whether the first `count` items are the same ones as those of `other`, with the same fate.
    pub(crate) fn begins_like(&self, other: &Self, count: u32) -> bool
    where
        P: PartialEq,
    {
        self.phase == other.phase && self.items.begin_like(&other.items, count)
    }

    /// The items after the first `count`, if any.
    pub(crate) fn rest(&mut self, count: u32) -> Option<Self> {
        (count < self.items.count).then(|| self.cut(count))
    }

    /// This run and the next as one, where nothing tells them apart.
    pub(crate) fn joined(&self, next: &Self) -> Option<Self> {
        let mixes = P::MIXES_EXPIRIES || self.items.expires_at == next.items.expires_at;
        if !mixes || !self.phase.continues(self.items.count, &next.phase) {
            return None;
        }
        Some(Self {
            items: self.items.joined(&next.items)?,
            phase: self.phase.clone(),
        })
    }
}
