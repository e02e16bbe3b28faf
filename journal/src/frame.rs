//! One frame: a head of 32 bytes, a payload, zeros up to a multiple of 8. docs/FORMAT.md has the table.
//!
//! The checksum starts from the segment's id and salt, so that what a recycled file held before never verifies. A commit's
//! payload has both in clear: it verifies by itself, where the rest of its segment is damaged.

use crate::record::Record;

/// Bytes of a head.
pub(crate) const HEAD_BYTES: usize = 32;
/// Where the first frame of a segment stands.
pub(crate) const FIRST_FRAME: u64 = 4096;
/// Frames begin at multiples of this.
pub(crate) const ALIGN: u64 = 8;
/// A commit's payload: id and salt of its segment.
pub(crate) const COMMIT_BYTES: usize = 16;
/// A commit's frame.
pub(crate) const COMMIT_FRAME: u64 = (HEAD_BYTES + COMMIT_BYTES) as u64;
/// A start's payload: id and end of the segment before.
pub(crate) const START_BYTES: usize = 16;
/// A start's frame.
pub(crate) const START_FRAME: u64 = (HEAD_BYTES + START_BYTES) as u64;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Start,
    Opened,
    Closed,
    Facts,
    Bodies,
    Checkpoint,
    Directory,
    Commit,
}

impl Kind {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Start => 1,
            Self::Opened => 2,
            Self::Closed => 3,
            Self::Facts => 4,
            Self::Bodies => 5,
            Self::Checkpoint => 6,
            Self::Directory => 7,
            Self::Commit => 8,
        }
    }

    pub(crate) const fn of(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Start,
            2 => Self::Opened,
            3 => Self::Closed,
            4 => Self::Facts,
            5 => Self::Bodies,
            6 => Self::Checkpoint,
            7 => Self::Directory,
            8 => Self::Commit,
            _ => return None,
        })
    }
}

/// What a head says, but for length and checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) kind: Kind,
    pub(crate) stream: u32,
    /// Facts: seq. Bodies: first item. Checkpoint: as of. Directory: the commit that it began in. Commit: its number.
    /// Start: number of the commit before.
    pub(crate) number: u64,
    /// Bodies: items. Checkpoint and directory: part. Commit: records.
    pub(crate) count: u32,
    /// Checkpoint and directory: parts. Commit: checksum over the checksums of its records.
    pub(crate) extra: u32,
}

/// A frame to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) tag: Tag,
    pub(crate) payload: &'a [u8],
}

impl<'a> Frame<'a> {
    pub(crate) fn of(record: &'a Record) -> Self {
        let tag = |kind, stream: u32, number, count, extra| Tag {
            kind,
            stream,
            number,
            count,
            extra,
        };
        match record {
            Record::StreamOpened { stream, name } => Self {
                tag: tag(Kind::Opened, stream.0, 0, 0, 0),
                payload: name,
            },
            Record::StreamClosed { stream } => Self {
                tag: tag(Kind::Closed, stream.0, 0, 0, 0),
                payload: &[],
            },
            Record::Facts {
                stream,
                seq,
                payload,
            } => Self {
                tag: tag(Kind::Facts, stream.0, *seq, 0, 0),
                payload,
            },
            Record::Bodies { stream, block } => Self {
                tag: tag(Kind::Bodies, stream.0, block.first(), block.count(), 0),
                payload: block.payload(),
            },
            Record::Checkpoint {
                stream,
                as_of,
                part,
                parts,
                payload,
            } => Self {
                tag: tag(Kind::Checkpoint, stream.0, *as_of, *part, *parts),
                payload,
            },
        }
    }

    /// Bytes in the segment.
    pub(crate) const fn bytes(&self) -> u64 {
        frame_bytes(self.payload.len() as u64)
    }
}

/// Bytes of the frame of a payload of `length` bytes.
pub(crate) const fn frame_bytes(length: u64) -> u64 {
    HEAD_BYTES as u64 + length.next_multiple_of(ALIGN)
}

/// What the checksums of a segment start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seed(u32);

impl Seed {
    pub(crate) fn of(segment: u64, salt: u64) -> Self {
        let id = crc32c::crc32c(&segment.to_le_bytes());
        Self(crc32c::crc32c_append(id, &salt.to_le_bytes()))
    }
}

/// A head as it stands on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) tag: Tag,
    pub(crate) length: u32,
    pub(crate) crc: u32,
}

impl Head {
    /// The bytes of a frame's head, and its checksum. The caller has checked that the payload's length fits.
    pub(crate) fn encode(seed: Seed, tag: &Tag, payload: &[u8]) -> ([u8; HEAD_BYTES], u32) {
        let length = u32::try_from(payload.len()).expect("a frame fits into a segment");
        let mut bytes = [0; HEAD_BYTES];
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        bytes[8] = tag.kind.code();
        bytes[12..16].copy_from_slice(&tag.stream.to_le_bytes());
        bytes[16..24].copy_from_slice(&tag.number.to_le_bytes());
        bytes[24..28].copy_from_slice(&tag.count.to_le_bytes());
        bytes[28..].copy_from_slice(&tag.extra.to_le_bytes());
        let crc = crc32c::crc32c_append(Self::checksum(seed, &bytes), payload);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        (bytes, crc)
    }

    /// What the bytes say, if they can be a head at all; nothing is verified.
    pub(crate) fn decode(bytes: &[u8; HEAD_BYTES]) -> Option<Self> {
        if bytes[9..12] != [0; 3] {
            return None;
        }
        Some(Self {
            length: u32_at(bytes, 0),
            crc: u32_at(bytes, 4),
            tag: Tag {
                kind: Kind::of(bytes[8])?,
                stream: u32_at(bytes, 12),
                number: u64_at(bytes, 16),
                count: u32_at(bytes, 24),
                extra: u32_at(bytes, 28),
            },
        })
    }

    /// The checksum of a head, to be continued over the payload.
    pub(crate) fn checksum(seed: Seed, bytes: &[u8; HEAD_BYTES]) -> u32 {
        let length = crc32c::crc32c_append(seed.0, &bytes[..4]);
        crc32c::crc32c_append(length, &bytes[8..])
    }
}

/// The checksum over the checksums of a commit's records, continued by one more.
pub(crate) fn chain(so_far: u32, crc: u32) -> u32 {
    crc32c::crc32c_append(so_far, &crc.to_le_bytes())
}

/// The u32 at `at`; the caller has checked that it is there.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("cut to size"))
}

/// The u64 at `at`; the caller has checked that it is there.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("cut to size"))
}
