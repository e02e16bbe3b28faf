//! Appends commits. One thread has it; it never makes, names or frees a file.

use std::sync::Arc;
use std::time::Instant;

use rustc_hash::FxHashMap;

use crate::catalog::{Prepared, Shared};
use crate::checkpoint::At;
use crate::directory::Snapshot;
use crate::error::Error;
use crate::forward::{Copies, Forward};
use crate::frame::{FIRST_FRAME, Frame, Kind, START_FRAME, Tag};
use crate::header::segment_name;
use crate::layout::{Layout, Target, check_size};
use crate::lock::Lock;
use crate::record::{Batch, Record, StreamId};

/// Makes batches durable, one after the other.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    _lock: Lock,
    segment_bytes: u64,
    active: Option<Active>,
    /// Id and end of the segment before the active one.
    before: (u64, u64),
    /// Number of the last commit.
    commits: u64,
    poisoned: bool,
    layout: Layout,
    directory: Option<Snapshot>,
    /// Number of the last facts of streams of the batch under way.
    seqs: FxHashMap<StreamId, u64>,
}

#[derive(Debug)]
struct Active {
    prepared: Prepared,
    end: u64,
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        lock: Lock,
        segment_bytes: u64,
        before: (u64, u64),
        commits: u64,
    ) -> Self {
        Self {
            shared,
            _lock: lock,
            segment_bytes,
            active: None,
            before,
            commits,
            poisoned: false,
            layout: Layout::default(),
            directory: None,
            seqs: FxHashMap::default(),
        }
    }

    /// Makes the batch durable, whole. Then what it releases is not needed any more. A batch without records writes nothing.
    ///
    /// # Errors
    /// [`Error::NoSegment`] and [`Error::TooLarge`]: nothing was done. [`Error::Io`]: whether it is durable is unknown, and
    /// the writer takes nothing more. [`Error::Poisoned`]: it failed before.
    ///
    /// # Panics
    /// Where a stream's facts are not numbered from 1 without gaps, a checkpoint stands for facts that are not there,
    /// or a name is longer than 4 KiB: such a journal could not be read again.
    pub fn commit(&mut self, batch: &Batch) -> Result<(), Error> {
        if self.poisoned {
            return Err(Error::Poisoned);
        }
        if batch.is_empty() {
            self.shared.catalog().release(&batch.released);
            return Ok(());
        }
        self.assert_numbers(batch);
        let frames: Vec<Frame<'_>> = batch.records.iter().map(Frame::of).collect();
        let segment = self.write(&frames)?;
        let mut catalog = self.shared.catalog();
        self.layout_into(&mut catalog);
        for (frame, entry) in frames.iter().zip(&self.layout.entries) {
            let entry = *entry;
            catalog.apply(At { segment, entry }, frame.payload);
        }
        catalog.release(&batch.released);
        Ok(())
    }

    /// Makes copies durable that [`crate::Keeper::step`] asked for. Not done again by the caller: the keeper asks
    /// again where it was not done.
    ///
    /// # Errors
    /// Those of [`Self::commit`].
    pub fn forward(&mut self, copies: Forward) -> Result<(), Error> {
        if self.poisoned {
            return Err(Error::Poisoned);
        }
        match copies.copies {
            Copies::Directory => self.forward_directory(),
            Copies::Blocks { from, records } => self.forward_blocks(from, records),
        }
    }

    fn forward_blocks(&mut self, from: u64, mut records: Vec<Record>) -> Result<(), Error> {
        let catalog = self.shared.catalog();
        records.retain(|record| match record {
            Record::Bodies { stream, block } => {
                catalog.needs(*stream, block.first(), block.end(), from)
            }
            _ => false,
        });
        drop(catalog);
        if records.is_empty() {
            return Ok(());
        }
        let frames: Vec<Frame<'_>> = records.iter().map(Frame::of).collect();
        let segment = self.write(&frames)?;
        let mut catalog = self.shared.catalog();
        self.layout_into(&mut catalog);
        for entry in &self.layout.entries {
            let entry = *entry;
            catalog.moved(from, At { segment, entry });
        }
        Ok(())
    }

    /// Writes the next part of the list of streams.
    fn forward_directory(&mut self) -> Result<(), Error> {
        let mut snapshot = match self.directory.take() {
            Some(snapshot) => snapshot,
            None => {
                let number = self.commits + 1;
                Snapshot::of(&self.shared.catalog(), number, self.segment_bytes)
            }
        };
        let tag = Tag {
            kind: Kind::Directory,
            stream: 0,
            number: snapshot.number,
            count: snapshot.next,
            extra: snapshot.parts(),
        };
        let payload = snapshot.part();
        let written = self.write(&[Frame { tag, payload }]);
        if let Ok(segment) = written {
            let mut catalog = self.shared.catalog();
            self.layout_into(&mut catalog);
            for entry in &self.layout.entries {
                let entry = *entry;
                catalog.apply(At { segment, entry }, &[]);
            }
            snapshot.next += 1;
        }
        // A list of which nothing is written yet is made anew: streams may open before it is.
        if (1..snapshot.parts()).contains(&snapshot.next) {
            self.directory = Some(snapshot);
        }
        written.map(drop)
    }

    fn layout_into(&self, catalog: &mut crate::catalog::Catalog) {
        let end = self
            .active
            .as_ref()
            .map_or(FIRST_FRAME, |active| active.end);
        catalog.committed(self.commits, end, &self.layout.entries);
    }

    /// Writes and syncs a commit of these frames. Returns the segment that it is in.
    fn write(&mut self, frames: &[Frame<'_>]) -> Result<u64, Error> {
        let bytes = check_size(frames, self.segment_bytes)?;
        let (prepared, offset) = self.make_room(bytes)?;
        let first = offset == FIRST_FRAME;
        let target = Target {
            segment: prepared.id,
            salt: prepared.salt,
            offset,
            number: self.commits + 1,
            before: first.then_some(self.before),
        };
        let file = prepared.file;
        let end = self.layout.lay_out(&target, frames);
        // The one place where a write or sync can fail: after it, what is on disk is unknown, so nothing is written again.
        let fail = |action, source| Error::io(action, &segment_name(target.segment), source);
        let written = self
            .layout
            .write(&*file, target.offset, frames, prepared.bytes)
            .map_err(|source| fail("write to", source))
            .and_then(|()| {
                let begun = Instant::now();
                file.sync().map_err(|source| fail("sync", source))?;
                Ok(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX))
            });
        let ns = written.inspect_err(|_| self.poisoned = true)?;
        self.shared.metrics.synced(end - target.offset, ns);
        self.commits = target.number;
        if let Some(active) = &mut self.active {
            active.end = end;
        }
        Ok(target.segment)
    }

    /// The segment that has room for a commit of so many bytes, and where it goes: the active one, or the next.
    fn make_room(&mut self, bytes: u64) -> Result<(Prepared, u64), Error> {
        if let Some(active) = &self.active {
            // `bytes` counts a start record, which only a new segment has.
            let end = active.end + bytes - START_FRAME;
            if end <= active.prepared.bytes {
                return Ok((active.prepared.clone(), active.end));
            }
        }
        let next = self.shared.catalog().activate();
        let prepared = next.ok_or(Error::NoSegment)?;
        if let Some(old) = &self.active {
            self.before = (old.prepared.id, old.end);
        }
        let end = FIRST_FRAME;
        self.active = Some(Active {
            prepared: prepared.clone(),
            end,
        });
        Ok((prepared, end))
    }

    /// Facts that are numbered otherwise could be written, and never be replayed.
    fn assert_numbers(&mut self, batch: &Batch) {
        let catalog = self.shared.catalog();
        self.seqs.clear();
        for record in &batch.records {
            match record {
                Record::StreamOpened { stream, name } => {
                    assert!(name.len() <= NAME_BYTES_MAX, "names are at most 4 KiB");
                    let known = catalog.streams.get(stream);
                    self.seqs
                        .insert(*stream, known.map_or(0, |known| known.last_seq));
                }
                Record::Facts { stream, seq, .. } => {
                    let known = catalog.streams.get(stream).map(|known| known.last_seq);
                    if let Some(last) = self.seqs.get(stream).copied().or(known) {
                        assert_eq!(*seq, last + 1, "facts are numbered without gaps");
                        self.seqs.insert(*stream, *seq);
                    } else {
                        // Of a stream that was closed they mean nothing.
                        assert!(stream.0 < catalog.next_stream, "a stream is opened first");
                    }
                }
                Record::Checkpoint { stream, as_of, .. } => {
                    let known = catalog.streams.get(stream).map(|known| known.last_seq);
                    let last = self.seqs.get(stream).copied().or(known);
                    assert!(
                        last.is_none_or(|last| *as_of <= last),
                        "a checkpoint stands for facts that are there"
                    );
                }
                Record::StreamClosed { .. } | Record::Bodies { .. } => {}
            }
        }
    }
}

/// Bytes of a stream's name.
const NAME_BYTES_MAX: usize = 4096;
