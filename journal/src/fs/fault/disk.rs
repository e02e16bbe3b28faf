//! The names and files of a directory, in memory, with what of them would survive a crash.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};

use super::inode::Inode;
use super::random::Random;

pub(super) type InodeId = u64;

#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    inodes: BTreeMap<InodeId, Inode>,
    next_inode: InodeId,
    /// What programs see.
    names: BTreeMap<String, InodeId>,
    /// What a crash leaves, if it leaves nothing else.
    durable_names: BTreeMap<String, InodeId>,
    /// What was done since the last sync of the directory, in order.
    pending: Vec<Change>,
    /// Bytes that all files together may have.
    pub(super) capacity: Option<u64>,
}

#[derive(Clone, Debug)]
enum Change {
    Link(String, InodeId),
    Rename(String, String),
    Unlink(String),
}

impl Disk {
    pub(super) fn list(&self) -> Vec<String> {
        self.names.keys().cloned().collect()
    }

    pub(super) fn open(&mut self, name: &str) -> io::Result<InodeId> {
        let id = self.find(name)?;
        self.inode(id).handles += 1;
        Ok(id)
    }

    pub(super) fn close(&mut self, id: InodeId) {
        self.inode(id).handles -= 1;
        self.forget_unreachable();
    }

    pub(super) fn create(&mut self, name: &str) -> io::Result<InodeId> {
        if self.names.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        // An empty file takes an inode.
        if self.room() == 0 {
            return Err(ErrorKind::StorageFull.into());
        }
        let id = self.next_inode;
        self.next_inode += 1;
        self.inodes.insert(id, Inode::default());
        self.change(Change::Link(name.to_owned(), id));
        self.open(name)
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.find(from)?;
        self.change(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &str) -> io::Result<()> {
        self.find(name)?;
        self.change(Change::Unlink(name.to_owned()));
        Ok(())
    }

    pub(super) fn sync_names(&mut self) {
        self.pending.clear();
        self.durable_names.clone_from(&self.names);
        self.forget_unreachable();
    }

    pub(super) fn sync_all(&mut self) {
        self.sync_names();
        self.inodes.values_mut().for_each(Inode::sync);
    }

    /// Writes as much as there is room for; what is there already is always room.
    pub(super) fn write(&mut self, id: InodeId, bytes: &[u8], offset: usize) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let room = self.room();
        let inode = self.inode(id);
        let end = (inode.len() as u64).saturating_add(room);
        let fit = usize::try_from(end.saturating_sub(offset as u64)).unwrap_or(usize::MAX);
        if fit == 0 {
            return Err(ErrorKind::StorageFull.into());
        }
        let bytes = bytes.get(..fit).unwrap_or(bytes);
        inode.write(bytes, offset);
        Ok(bytes.len())
    }

    pub(super) fn resize(&mut self, id: InodeId, bytes: usize) -> io::Result<()> {
        let room = self.room();
        let inode = self.inode(id);
        if bytes.saturating_sub(inode.len()) as u64 > room {
            return Err(ErrorKind::StorageFull.into());
        }
        inode.resize(bytes);
        Ok(())
    }

    /// Bytes of all files that have a name or are open.
    pub(super) fn used(&self) -> u64 {
        let named = |id| self.names.values().any(|named| *named == id);
        let taken = self
            .inodes
            .iter()
            .filter(|(id, inode)| inode.handles > 0 || named(**id));
        taken.map(|(_, inode)| inode.len() as u64).sum()
    }

    /// A prefix of what was done to names survives, and of each file what its sectors say.
    pub(super) fn crash(&mut self, random: &mut Random) {
        let kept = random.below(self.pending.len() + 1);
        for change in self.pending.drain(..).take(kept) {
            change.apply(&mut self.durable_names);
        }
        self.names.clone_from(&self.durable_names);
        for inode in self.inodes.values_mut() {
            inode.crash(random);
        }
        self.forget_unreachable();
    }

    /// No handle is left.
    pub(super) fn close_all(&mut self) {
        self.inodes.values_mut().for_each(|inode| inode.handles = 0);
        self.forget_unreachable();
    }

    pub(super) fn named(&mut self, name: &str) -> io::Result<&mut Inode> {
        let id = self.find(name)?;
        Ok(self.inode(id))
    }

    pub(super) fn inode(&mut self, id: InodeId) -> &mut Inode {
        self.inodes
            .get_mut(&id)
            .expect("a file that has a name or a handle is kept")
    }

    fn find(&self, name: &str) -> io::Result<InodeId> {
        self.names
            .get(name)
            .copied()
            .ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn room(&self) -> u64 {
        self.capacity
            .map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used()))
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.pending.push(change);
        self.forget_unreachable();
    }

    fn forget_unreachable(&mut self) {
        let pending = self.pending.iter().filter_map(|change| match change {
            Change::Link(_, id) => Some(*id),
            Change::Rename(..) | Change::Unlink(_) => None,
        });
        let named = self.names.values().chain(self.durable_names.values());
        let kept: Vec<InodeId> = named.copied().chain(pending).collect();
        self.inodes
            .retain(|id, inode| inode.handles > 0 || kept.contains(id));
    }
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, InodeId>) {
        match self {
            Self::Link(name, id) => {
                names.insert(name.clone(), *id);
            }
            Self::Rename(from, to) => {
                if let Some(id) = names.remove(from) {
                    names.insert(to.clone(), id);
                }
            }
            Self::Unlink(name) => {
                names.remove(name);
            }
        }
    }
}
