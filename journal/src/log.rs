//! What the segments hold, put together in order: per stream its last checkpoint and the facts after it.

use std::collections::{BTreeMap, BTreeSet};

use crate::checkpoint::{At, Parts};
use crate::error::Error;
use crate::frame::Kind;
use crate::index::Index;
use crate::record::StreamId;

/// What is there of one stream.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    /// The parts of its last complete checkpoint.
    pub(crate) checkpoint: Vec<At>,
    /// In order, those after the checkpoint.
    pub(crate) facts: Vec<At>,
    parts: Parts,
}

impl Trace {
    /// The number of the last fact that the checkpoint stands for.
    pub(crate) fn as_of(&self) -> u64 {
        self.checkpoint.first().map_or(0, |at| at.entry.tag.number)
    }

    pub(crate) fn last_seq(&self) -> u64 {
        let last = self.facts.last();
        last.map_or_else(|| self.as_of(), |at| at.entry.tag.number)
    }

    fn take(&mut self, at: At) {
        if let Some(parts) = self.parts.take(at) {
            self.checkpoint = parts;
            let as_of = self.as_of();
            self.facts.retain(|at| at.entry.tag.number > as_of);
        }
    }

    /// The facts follow the checkpoint and one another.
    pub(crate) fn check(&self, stream: StreamId) -> Result<(), Error> {
        let mut last = self.as_of();
        for at in &self.facts {
            let next = last.saturating_add(1);
            if at.entry.tag.number != next {
                return Err(Error::Missing {
                    stream,
                    what: "facts",
                    from: next,
                });
            }
            last = next;
        }
        Ok(())
    }
}

/// Ids of items in a row: the first, and the one after the last.
type Run = (u64, u64);

/// What is there of all streams.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) traces: BTreeMap<StreamId, Trace>,
    /// The parts of the last complete list of streams.
    pub(crate) directory: Vec<At>,
    directory_parts: Parts,
    /// Streams opened and closed since.
    pub(crate) changes: Vec<At>,
    pub(crate) closed: BTreeSet<StreamId>,
    /// Items in each segment.
    pub(crate) bodies: BTreeMap<u64, BTreeMap<StreamId, Vec<Run>>>,
}

impl Log {
    /// Takes in a segment that follows those before.
    pub(crate) fn take(&mut self, segment: u64, index: &Index) {
        for entry in &index.entries {
            let entry = *entry;
            self.record(At { segment, entry });
        }
    }

    fn record(&mut self, at: At) {
        let stream = at.entry.stream();
        match at.entry.tag.kind {
            Kind::Opened => self.changes.push(at),
            Kind::Closed => {
                self.changes.push(at);
                self.traces.remove(&stream);
                self.closed.insert(stream);
            }
            Kind::Facts | Kind::Checkpoint if self.closed.contains(&stream) => {}
            Kind::Facts => {
                let trace = self.traces.entry(stream).or_default();
                if at.entry.tag.number > trace.as_of() {
                    trace.facts.push(at);
                }
            }
            Kind::Checkpoint => self.traces.entry(stream).or_default().take(at),
            Kind::Bodies => self.bodies(at),
            Kind::Directory => {
                if let Some(parts) = self.directory_parts.take(at) {
                    let begun = parts.first().map(|at| (at.segment, at.entry.offset));
                    self.changes
                        .retain(|change| Some((change.segment, change.entry.offset)) > begun);
                    self.directory = parts;
                }
            }
            Kind::Start | Kind::Commit => {}
        }
    }

    fn bodies(&mut self, at: At) {
        let streams = self.bodies.entry(at.segment).or_default();
        let runs = streams.entry(at.entry.stream()).or_default();
        let (first, end) = (at.entry.tag.number, at.entry.end());
        match runs.last_mut() {
            Some(last) if last.1 == first => last.1 = end,
            _ => runs.push((first, end)),
        }
    }
}
