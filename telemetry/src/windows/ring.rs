//! Sealed slots of one length, oldest first.

use std::collections::VecDeque;

use crate::histogram::{Histogram, SCALE, Sealed};

/// One slot that is over and was not empty.
#[derive(Debug)]
struct Slot {
    from_ns: u64,
    sealed: Sealed,
}

/// The slots of one length that a window may still ask for.
#[derive(Debug)]
pub(super) struct Ring {
    slots: VecDeque<Slot>,
    /// Of one slot.
    length_ns: u64,
    /// The longest window.
    reach_ns: u64,
    sealed_bytes: usize,
}

impl Ring {
    pub(super) const fn new(length_ns: u64, reach_ns: u64) -> Self {
        Self {
            slots: VecDeque::new(),
            length_ns,
            reach_ns,
            sealed_bytes: 0,
        }
    }

    pub(super) const fn length_ns(&self) -> u64 {
        self.length_ns
    }

    /// Takes over what was counted in the slot that began at `from_ns`, which is later than all before.
    pub(super) fn seal(&mut self, from_ns: u64, live: &mut Histogram) {
        if live.is_empty() {
            return;
        }
        let sealed = live.seal();
        live.clear();
        self.sealed_bytes += sealed.bytes();
        self.slots.push_back(Slot { from_ns, sealed });
    }

    /// Drops the slots that no window of anybody at `now_ns` or later reaches.
    pub(super) fn drop_beyond(&mut self, now_ns: u64) {
        let reached_ns = super::floor(now_ns.saturating_sub(self.reach_ns), self.length_ns);
        while let Some(oldest) = self.slots.pop_front_if(|slot| slot.from_ns < reached_ns) {
            self.sealed_bytes -= oldest.sealed.bytes();
        }
        if self.slots.is_empty() {
            self.slots = VecDeque::new();
        }
    }

    /// Adds all slots that began at `from_ns` or later.
    pub(super) fn add_since(&self, from_ns: u64, merged: &mut Histogram) {
        for slot in self
            .slots
            .iter()
            .rev()
            .take_while(|slot| slot.from_ns >= from_ns)
        {
            merged.add_sealed(&slot.sealed);
        }
    }

    /// Brings all slots down to `halvings` of the histogram's resolution where that frees memory; says how much.
    pub(super) fn coarsen(&mut self, halvings: i32) -> usize {
        let before = self.sealed_bytes;
        for slot in &mut self.slots {
            let mut coarse = slot.sealed.coarsened();
            while coarse.scale() > SCALE - halvings {
                coarse = coarse.coarsened();
            }
            if coarse.scale() == SCALE - halvings && coarse.bytes() < slot.sealed.bytes() {
                self.sealed_bytes -= slot.sealed.bytes() - coarse.bytes();
                slot.sealed = coarse;
            }
        }
        before - self.sealed_bytes
    }

    pub(super) fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>() + self.sealed_bytes
    }
}
