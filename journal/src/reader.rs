//! Reads bodies back, off the writer.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use crate::block::Block;
use crate::catalog::{Catalog, IndexState, Segment, Shared};
use crate::error::Error;
use crate::frame::{HEAD_BYTES, Head, Seed};
use crate::fs::File;
use crate::header::segment_name;
use crate::index::{Bodies, Entry};
use crate::record::StreamId;
use crate::report::Counters;
use crate::source::{WINDOW_BYTES, read_full};
use crate::walk::load;

/// Records of one read: bounds the time that the catalog is held for.
const RECORDS_MAX: usize = 4096;
/// Between two records that are read together: reading on costs less than a call.
const GAP_BYTES: u64 = 4096;

/// Reads bodies. Clones share.
#[derive(Clone, Debug)]
pub struct Reader {
    shared: Arc<Shared>,
}

/// Why bodies were not read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// They were released, or their stream closed, meanwhile.
    #[error("the items are not needed any more")]
    Gone,
    /// Bytes are not what was written.
    #[error(
        "{file} is damaged at byte {offset}: the bodies of {count} items from {first} on cannot be read"
    )]
    Damaged {
        /// Which file.
        file: String,
        /// Where.
        offset: u64,
        /// The first item that cannot be read.
        first: u64,
        /// How many cannot.
        count: u32,
    },
    /// A call to the file system failed.
    #[error(transparent)]
    Io(Error),
}

/// A record that is to be read, and which of its items.
#[derive(Clone, Debug)]
pub(crate) struct Want {
    pub(crate) place: Place,
    pub(crate) entry: Entry,
    pub(crate) first: u64,
    pub(crate) end: u64,
}

/// A segment.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) id: u64,
    pub(crate) salt: u64,
    pub(crate) end: u64,
    pub(crate) file: Arc<dyn File>,
}

impl Place {
    pub(crate) fn of(id: u64, segment: &Segment) -> Self {
        Self {
            id,
            salt: segment.salt,
            end: segment.end,
            file: Arc::clone(&segment.file),
        }
    }

    /// Its index, read anew.
    pub(crate) fn load(&self, shared: &Shared) -> Result<Arc<Bodies>, Error> {
        let name = segment_name(self.id);
        let index = load(
            &*shared.fs,
            &self.file,
            &name,
            (self.id, self.salt, self.end),
        )?;
        Ok(Arc::new(Bodies::of(index.entries)))
    }
}

/// What is to be read, or what has to be loaded to know it.
enum Plan {
    Read(Vec<Want>),
    Load(Place),
}

impl Reader {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Bodies from `first` on, up to the next item that is not needed any more; of at most `count` items and about `bytes`
    /// bytes, at least one block.
    ///
    /// # Errors
    /// [`ReadError::Gone`] where `first` is not needed any more. Others where no block could be read before it.
    pub fn read(
        &self,
        stream: StreamId,
        first: u64,
        count: u32,
        bytes: usize,
    ) -> Result<Vec<Block>, ReadError> {
        loop {
            let end = first.saturating_add(count.into());
            let plan = plan(&mut self.shared.catalog(), stream, (first, end), bytes)?;
            let failed = match plan {
                Plan::Read(wants) => match read_all(&wants) {
                    Ok(blocks) => return Ok(blocks),
                    Err(error) => (wants.first().map(|want| want.place.id), error),
                },
                Plan::Load(place) => match place.load(&self.shared) {
                    Ok(index) => {
                        self.keep(&place, index);
                        continue;
                    }
                    Err(error) => (Some(place.id), damaged_index(error, &(first, end))),
                },
            };
            // The segment may have been freed, and its file used again, since the plan was made.
            let catalog = self.shared.catalog();
            if failed
                .0
                .is_some_and(|id| catalog.needs(stream, first, first + 1, id))
            {
                return Err(failed.1);
            }
        }
    }

    fn keep(&self, place: &Place, index: Arc<Bodies>) {
        let mut catalog = self.shared.catalog();
        let same = catalog.segments.get(&place.id);
        if same.is_some_and(|segment| segment.salt == place.salt) {
            catalog.cache.insert(place.id, index);
        }
    }

    /// What was done, and what there is.
    pub fn counters(&self) -> Counters {
        let metrics = &self.shared.metrics;
        let catalog = self.shared.catalog();
        Counters {
            commits: metrics.commits.load(Ordering::Relaxed),
            bytes: metrics.bytes.load(Ordering::Relaxed),
            syncs: metrics.syncs.load(Ordering::Relaxed),
            sync_ns: metrics.sync_ns.load(Ordering::Relaxed),
            sync_ns_max: metrics.sync_ns_max.load(Ordering::Relaxed),
            segments: catalog.segments.len() as u64,
            spares: catalog.prepared.len() as u64,
        }
    }

    /// There is room for more than acks. False once the disk was too full for another segment and at most one prepared
    /// segment is left; true again by itself.
    pub fn has_room(&self) -> bool {
        !self.shared.is_full() || self.shared.catalog().prepared.len() > 1
    }
}

fn plan(
    catalog: &mut Catalog,
    stream: StreamId,
    (first, end): (u64, u64),
    bytes: usize,
) -> Result<Plan, ReadError> {
    let mut wants: Vec<Want> = Vec::new();
    let mut length = 0;
    let mut at = first;
    while at < end && wants.len() < RECORDS_MAX && (wants.is_empty() || length < bytes) {
        let extents = catalog.streams.get(&stream).map(|known| &known.extents);
        let Some(part) = extents.and_then(|extents| extents.next(at, end)) else {
            break;
        };
        let Some(segment) = catalog.segments.get(&part.segment) else {
            break;
        };
        if part.first != at {
            break;
        }
        let place = Place::of(part.segment, segment);
        let found = match &segment.index {
            IndexState::Active(recent) => recent.find(stream, at),
            IndexState::Sealed(recent) => recent.find(stream, at),
            IndexState::Stored | IndexState::Absent => match catalog.cache.get(part.segment) {
                Some(index) => index.find(stream, at),
                None if wants.is_empty() => return Ok(Plan::Load(place)),
                None => break,
            },
        };
        let Some(entry) = found else {
            return Err(ReadError::Damaged {
                file: segment_name(part.segment),
                offset: 0,
                first: at,
                count: 1,
            });
        };
        let to = part.end.min(entry.end());
        wants.push(Want {
            place,
            entry,
            first: at,
            end: to,
        });
        length += entry.length as usize;
        at = to;
    }
    if wants.is_empty() {
        return Err(ReadError::Gone);
    }
    Ok(Plan::Read(wants))
}

/// The blocks, up to the first that cannot be read; an error if that is the first.
fn read_all(wants: &[Want]) -> Result<Vec<Block>, ReadError> {
    let mut blocks = Vec::with_capacity(wants.len());
    let mut left = wants;
    while let Some(first) = left.first() {
        let (group, rest) = left.split_at(group_of(left));
        if let Err(error) = read_group(first, group, &mut blocks) {
            return if blocks.is_empty() {
                Err(error)
            } else {
                Ok(blocks)
            };
        }
        left = rest;
    }
    Ok(blocks)
}

/// How many of the first records are read together.
fn group_of(wants: &[Want]) -> usize {
    let Some(first) = wants.first() else { return 0 };
    let from = u64::from(first.entry.offset);
    let mut end = from + first.entry.bytes();
    let more = wants[1..].iter().take_while(|want| {
        let offset = u64::from(want.entry.offset);
        let next = offset + want.entry.bytes();
        let near = want.place.id == first.place.id && offset >= end && offset - end <= GAP_BYTES;
        let fits = near && next - from <= WINDOW_BYTES as u64;
        end = if fits { next } else { end };
        fits
    });
    1 + more.count()
}

fn read_group(first: &Want, group: &[Want], blocks: &mut Vec<Block>) -> Result<(), ReadError> {
    let from = u64::from(first.entry.offset);
    let last = group.last().unwrap_or(first);
    let bytes = u64::from(last.entry.offset) + last.entry.bytes() - from;
    let name = segment_name(first.place.id);
    let mut buffer = BytesMut::zeroed(usize::try_from(bytes).unwrap_or(usize::MAX));
    let read = read_full(&*first.place.file, &name, &mut buffer, from).map_err(ReadError::Io)?;
    buffer.truncate(read);
    let buffer = buffer.freeze();
    for want in group {
        let at = usize::try_from(u64::from(want.entry.offset) - from).unwrap_or(usize::MAX);
        let block = block_of(&buffer, at, want).ok_or_else(|| ReadError::Damaged {
            file: name.clone(),
            offset: want.entry.offset.into(),
            first: want.first,
            count: u32::try_from(want.end - want.first).unwrap_or(u32::MAX),
        })?;
        blocks.push(block);
    }
    Ok(())
}

/// What is wanted of one record.
pub(crate) fn read_one(want: &Want) -> Result<Block, ReadError> {
    let mut blocks = Vec::with_capacity(1);
    read_group(want, std::slice::from_ref(want), &mut blocks)?;
    blocks.pop().ok_or(ReadError::Gone)
}

/// The wanted items of the record at `at`, if it is the one that was written.
fn block_of(buffer: &Bytes, at: usize, want: &Want) -> Option<Block> {
    let seed = Seed::of(want.place.id, want.place.salt);
    let payload = verified(buffer, at, seed, &want.entry)?;
    let block = Block::parse(want.entry.tag.number, want.entry.tag.count, payload).ok()?;
    if (block.first(), block.end()) == (want.first, want.end) {
        return Some(block);
    }
    block.copied(want.first, u32::try_from(want.end - want.first).ok()?)
}

/// The payload of the frame at `at`, if it is the one that the index speaks of.
fn verified(buffer: &Bytes, at: usize, seed: Seed, entry: &Entry) -> Option<Bytes> {
    let to = at.checked_add(HEAD_BYTES + entry.length as usize)?;
    let (bytes, payload) = buffer.get(at..to)?.split_first_chunk::<HEAD_BYTES>()?;
    let head = Head::decode(bytes)?;
    let crc = crc32c::crc32c_append(Head::checksum(seed, bytes), payload);
    let same = head.tag == entry.tag && head.length == entry.length && head.crc == crc;
    same.then(|| buffer.slice(at + HEAD_BYTES..to))
}

fn damaged_index(error: Error, (first, end): &(u64, u64)) -> ReadError {
    match error {
        Error::Damaged { file, offset, .. } => ReadError::Damaged {
            file,
            offset,
            first: *first,
            count: u32::try_from(end - first).unwrap_or(u32::MAX),
        },
        other => ReadError::Io(other),
    }
}
