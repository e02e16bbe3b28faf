//! The file system of the machine. Every name is resolved from one handle to the directory, so a directory that is moved
//! while it is in use stays the same directory.

use std::ffi::CStr;
use std::fmt;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, FallocateFlags, FileType, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::{File, FileSystem, ZEROS, write_zeros_cached};

/// Locked by whoever has the directory; never listed, never removed, always empty.
const LOCK: &str = "lock";
/// What waits may be anybody's business: nobody else reads it.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// A directory of this machine.
#[derive(Debug)]
pub struct RealFs {
    directory: fs::File,
}

#[derive(Debug)]
struct RealFile(fs::File);

impl RealFs {
    /// Opens a directory; makes it, and those above it, where they are absent.
    ///
    /// # Errors
    /// The system's.
    pub fn open(path: &Path) -> io::Result<Self> {
        let made = path
            .ancestors()
            .take_while(|path| !path.as_os_str().is_empty() && !path.exists())
            .count();
        DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(path)?;
        let path = path.canonicalize()?;
        // The parent of a directory that was there too: whoever made it may have died before this.
        for parent in path.ancestors().skip(1).take(made.max(1)) {
            match fs::File::open(parent).and_then(|parent| parent.sync_all()) {
                Err(error) if made == 0 && error.kind() == io::ErrorKind::PermissionDenied => {}
                outcome => outcome?,
            }
        }
        Ok(Self {
            directory: fs::File::open(path)?,
        })
    }

    fn open_at(&self, name: &str, flags: OFlags) -> io::Result<fs::File> {
        let flags = flags | OFlags::RDWR | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(&self.directory, name, flags, FILE_MODE);
        Ok(retry_on_intr(open)?.into())
    }

    fn is_file(&self, name: &CStr, kind: FileType) -> io::Result<bool> {
        // Some file systems do not say it in the directory.
        let kind = match kind {
            FileType::Unknown => {
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                let found = rustix::fs::statat(&self.directory, name, flags)?;
                FileType::from_raw_mode(found.st_mode)
            }
            known => known,
        };
        Ok(kind == FileType::RegularFile)
    }
}

impl FileSystem for RealFs {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.directory)? {
            let entry = entry?;
            // A name that is no text is none of ours.
            let Ok(name) = entry.file_name().to_str() else {
                continue;
            };
            if name != LOCK && self.is_file(entry.file_name(), entry.file_type())? {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = self.open_at(plain(name)?, OFlags::empty())?;
        Ok(Arc::new(RealFile(file)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = self.open_at(plain(name)?, OFlags::CREATE | OFlags::EXCL)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (plain(from)?, plain(to)?);
        Ok(rustix::fs::renameat(
            &self.directory,
            from,
            &self.directory,
            to,
        )?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(
            &self.directory,
            plain(name)?,
            AtFlags::empty(),
        )?)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.directory.sync_all()
    }

    fn lock(&self) -> io::Result<Box<dyn fmt::Debug + Send + Sync>> {
        let file = self.open_at(LOCK, OFlags::CREATE)?;
        // The kernel's, and it ends with the process: a lock that was left over keeps nobody out.
        file.try_lock()?;
        Ok(Box::new(file))
    }
}

impl File for RealFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.0.read_at(buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return outcome,
            }
        }
    }

    // The call takes 1024 parts at the most; rustix passes that many on, and the rest is a short write.
    fn write_at(&self, parts: &[io::IoSlice<'_>], offset: u64) -> io::Result<usize> {
        Ok(retry_on_intr(|| {
            rustix::io::pwritev(&self.0, parts, offset)
        })?)
    }

    /// Past the page cache where the file system can do that: to copy zeros there costs a quarter of the processor's time of a broker
    /// that fills a new journal.
    fn write_zeros(&self, bytes: usize, offset: u64) -> io::Result<()> {
        let flags = rustix::fs::fcntl_getfl(&self.0)?;
        let direct = rustix::fs::fcntl_setfl(&self.0, flags | OFlags::DIRECT).is_ok();
        let mut written = 0;
        let mut failed = None;
        while direct && written < bytes {
            let piece = &ZEROS.0[..ZEROS.0.len().min(bytes - written)];
            match self.0.write_at(piece, offset + written as u64) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(more) if more > 0 => written += more,
                // It wants other blocks, or cannot do it after all.
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => break,
                // What the disk refused is not tried again in another way.
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        rustix::fs::fcntl_setfl(&self.0, flags)?;
        if let Some(error) = failed {
            return Err(error);
        }
        write_zeros_cached(self, bytes - written, offset + written as u64)
    }

    fn resize(&self, bytes: u64) -> io::Result<()> {
        let before = self.size()?;
        if bytes <= before {
            return self.0.set_len(bytes);
        }
        let reserve = || rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, bytes);
        match retry_on_intr(reserve) {
            Ok(()) => Ok(()),
            // A file system that cannot reserve (ZFS, some network ones): the disk being full shows at a write there.
            Err(Errno::OPNOTSUPP) => self.0.set_len(bytes),
            Err(error) => {
                // It may have grown as far as there was room. The first error is the one to tell.
                drop(self.0.set_len(before));
                Err(error.into())
            }
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

fn plain(name: &str) -> io::Result<&str> {
    if matches!(name, "" | "." | ".." | LOCK) || name.contains('/') {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, IoSlice};
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    fn scratch() -> (tempfile::TempDir, RealFs) {
        let directory = tempfile::tempdir().unwrap();
        let fs = RealFs::open(directory.path()).unwrap();
        (directory, fs)
    }

    #[test]
    fn a_directory_is_made_with_its_parents_and_is_nobody_elses() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b");
        let fs = RealFs::open(&path).unwrap();
        fs.create("x").unwrap();
        fs.sync_dir().unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&path.join("x")), 0o600);
        assert_eq!(RealFs::open(&path).unwrap().list().unwrap(), ["x"]);
    }

    #[test]
    fn what_is_written_in_parts_is_read_in_one() {
        let (_directory, fs) = scratch();
        let file = fs.create("x").unwrap();
        let parts = [
            IoSlice::new(b"one"),
            IoSlice::new(b""),
            IoSlice::new(b"two"),
        ];
        assert_eq!(file.write_at(&parts, 4).unwrap(), 6);
        file.sync().unwrap();
        let mut read = [1; 16];
        assert_eq!(fs.open("x").unwrap().read_at(&mut read, 0).unwrap(), 10);
        assert_eq!(&read[..10], b"\0\0\0\0onetwo");
        assert_eq!(file.read_at(&mut read, 10).unwrap(), 0);
    }

    #[test]
    fn zeros_are_written_over_what_was_there_and_no_further() {
        let (_directory, fs) = scratch();
        let file = fs.create("x").unwrap();
        let ones = vec![1; 3 << 20];
        file.resize(3 << 20).unwrap();
        write_all(&*file, &ones);
        // More than one piece, and an end that no direct write can have.
        file.write_zeros((1 << 20) + 4096 + 100, 4096).unwrap();
        file.sync().unwrap();
        let mut read = vec![2; 3 << 20];
        let opened = fs.open("x").unwrap();
        assert_eq!(opened.read_at(&mut read, 0).unwrap(), read.len());
        let end = 4096 + (1 << 20) + 4096 + 100;
        assert!(
            read[..4096]
                .iter()
                .chain(&read[end..])
                .all(|&byte| byte == 1)
        );
        assert!(read[4096..end].iter().all(|&byte| byte == 0));
        // Other writes go through the cache as before, which takes any length.
        assert_eq!(file.write_at(&[IoSlice::new(b"odd")], 5).unwrap(), 3);
    }

    fn write_all(file: &dyn File, bytes: &[u8]) {
        crate::header::write_full(file, bytes, 0).unwrap();
    }

    #[test]
    fn more_parts_than_the_system_takes_are_a_short_write() {
        let (_directory, fs) = scratch();
        let file = fs.create("x").unwrap();
        let parts = vec![IoSlice::new(b"x"); 3000];
        assert_eq!(file.write_at(&parts, 0).unwrap(), 1024);
    }

    #[test]
    fn a_file_is_created_once_and_opened_only_where_it_is() {
        let (_directory, fs) = scratch();
        let kind = |outcome: io::Result<Arc<dyn File>>| outcome.unwrap_err().kind();
        assert_eq!(kind(fs.open("x")), ErrorKind::NotFound);
        fs.create("x").unwrap();
        assert_eq!(kind(fs.create("x")), ErrorKind::AlreadyExists);
        for name in ["", "..", "lock", "a/b", "/etc/passwd"] {
            assert_eq!(kind(fs.open(name)), ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn a_rename_replaces_and_open_handles_go_on() {
        let (_directory, fs) = scratch();
        let old = fs.create("a").unwrap();
        let new = fs.create("b").unwrap();
        new.write_at(&[IoSlice::new(b"new")], 0).unwrap();
        fs.rename("b", "a").unwrap();
        assert_eq!(fs.list().unwrap(), ["a"]);
        assert_eq!(fs.open("a").unwrap().size().unwrap(), 3);
        fs.remove("a").unwrap();
        assert_eq!(
            (old.size().unwrap(), new.size().unwrap(), fs.list().unwrap()),
            (0, 3, vec![])
        );
    }

    #[test]
    fn what_is_reserved_takes_blocks_and_reads_as_zeros() {
        let (directory, fs) = scratch();
        let file = fs.create("x").unwrap();
        file.write_at(&[IoSlice::new(b"x")], 0).unwrap();
        file.resize(1 << 20).unwrap();
        let metadata = directory.path().join("x").metadata().unwrap();
        assert_eq!(metadata.len(), 1 << 20);
        assert!(metadata.blocks() * 512 >= 1 << 20);
        let mut read = [1; 4];
        file.read_at(&mut read, 0).unwrap();
        assert_eq!(&read, b"x\0\0\0");
        file.resize(2).unwrap();
        assert_eq!(file.size().unwrap(), 2);
    }

    #[test]
    fn what_cannot_be_reserved_leaves_the_file_as_it_was() {
        let (_directory, fs) = scratch();
        let file = fs.create("x").unwrap();
        file.write_at(&[IoSlice::new(b"x")], 0).unwrap();
        assert!(file.resize(1 << 62).is_err());
        assert_eq!(file.size().unwrap(), 1);
    }

    #[test]
    fn a_directory_has_one_lock() {
        let (directory, fs) = scratch();
        let lock = fs.lock().unwrap();
        let other = RealFs::open(directory.path()).unwrap();
        assert_eq!(other.lock().unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(other.list().unwrap(), Vec::<String>::new());
        drop(lock);
        other.lock().unwrap();
    }

    #[test]
    fn what_is_no_file_is_not_listed() {
        let (directory, fs) = scratch();
        fs::create_dir(directory.path().join("lost+found")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", directory.path().join("link")).unwrap();
        assert_eq!(fs.list().unwrap(), Vec::<String>::new());
    }
}
