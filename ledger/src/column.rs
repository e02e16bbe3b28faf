//! One value for each item of a run: the same for all, or a slice that the parts of a run share.

use std::sync::Arc;

/// See the module. Clones and parts share.
#[derive(Clone, Debug)]
pub(crate) enum Column<T> {
    Same(T),
    Each { all: Arc<[T]>, offset: usize },
}

impl<T: Copy + Default + PartialEq> Column<T> {
    /// What each of the items has; only once where that is the same.
    pub(crate) fn of<I>(items: &[I], value: impl Fn(&I) -> T) -> Self {
        let first = items.first().map_or_else(T::default, &value);
        if items.iter().all(|item| value(item) == first) {
            return Self::Same(first);
        }
        Self::Each {
            all: items.iter().map(value).collect(),
            offset: 0,
        }
    }

    /// The value of the item at `index`, which has to be within the run.
    pub(crate) fn at(&self, index: usize) -> T {
        match self {
            Self::Same(value) => *value,
            Self::Each { all, offset } => all[offset + index],
        }
    }

    /// The column of `count` items from `index` on. A small part gets a slice of its own, so that a few items that stay
    /// do not hold on to the values of all that they came with.
    pub(crate) fn part(&self, index: usize, count: usize) -> Self {
        match self {
            Self::Same(value) => Self::Same(*value),
            Self::Each { all, offset } if count > all.len() / 4 * 3 => Self::Each {
                all: Arc::clone(all),
                offset: offset + index,
            },
            Self::Each { all, offset } => Self::of(&all[offset + index..][..count], |value| *value),
        }
    }

    /// Memory of `count` items, bytes; what parts share counts by part.
    pub(crate) const fn bytes(&self, count: usize) -> usize {
        match self {
            Self::Same(_) => 0,
            Self::Each { .. } => count * size_of::<T>(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_has_the_values_of_its_items_and_a_small_one_holds_on_to_no_others() {
        let whole = Column::of(&(0..100).collect::<Vec<u64>>(), |value| *value);
        let (most, few, one) = (whole.part(1, 99), whole.part(90, 10), whole.part(7, 1));
        assert_eq!((most.at(0), most.at(98)), (1, 99));
        assert_eq!((few.at(0), few.at(9), one.at(0)), (90, 99, 7));
        let held = |column: &Column<u64>| match column {
            Column::Same(_) => 0,
            Column::Each { all, .. } => all.len(),
        };
        assert_eq!([&most, &few, &one].map(held), [100, 10, 0]);
        assert_eq!(few.part(2, 6).at(5), 97);
    }

    #[test]
    fn what_is_the_same_for_all_is_held_once() {
        let same = |values: &[u64]| matches!(Column::of(values, |value| *value), Column::Same(_));
        assert!(same(&[7; 100]) && same(&[7]) && same(&[]));
        assert!(!same(&[7, 7, 8]));
    }
}
