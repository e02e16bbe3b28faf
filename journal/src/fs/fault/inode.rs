//! A file's bytes: what programs read, what is on the platter, and what each unsynced sector has been in between.

use std::collections::BTreeMap;

use super::random::Random;

/// What a disk writes at once, or tears.
pub(super) const SECTOR: usize = 512;

#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    /// What programs read.
    live: Vec<u8>,
    /// What a crash leaves, if it leaves nothing else.
    durable: Vec<u8>,
    /// What each sector that was written since the last sync became, write by write.
    dirty: BTreeMap<usize, Vec<Vec<u8>>>,
    /// The lengths since the last sync, in order.
    lengths: Vec<usize>,
    /// Open files that refer to it.
    pub(super) handles: usize,
}

impl Inode {
    pub(super) const fn len(&self) -> usize {
        self.live.len()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.live
    }

    pub(super) fn read(&self, buffer: &mut [u8], offset: usize) -> usize {
        let rest = self.live.get(offset..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(rest) {
            *to = *from;
        }
        count
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: usize) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        if end > self.live.len() {
            self.live.resize(end, 0);
            self.lengths.push(end);
        }
        if let Some(target) = self.live.get_mut(offset..end) {
            target.copy_from_slice(bytes);
        }
        for sector in offset / SECTOR..end.div_ceil(SECTOR) {
            self.touch(sector);
        }
    }

    pub(super) fn resize(&mut self, bytes: usize) {
        let before = self.live.len();
        self.live.resize(bytes, 0);
        self.lengths.push(bytes);
        if bytes < before {
            // Truncation is the file system's own, journalled business: nothing of the cut part is written any more.
            self.dirty.split_off(&bytes.div_ceil(SECTOR));
        }
        if bytes < before && !bytes.is_multiple_of(SECTOR) {
            self.touch(bytes / SECTOR);
        }
    }

    /// Everything is on the platter.
    pub(super) fn sync(&mut self) {
        self.settle_lengths(self.lengths.len());
        for (sector, _) in std::mem::take(&mut self.dirty) {
            let now = sector_of(&self.live, sector);
            put(&mut self.durable, sector, &now);
        }
    }

    /// As Linux does it: some sectors were written, some were not, and all of them count as clean from now on, so that no
    /// later sync writes them. Programs go on reading what was never written. The length is the file system's business: a
    /// later sync does write it.
    pub(super) fn fail_sync(&mut self, random: &mut Random) {
        self.settle(random);
    }

    /// Programs read what a crash left.
    pub(super) fn crash(&mut self, random: &mut Random) {
        self.settle(random);
        self.lengths.clear();
        self.live.clone_from(&self.durable);
        self.handles = 0;
    }

    /// Changes what programs read and what is on the platter, as a fault of the disk would.
    pub(super) fn damage(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        self.sync();
        change(&mut self.live);
        self.durable.clone_from(&self.live);
    }

    fn touch(&mut self, sector: usize) {
        let now = sector_of(&self.live, sector);
        self.dirty.entry(sector).or_default().push(now);
    }

    fn settle(&mut self, random: &mut Random) {
        self.settle_lengths(random.below(self.lengths.len() + 1));
        for (sector, versions) in std::mem::take(&mut self.dirty) {
            let mut left = self.version(sector, &versions, random);
            if random.one_in(4) {
                let other = self.version(sector, &versions, random);
                let torn = random.below(SECTOR + 1);
                left.truncate(torn);
                left.extend(other.into_iter().skip(torn));
            }
            put(&mut self.durable, sector, &left);
        }
    }

    /// One of the things that a sector has been since the last sync, what it was then included.
    fn version(&self, sector: usize, versions: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
        match random.below(versions.len() + 1).checked_sub(1) {
            Some(written) => versions.get(written).cloned().unwrap_or_default(),
            None => sector_of(&self.durable, sector),
        }
    }

    /// The first `count` changes of the length are on the platter: what was cut off and came back is zeros.
    fn settle_lengths(&mut self, count: usize) {
        for length in self.lengths.drain(..count) {
            self.durable.resize(length, 0);
        }
    }
}

/// A whole sector, zeros after the end.
fn sector_of(bytes: &[u8], sector: usize) -> Vec<u8> {
    let start = sector * SECTOR;
    let end = bytes.len().min(start + SECTOR);
    let mut found = bytes.get(start..end).unwrap_or_default().to_vec();
    found.resize(SECTOR, 0);
    found
}

/// Puts a sector where it belongs, as far as the file goes.
fn put(bytes: &mut [u8], sector: usize, content: &[u8]) {
    let target = bytes.iter_mut().skip(sector * SECTOR);
    for (to, from) in target.zip(content) {
        *to = *from;
    }
}
