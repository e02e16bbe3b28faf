//! Which calls fail, and how many there were.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};

/// A call that can be made to fail, and is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// [`FileSystem::open`](crate::fs::FileSystem::open)
    Open,
    /// [`FileSystem::create`](crate::fs::FileSystem::create)
    Create,
    /// [`FileSystem::rename`](crate::fs::FileSystem::rename)
    Rename,
    /// [`FileSystem::remove`](crate::fs::FileSystem::remove)
    Remove,
    /// [`FileSystem::sync_dir`](crate::fs::FileSystem::sync_dir)
    SyncDir,
    /// [`File::read_at`](crate::fs::File::read_at)
    Read,
    /// [`File::write_at`](crate::fs::File::write_at)
    Write,
    /// [`File::resize`](crate::fs::File::resize)
    Resize,
    /// [`File::sync`](crate::fs::File::sync)
    Sync,
}

impl Call {
    const fn changes_the_disk(self) -> bool {
        !matches!(self, Self::Open | Self::Read)
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Script {
    counts: BTreeMap<Call, u64>,
    /// By call and its number, counted from the first ever.
    faults: BTreeMap<(Call, u64), ErrorKind>,
    /// Changes of the disk until the power fails; at 0 it has.
    power: Option<u64>,
    /// One write in how many is short; 0 is none.
    pub(super) short_writes: u32,
}

impl Script {
    pub(super) fn fail(&mut self, call: Call, nth: u64, kind: ErrorKind) {
        let number = self.count(call) + nth.max(1);
        self.faults.insert((call, number), kind);
    }

    pub(super) fn count(&self, call: Call) -> u64 {
        self.counts.get(&call).copied().unwrap_or_default()
    }

    pub(super) const fn cut_power(&mut self, changes: u64) {
        self.power = Some(changes);
    }

    /// Nothing fails any more.
    pub(super) fn calm(&mut self) {
        self.faults.clear();
        self.power = None;
        self.short_writes = 0;
    }

    pub(super) fn power(&self) -> io::Result<()> {
        match self.power {
            Some(0) => Err(io::Error::other("the power is off")),
            Some(_) | None => Ok(()),
        }
    }

    /// Counts a call and says whether it fails.
    pub(super) fn call(&mut self, call: Call) -> io::Result<()> {
        if let Some(left) = &mut self.power
            && call.changes_the_disk()
        {
            *left -= 1;
        }
        let count = self.counts.entry(call).or_default();
        *count += 1;
        match self.faults.remove(&(call, *count)) {
            Some(kind) => Err(kind.into()),
            None => Ok(()),
        }
    }
}
