//! The bytes of one commit, without a copy of large payloads.

use std::io::IoSlice;

use crate::error::Error;
use crate::frame::{
    ALIGN, COMMIT_FRAME, Frame, HEAD_BYTES, Head, Kind, START_FRAME, Seed, Tag, chain,
};
use crate::fs::File;
use crate::index::Entry;

/// Payloads of at most this many bytes are copied: that costs less than a part of a write of their own.
const COPIED_BYTES: usize = 512;
/// Parts of one write: Linux takes no more (IOV_MAX).
const PARTS_MAX: usize = 1024;

/// What the page cache has to have whole: writing less of a block that it does not have means reading it first.
const BLOCK_BYTES: usize = 4096;
static BLOCK: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];

/// Bytes in a row.
#[derive(Clone, Copy, Debug)]
enum Piece {
    Scratch { from: usize, to: usize },
    Payload { frame: usize },
}

/// A commit as it will be written. Kept from commit to commit for its memory.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    scratch: Vec<u8>,
    pieces: Vec<Piece>,
    /// Of the frames, in order.
    pub(crate) entries: Vec<Entry>,
    /// Begins where the last payload that was not copied ended.
    open: usize,
    chain: u32,
    records: u32,
    /// Where the next frame goes.
    offset: u64,
}

/// Where a commit goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) segment: u64,
    pub(crate) salt: u64,
    pub(crate) offset: u64,
    pub(crate) number: u64,
    /// Id and end of the segment before, in the first commit of one.
    pub(crate) before: Option<(u64, u64)>,
}

/// Bytes of a commit of these frames that begins a segment: the most that it can have.
pub(crate) fn commit_bytes(frames: &[Frame<'_>]) -> u64 {
    let records: u64 = frames.iter().map(Frame::bytes).sum();
    records + START_FRAME + COMMIT_FRAME
}

impl Layout {
    /// Lays out a commit. Returns where it ends.
    pub(crate) fn lay_out(&mut self, target: &Target, frames: &[Frame<'_>]) -> u64 {
        self.scratch.clear();
        self.pieces.clear();
        self.entries.clear();
        (self.open, self.chain, self.records, self.offset) = (0, 0, 0, target.offset);
        let seed = Seed::of(target.segment, target.salt);
        if let Some((segment, end)) = target.before {
            let payload = two(segment, end);
            let tag = Tag {
                kind: Kind::Start,
                stream: 0,
                number: target.number - 1,
                count: 0,
                extra: 0,
            };
            let payload = &payload;
            self.add(seed, &Frame { tag, payload }, None);
        }
        for (place, frame) in frames.iter().enumerate() {
            self.add(seed, frame, Some(place));
        }
        let tag = Tag {
            kind: Kind::Commit,
            stream: 0,
            number: target.number,
            count: self.records,
            extra: self.chain,
        };
        let payload = &two(target.segment, target.salt);
        self.add(seed, &Frame { tag, payload }, None);
        self.close();
        self.offset
    }

    fn add(&mut self, seed: Seed, frame: &Frame<'_>, place: Option<usize>) {
        let (head, crc) = Head::encode(seed, &frame.tag, frame.payload);
        self.chain = chain(self.chain, crc);
        self.records += 1;
        if place.is_some() {
            self.entries.push(Entry {
                tag: frame.tag,
                offset: u32::try_from(self.offset).expect("offsets have 32 bits"),
                length: u32::try_from(frame.payload.len()).expect("the frame has 32 bits of it"),
            });
        }
        self.offset += frame.bytes();
        self.scratch.extend_from_slice(&head);
        match place {
            Some(frame_place) if frame.payload.len() > COPIED_BYTES => {
                self.close();
                self.pieces.push(Piece::Payload { frame: frame_place });
            }
            _ => self.scratch.extend_from_slice(frame.payload),
        }
        let length = HEAD_BYTES + frame.payload.len();
        let padded = length.next_multiple_of(usize::try_from(ALIGN).expect("it is 8"));
        self.scratch.resize(self.scratch.len() + padded - length, 0);
    }

    /// What is in the scratch buffer so far is a piece.
    fn close(&mut self) {
        let (from, to) = (self.open, self.scratch.len());
        if from < to {
            self.pieces.push(Piece::Scratch { from, to });
        }
        self.open = to;
    }

    /// Writes it, and zeros up to the end of its last block, but none from `room` on. The next commit begins at this one's end and finds
    /// that block in the cache.
    pub(crate) fn write(
        &self,
        file: &dyn File,
        offset: u64,
        frames: &[Frame<'_>],
        room: u64,
    ) -> std::io::Result<()> {
        let slice = |piece: &Piece| match *piece {
            Piece::Scratch { from, to } => IoSlice::new(&self.scratch[from..to]),
            Piece::Payload { frame } => IoSlice::new(frames[frame].payload),
        };
        let mut slices: Vec<IoSlice<'_>> = self.pieces.iter().map(slice).collect();
        let end = self.offset.next_multiple_of(BLOCK_BYTES as u64).min(room);
        let padding = usize::try_from(end.saturating_sub(self.offset)).unwrap_or(0);
        if padding > 0 {
            slices.push(IoSlice::new(&BLOCK[..padding]));
        }
        let mut left = &mut slices[..];
        let mut offset = offset;
        while !left.is_empty() {
            let parts = left.len().min(PARTS_MAX);
            let wrote = file.write_at(&left[..parts], offset)?;
            if wrote == 0 {
                return Err(std::io::ErrorKind::WriteZero.into());
            }
            offset += wrote as u64;
            IoSlice::advance_slices(&mut left, wrote);
        }
        Ok(())
    }
}

fn two(first: u64, second: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&first.to_le_bytes());
    bytes[8..].copy_from_slice(&second.to_le_bytes());
    bytes
}

/// A commit that no segment of `segment_bytes` holds.
pub(crate) fn check_size(frames: &[Frame<'_>], segment_bytes: u64) -> Result<u64, Error> {
    let bytes = commit_bytes(frames);
    if bytes > segment_bytes.saturating_sub(crate::frame::FIRST_FRAME) {
        return Err(Error::TooLarge { bytes });
    }
    Ok(bytes)
}
