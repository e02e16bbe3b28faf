//! Where the records of a segment stand: of the active one in memory, of a sealed one in its sidecar.
//!
//! A sidecar only saves time: a bad or absent one is made again from the segment.

use std::collections::BTreeMap;

use crate::frame::{Kind, Tag, frame_bytes, u32_at, u64_at};
use crate::record::StreamId;

const MAGIC: &[u8; 8] = b"BATONIDX";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 64;
const ENTRY_BYTES: usize = 32;

/// A record and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) tag: Tag,
    pub(crate) offset: u32,
    /// Of the payload.
    pub(crate) length: u32,
}

impl Entry {
    pub(crate) const fn stream(&self) -> StreamId {
        StreamId(self.tag.stream)
    }

    /// Of a record of bodies: the id after its last. An id that is too large wraps nowhere.
    pub(crate) const fn end(&self) -> u64 {
        self.tag.number.saturating_add(self.tag.count as u64)
    }

    /// Bytes of the frame.
    pub(crate) const fn bytes(&self) -> u64 {
        frame_bytes(self.length as u64)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.tag.kind.code(), 0, 0, 0]);
        out.extend_from_slice(&self.tag.stream.to_le_bytes());
        out.extend_from_slice(&self.tag.number.to_le_bytes());
        out.extend_from_slice(&self.tag.count.to_le_bytes());
        out.extend_from_slice(&self.tag.extra.to_le_bytes());
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&self.length.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            tag: Tag {
                kind: Kind::of(bytes[0])?,
                stream: u32_at(bytes, 4),
                number: u64_at(bytes, 8),
                count: u32_at(bytes, 16),
                extra: u32_at(bytes, 20),
            },
            offset: u32_at(bytes, 24),
            length: u32_at(bytes, 28),
        })
    }
}

/// The index of a whole segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) end: u64,
    pub(crate) first_commit: u64,
    pub(crate) last_commit: u64,
    /// In the order of the segment.
    pub(crate) entries: Vec<Entry>,
}

/// The bytes of a sidecar.
pub(crate) fn encode(
    segment: u64,
    salt: u64,
    place: (u64, u64, u64),
    entries: &[Entry],
) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + entries.len() * ENTRY_BYTES);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    let (end, first_commit, last_commit) = place;
    let count = entries.len() as u64;
    for number in [segment, salt, end, first_commit, last_commit, count] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    entries.iter().for_each(|entry| entry.encode(&mut out));
    let crc = checksum(&out);
    out[12..16].copy_from_slice(&crc.to_le_bytes());
    out
}

/// The index in the bytes of a sidecar, if it is that of this use of the segment.
pub(crate) fn decode(bytes: &[u8], segment: u64, salt: u64) -> Option<Index> {
    if bytes.len() < HEADER_BYTES || &bytes[..8] != MAGIC || u32_at(bytes, 8) != VERSION {
        return None;
    }
    let count = u64_at(bytes, 56);
    let expected = count
        .checked_mul(ENTRY_BYTES as u64)?
        .checked_add(HEADER_BYTES as u64)?;
    let ours = u64_at(bytes, 16) == segment && u64_at(bytes, 24) == salt;
    if !ours || expected != bytes.len() as u64 || u32_at(bytes, 12) != checksum(bytes) {
        return None;
    }
    let end = u64_at(bytes, 32);
    let entries = bytes[HEADER_BYTES..].chunks_exact(ENTRY_BYTES);
    let entries: Option<Vec<Entry>> = entries.map(Entry::decode).collect();
    Some(Index {
        end,
        first_commit: u64_at(bytes, 40),
        last_commit: u64_at(bytes, 48),
        entries: entries.filter(|entries| {
            entries
                .iter()
                .all(|entry| u64::from(entry.offset) + entry.bytes() <= end)
        })?,
    })
}

fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..])
}

/// The index of a segment whose sidecar is not written yet.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    /// In the order of the segment.
    pub(crate) entries: Vec<Entry>,
    /// Those of bodies, by stream and first item.
    bodies: BTreeMap<(StreamId, u64), u32>,
}

impl Recent {
    pub(crate) fn push(&mut self, entry: Entry) {
        if entry.tag.kind == Kind::Bodies {
            let place = u32::try_from(self.entries.len()).expect("offsets have 32 bits");
            self.bodies
                .insert((entry.stream(), entry.tag.number), place);
        }
        self.entries.push(entry);
    }

    /// The record with the body of an item.
    pub(crate) fn find(&self, stream: StreamId, item: u64) -> Option<Entry> {
        let (_, &place) = self
            .bodies
            .range((stream, 0)..=(stream, item))
            .next_back()?;
        Some(self.entries[place as usize]).filter(|entry| item < entry.end())
    }
}

/// The records of bodies of a sealed segment, by stream and first item.
#[derive(Debug)]
pub(crate) struct Bodies {
    entries: Vec<Entry>,
}

impl Bodies {
    pub(crate) fn of(mut entries: Vec<Entry>) -> Self {
        entries.retain(|entry| entry.tag.kind == Kind::Bodies);
        entries.sort_unstable_by_key(|entry| (entry.tag.stream, entry.tag.number, entry.offset));
        entries.shrink_to_fit();
        Self { entries }
    }

    pub(crate) fn find(&self, stream: StreamId, item: u64) -> Option<Entry> {
        let after = self
            .entries
            .partition_point(|entry| (entry.tag.stream, entry.tag.number) <= (stream.0, item));
        let entry = self.entries[..after].last()?;
        let here = entry.tag.stream == stream.0 && item < entry.end();
        here.then_some(*entry)
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What it takes in memory.
    pub(crate) const fn bytes(&self) -> usize {
        self.entries.len() * size_of::<Entry>()
    }
}
