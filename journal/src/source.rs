//! Reads of a segment's file: in large pieces, and never more memory than the file has bytes.

use bytes::{Bytes, BytesMut};

use crate::error::Error;
use crate::frame::{
    ALIGN, COMMIT_BYTES, HEAD_BYTES, Head, Kind, Seed, frame_bytes, u32_at, u64_at,
};
use crate::fs::File;

/// Bytes of a read: large enough to keep a disk busy.
pub(crate) const WINDOW_BYTES: usize = 1 << 20;

/// Fills `buffer` as far as the file goes; how many bytes.
pub(crate) fn read_full(
    file: &dyn File,
    name: &str,
    buffer: &mut [u8],
    offset: u64,
) -> Result<usize, Error> {
    let mut done = 0;
    while done < buffer.len() {
        let read = file
            .read_at(&mut buffer[done..], offset + done as u64)
            .map_err(|source| Error::io("read", name, source))?;
        if read == 0 {
            break;
        }
        done += read;
    }
    Ok(done)
}

/// A window that moves over a file.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    file: &'a dyn File,
    name: &'a str,
    size: u64,
    buffer: Vec<u8>,
    at: u64,
    /// What is read ahead ends here.
    until: u64,
}

impl<'a> Source<'a> {
    pub(crate) fn new(file: &'a dyn File, name: &'a str) -> Result<Self, Error> {
        let size = file
            .size()
            .map_err(|source| Error::io("measure", name, source))?;
        Ok(Self {
            file,
            name,
            size,
            buffer: Vec::new(),
            at: 0,
            until: u64::MAX,
        })
    }

    /// Reads no further ahead than this.
    pub(crate) const fn read_until(&mut self, until: u64) {
        self.until = until;
    }

    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// The bytes from `offset` on, `want` of them (at most a window): fewer only where the file ends.
    pub(crate) fn get(&mut self, offset: u64, want: usize) -> Result<&[u8], Error> {
        let want = want.min(WINDOW_BYTES);
        let ahead = offset.checked_sub(self.at).map_or(usize::MAX, |ahead| {
            usize::try_from(ahead).unwrap_or(usize::MAX)
        });
        let here = self.buffer.len().saturating_sub(ahead);
        if here < want && offset.saturating_add(here as u64) < self.size {
            self.fill(offset, want)?;
            return Ok(&self.buffer[..want.min(self.buffer.len())]);
        }
        Ok(self
            .buffer
            .get(ahead..ahead + want.min(here))
            .unwrap_or_default())
    }

    /// What is at hand from `offset` on, at least `least` bytes unless the file ends.
    fn rest(&mut self, offset: u64, least: usize) -> Result<&[u8], Error> {
        self.get(offset, least)?;
        let ahead = usize::try_from(offset.saturating_sub(self.at)).unwrap_or(usize::MAX);
        Ok(self.buffer.get(ahead..).unwrap_or_default())
    }

    fn fill(&mut self, offset: u64, want: usize) -> Result<(), Error> {
        let ahead = self.until.saturating_sub(offset).max(want as u64);
        let left = self
            .size
            .saturating_sub(offset)
            .min(ahead)
            .min(WINDOW_BYTES as u64);
        self.buffer
            .resize(usize::try_from(left).unwrap_or(WINDOW_BYTES), 0);
        self.at = offset;
        match read_full(self.file, self.name, &mut self.buffer, offset) {
            Ok(read) => {
                self.buffer.truncate(read);
                Ok(())
            }
            Err(error) => {
                self.buffer.clear();
                Err(error)
            }
        }
    }

    /// The head at `offset`, if a frame of this segment stands there whole, before `limit`.
    pub(crate) fn frame(
        &mut self,
        offset: u64,
        seed: Seed,
        limit: u64,
    ) -> Result<Option<Head>, Error> {
        let limit = limit.min(self.size);
        let Ok(bytes) = <[u8; HEAD_BYTES]>::try_from(self.get(offset, HEAD_BYTES)?) else {
            return Ok(None);
        };
        let Some(head) = Head::decode(&bytes) else {
            return Ok(None);
        };
        let end = offset + frame_bytes(head.length.into());
        if end > limit {
            return Ok(None);
        }
        let mut crc = Head::checksum(seed, &bytes);
        let mut left = head.length as usize;
        let mut at = offset + HEAD_BYTES as u64;
        while left > 0 {
            let piece = self.get(at, left)?;
            if piece.is_empty() {
                return Ok(None);
            }
            crc = crc32c::crc32c_append(crc, piece);
            left -= piece.len();
            at += piece.len() as u64;
        }
        Ok((crc == head.crc).then_some(head))
    }

    /// The payload of the frame at `offset`, whose head the caller has from [`Self::frame`].
    pub(crate) fn payload(&mut self, offset: u64, head: &Head) -> Result<Bytes, Error> {
        let length = head.length as usize;
        let offset = offset + HEAD_BYTES as u64;
        if length <= WINDOW_BYTES {
            return Ok(Bytes::copy_from_slice(self.get(offset, length)?));
        }
        let mut payload = BytesMut::zeroed(length);
        read_full(self.file, self.name, &mut payload, offset)?;
        Ok(payload.freeze())
    }

    /// The commit at `offset`, with id and salt of the segment that it says it is of, if it verifies by itself.
    fn commit(&mut self, offset: u64) -> Result<Option<(Head, u64, u64)>, Error> {
        let bytes = self.get(offset, HEAD_BYTES + COMMIT_BYTES)?;
        let Some((head, payload)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
            return Ok(None);
        };
        // The length first: it is rare, and this runs at every eighth byte of a file.
        if u32_at(head, 0) as usize != COMMIT_BYTES || payload.len() != COMMIT_BYTES {
            return Ok(None);
        }
        let (id, salt) = (u64_at(payload, 0), u64_at(payload, 8));
        let crc = crc32c::crc32c_append(Head::checksum(Seed::of(id, salt), head), payload);
        let found = Head::decode(head).filter(|head| head.tag.kind == Kind::Commit);
        Ok(found
            .filter(|head| head.crc == crc)
            .map(|head| (head, id, salt)))
    }

    /// The next place that begins as a commit's frame does: with its length. It is rare, and looked for in whole files.
    fn next_candidate(&mut self, from: u64) -> Result<Option<u64>, Error> {
        // `ALIGN`, as a length in memory.
        const STEP: usize = 8;
        const _: () = assert!(STEP as u64 == ALIGN);
        let mut at = from;
        while at < self.size {
            let piece = self.rest(at, STEP)?;
            let found = piece
                .chunks_exact(STEP)
                .position(|bytes| u32_at(bytes, 0) as usize == COMMIT_BYTES);
            let whole = piece.len() - piece.len() % STEP;
            if let Some(place) = found {
                return Ok(Some(at + place as u64 * ALIGN));
            }
            if whole == 0 {
                break;
            }
            at += whole as u64;
        }
        Ok(None)
    }

    /// The highest number of the commits from `offset` on that verify by themselves and are of this segment, given its id and,
    /// where its header has it, its salt; and the salt.
    pub(crate) fn highest_commit(
        &mut self,
        offset: u64,
        id: u64,
        salt: Option<u64>,
    ) -> Result<Option<(u64, u64)>, Error> {
        let mut highest = None;
        let mut at = offset;
        while let Some(candidate) = self.next_candidate(at)? {
            if let Some((head, of, with)) = self.commit(candidate)?
                && of == id
                && salt.is_none_or(|salt| salt == with)
            {
                highest = highest.max(Some((head.tag.number, with)));
            }
            at = candidate + ALIGN;
        }
        Ok(highest)
    }
}
