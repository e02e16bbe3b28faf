//! Writes a snapshot, and what is shared in it once.

use std::collections::HashMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde::Serialize;

use crate::codec::{FORMAT_VERSION, put};
use crate::event::Origin;
use crate::history::{FailedAttempt, History};
use crate::id::ItemId;
use crate::snapshot::StoredOrigin;
use crate::time::Timestamp;

#[derive(Debug)]
pub(crate) struct Writer<'a> {
    into: &'a mut Vec<u8>,
    /// By content: events of different batches bring the same name anew. Hashed with a secret, since peers choose them.
    names: HashMap<&'a str, u32>,
    last_name: Option<(*const u8, u32)>,
    /// By address, and never iterated: their order in the bytes is that of the runs.
    histories: FxHashMap<*const History, u32>,
    attempts: FxHashMap<*const FailedAttempt, u32>,
    /// Times are distances from the one before that was marked.
    pub(crate) base: Timestamp,
    /// Ids are distances from the end of the run before.
    pub(crate) end: ItemId,
    last_origin: Option<Origin>,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(into: &'a mut Vec<u8>) -> Self {
        into.push(FORMAT_VERSION);
        Self {
            into,
            names: HashMap::new(),
            last_name: None,
            histories: FxHashMap::default(),
            attempts: FxHashMap::default(),
            base: Timestamp::default(),
            end: ItemId(1),
            last_origin: None,
        }
    }

    pub(crate) fn put<T: Serialize + ?Sized>(&mut self, value: &T) {
        put(self.into, value);
    }

    pub(crate) fn put_time(&mut self, time: Timestamp) {
        let distance = time.distance_from(self.base);
        self.put(&distance);
    }

    /// Times that follow are near this one.
    pub(crate) fn put_base(&mut self, time: Timestamp) {
        self.put_time(time);
        self.base = time;
    }

    pub(crate) fn put_name(&mut self, name: &'a Arc<str>) {
        // Runs in a row mostly have the name in common.
        if let Some((address, number)) = self.last_name
            && address == name.as_ptr()
        {
            return self.put(&number);
        }
        let next = number_of(self.names.len());
        let number = *self.names.entry(name).or_insert(next);
        self.last_name = Some((name.as_ptr(), number));
        self.put(&number);
        if number == next {
            self.put(name.as_ref());
        }
    }

    /// 0: none; else its number from 1.
    pub(crate) fn put_history(&mut self, history: Option<&'a Arc<History>>) {
        let Some(history) = history else {
            return self.put(&0_u32);
        };
        let next = number_of(self.histories.len());
        let number = *self.histories.entry(Arc::as_ptr(history)).or_insert(next);
        self.put(&(number + 1));
        if number == next {
            self.put(&history.attempts().len());
            for attempt in history.attempts() {
                self.put_attempt(attempt);
            }
        }
    }

    /// Runs in a row mostly have it in common.
    pub(crate) fn put_origin(&mut self, origin: Option<Origin>) {
        match origin {
            None => self.put(&StoredOrigin::None),
            origin if origin == self.last_origin => self.put(&StoredOrigin::Last),
            Some(new) => {
                self.last_origin = origin;
                self.put(&StoredOrigin::New(new));
            }
        }
    }

    fn put_attempt(&mut self, failed: &'a Arc<FailedAttempt>) {
        let next = number_of(self.attempts.len());
        let number = *self.attempts.entry(Arc::as_ptr(failed)).or_insert(next);
        self.put(&number);
        if number == next {
            self.put(&failed.attempt);
            self.put_name(&failed.consumer);
            self.put_time(failed.leased_at);
            self.put_time(failed.ended_at);
            self.put(&failed.reason);
            self.put_name(&failed.error);
        }
    }
}

fn number_of(len: usize) -> u32 {
    u32::try_from(len).expect("4 billion of them are more than memory holds")
}
