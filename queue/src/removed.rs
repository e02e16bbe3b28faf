//! Items that are done for good, so that their bodies can go.

use std::collections::VecDeque;

use crate::id::ItemId;

#[derive(Clone, Debug, Default)]
pub(crate) struct Removed(VecDeque<(ItemId, u32)>);

impl Removed {
    pub(crate) fn push(&mut self, first: ItemId, count: u32) {
        if let Some((last_first, last_count)) = self.0.back_mut()
            && last_first.plus(u64::from(*last_count)) == first
            && let Some(sum) = last_count.checked_add(count)
        {
            *last_count = sum;
            return;
        }
        self.0.push_back((first, count));
    }

    pub(crate) fn pop(&mut self) -> Option<(ItemId, u32)> {
        self.0.pop_front()
    }
}
