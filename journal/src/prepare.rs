//! Segments for the writer to come, and files to be rid of.
//!
//! A recycled file's header is overwritten only after its new name is durable: else a crash could leave a segment's name on
//! a file with another one's header, and the segment would be taken for lost.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use crate::catalog::Prepared;
use crate::error::Error;
use crate::fs::{File, FileSystem};
use crate::header::{Header, segment_name, sidecar_name};
use crate::keeper::{Keeper, Step};

/// Zeros of one step.
const ZEROS_BYTES: usize = 1 << 20;
/// Of the first segment at the most: zeros that are written while a start waits. 10 ms on a disk that takes 1 GB/s.
const FIRST_BYTES: u64 = 8 << 20;

/// A new file that is being filled with zeros: blocks that were written once sync several times faster.
#[derive(Debug)]
pub(crate) struct Preparing {
    id: u64,
    file: Arc<dyn File>,
    written: u64,
}

impl Keeper {
    /// The first segment is a small one where none can be recycled: a start waits for it, and it is zeroed as all others, since blocks
    /// that were only reserved make a commit wait twice as long.
    pub(crate) fn prepare_first(&mut self) -> Result<(), Error> {
        if self.recycle()? {
            return Ok(());
        }
        let id = self.new_id();
        let name = segment_name(id);
        let bytes = FIRST_BYTES.min(self.settings.segment_bytes);
        let made = self.create(id, bytes).and_then(|file| {
            file.write_zeros(usize::try_from(bytes).expect("it is 8 MiB"), 0)
                .inspect_err(|_| self.abandon(&name))?;
            self.finish(id, &file, bytes)
        });
        made.map_err(|source| Error::io("make", &name, source))
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    fn create(&self, id: u64, bytes: u64) -> io::Result<Arc<dyn File>> {
        let name = segment_name(id);
        let file = self.shared.fs.create(&name)?;
        file.resize(bytes).inspect_err(|_| self.abandon(&name))?;
        Ok(file)
    }

    /// An unfinished file goes. Should that fail, the next start finds it and uses it.
    fn abandon(&self, name: &str) {
        drop(self.shared.fs.remove(name));
    }

    /// The header of a new file, then its name: both are durable before the writer has it.
    fn finish(&mut self, id: u64, file: &Arc<dyn File>, bytes: u64) -> io::Result<()> {
        let prepared = self.stamp(id, file, bytes, true)?;
        self.shared.fs.sync_dir()?;
        self.push(prepared);
        Ok(())
    }

    fn stamp(
        &mut self,
        id: u64,
        file: &Arc<dyn File>,
        bytes: u64,
        blank: bool,
    ) -> io::Result<Prepared> {
        let salt = (self.settings.salts)();
        let header = Header {
            id,
            salt,
            bytes,
            blank,
        };
        header.write(&**file)?;
        file.sync()?;
        let file = Arc::clone(file);
        Ok(Prepared {
            id,
            salt,
            bytes,
            file,
        })
    }

    fn push(&self, prepared: Prepared) {
        self.shared.catalog().prepared.push_back(prepared);
    }

    pub(crate) fn begin_preparing(&mut self) -> Result<Step, Error> {
        let id = self.new_id();
        match self.create(id, self.settings.segment_bytes) {
            Ok(file) => {
                let written = 0;
                self.preparing = Some(Preparing { id, file, written });
                Ok(Step::Worked)
            }
            Err(error) => self.no_space(id, error),
        }
    }

    pub(crate) fn go_on_preparing(&mut self) -> Result<Step, Error> {
        let Some(mut preparing) = self.preparing.take() else {
            return Ok(Step::Idle);
        };
        let id = preparing.id;
        let left = self.settings.segment_bytes - preparing.written;
        let done = if left == 0 {
            self.finish(id, &preparing.file, self.settings.segment_bytes)
        } else {
            let zeros = usize::try_from(left).map_or(ZEROS_BYTES, |left| left.min(ZEROS_BYTES));
            // Synced piece by piece: a whole file of zeros would keep the disk from commits for 50 ms and more.
            let file = &preparing.file;
            let written = file.write_zeros(zeros, preparing.written);
            let written = written.and_then(|()| file.sync());
            preparing.written += zeros as u64;
            written
        };
        if let Err(error) = done {
            self.abandon(&segment_name(id));
            return self.no_space(id, error);
        }
        if left == 0 {
            self.shared.set_full(false);
        } else {
            self.preparing = Some(preparing);
        }
        Ok(Step::Worked)
    }

    fn no_space(&self, id: u64, error: io::Error) -> Result<Step, Error> {
        if !is_no_space(&error) {
            return Err(Error::io("prepare", &segment_name(id), error));
        }
        self.shared.set_full(true);
        Ok(Step::NoSpace)
    }

    /// Makes a free file the next prepared segment. False: there is none that fits.
    pub(crate) fn recycle(&mut self) -> Result<bool, Error> {
        let bytes = self.settings.segment_bytes;
        let Some(place) = self.free.iter().position(|free| free.bytes == bytes) else {
            return Ok(false);
        };
        let free = self.free.remove(place);
        let id = self.new_id();
        let name = segment_name(id);
        self.rename(free.id, id)
            .and_then(|()| self.stamp(id, &free.file, bytes, false))
            .map(|prepared| self.push(prepared))
            .map_err(|source| Error::io("recycle", &name, source))?;
        Ok(true)
    }

    fn rename(&self, old: u64, new: u64) -> io::Result<()> {
        let fs = &self.shared.fs;
        fs.rename(&segment_name(old), &segment_name(new))?;
        remove(&**fs, &sidecar_name(old))?;
        fs.sync_dir()
    }

    /// Removes a free file that is of no use, or one too many.
    pub(crate) fn remove_free(&mut self, full: bool) -> Result<bool, Error> {
        let bytes = self.settings.segment_bytes;
        let useless = self.free.iter().position(|free| free.bytes != bytes);
        let too_many = (self.free.len() > self.kept_free(full)).then_some(0);
        let Some(place) = useless.or(too_many) else {
            return Ok(false);
        };
        let id = self.free.remove(place).id;
        for name in [segment_name(id), sidecar_name(id)] {
            remove(&*self.shared.fs, &name).map_err(|source| Error::io("remove", &name, source))?;
        }
        Ok(true)
    }
}

fn is_no_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded
    )
}

/// Removes a file, if it is there.
pub(crate) fn remove(fs: &dyn FileSystem, name: &str) -> io::Result<()> {
    match fs.remove(name) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
