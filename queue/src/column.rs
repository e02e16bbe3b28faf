//! One value for each item of a run: the same for all, or a slice that the parts of a run share.
//!
//! The number of items is the run's; a column only knows how to go on from its first one.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A value for each item of a run. Clones share.
// Kept on disk by position (see `codec`): never reordered or removed, new ones go last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Column<T> {
    /// All the same.
    Uniform(T),
    /// One for each.
    Each {
        /// Of a longer run, of which this one may be a part.
        all: Arc<[T]>,
        /// Where this run begins in `all`. Not stored: a part is written as its own values.
        #[serde(skip)]
        offset: u32,
    },
}

/// Bytes of each item of a run.
pub type Sizes = Column<u32>;

impl<T: Copy + Eq> Column<T> {
    /// The values as given, in the shortest form.
    ///
    /// # Panics
    /// Where there is none.
    pub fn of(values: &[T]) -> Self {
        let first = *values.first().expect("a run has items");
        if values.iter().all(|value| *value == first) {
            Self::Uniform(first)
        } else {
            Self::Each {
                all: values.into(),
                offset: 0,
            }
        }
    }

    /// The value of the item at `index`.
    ///
    /// # Panics
    /// Where the run has no such item.
    pub fn at(&self, index: u32) -> T {
        match self {
            Self::Uniform(value) => *value,
            Self::Each { all, offset } => all[(offset + index) as usize],
        }
    }

    /// The column of the items from `index` on.
    #[must_use]
    pub fn skip(&self, index: u32) -> Self {
        match self {
            Self::Uniform(value) => Self::Uniform(*value),
            Self::Each { all, offset } => Self::Each {
                all: Arc::clone(all),
                offset: offset + index,
            },
        }
    }

    /// How many of the first `count` items have the value of the first one, in a row.
    pub(crate) fn same(&self, count: u32) -> u32 {
        let first = self.at(0);
        self.leading(count, |value| value == first)
    }

    /// How many of the first `count` items in a row have a value that `meets` it.
    pub(crate) fn leading(&self, count: u32, meets: impl Fn(T) -> bool) -> u32 {
        match self {
            Self::Uniform(value) if meets(*value) => count,
            Self::Uniform(_) => 0,
            Self::Each { .. } => {
                let leading = self
                    .slice(count)
                    .iter()
                    .take_while(|value| meets(**value))
                    .count();
                u32::try_from(leading).expect("a run counts its items in 32 bits")
            }
        }
    }

    /// This column of `count` items, in the shortest form.
    pub(crate) fn shortest(self, count: u32) -> Self {
        if self.same(count) == count {
            Self::Uniform(self.at(0))
        } else {
            self
        }
    }

    /// Whether the column of `count` items goes on as `next` does, so that joining them costs no memory.
    pub(crate) fn continues(&self, count: u32, next: &Self) -> bool {
        match (self, next) {
            (Self::Uniform(one), Self::Uniform(two)) => one == two,
            (
                Self::Each { all, offset },
                Self::Each {
                    all: next_all,
                    offset: next_offset,
                },
            ) => offset + count == *next_offset && Arc::ptr_eq(all, next_all),
            _ => false,
        }
    }

    /// This column of `count` items and the next of `next_count` as one.
    pub(crate) fn joined(&self, count: u32, next: &Self, next_count: u32) -> Self {
        if self.continues(count, next) {
            return self.clone();
        }
        let mine = (0..count).map(|index| self.at(index));
        let all = mine
            .chain((0..next_count).map(|index| next.at(index)))
            .collect();
        Self::Each { all, offset: 0 }
    }

    /// This column of `count` items without what it shares with other runs.
    #[must_use]
    pub(crate) fn own(self, count: u32) -> Self {
        match &self {
            Self::Each { all, offset } if *offset > 0 || all.len() != count as usize => {
                let all = self.slice(count).into();
                Self::Each { all, offset: 0 }
            }
            _ => self,
        }
    }

    /// Whether the first `count` values are those of `other`.
    pub(crate) fn begins_like(&self, other: &Self, count: u32) -> bool {
        match (self, other) {
            (Self::Uniform(mine), Self::Uniform(its)) => mine == its,
            _ => (0..count).all(|index| self.at(index) == other.at(index)),
        }
    }

    /// Whether it has exactly `count` values of its own, or one for all.
    pub(crate) fn fits(&self, count: u32) -> bool {
        match self {
            Self::Uniform(_) => true,
            Self::Each { all, offset } => *offset == 0 && all.len() == count as usize,
        }
    }

    pub(crate) const fn is_uniform(&self) -> bool {
        matches!(self, Self::Uniform(_))
    }

    /// The values of the first `count` items; none where they are uniform.
    pub(crate) fn slice(&self, count: u32) -> &[T] {
        match self {
            Self::Uniform(_) => &[],
            Self::Each { all, offset } => &all[*offset as usize..(*offset + count) as usize],
        }
    }
}

impl Sizes {
    /// Bytes of the first `count` items together.
    pub fn total(&self, count: u32) -> u64 {
        match self {
            Self::Uniform(size) => u64::from(*size) * u64::from(count),
            Self::Each { .. } => self.slice(count).iter().map(|size| u64::from(*size)).sum(),
        }
    }

    /// How many of `count` items are needed to reach `bytes`; all of them where they do not.
    pub(crate) fn reaching(&self, count: u32, bytes: u64) -> u32 {
        if let Self::Uniform(size) = self {
            let needed = bytes.div_ceil(u64::from((*size).max(1)));
            return u32::try_from(needed).unwrap_or(u32::MAX).min(count);
        }
        let mut sum = 0;
        let mut needed = 0;
        for size in self.slice(count) {
            if sum >= bytes {
                break;
            }
            sum += u64::from(*size);
            needed += 1;
        }
        needed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_take_no_memory_each() {
        assert_eq!(Sizes::of(&[7, 7, 7]), Sizes::Uniform(7));
        assert!(matches!(Sizes::of(&[7, 8]), Sizes::Each { .. }));
        let part = Sizes::of(&[7, 8, 8]).skip(1);
        assert_eq!((part.same(2), part.shortest(2)), (2, Sizes::Uniform(8)));
    }

    #[test]
    fn a_part_shares_the_values_of_the_whole() {
        let whole = Sizes::of(&[1, 2, 3, 4]);
        let part = whole.skip(2);
        assert_eq!((part.at(0), part.at(1), part.total(2)), (3, 4, 7));
        assert!(whole.continues(2, &part));
        assert_eq!(whole.joined(2, &part, 2), whole);
        assert!(!whole.continues(1, &part));
    }

    #[test]
    fn columns_of_different_origin_are_joined_by_copy() {
        let joined = Sizes::Uniform(1).joined(2, &Sizes::of(&[2, 3]).skip(1), 1);
        assert_eq!(joined, Sizes::of(&[1, 1, 3]));
    }

    #[test]
    fn reaching_counts_the_item_that_crosses_the_line() {
        let each = Sizes::Each {
            all: [10, 10, 10].into(),
            offset: 0,
        };
        for sizes in [Sizes::Uniform(10), each] {
            let needed: Vec<u32> = [1, 10, 11, 30, 31].map(|b| sizes.reaching(3, b)).into();
            assert_eq!(needed, [1, 1, 2, 3, 3], "{sizes:?}");
        }
        assert_eq!(Sizes::Uniform(0).reaching(5, 9), 5);
    }
}
