//! A file system in memory that fails on command and crashes like a machine that loses its power: for tests. Whatever it
//! decides comes from a seed, so the same calls have the same outcome.
//!
//! **What a crash leaves.** What was synced, always. Of a sector (512 bytes) that was written since: anything it has been
//! from the last sync on, or one such thing up to some byte and another one behind it. The length: any since the last sync.
//! Of files that were created, renamed and removed since the last sync of the directory: a prefix, in the order in which
//! it was done, like the journal of ext4; so a rename over a name is one step, and syncing a file does not keep its name.
//!
//! **After a failed sync** each sector that it should have written is on disk or not, and counts as written either way: the
//! next sync says that all is well, and programs read what the disk may not have until the next crash. That is Linux.

mod disk;
mod inode;
mod random;
mod script;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use disk::{Disk, InodeId};
use random::Random;
pub use script::Call;
use script::Script;

use super::{File, FileSystem};

/// A directory in memory. Clones are the same directory; [`clone_disk`](Self::clone_disk) makes another.
#[derive(Clone, Debug)]
pub struct FaultFs {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    disk: Disk,
    script: Script,
    random: Random,
    locked: bool,
    /// Crashes so far; handles of before one are dead.
    boot: u64,
}

#[derive(Debug)]
struct FaultFile {
    state: Arc<Mutex<State>>,
    inode: InodeId,
    boot: u64,
}

#[derive(Debug)]
struct FaultLock {
    state: Arc<Mutex<State>>,
    boot: u64,
}

impl FaultFs {
    /// An empty directory.
    pub fn new(seed: u64) -> Self {
        Self::of(Disk::default(), seed)
    }

    /// The machine loses its power and is started again: the module says what is left. Handles from before fail, locks are
    /// gone, the script is done with; its counters go on.
    pub fn crash(&self) {
        let mut state = self.state();
        let State { disk, random, .. } = &mut *state;
        disk.crash(random);
        state.script.calm();
        state.locked = false;
        state.boot += 1;
    }

    /// Another directory with the same files, unsynced state and capacity, but no handle, lock or script: so one moment
    /// can crash in many ways.
    #[must_use]
    pub fn clone_disk(&self, seed: u64) -> Self {
        let mut disk = self.state().disk.clone();
        disk.close_all();
        Self::of(disk, seed)
    }

    /// Makes everything durable, as time does.
    pub fn sync_all(&self) {
        self.state().disk.sync_all();
    }

    /// The bytes of a file, as programs read them.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn read_file(&self, name: &str) -> io::Result<Vec<u8>> {
        Ok(self.state().disk.named(name)?.bytes().to_vec())
    }

    /// Puts a file of these bytes there, in place of what has the name, durably. Neither script nor capacity apply.
    pub fn write_file(&self, name: &str, bytes: &[u8]) {
        let mut state = self.state();
        let capacity = state.disk.capacity.take();
        drop(state.disk.remove(name));
        let id = state.disk.create(name).expect("the name is free");
        state.disk.inode(id).damage(|old| old.extend(bytes));
        state.disk.close(id);
        state.disk.sync_names();
        state.disk.capacity = capacity;
    }

    /// Flips one bit (0 to 7) of a file, after everything of the file became durable.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` where there is no such byte.
    pub fn flip_bit(&self, name: &str, offset: u64, bit: u8) -> io::Result<()> {
        let mut state = self.state();
        let inode = state.disk.named(name)?;
        let offset = position(offset)?;
        if offset >= inode.len() {
            return Err(ErrorKind::InvalidInput.into());
        }
        inode.damage(|bytes| {
            if let Some(byte) = bytes.get_mut(offset) {
                *byte ^= 1 << (bit % 8);
            }
        });
        Ok(())
    }

    /// Cuts a file, after everything of it became durable.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn truncate(&self, name: &str, bytes: u64) -> io::Result<()> {
        let bytes = position(bytes)?;
        self.state()
            .disk
            .named(name)?
            .damage(|all| all.truncate(bytes));
        Ok(())
    }

    /// Removes a file durably. What else was done to names becomes durable with it.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn remove_file(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.disk.remove(name)?;
        state.disk.sync_names();
        Ok(())
    }

    /// Lets the `nth` call of a kind from now on fail, counted from 1. A failed write may have written a part; a failed sync
    /// leaves what the module says; every other call that fails did nothing.
    pub fn fail(&self, call: Call, nth: u64, kind: ErrorKind) {
        self.state().script.fail(call, nth, kind);
    }

    /// So many more calls may change the disk (all do but open and read), then every call fails until
    /// [`crash`](Self::crash).
    pub fn cut_power_after(&self, changes: u64) {
        self.state().script.cut_power(changes);
    }

    /// One write in `one_in` writes less than it was given; 0 is none.
    pub fn short_writes(&self, one_in: u32) {
        self.state().script.short_writes = one_in;
    }

    /// Bytes that all files together may have; none: as many as you like. What is there already stays, and can be
    /// overwritten.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().disk.capacity = bytes;
    }

    /// Bytes of all files, those that are removed and still open included.
    pub fn used(&self) -> u64 {
        self.state().disk.used()
    }

    /// How many calls of a kind there were, failed ones included.
    pub fn calls(&self, call: Call) -> u64 {
        self.state().script.count(call)
    }

    fn of(disk: Disk, seed: u64) -> Self {
        let state = State {
            disk,
            script: Script::default(),
            random: Random::new(seed),
            locked: false,
            boot: 0,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn running(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state();
        state.script.power()?;
        Ok(state)
    }

    fn file(&self, inode: InodeId, boot: u64) -> Arc<dyn File> {
        Arc::new(FaultFile {
            state: self.state.clone(),
            inode,
            boot,
        })
    }
}

impl FileSystem for FaultFs {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.running()?.disk.list())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut state = self.running()?;
        state.script.call(Call::Open)?;
        let inode = state.disk.open(name)?;
        Ok(self.file(inode, state.boot))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut state = self.running()?;
        state.script.call(Call::Create)?;
        let inode = state.disk.create(name)?;
        Ok(self.file(inode, state.boot))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.running()?;
        state.script.call(Call::Rename)?;
        state.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.running()?;
        state.script.call(Call::Remove)?;
        state.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.running()?;
        state.script.call(Call::SyncDir)?;
        state.disk.sync_names();
        Ok(())
    }

    fn lock(&self) -> io::Result<Box<dyn fmt::Debug + Send + Sync>> {
        let mut state = self.running()?;
        if state.locked {
            return Err(ErrorKind::WouldBlock.into());
        }
        state.locked = true;
        Ok(Box::new(FaultLock {
            state: self.state.clone(),
            boot: state.boot,
        }))
    }
}

impl FaultFile {
    fn running(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = lock(&self.state);
        if state.boot != self.boot {
            return Err(io::Error::other(
                "the machine crashed since this was opened",
            ));
        }
        state.script.power()?;
        Ok(state)
    }
}

impl File for FaultFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.running()?.disk.inode(self.inode).len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.running()?;
        state.script.call(Call::Read)?;
        Ok(state.disk.inode(self.inode).read(buffer, position(offset)?))
    }

    fn write_at(&self, parts: &[io::IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut state = self.running()?;
        let State {
            disk,
            script,
            random,
            ..
        } = &mut *state;
        let offset = position(offset)?;
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let outcome = script.call(Call::Write);
        let short = script.short_writes > 0 && random.one_in(script.short_writes);
        let count = match bytes.len() {
            count if outcome.is_err() => random.below(count + 1),
            count if short && count > 1 => 1 + random.below(count - 1),
            count => count,
        };
        let written = disk.write(self.inode, bytes.get(..count).unwrap_or_default(), offset);
        outcome.and(written)
    }

    fn resize(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.running()?;
        state.script.call(Call::Resize)?;
        state.disk.resize(self.inode, position(bytes)?)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.running()?;
        let State {
            disk,
            script,
            random,
            ..
        } = &mut *state;
        let inode = disk.inode(self.inode);
        match script.call(Call::Sync) {
            Ok(()) => inode.sync(),
            Err(error) => {
                inode.fail_sync(random);
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Drop for FaultFile {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        if state.boot == self.boot {
            state.disk.close(self.inode);
        }
    }
}

impl Drop for FaultLock {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        if state.boot == self.boot {
            state.locked = false;
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // A test that panicked somewhere else is no reason to hide what it was about.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where in memory: a file here is no longer than that.
fn position(offset: u64) -> io::Result<usize> {
    const END: u64 = 1 << 40;
    usize::try_from(offset)
        .ok()
        .filter(|_| offset < END)
        .ok_or_else(|| ErrorKind::FileTooLarge.into())
}
