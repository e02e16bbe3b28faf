//! A histogram that no longer changes, in as few bytes as it takes.
//!
//! Layout, all of it LEB128: how often the resolution was halved, count of the zero bucket, sum, minimum, maximum
//! less minimum; then for each bucket that is not empty, ascending, its position less the previous one and its count.
//! An empty histogram takes no bytes. Only [`Histogram::seal`] writes these, so that reading cannot fail.

use super::{Histogram, index};

/// How often the resolution may be halved.
const HALVINGS_MAX: u32 = 2;

/// The compact, immutable form of a [`Histogram`]: about two bytes per bucket that is not empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    encoded: Box<[u8]>,
}

impl Sealed {
    /// Heap memory, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.encoded.len()
    }

    /// Whether nothing was recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.encoded.is_empty()
    }

    /// How many values were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.open().map_or(0, |(head, buckets)| {
            buckets.fold(head.zero_count, |sum, (_, count)| sum.saturating_add(count))
        })
    }

    /// Its scale: [`super::SCALE`], less one for each time it was coarsened.
    #[must_use]
    pub fn scale(&self) -> i32 {
        let halvings = self.open().map_or(0, |(head, _)| head.halvings);
        super::SCALE - i32::try_from(halvings).expect("at most two")
    }

    /// The same at half the resolution, at most twice: scale 3, then 2; after that a copy.
    ///
    /// Count, sum, minimum, maximum and every power-of-two `le` boundary stay exact. Merged into a [`Histogram`], a
    /// coarse bucket of `2^d` fine ones counts in the fine one right above its middle. The bucket's own middle is
    /// within 4.4 % (scale 3) or 9.1 % (scale 2) of what is in it; a quantile read from the fine bucket is at most
    /// 6.8 % or 11.5 % too high, and at most 2.2 % or 6.3 % too low: rather too high than too low.
    #[must_use]
    pub fn coarsened(&self) -> Self {
        let Some((mut head, buckets)) = self.open() else {
            return Self::default();
        };
        if head.halvings == HALVINGS_MAX {
            return self.clone();
        }
        head.halvings += 1;
        let mut writer = Writer::new(&head);
        let mut pending: Option<(u64, u64)> = None;
        for (position, count) in buckets {
            let position = position >> 1;
            match &mut pending {
                Some((at, sum)) if *at == position => *sum = sum.saturating_add(count),
                _ => {
                    if let Some((at, sum)) = pending.replace((position, count)) {
                        writer.bucket(at, sum);
                    }
                }
            }
        }
        if let Some((at, sum)) = pending {
            writer.bucket(at, sum);
        }
        writer.finish()
    }

    fn open(&self) -> Option<(Head, Buckets<'_>)> {
        let mut rest = &*self.encoded;
        let halvings = u32::from(*rest.first()?);
        rest = &rest[1..];
        let zero_count = read(&mut rest);
        let sum_ns = read_wide(&mut rest);
        let min_ns = read(&mut rest);
        let max_ns = min_ns + read(&mut rest);
        let head = Head {
            halvings,
            zero_count,
            sum_ns,
            min_ns,
            max_ns,
        };
        Some((head, Buckets { rest, position: 0 }))
    }
}

impl Histogram {
    /// A compact copy that no longer changes.
    #[must_use]
    pub fn seal(&self) -> Sealed {
        if self.is_empty() {
            return Sealed::default();
        }
        let mut writer = Writer::new(&Head {
            halvings: 0,
            zero_count: self.zero_count,
            sum_ns: self.sum_ns,
            min_ns: self.min_ns,
            max_ns: self.max_ns,
        });
        for (place, &count) in self.counts.iter().enumerate() {
            if count > 0 {
                writer.bucket((self.first + place) as u64, count);
            }
        }
        writer.finish()
    }

    /// Adds what was sealed, bucket by bucket: exactly, unless it was [coarsened](Sealed::coarsened).
    pub fn add_sealed(&mut self, sealed: &Sealed) {
        let Some((head, buckets)) = sealed.open() else {
            return;
        };
        let mut count = head.zero_count;
        for (position, added) in buckets {
            count = count.saturating_add(added);
            self.add_at(fine_position(position, head.halvings), added);
        }
        self.zero_count = self.zero_count.saturating_add(head.zero_count);
        self.count = self.count.saturating_add(count);
        self.sum_ns = self.sum_ns.saturating_add(head.sum_ns);
        self.min_ns = self.min_ns.min(head.min_ns);
        self.max_ns = self.max_ns.max(head.max_ns);
    }
}

/// The fine bucket right above the middle of a coarse one.
fn fine_position(position: u64, halvings: u32) -> usize {
    let fine = (position << halvings) + (1 << halvings >> 1);
    usize::try_from(fine).map_or(index::LAST_POSITION, |fine| fine.min(index::LAST_POSITION))
}

/// Everything but the buckets.
struct Head {
    halvings: u32,
    zero_count: u64,
    sum_ns: u128,
    min_ns: u64,
    max_ns: u64,
}

struct Writer {
    encoded: Vec<u8>,
    position: u64,
}

impl Writer {
    fn new(head: &Head) -> Self {
        let mut writer = Self {
            encoded: Vec::with_capacity(128),
            position: 0,
        };
        writer.write(head.halvings.into());
        writer.write(head.zero_count.into());
        writer.write(head.sum_ns);
        writer.write(head.min_ns.into());
        writer.write((head.max_ns - head.min_ns).into());
        writer
    }

    fn bucket(&mut self, position: u64, count: u64) {
        self.write((position - self.position).into());
        self.write(count.into());
        self.position = position;
    }

    fn write(&mut self, mut value: u128) {
        while value >= 0x80 {
            self.encoded.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.encoded.push(value.to_le_bytes()[0]);
    }

    fn finish(self) -> Sealed {
        Sealed {
            encoded: self.encoded.into_boxed_slice(),
        }
    }
}

/// Position and count of each bucket.
struct Buckets<'a> {
    rest: &'a [u8],
    position: u64,
}

impl Iterator for Buckets<'_> {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        self.position += read(&mut self.rest);
        Some((self.position, read(&mut self.rest)))
    }
}

fn read(rest: &mut &[u8]) -> u64 {
    let mut value = 0;
    let mut shift = 0;
    while let Some((&byte, tail)) = rest.split_first() {
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            break;
        }
    }
    value
}

fn read_wide(rest: &mut &[u8]) -> u128 {
    let mut value = 0;
    let mut shift = 0;
    while let Some((&byte, tail)) = rest.split_first() {
        *rest = tail;
        value |= u128::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            break;
        }
    }
    value
}
