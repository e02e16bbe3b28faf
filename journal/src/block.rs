//! A run of items' bodies in one piece of memory, as it stands in a segment: cut from it, a body is not copied.
//!
//! Layout: for each item the end of its body as u32 little-endian, counted from the end of this table; then the bodies.

use bytes::{BufMut as _, Bytes, BytesMut};
use thiserror::Error;

/// Bodies of items with consecutive ids.
#[derive(Clone, PartialEq, Eq)]
pub struct Block {
    first: u64,
    count: u32,
    payload: Bytes,
}

/// A payload that is no block: its table does not describe it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the table of bodies does not fit its payload")]
pub struct BlockError;

/// Bytes of an entry of the table.
const END_BYTES: usize = size_of::<u32>();

impl Block {
    /// Bytes that a body takes beside its own.
    pub const BODY_OVERHEAD: usize = END_BYTES;

    /// Copies `bodies`, those of the items from `first` on.
    ///
    /// # Panics
    /// Where there is none, or they are more than 4 GiB together.
    pub fn of(first: u64, bodies: &[Bytes]) -> Self {
        assert!(!bodies.is_empty(), "a block has items");
        let count = u32::try_from(bodies.len()).expect("a block counts its items in 32 bits");
        let sum: usize = bodies.iter().map(Bytes::len).sum();
        let mut payload = BytesMut::with_capacity(bodies.len() * END_BYTES + sum);
        let mut end = 0_usize;
        for body in bodies {
            end += body.len();
            payload.put_u32_le(u32::try_from(end).expect("a block is less than 4 GiB"));
        }
        bodies.iter().for_each(|body| payload.put_slice(body));
        Self {
            first,
            count,
            payload: payload.freeze(),
        }
    }

    /// The block of the `count` items from `first` on that `payload` holds.
    ///
    /// # Errors
    /// It does not hold them.
    pub fn parse(first: u64, count: u32, payload: Bytes) -> Result<Self, BlockError> {
        let block = Self {
            first,
            count,
            payload,
        };
        let table = block.table().ok_or(BlockError)?;
        let mut before = 0;
        for end in table.chunks_exact(END_BYTES).map(end_of) {
            if end < before {
                return Err(BlockError);
            }
            before = end;
        }
        let whole = count > 0 && first.checked_add(u64::from(count)).is_some();
        if whole && before == block.payload.len() - table.len() {
            Ok(block)
        } else {
            Err(BlockError)
        }
    }

    /// The first item.
    pub const fn first(&self) -> u64 {
        self.first
    }

    /// Items, at least 1.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// The id after the last.
    pub const fn end(&self) -> u64 {
        self.first + self.count as u64
    }

    /// The body of an item; none: it is another block's.
    pub fn get(&self, item: u64) -> Option<Bytes> {
        let index = item.checked_sub(self.first)?;
        let start = match index {
            0 => 0,
            _ => self.end_at(index - 1)?,
        };
        let end = self.end_at(index)?;
        let table = self.table()?.len();
        Some(self.payload.slice(table + start..table + end))
    }

    /// Bytes of the bodies of the `count` items from `first` on; 0: they are another block's.
    pub fn bytes_of(&self, first: u64, count: u32) -> usize {
        let end = |item: u64| self.end_at(item.checked_sub(self.first)?);
        let before = if first == self.first {
            Some(0)
        } else {
            first.checked_sub(1).and_then(end)
        };
        let last = first
            .checked_add(u64::from(count))
            .and_then(|end| end.checked_sub(1));
        match (before, last.and_then(end)) {
            (Some(before), Some(end)) => end.saturating_sub(before),
            _ => 0,
        }
    }

    /// The items from `first` on, `count` of them, in a block of their own that does not hold on to this one.
    pub fn copied(&self, first: u64, count: u32) -> Option<Self> {
        let bodies: Option<Vec<Bytes>> = (first..first + u64::from(count))
            .map(|item| self.get(item))
            .collect();
        bodies
            .filter(|bodies| !bodies.is_empty())
            .map(|bodies| Self::of(first, &bodies))
    }

    /// What stands in the segment.
    pub const fn payload(&self) -> &Bytes {
        &self.payload
    }

    fn end_at(&self, index: u64) -> Option<usize> {
        let at = usize::try_from(index).ok()?.checked_mul(END_BYTES)?;
        self.table()?.get(at..at + END_BYTES).map(end_of)
    }

    fn table(&self) -> Option<&[u8]> {
        self.payload.get(..self.count as usize * END_BYTES)
    }
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Block({}..{}, {} bytes)",
            self.first,
            self.end(),
            self.payload.len()
        )
    }
}

fn end_of(entry: &[u8]) -> usize {
    let end: [u8; END_BYTES] = entry.try_into().expect("entries are cut to size");
    u32::from_le_bytes(end) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_come_back_as_they_were() {
        let bodies = [
            Bytes::from_static(b"one"),
            Bytes::new(),
            Bytes::from_static(b"three"),
        ];
        let block = Block::of(7, &bodies);
        let read = Block::parse(7, 3, block.payload().clone()).unwrap();
        assert_eq!(read, block);
        for (item, body) in (7..).zip(&bodies) {
            assert_eq!(read.get(item).as_ref(), Some(body));
        }
        assert_eq!((read.get(6), read.get(10), read.end()), (None, None, 10));
        assert_eq!(read.copied(8, 2).unwrap(), Block::of(8, &bodies[1..]));
        assert_eq!(read.copied(9, 2), None);
        assert_eq!(
            [
                read.bytes_of(7, 3),
                read.bytes_of(8, 1),
                read.bytes_of(8, 2)
            ],
            [8, 0, 5]
        );
        assert_eq!([read.bytes_of(6, 1), read.bytes_of(9, 2)], [0, 0]);
    }

    #[test]
    fn a_table_that_does_not_fit_is_refused() {
        let payload = Block::of(1, &[Bytes::from_static(b"ab"), Bytes::from_static(b"c")])
            .payload()
            .to_vec();
        for at in 0..payload.len() {
            let short = Bytes::copy_from_slice(&payload[..at]);
            assert_eq!(Block::parse(1, 2, short), Err(BlockError));
        }
        let mut falling = payload;
        falling[0] = 9;
        assert_eq!(Block::parse(1, 2, falling.into()), Err(BlockError));
        assert_eq!(Block::parse(1, 0, Bytes::new()), Err(BlockError));
        assert_eq!(
            Block::parse(u64::MAX, 1, Block::of(1, &[Bytes::new()]).payload().clone()),
            Err(BlockError)
        );
    }
}
