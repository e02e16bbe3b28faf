//! What is where, and what of it is still needed. Shared; held for short sections only, never over a read or write.
//!
//! It says what is durable: the writer brings a commit here after its sync. So what the keeper frees by it was not needed
//! by any recovery from then on.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

use crate::cache::Cache;
use crate::checkpoint::{At, Progress};
use crate::extents::{Extents, Part};
use crate::frame::{FIRST_FRAME, Kind};
use crate::fs::{File, FileSystem};
use crate::index::{Entry, Recent};
use crate::record::{Released, StreamId};

/// What writer, keeper and readers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) fs: Arc<dyn FileSystem>,
    /// Guards the catalog as a whole.
    catalog: Mutex<Catalog>,
    /// The disk had no room for another segment. Beside the catalog, since every publish asks.
    full: AtomicBool,
    pub(crate) metrics: Metrics,
}

impl Shared {
    pub(crate) fn new(fs: Arc<dyn FileSystem>, catalog: Catalog) -> Arc<Self> {
        Arc::new(Self {
            fs,
            catalog: Mutex::new(catalog),
            full: AtomicBool::new(false),
            metrics: Metrics::default(),
        })
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    pub(crate) fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    pub(crate) fn catalog(&self) -> MutexGuard<'_, Catalog> {
        self.catalog.lock().expect("no holder panics")
    }
}

/// Sums since the start.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) commits: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) sync_ns: AtomicU64,
    pub(crate) sync_ns_max: AtomicU64,
}

impl Metrics {
    pub(crate) fn synced(&self, bytes: u64, ns: u64) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.sync_ns.fetch_add(ns, Ordering::Relaxed);
        self.sync_ns_max.fetch_max(ns, Ordering::Relaxed);
    }
}

/// A file that is ready to be written, its header durable.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) id: u64,
    pub(crate) salt: u64,
    pub(crate) bytes: u64,
    pub(crate) file: Arc<dyn File>,
}

/// Where the index of a segment is.
#[derive(Debug)]
pub(crate) enum IndexState {
    /// In memory, growing.
    Active(Recent),
    /// In memory, until the sidecar is written.
    Sealed(Arc<Recent>),
    /// In the sidecar.
    Stored,
    /// Nowhere: to be made from the segment.
    Absent,
}

/// A segment that has, or is about to have, commits.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) file: Arc<dyn File>,
    pub(crate) salt: u64,
    /// Of the file.
    pub(crate) bytes: u64,
    /// Where it begins, were all segments one file.
    pub(crate) position: u64,
    pub(crate) end: u64,
    pub(crate) first_commit: u64,
    pub(crate) last_commit: u64,
    /// Items whose bodies are needed.
    pub(crate) live: u64,
    pub(crate) index: IndexState,
    /// How many items were live when their bytes were last counted.
    pub(crate) counted_at: Option<u64>,
    /// Something in it cannot be read, so it is not emptied.
    pub(crate) stuck: bool,
    /// Its sidecar could not be written.
    pub(crate) unstorable: bool,
}

impl Segment {
    pub(crate) fn new(prepared: &Prepared, position: u64) -> Self {
        Self {
            file: Arc::clone(&prepared.file),
            salt: prepared.salt,
            bytes: prepared.bytes,
            position,
            end: FIRST_FRAME,
            first_commit: 0,
            last_commit: 0,
            live: 0,
            index: IndexState::Active(Recent::default()),
            counted_at: None,
            stuck: false,
            unstorable: false,
        }
    }
}

/// A stream that is open.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    pub(crate) name: Bytes,
    pub(crate) extents: Extents,
    pub(crate) progress: Progress,
    pub(crate) last_seq: u64,
    /// The first of the facts in each segment, since the checkpoint.
    pub(crate) facts_from: BTreeMap<u64, u64>,
}

impl Stream {
    pub(crate) fn facts(&mut self, seq: u64, segment: u64) {
        self.last_seq = seq;
        self.progress.need(segment);
        if self
            .facts_from
            .last_key_value()
            .is_none_or(|(_, last)| *last != segment)
        {
            self.facts_from.insert(seq, segment);
        }
    }

    fn part(&mut self, at: At) {
        let Some(first) = self.progress.part(at) else {
            return;
        };
        // Facts after the checkpoint may stand before its first part, if the caller was slow to begin it.
        let next = at.entry.tag.number.saturating_add(1);
        let mut needed = first;
        if let Some((&seq, &segment)) = self.facts_from.range(..=next).next_back() {
            if next <= self.last_seq {
                needed = needed.min(segment);
            }
            self.facts_from = self.facts_from.split_off(&seq);
        }
        self.progress.needed_from = Some(needed);
    }
}

/// The whole of it.
#[derive(Debug)]
pub(crate) struct Catalog {
    /// In use, by id; the active one is the last.
    pub(crate) segments: BTreeMap<u64, Segment>,
    pub(crate) active: Option<u64>,
    /// Ready for the writer, by id.
    pub(crate) prepared: VecDeque<Prepared>,
    pub(crate) streams: BTreeMap<StreamId, Stream>,
    /// Of the list of streams.
    pub(crate) directory: Progress,
    pub(crate) next_stream: u32,
    pub(crate) cache: Cache,
}

impl Catalog {
    /// The next prepared segment becomes the active one, which is sealed. None: there is none, and nothing changed.
    pub(crate) fn activate(&mut self) -> Option<Prepared> {
        let next = self.prepared.pop_front()?;
        self.seal();
        let position = self.position();
        self.segments.insert(next.id, Segment::new(&next, position));
        self.active = Some(next.id);
        Some(next)
    }

    fn seal(&mut self) {
        let active = self.active.take();
        let segment = active.and_then(|active| self.segments.get_mut(&active));
        if let Some(segment) = segment
            && let IndexState::Active(recent) = &mut segment.index
        {
            segment.index = IndexState::Sealed(Arc::new(std::mem::take(recent)));
        }
    }

    /// Where the log ends, were all segments one file.
    pub(crate) fn position(&self) -> u64 {
        let last = self.segments.last_key_value();
        last.map_or(0, |(_, segment)| segment.position + segment.end)
    }

    /// A commit of the active segment is durable.
    pub(crate) fn committed(&mut self, number: u64, end: u64, entries: &[Entry]) {
        let active = self.active.and_then(|id| self.segments.get_mut(&id));
        let segment = active.expect("a commit has a segment");
        segment.end = end;
        if segment.first_commit == 0 {
            segment.first_commit = number;
        }
        segment.last_commit = number;
        if let IndexState::Active(recent) = &mut segment.index {
            entries.iter().for_each(|entry| recent.push(*entry));
        }
    }

    /// What a durable record of the active segment means. One of a stream that is not open means nothing.
    pub(crate) fn apply(&mut self, at: At, name: &[u8]) {
        let id = at.entry.stream();
        match at.entry.tag.kind {
            Kind::Opened => {
                self.directory.need(at.segment);
                self.next_stream = self.next_stream.max(id.0.saturating_add(1));
                self.streams.entry(id).or_insert_with(|| Stream {
                    name: Bytes::copy_from_slice(name),
                    ..Stream::default()
                });
            }
            Kind::Closed => {
                self.directory.need(at.segment);
                if let Some(stream) = self.streams.remove(&id) {
                    stream.extents.all().for_each(|part| self.died(part));
                }
            }
            Kind::Facts => {
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.facts(at.entry.tag.number, at.segment);
                }
            }
            Kind::Bodies => {
                let (first, end) = (at.entry.tag.number, at.entry.end());
                self.remove(id, first, end);
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.extents.insert(first, end, at.segment);
                    self.born(at.segment, end - first);
                }
            }
            Kind::Checkpoint => {
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.part(at);
                }
            }
            Kind::Directory => {
                self.directory.part(at);
            }
            Kind::Start | Kind::Commit => {}
        }
    }

    fn born(&mut self, segment: u64, items: u64) {
        if let Some(segment) = self.segments.get_mut(&segment) {
            segment.live += items;
        }
    }

    fn died(&mut self, part: Part) {
        if let Some(segment) = self.segments.get_mut(&part.segment) {
            segment.live -= part.items();
        }
    }

    /// Bodies that are not needed any more.
    pub(crate) fn release(&mut self, released: &[Released]) {
        for released in released {
            let end = released.first.saturating_add(released.count.into());
            self.remove(released.stream, released.first, end);
        }
    }

    fn remove(&mut self, stream: StreamId, first: u64, end: u64) {
        let Some(stream) = self.streams.get_mut(&stream) else {
            return;
        };
        let segments = &mut self.segments;
        stream.extents.remove(first, end, |part| {
            if let Some(segment) = segments.get_mut(&part.segment) {
                segment.live -= part.items();
            }
        });
    }

    /// Copies of items of segment `from` are durable in the active one. Those that were released meanwhile stay so.
    pub(crate) fn moved(&mut self, from: u64, at: At) {
        let Some(stream) = self.streams.get_mut(&at.entry.stream()) else {
            return;
        };
        let parts = stream.extents.parts(at.entry.tag.number, at.entry.end());
        let parts: Vec<Part> = parts.filter(|part| part.segment == from).collect();
        for part in &parts {
            stream.extents.remove(part.first, part.end, |_| {});
            stream.extents.insert(part.first, part.end, at.segment);
        }
        for part in parts {
            self.born(at.segment, part.items());
            self.died(part);
        }
    }

    /// Some of the items are needed from this segment.
    pub(crate) fn needs(&self, stream: StreamId, first: u64, end: u64, segment: u64) -> bool {
        let stream = self.streams.get(&stream);
        stream.is_some_and(|stream| {
            let mut parts = stream.extents.parts(first, end);
            parts.any(|part| part.segment == segment)
        })
    }

    /// The segment that replay begins in, of all streams and their list: those below have nothing to replay.
    pub(crate) fn floor(&self) -> u64 {
        let streams = self.streams.values();
        let needed = streams.filter_map(|stream| stream.progress.needed_from);
        needed
            .chain(self.directory.needed_from)
            .min()
            .unwrap_or(u64::MAX)
    }

    /// Sealed segments, by id.
    pub(crate) fn sealed(&self) -> impl Iterator<Item = (u64, &Segment)> {
        let active = self.active;
        let all = self.segments.iter().map(|(id, segment)| (*id, segment));
        all.filter(move |(id, _)| Some(*id) != active)
    }

    /// The lowest segment with nothing in it that is needed.
    pub(crate) fn dead(&self) -> Option<u64> {
        let floor = self.floor();
        let mut sealed = self.sealed();
        let dead = sealed.find(|(id, segment)| segment.live == 0 && *id < floor);
        dead.map(|(id, _)| id)
    }
}
