//! Reads a snapshot. Nothing that it says is trusted.

use std::sync::Arc;

use serde::Deserialize;

use crate::codec::{DecodeError, Input};
use crate::event::Origin;
use crate::history::{FailedAttempt, History};
use crate::id::ItemId;
use crate::run_map::RunMap;
use crate::snapshot::{StoredOrigin, StoredPhase};
use crate::time::Timestamp;

#[derive(Debug)]
pub(crate) struct Reader<'a> {
    input: Input<'a>,
    names: Vec<Arc<str>>,
    histories: Vec<Arc<History>>,
    attempts: Vec<Arc<FailedAttempt>>,
    pub(crate) base: Timestamp,
    pub(crate) end: ItemId,
    last_origin: Option<Origin>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        Ok(Self {
            input: Input::new(bytes)?,
            names: Vec::new(),
            histories: Vec::new(),
            attempts: Vec::new(),
            base: Timestamp::default(),
            end: ItemId(1),
            last_origin: None,
        })
    }

    pub(super) fn finish(self) -> Result<(), DecodeError> {
        self.input
            .is_empty()
            .then_some(())
            .ok_or_else(|| self.input.malformed())
    }

    pub(super) fn runs<P: StoredPhase>(
        &mut self,
        last_item: ItemId,
    ) -> Result<RunMap<P>, DecodeError> {
        RunMap::load(self, last_item)
    }

    pub(crate) fn take<T: Deserialize<'a>>(&mut self) -> Result<T, DecodeError> {
        self.input.take()
    }

    pub(crate) fn room<T>(&self, count: u64) -> Vec<T> {
        self.input.room(count)
    }

    pub(crate) fn time(&mut self) -> Result<Timestamp, DecodeError> {
        let distance: Timestamp = self.take()?;
        Ok(distance.onto_base(self.base))
    }

    pub(crate) fn base(&mut self) -> Result<Timestamp, DecodeError> {
        self.base = self.time()?;
        Ok(self.base)
    }

    pub(crate) fn name(&mut self) -> Result<Arc<str>, DecodeError> {
        let number: u32 = self.take()?;
        if number as usize == self.names.len() {
            let name: &str = self.take()?;
            self.names.push(name.into());
        }
        known(&self.names, number)
    }

    pub(crate) fn history(&mut self) -> Result<Option<Arc<History>>, DecodeError> {
        let number: u32 = self.take()?;
        let Some(number) = number.checked_sub(1) else {
            return Ok(None);
        };
        if number as usize == self.histories.len() {
            let history = self.new_history()?;
            self.histories.push(Arc::new(history));
        }
        known(&self.histories, number).map(Some)
    }

    pub(crate) fn origin(&mut self) -> Result<Option<Origin>, DecodeError> {
        if self.input.version() < 2 {
            return Ok(None);
        }
        match self.take()? {
            StoredOrigin::None => return Ok(None),
            StoredOrigin::Last => {}
            StoredOrigin::New(origin) => self.last_origin = Some(origin),
        }
        let rule = "what is shared comes before it is referred to";
        let known = self.last_origin.map(Some);
        known.ok_or(DecodeError::Inconsistent { rule })
    }

    fn new_history(&mut self) -> Result<History, DecodeError> {
        let count: u64 = self.take()?;
        let mut failed = self.room(count);
        for _ in 0..count {
            failed.push(self.attempt()?);
        }
        let rule = "a history has attempts";
        History::of(failed).ok_or(DecodeError::Inconsistent { rule })
    }

    fn attempt(&mut self) -> Result<Arc<FailedAttempt>, DecodeError> {
        let number: u32 = self.take()?;
        if number as usize == self.attempts.len() {
            let failed = FailedAttempt {
                attempt: self.take()?,
                consumer: self.name()?,
                leased_at: self.time()?,
                ended_at: self.time()?,
                reason: self.take()?,
                error: self.name()?,
            };
            self.attempts.push(Arc::new(failed));
        }
        known(&self.attempts, number)
    }
}

fn known<T: Clone>(all: &[T], number: u32) -> Result<T, DecodeError> {
    let rule = "what is shared comes before it is referred to";
    let found = all.get(number as usize).cloned();
    found.ok_or(DecodeError::Inconsistent { rule })
}
