//! Items carry their id and a check word, and the ledger proves that each came exactly once.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use bytes::{BufMut as _, Bytes, BytesMut};

/// Smallest payload: the id in front and the check word behind.
pub(crate) const MIN_PAYLOAD: usize = 16;

/// SplitMix64's finisher.
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Makes payloads of one size: id, filler that differs from item to item and does not compress,
/// check word.
#[derive(Debug, Clone)]
pub(crate) struct PayloadMaker {
    size: usize,
    /// Random bytes; each item's filler is a slice of them.
    pool: Bytes,
}

/// Where fillers may begin; small enough for the pool to stay in a core's cache.
const STARTS: u64 = 256 << 10;

impl PayloadMaker {
    pub(crate) fn new(size: usize) -> Self {
        let size = size.max(MIN_PAYLOAD);
        let words = (STARTS + size as u64) / 8 + 1;
        Self {
            size,
            pool: (0..words)
                .flat_map(|i| mix(i ^ 0x5eed).to_le_bytes())
                .collect(),
        }
    }

    fn filler(&self, id: u64) -> &[u8] {
        let start = to_usize(mix(!id) % STARTS);
        &self.pool[start..start + self.size - MIN_PAYLOAD]
    }

    pub(crate) fn make(&self, id: u64) -> Bytes {
        let mut payload = BytesMut::with_capacity(self.size);
        payload.put_u64_le(id);
        payload.put_slice(self.filler(id));
        payload.put_u64_le(mix(id));
        payload.freeze()
    }

    /// The item's id, if the payload has the right length, filler and check word.
    pub(crate) fn check(&self, payload: &[u8]) -> Option<u64> {
        if payload.len() != self.size {
            return None;
        }
        let id = u64::from_le_bytes(payload[..8].try_into().ok()?);
        let (filler, check) = payload[8..].split_at(self.size - MIN_PAYLOAD);
        (check == mix(id).to_le_bytes() && filler == self.filler(id)).then_some(id)
    }
}

/// Which ids have been seen, as one bit each.
#[derive(Debug)]
pub(crate) struct Ledger {
    bits: Vec<AtomicU64>,
    pub(crate) distinct: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) corrupt: AtomicU64,
}

impl Ledger {
    pub(crate) fn new(capacity: u64) -> Self {
        Self {
            bits: (0..=capacity / 64).map(|_| AtomicU64::new(0)).collect(),
            distinct: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
            corrupt: AtomicU64::new(0),
        }
    }

    /// Counts one delivery; `None` is a payload that failed its check.
    pub(crate) fn see(&self, id: Option<u64>) {
        let Some((id, word)) = id.and_then(|id| Some((id, self.bits.get(to_usize(id / 64))?)))
        else {
            self.corrupt.fetch_add(1, Relaxed);
            return;
        };
        let bit = 1 << (id % 64);
        let seen = word.fetch_or(bit, Relaxed) & bit != 0;
        let counter = if seen {
            &self.duplicates
        } else {
            &self.distinct
        };
        counter.fetch_add(1, Relaxed);
    }

    /// Why the run does not count, or nothing if all of `0..published` came exactly once.
    pub(crate) fn fault(&self, published: u64, left_on_server: u64) -> Option<String> {
        let missing = published.saturating_sub(self.distinct.load(Relaxed));
        let (duplicates, corrupt) = (self.duplicates.load(Relaxed), self.corrupt.load(Relaxed));
        let clean = missing + duplicates + corrupt + left_on_server == 0;
        (!clean).then(|| {
            format!(
                "missing {missing}, duplicates {duplicates}, corrupt {corrupt}, \
                 left on server {left_on_server}"
            )
        })
    }
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).expect("numbers of items fit this machine")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_carry_their_id() {
        for size in [16, 100, 1024] {
            let maker = PayloadMaker::new(size);
            let payload = maker.make(42);
            assert_eq!(payload.len(), size);
            assert_eq!(maker.check(&payload), Some(42));
            let mut bad = payload.to_vec();
            bad[size / 2] ^= 1;
            assert_eq!(maker.check(&bad), None);
            assert_eq!(maker.check(&payload[1..]), None);
        }
    }

    #[test]
    fn loss_and_duplicates_and_damage_are_found() {
        let ledger = Ledger::new(100);
        (0..100).for_each(|id| ledger.see(Some(id)));
        assert_eq!(ledger.fault(100, 0), None);
        assert!(ledger.fault(101, 0).unwrap().contains("missing 1"));
        assert!(ledger.fault(100, 2).unwrap().contains("left on server 2"));
        ledger.see(Some(7));
        assert!(ledger.fault(100, 0).unwrap().contains("duplicates 1"));
        ledger.see(None);
        assert!(ledger.fault(100, 0).unwrap().contains("corrupt 1"));
    }
}
