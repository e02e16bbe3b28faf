//! What all queues of one engine share: its clock, its epoch, its memory, and whether it is draining.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use baton_queue::Timestamp;
use baton_telemetry::clock::{WallClock, monotonic_ns};

/// See the module.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) stored_bytes: StoredBytes,
    draining: AtomicBool,
}

impl Shared {
    pub(super) fn new(stored_bytes_max: usize) -> Self {
        Self {
            clock: Clock::new(),
            stored_bytes: StoredBytes {
                held: AtomicUsize::new(0),
                max: stored_bytes_max,
            },
            draining: AtomicBool::new(false),
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}

/// The broker's clock: wall time that never goes back.
#[derive(Debug, Clone, Copy)]
pub struct Clock(WallClock);

impl Clock {
    fn new() -> Self {
        Self(WallClock::new())
    }

    /// Now, in nanoseconds since the Unix epoch.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp(self.0.now_ns())
    }

    /// Now, in nanoseconds of CLOCK_MONOTONIC.
    #[must_use]
    pub fn monotonic_ns(&self) -> u64 {
        monotonic_ns()
    }
}

/// Bytes of items that the memory engine holds, over all queues.
#[derive(Debug)]
pub(super) struct StoredBytes {
    held: AtomicUsize,
    max: usize,
}

impl StoredBytes {
    /// Whether more may be stored. Queues look before each batch, so the limit is passed by a batch each at most.
    pub(super) fn has_room(&self) -> bool {
        self.held.load(Ordering::Relaxed) < self.max
    }

    pub(super) fn add(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn sub(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}
