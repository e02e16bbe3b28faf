//! Bodies that are about to be delivered, while all of them are on disk.
//!
//! Kept as runs of items, each a part of a [`Block`]: what was published in a turn, or what was read back. Items go as
//! they are handed out, and their block with the last of them. Invariants: runs are disjoint, and every item in one is
//! ready. What is published while older items wait on disk is far from its turn and is not kept.

use std::collections::BTreeMap;

use baton_journal::Block;
use baton_queue::{ItemId, Queue};
use bytes::Bytes;

use crate::limits::{DELIVERY_ITEMS_MAX, HOT_BYTES_MAX};

/// Bytes of a block, unless one item is larger: what is read from disk in one go to get at one item.
const BLOCK_BYTES: usize = 64 * 1024;
/// What a run costs beside its bodies.
const RUN_BYTES: usize = size_of::<HotRun>() + 3 * size_of::<u64>();

/// See the module.
#[derive(Debug, Default)]
pub(in crate::engine) struct HotBodies {
    /// By first item.
    runs: BTreeMap<u64, HotRun>,
    items: u64,
    bytes: usize,
    /// Published in this turn: the first id, and the bodies in the network's buffers.
    fresh_first: u64,
    fresh: Vec<Bytes>,
    /// Made of them.
    sealed: Vec<Block>,
    /// Older ready items are on disk only.
    behind: bool,
}

#[derive(Debug)]
struct HotRun {
    count: u32,
    block: Block,
}

impl HotRun {
    fn cost(&self, first: u64) -> usize {
        self.block.bytes_of(first, self.count) + RUN_BYTES
    }
}

impl HotBodies {
    pub(super) fn insert(&mut self, id: u64, body: &Bytes) {
        if self.fresh.is_empty() {
            self.fresh_first = id;
        }
        let next = self.fresh_first + self.fresh.len() as u64;
        assert_eq!(id, next, "ids are consecutive");
        self.fresh.push(body.clone());
    }

    /// Copies fresh bodies out of the network's buffers, into blocks.
    pub(super) fn seal(&mut self, queue: &Queue) {
        if self.fresh.is_empty() {
            return;
        }
        let ready = ready_from(queue, self.fresh_first, u64::MAX);
        let fresh_items: u64 = ready.iter().map(|(_, count)| u64::from(*count)).sum();
        self.behind |= queue.ready_items() > self.items + fresh_items;
        let fresh = std::mem::take(&mut self.fresh);
        let mut first = self.fresh_first;
        let mut rest = fresh.as_slice();
        while !rest.is_empty() {
            let (block, later) = rest.split_at(items_of_a_block(rest));
            let block = Block::of(first, block);
            first = block.end();
            rest = later;
            self.sealed.push(block.clone());
            self.add(&block, &ready);
        }
    }

    /// Takes in what was read from disk, as far as it is still wanted.
    pub(in crate::engine) fn load(&mut self, blocks: &[Block], queue: &Queue) {
        for block in blocks {
            let ready = ready_from(queue, block.first(), block.end());
            self.add(block, &ready);
        }
    }

    /// Puts those of the `ready` items that the block has, and that are not here yet, at hand.
    fn add(&mut self, block: &Block, ready: &[(u64, u32)]) {
        for &(first, count) in ready {
            let end = (first + u64::from(count)).min(block.end());
            let mut at = first.max(block.first());
            while at < end {
                let gap = self.missing_from(at).min(end);
                if let Some(count) = run_count(at, gap) {
                    let block = block.clone();
                    self.put(at, HotRun { count, block });
                }
                at = self.present_until(gap, end);
            }
        }
    }

    /// Where the items that are missing from `at` on end.
    fn missing_from(&self, at: u64) -> u64 {
        if self.run_of(at).is_some() {
            return at;
        }
        self.runs
            .range(at..)
            .next()
            .map_or(u64::MAX, |(first, _)| *first)
    }

    /// Where the items that are here from `at` on end, `end` at the latest.
    fn present_until(&self, at: u64, end: u64) -> u64 {
        let mut at = at;
        while at < end
            && let Some((first, run)) = self.run_of(at)
        {
            at = first + u64::from(run.count);
        }
        at.min(end)
    }

    fn run_of(&self, item: u64) -> Option<(u64, &HotRun)> {
        let (first, run) = self.runs.range(..=item).next_back()?;
        (item - first < u64::from(run.count)).then_some((*first, run))
    }

    fn put(&mut self, first: u64, run: HotRun) {
        self.items += u64::from(run.count);
        self.bytes += run.cost(first);
        self.runs.insert(first, run);
    }

    fn pull(&mut self, first: u64) -> Option<HotRun> {
        let run = self.runs.remove(&first)?;
        self.items -= u64::from(run.count);
        self.bytes -= run.cost(first);
        Some(run)
    }

    pub(super) fn ready_up_to(&self, queue: &Queue) -> ItemId {
        let mut covered = 0;
        let mut up_to = 0;
        for (first, count, _) in queue.ready_runs(ItemId::NONE) {
            // More than one message is not asked for.
            let end = first.0 + u64::from(count.min(DELIVERY_ITEMS_MAX));
            let here = self.present_until(first.0, end);
            if here > first.0 {
                covered += here - first.0;
                up_to = here - 1;
            }
            if here < end || covered >= u64::from(DELIVERY_ITEMS_MAX) {
                break;
            }
        }
        ItemId(up_to)
    }

    /// Whether the item that is handed out next is at hand.
    pub(in crate::engine) fn has_next(&self, queue: &Queue) -> bool {
        let next = queue.ready_runs(ItemId::NONE).next();
        next.is_some_and(|(first, ..)| self.run_of(first.0).is_some())
    }

    /// The ready items that come after those at hand, in the order in which they are handed out: about `bytes` of them.
    pub(in crate::engine) fn next_cold(&self, queue: &Queue, bytes: u64) -> Vec<(u64, u32)> {
        let mut cold = Vec::new();
        let mut wanted = 0;
        for (first, count, run_bytes) in queue.ready_runs(ItemId::NONE) {
            let end = first.0 + u64::from(count);
            let each = run_bytes.div_ceil(u64::from(count)).max(1);
            let mut at = self.present_until(first.0, end);
            while at < end && wanted < bytes {
                let most = (bytes - wanted).div_ceil(each);
                let gap = self.missing_from(at).min(end).min(at.saturating_add(most));
                cold.extend(run_count(at, gap).map(|count| (at, count)));
                wanted += (gap - at) * each;
                at = self.present_until(gap, end);
            }
            if wanted >= bytes {
                break;
            }
        }
        cold
    }

    /// The bodies of items that are handed out; they are not here any more.
    ///
    /// # Panics
    /// Where one is not at hand.
    pub(super) fn take(&mut self, first: u64, count: u32, mut each: impl FnMut(u64, Bytes)) {
        let end = first + u64::from(count);
        let mut at = first;
        while at < end {
            let (run_first, run) = self.run_of(at).expect("an item is handed out from memory");
            let until = end.min(run_first + u64::from(run.count));
            for item in at..until {
                each(
                    item,
                    run.block.get(item).expect("a run lies within its block"),
                );
            }
            self.cut(run_first, at, until);
            at = until;
        }
    }

    /// A body, if it is at hand.
    pub(super) fn get(&self, item: u64) -> Option<Bytes> {
        self.run_of(item)?.1.block.get(item)
    }

    pub(super) fn remove(&mut self, first: u64, count: u32) {
        let end = first + u64::from(count);
        let mut at = first;
        while at < end {
            at = self.missing_from(at);
            if at >= end {
                return;
            }
            let Some((run_first, run)) = self.run_of(at) else {
                return;
            };
            let until = end.min(run_first + u64::from(run.count));
            self.cut(run_first, at, until);
            at = until;
        }
    }

    /// Takes the items from `from` to before `until` out of a run.
    fn cut(&mut self, run_first: u64, from: u64, until: u64) {
        let Some(run) = self.pull(run_first) else {
            return;
        };
        let run_end = run_first + u64::from(run.count);
        for (first, end) in [(run_first, from), (until, run_end)] {
            if let Some(count) = run_count(first, end) {
                let block = run.block.clone();
                self.put(first, HotRun { count, block });
            }
        }
    }

    pub(super) fn end_turn(&mut self, room: usize) -> Vec<Block> {
        let sealed = std::mem::take(&mut self.sealed);
        if self.behind
            && let Some(block) = sealed.first()
        {
            self.drop_from(block.first());
        }
        self.behind = false;
        let room = room.min(HOT_BYTES_MAX);
        while self.bytes > room
            && let Some((&first, _)) = self.runs.last_key_value()
        {
            self.pull(first);
        }
        sealed
    }

    fn drop_from(&mut self, first: u64) {
        while let Some((&last, _)) = self.runs.last_key_value()
            && last >= first
        {
            self.pull(last);
        }
    }

    pub(in crate::engine) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Items at hand.
    pub(in crate::engine) fn items(&self) -> u64 {
        self.items
    }
}

/// Ready items from `first` to before `end`, as runs; the last one may reach beyond.
fn ready_from(queue: &Queue, first: u64, end: u64) -> Vec<(u64, u32)> {
    let runs = queue.ready_runs(ItemId(first - 1));
    runs.map(|(first, count, _)| (first.0, count))
        .take_while(|(first, _)| *first < end)
        .collect()
}

fn run_count(first: u64, end: u64) -> Option<u32> {
    u32::try_from(end.saturating_sub(first))
        .ok()
        .filter(|count| *count > 0)
}

/// How many of the bodies make one block: at least 1.
fn items_of_a_block(bodies: &[Bytes]) -> usize {
    let mut sum = 0;
    let fit = bodies.iter().take_while(|body| {
        sum += body.len() + Block::BODY_OVERHEAD;
        sum <= BLOCK_BYTES
    });
    fit.count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_queue::{Admit, Config, NewItem, Publish, SessionId, Timestamp, Want};

    const NOW: Timestamp = Timestamp(1);

    fn publish(queue: &mut Queue, bodies: &mut HotBodies, items: u64) {
        let new = vec![
            NewItem {
                size: 10,
                ..NewItem::default()
            };
            usize::try_from(items).unwrap()
        ];
        let first = queue.last_item().0 + 1;
        let publish = Publish {
            producer: None,
            items: &new,
            admit: Admit::All,
            origin: None,
        };
        queue.handle_publish(NOW, publish, &mut Vec::new()).unwrap();
        for id in first..first + items {
            bodies.insert(id, &body(id));
        }
        bodies.seal(queue);
    }

    fn body(id: u64) -> Bytes {
        format!("body {id:05}").into()
    }

    fn lease(queue: &mut Queue, items: u32) -> (u64, u32) {
        let want = Want {
            items,
            ..Want::default()
        };
        let runs = queue.handle_lease(NOW, SessionId::UNARY, want, &mut Vec::new());
        (runs[0].first.0, runs.iter().map(|run| run.count).sum())
    }

    fn taken(bodies: &mut HotBodies, first: u64, count: u32) -> Vec<Bytes> {
        let mut taken = Vec::new();
        bodies.take(first, count, |_, body| taken.push(body));
        taken
    }

    #[test]
    fn what_is_published_is_handed_out_from_memory_and_gone() {
        let (mut queue, mut bodies) = (Queue::new(Config::default()), HotBodies::default());
        publish(&mut queue, &mut bodies, 3);
        assert_eq!(bodies.ready_up_to(&queue), ItemId(3));
        let (first, count) = lease(&mut queue, 2);
        assert_eq!(taken(&mut bodies, first, count), [body(1), body(2)]);
        let stored = bodies.end_turn(usize::MAX);
        assert_eq!((stored.len(), stored[0].count()), (1, 3));
        assert_eq!(
            (bodies.items(), bodies.get(3), bodies.get(1)),
            (1, Some(body(3)), None)
        );
        bodies.remove(1, 3);
        assert_eq!((bodies.items(), bodies.bytes()), (0, 0));
    }

    #[test]
    fn what_does_not_fit_is_left_to_the_disk_and_so_is_all_that_comes_later() {
        let (mut queue, mut bodies) = (Queue::new(Config::default()), HotBodies::default());
        publish(&mut queue, &mut bodies, 10);
        bodies.end_turn(usize::MAX);
        let room = bodies.bytes();
        publish(&mut queue, &mut bodies, 10);
        bodies.end_turn(room);
        assert_eq!(
            (bodies.items(), bodies.ready_up_to(&queue)),
            (10, ItemId(10))
        );
        publish(&mut queue, &mut bodies, 10);
        assert_eq!(bodies.end_turn(usize::MAX)[0].first(), 21);
        assert_eq!(bodies.items(), 10, "items 11 to 20 are on disk only");
        assert_eq!(bodies.next_cold(&queue, 100), [(11, 10)]);
        bodies.load(
            &[Block::of(11, &(11..=20).map(body).collect::<Vec<_>>())],
            &queue,
        );
        assert_eq!(bodies.next_cold(&queue, 1), [(21, 1)]);
        assert_eq!(bodies.ready_up_to(&queue), ItemId(20));
    }

    #[test]
    fn of_what_was_read_only_what_is_still_ready_is_kept_and_only_once() {
        let (mut queue, mut bodies) = (Queue::new(Config::default()), HotBodies::default());
        publish(&mut queue, &mut bodies, 10);
        bodies.end_turn(0);
        assert_eq!((bodies.items(), bodies.bytes()), (0, 0));
        lease(&mut queue, 4);
        let block = Block::of(1, &(1..=10).map(body).collect::<Vec<_>>());
        bodies.load(&[block.copied(7, 2).unwrap(), block.clone(), block], &queue);
        assert_eq!(
            (bodies.items(), bodies.ready_up_to(&queue)),
            (6, ItemId(10))
        );
        assert_eq!(
            taken(&mut bodies, 5, 6),
            (5..=10).map(body).collect::<Vec<_>>()
        );
        assert_eq!((bodies.items(), bodies.bytes()), (0, 0));
    }

    #[test]
    fn blocks_are_cut_at_their_size_but_never_within_an_item() {
        let large = Bytes::from(vec![0; BLOCK_BYTES]);
        let small = Bytes::from(vec![0; BLOCK_BYTES / 4]);
        assert_eq!(items_of_a_block(&[large, small.clone()]), 1);
        assert_eq!(items_of_a_block(&vec![small; 9]), 3);
    }

    #[test]
    fn items_cancelled_in_the_middle_leave_their_neighbours() {
        let (mut queue, mut bodies) = (Queue::new(Config::default()), HotBodies::default());
        publish(&mut queue, &mut bodies, 9);
        queue.cancel(NOW, &[ItemId(4), ItemId(5)], &mut Vec::new());
        bodies.remove(4, 2);
        assert_eq!(bodies.items(), 7);
        assert_eq!(bodies.ready_up_to(&queue), ItemId(9));
        assert_eq!(taken(&mut bodies, 1, 3).len(), 3);
        assert_eq!(taken(&mut bodies, 6, 4).last(), Some(&body(9)));
    }
}
