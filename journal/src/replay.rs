//! Hands what was read to the caller, verified and in order.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::checkpoint::At;
use crate::directory::Directory;
use crate::error::Error;
use crate::frame::{Kind, Seed};
use crate::fs::File;
use crate::log::{Log, Trace};
use crate::record::StreamId;
use crate::source::{Source, WINDOW_BYTES};
use crate::survey::Used;

/// Records with less than this between them are read together.
const GAP_BYTES: u64 = 256 << 10;

/// Takes what a journal holds. A stream's own calls come in the order of this trait; an error ends the recovery.
pub trait Replay {
    /// A stream is open.
    ///
    /// # Errors
    /// In the caller's words: it cannot be understood.
    fn opened(&mut self, stream: StreamId, name: &[u8]) -> Result<(), String>;

    /// The stream's last complete checkpoint, its parts joined. At most once a stream.
    ///
    /// # Errors
    /// In the caller's words: it cannot be understood.
    fn checkpoint(&mut self, stream: StreamId, payload: &[u8]) -> Result<(), String>;

    /// Facts after the checkpoint, in order and without a gap.
    ///
    /// # Errors
    /// In the caller's words: they cannot be understood.
    fn facts(&mut self, stream: StreamId, payload: &[u8]) -> Result<(), String>;

    /// After all facts: visits the runs of items whose bodies are needed, each a first item and how many.
    fn needed(&self, stream: StreamId, visit: &mut dyn FnMut(u64, u32));
}

/// The files, to read records from.
pub(crate) struct Records<'a> {
    files: BTreeMap<u64, &'a Used>,
    open: Option<(u64, Source<'a>)>,
}

impl<'a> Records<'a> {
    pub(crate) fn of(used: &'a [Used]) -> Self {
        Self {
            files: used.iter().map(|used| (used.file.id, used)).collect(),
            open: None,
        }
    }

    /// The payload of a record, reading ahead up to `until`.
    fn payload(&mut self, at: &At, until: u64) -> Result<Bytes, Error> {
        let used = self.files[&at.segment];
        if self.open.as_ref().is_none_or(|(id, _)| *id != at.segment) {
            let file: &'a Arc<dyn File> = &used.file.file;
            let source = Source::new(&**file, &used.file.name)?;
            self.open = Some((at.segment, source));
        }
        let (_, source) = self.open.as_mut().expect("it was opened");
        source.read_until(until);
        let offset = u64::from(at.entry.offset);
        let head = source.frame(offset, Seed::of(at.segment, used.salt), u64::MAX)?;
        let ours = head.filter(|head| head.tag == at.entry.tag && head.length == at.entry.length);
        let head = ours.ok_or_else(|| self.damaged(at, "a record does not verify"))?;
        match &mut self.open {
            Some((_, source)) => source.payload(offset, &head),
            None => Ok(Bytes::new()),
        }
    }

    fn damaged(&self, at: &At, what: &'static str) -> Error {
        Error::Damaged {
            file: self.files[&at.segment].file.name.clone(),
            offset: at.entry.offset.into(),
            what,
        }
    }

    /// The payloads of the parts, joined.
    fn joined(&mut self, parts: &[At]) -> Result<Bytes, Error> {
        let mut whole = BytesMut::new();
        for part in parts {
            whole.extend_from_slice(&self.payload(part, end_of(part))?);
        }
        Ok(whole.freeze())
    }

    /// The streams that are open.
    pub(crate) fn directory(&mut self, log: &Log) -> Result<Directory, Error> {
        let mut directory = Directory {
            next_stream: 1,
            ..Directory::default()
        };
        if let Some(first) = log.directory.first() {
            let payload = self.joined(&log.directory)?;
            let decoded = Directory::decode(&payload);
            directory = decoded.ok_or_else(|| self.damaged(first, "it is no list of streams"))?;
        }
        let known = directory.next_stream;
        for change in &log.changes {
            let stream = change.entry.stream();
            if change.entry.tag.kind == Kind::Closed {
                directory.names.remove(&stream);
                continue;
            }
            let name = self.payload(change, end_of(change))?;
            directory.names.entry(stream).or_insert(name);
            let next = stream.0.saturating_add(1);
            directory.next_stream = directory.next_stream.max(next);
        }
        // A stream that the list does not know any more was closed before it; a later one must have been opened since.
        let known = StreamId(known);
        let lost = log.traces.range(known..);
        match lost
            .map(|(id, _)| id)
            .find(|id| !directory.names.contains_key(id))
        {
            Some(&stream) => Err(Error::Missing {
                stream,
                what: "facts",
                from: 1,
            }),
            None => Ok(directory),
        }
    }

    /// Replays the streams that are open. Returns how many records of facts there were.
    pub(crate) fn replay(
        &mut self,
        directory: &Directory,
        log: &Log,
        replay: &mut dyn Replay,
    ) -> Result<u64, Error> {
        let mut facts: Vec<At> = Vec::new();
        for (&stream, name) in &directory.names {
            let failed = |what| {
                move |reason| Error::Replay {
                    stream,
                    what,
                    reason,
                }
            };
            replay.opened(stream, name).map_err(failed("name"))?;
            let Some(trace) = log.traces.get(&stream) else {
                continue;
            };
            trace.check(stream)?;
            self.checkpoint(stream, trace, replay)?;
            facts.extend_from_slice(&trace.facts);
        }
        facts.sort_unstable_by_key(|at| (at.segment, at.entry.offset));
        let mut left = &facts[..];
        while !left.is_empty() {
            let (group, rest) = left.split_at(group_of(left));
            let until = group.last().map_or(0, end_of);
            for at in group {
                let payload = self.payload(at, until)?;
                let stream = at.entry.stream();
                let what = "facts";
                replay
                    .facts(stream, &payload)
                    .map_err(|reason| Error::Replay {
                        stream,
                        what,
                        reason,
                    })?;
            }
            left = rest;
        }
        Ok(facts.len() as u64)
    }

    fn checkpoint(
        &mut self,
        stream: StreamId,
        trace: &Trace,
        replay: &mut dyn Replay,
    ) -> Result<(), Error> {
        if trace.checkpoint.is_empty() {
            return Ok(());
        }
        let payload = self.joined(&trace.checkpoint)?;
        let what = "checkpoint";
        replay
            .checkpoint(stream, &payload)
            .map_err(|reason| Error::Replay {
                stream,
                what,
                reason,
            })
    }
}

fn end_of(at: &At) -> u64 {
    u64::from(at.entry.offset) + at.entry.bytes()
}

/// How many of the first records are near enough to be read together.
fn group_of(records: &[At]) -> usize {
    let Some(first) = records.first() else {
        return 0;
    };
    let from = u64::from(first.entry.offset);
    let mut end = end_of(first);
    let more = records[1..].iter().take_while(|at| {
        let offset = u64::from(at.entry.offset);
        let near = at.segment == first.segment && offset.saturating_sub(end) <= GAP_BYTES;
        let fits = near && end_of(at) - from <= WINDOW_BYTES as u64;
        end = end.max(end_of(at));
        fits
    });
    1 + more.count()
}
