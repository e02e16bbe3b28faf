//! The memory engine's items: encoded bodies by id, from publish until they are settled for good.
//!
//! Small bodies are copied out of the network buffers (a slice of 100 bytes would pin 64 KiB of one) into shared blocks.
//! A block lives as long as any body in it, so bodies that stay long (dead letters, items backing off) are moved out of
//! their block, and so are the last ones of a page that nobody adds to any more. Ids are consecutive, so they are found
//! by page. Owned by the queue actor.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use rustc_hash::FxHashMap;

/// Bytes of the first shared block after a queue was empty; each one is twice as large as the one before. Ten thousand queues
/// with an item each are nothing unusual.
const BLOCK_BYTES_MIN: usize = 512;
/// Bytes of the largest shared block: its own cost vanishes, and a straggler pins little.
const BLOCK_BYTES_MAX: usize = 64 * 1024;
/// Bodies from this size on get an allocation of their own.
const OWN_BLOCK_BYTES: usize = 4 * 1024;
/// What an item costs besides its body, so that empty ones are not free.
const SLOT_BYTES: usize = size_of::<Option<Bytes>>();
/// Ids of a page.
const PAGE_ITEMS: u64 = 256;

/// A page with fewer bodies than this, and complete, is taken apart.
const PAGE_ITEMS_MIN: usize = 32;

/// Bodies by item id.
#[derive(Debug, Default)]
pub(in crate::engine) struct MemoryBodies {
    pages: FxHashMap<u64, Page>,
    /// The page that ids are added to.
    newest: u64,
    /// What is left of pages that were taken apart, each in an allocation of its own.
    stragglers: FxHashMap<u64, Bytes>,
    block: BytesMut,
    /// Of the block before.
    block_bytes: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Page {
    bodies: Vec<Option<Bytes>>,
    live: usize,
}

impl MemoryBodies {
    /// Copies `body` in. The id must be new.
    pub(in crate::engine) fn insert(&mut self, id: u64, body: &[u8]) {
        let copy = self.copy(body);
        self.bytes += copy.len() + SLOT_BYTES;
        self.newest = id / PAGE_ITEMS;
        let page = self.pages.entry(self.newest).or_insert_with(Page::empty);
        page.put(id, copy);
    }

    /// The body of `id`; none once it was removed.
    pub(in crate::engine) fn get(&self, id: u64) -> Option<Bytes> {
        match self.pages.get(&(id / PAGE_ITEMS)) {
            Some(page) => page.bodies.get(slot(id))?.clone(),
            None => self.stragglers.get(&id).cloned(),
        }
    }

    /// Forgets the `count` bodies from `first` on; those that are gone already are skipped.
    pub(in crate::engine) fn remove(&mut self, first: u64, count: u64) {
        let mut id = first;
        let end = first + count;
        while id < end {
            let page_number = id / PAGE_ITEMS;
            let page_end = end.min((page_number + 1) * PAGE_ITEMS);
            self.bytes -= self.take(page_number, id..page_end);
            id = page_end;
        }
        if self.bytes == 0 {
            self.block = BytesMut::new();
            self.block_bytes = 0;
        }
    }

    fn take(&mut self, page_number: u64, ids: Range<u64>) -> usize {
        let Some(page) = self.pages.get_mut(&page_number) else {
            let freed = ids.filter_map(|id| self.stragglers.remove(&id));
            return freed.map(|body| body.len() + SLOT_BYTES).sum();
        };
        let freed = page.take(ids.start, ids.end);
        let complete = page_number != self.newest;
        if page.live == 0 || (complete && page.live < PAGE_ITEMS_MIN) {
            self.take_apart(page_number);
        }
        freed
    }

    fn take_apart(&mut self, page_number: u64) {
        let page = self.pages.remove(&page_number);
        let bodies = page.into_iter().flat_map(|page| page.bodies);
        for (id, body) in (page_number * PAGE_ITEMS..).zip(bodies) {
            if let Some(body) = body {
                self.stragglers.insert(id, Bytes::copy_from_slice(&body));
            }
        }
    }

    /// Moves a body out of its shared block, because it is going to stay.
    pub(in crate::engine) fn keep_apart(&mut self, id: u64) {
        let page = self.pages.get_mut(&(id / PAGE_ITEMS));
        if let Some(Some(body)) = page.and_then(|page| page.bodies.get_mut(slot(id)))
            && body.len() < OWN_BLOCK_BYTES
        {
            *body = Bytes::copy_from_slice(body);
        }
    }

    /// Bytes of all bodies and their places.
    pub(in crate::engine) fn bytes(&self) -> usize {
        self.bytes
    }

    fn copy(&mut self, body: &[u8]) -> Bytes {
        if body.len() >= OWN_BLOCK_BYTES {
            return Bytes::copy_from_slice(body);
        }
        if self.block.capacity() < body.len() {
            let twice = (self.block_bytes * 2).clamp(BLOCK_BYTES_MIN, BLOCK_BYTES_MAX);
            self.block_bytes = twice.max(body.len());
            self.block = BytesMut::with_capacity(self.block_bytes);
        }
        self.block.extend_from_slice(body);
        self.block.split().freeze()
    }
}

impl Page {
    fn empty() -> Self {
        Self {
            bodies: Vec::new(),
            live: 0,
        }
    }

    fn put(&mut self, id: u64, body: Bytes) {
        let at = slot(id);
        if self.bodies.len() <= at {
            self.bodies.resize(at + 1, None);
        }
        assert!(self.bodies[at].is_none(), "item ids are given once");
        self.bodies[at] = Some(body);
        self.live += 1;
    }

    fn take(&mut self, first: u64, end: u64) -> usize {
        let mut freed = 0;
        for id in first..end {
            if let Some(body) = self.bodies.get_mut(slot(id)).and_then(Option::take) {
                freed += body.len() + SLOT_BYTES;
                self.live -= 1;
            }
        }
        freed
    }
}

fn slot(id: u64) -> usize {
    usize::try_from(id % PAGE_ITEMS).expect("a page is small")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_come_back_as_they_were_until_removed() {
        let mut bodies = MemoryBodies::default();
        for id in 1..=1000_u64 {
            bodies.insert(id, format!("body {id}").as_bytes());
        }
        assert_eq!(bodies.get(777).as_deref(), Some(&b"body 777"[..]));
        bodies.remove(100, 800);
        assert_eq!(bodies.get(100), None);
        assert_eq!(bodies.get(899), None);
        assert_eq!(bodies.get(99).as_deref(), Some(&b"body 99"[..]));
        assert_eq!(bodies.get(900).as_deref(), Some(&b"body 900"[..]));
        bodies.remove(1, 1000);
        assert_eq!(bodies.bytes(), 0);
        assert!(bodies.pages.is_empty(), "empty pages are freed");
    }

    #[test]
    fn stragglers_pin_neither_page_nor_block_and_come_back_as_they_were() {
        let mut bodies = MemoryBodies::default();
        for id in 0..10_000_u64 {
            bodies.insert(id, format!("body {id}").as_bytes());
        }
        for hundred in 0..100 {
            bodies.remove(hundred * 100 + 1, 99);
        }
        assert!(bodies.pages.len() <= 1, "only the page that is added to");
        assert_eq!(bodies.get(4200).as_deref(), Some(&b"body 4200"[..]));
        assert_eq!(bodies.get(4201), None);
        bodies.keep_apart(4200);
        bodies.remove(0, 10_000);
        assert_eq!((bodies.bytes(), bodies.stragglers.len()), (0, 0));
    }

    #[test]
    fn a_body_kept_apart_is_the_same_and_shares_no_block() {
        let mut bodies = MemoryBodies::default();
        bodies.insert(1, b"one");
        bodies.insert(2, b"two");
        let before = bodies.get(1).unwrap();
        bodies.keep_apart(1);
        let after = bodies.get(1).unwrap();
        assert_eq!(before, after);
        assert_ne!(before.as_ptr(), after.as_ptr());
        bodies.keep_apart(3);
    }

    #[test]
    fn empty_and_large_bodies_are_kept_too() {
        let mut bodies = MemoryBodies::default();
        bodies.insert(5, b"");
        bodies.insert(6, &[7; 100_000]);
        assert_eq!(bodies.get(5).unwrap().len(), 0);
        assert_eq!(bodies.get(6).unwrap().len(), 100_000);
        assert_eq!(bodies.bytes(), 100_000 + 2 * SLOT_BYTES);
    }
}
