//! The indexes of sealed segments that were used last.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::index::Bodies;

/// Bytes of indexes that are kept; the last one is kept even if it is larger. One of 64 MiB in items of 1 KiB takes 2 MB.
const CACHE_BYTES: usize = 16 << 20;

/// Indexes by segment, the one used last at the end.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    used: VecDeque<(u64, Arc<Bodies>)>,
}

impl Cache {
    pub(crate) fn get(&mut self, segment: u64) -> Option<Arc<Bodies>> {
        let place = self.used.iter().position(|(id, _)| *id == segment)?;
        let found = self.used.remove(place)?;
        let index = Arc::clone(&found.1);
        self.used.push_back(found);
        Some(index)
    }

    pub(crate) fn insert(&mut self, segment: u64, index: Arc<Bodies>) {
        self.forget(segment);
        self.used.push_back((segment, index));
        let bytes = |used: &VecDeque<(u64, Arc<Bodies>)>| -> usize {
            used.iter().map(|(_, index)| index.bytes()).sum()
        };
        while self.used.len() > 1 && bytes(&self.used) > CACHE_BYTES {
            self.used.pop_front();
        }
    }

    pub(crate) fn forget(&mut self, segment: u64) {
        self.used.retain(|(id, _)| *id != segment);
    }
}
