//! The list of streams, as the journal's own checkpoint has it.
//!
//! Layout: the next stream's id u32; then for each open stream its id u32, its name's length u32, its name.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::catalog::Catalog;
use crate::frame::u32_at;
use crate::record::StreamId;

/// Bytes of a part, unless segments are small.
const PART_BYTES: usize = 1 << 20;
/// A part is at most this share of a segment.
const PARTS_PER_SEGMENT: u64 = 8;
const NUMBER_BYTES: usize = size_of::<u32>();

/// The streams that are open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Directory {
    pub(crate) next_stream: u32,
    pub(crate) names: BTreeMap<StreamId, Bytes>,
}

impl Directory {
    /// None: the payload is none.
    pub(crate) fn decode(payload: &Bytes) -> Option<Self> {
        let next_stream = number(payload, 0)?;
        let mut names = BTreeMap::new();
        let mut at = NUMBER_BYTES;
        while at < payload.len() {
            let id = number(payload, at)?;
            let length = number(payload, at + NUMBER_BYTES)? as usize;
            let from = at + 2 * NUMBER_BYTES;
            let name = payload.get(from..from.checked_add(length)?)?;
            names.insert(StreamId(id), Bytes::copy_from_slice(name));
            at = from + length;
        }
        Some(Self { next_stream, names })
    }
}

fn number(payload: &[u8], at: usize) -> Option<u32> {
    payload
        .get(at..at.checked_add(NUMBER_BYTES)?)
        .map(|bytes| u32_at(bytes, 0))
}

/// A list of streams that is being written, a part in each commit.
#[derive(Debug)]
pub(crate) struct Snapshot {
    payload: Vec<u8>,
    part_bytes: usize,
    /// The commit of its first part, which tells it from others.
    pub(crate) number: u64,
    pub(crate) next: u32,
}

impl Snapshot {
    pub(crate) fn of(catalog: &Catalog, number: u64, segment_bytes: u64) -> Self {
        let mut payload = catalog.next_stream.to_le_bytes().to_vec();
        for (id, stream) in &catalog.streams {
            let length = u32::try_from(stream.name.len()).expect("names are short");
            payload.extend_from_slice(&id.0.to_le_bytes());
            payload.extend_from_slice(&length.to_le_bytes());
            payload.extend_from_slice(&stream.name);
        }
        let share = usize::try_from(segment_bytes / PARTS_PER_SEGMENT).unwrap_or(PART_BYTES);
        Self {
            payload,
            part_bytes: share.min(PART_BYTES),
            number,
            next: 0,
        }
    }

    pub(crate) fn parts(&self) -> u32 {
        let parts = self.payload.len().div_ceil(self.part_bytes);
        u32::try_from(parts).expect("streams have 32 bits, names are short")
    }

    /// The payload of the next part.
    pub(crate) fn part(&self) -> &[u8] {
        let from = self.next as usize * self.part_bytes;
        let to = self.payload.len().min(from + self.part_bytes);
        &self.payload[from..to]
    }
}
