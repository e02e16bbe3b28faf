//! What a directory takes, and what its disk writes.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The unit of the kernel's statistics, whatever the disk's sectors are.
const SECTOR_BYTES: u64 = 512;

/// Bytes of disk that the files of a directory take, and of those below it: blocks, not lengths.
///
/// # Errors
/// It cannot be read.
pub fn directory_bytes(path: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes += directory_bytes(&entry.path())?,
            Ok(metadata) => bytes += metadata.blocks() * SECTOR_BYTES,
            // The server removed it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

/// The block device under a directory. Everybody's writes to it count.
#[derive(Debug)]
pub struct Device {
    stat: PathBuf,
}

impl Device {
    /// None where the file system is on no single device, or in RAM.
    pub fn of(path: &Path) -> Option<Self> {
        let device = fs::metadata(path).ok()?.dev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let stat = PathBuf::from(format!("/sys/dev/block/{major}:{minor}/stat"));
        stat.exists().then_some(Self { stat })
    }

    /// Since the machine was started.
    pub fn written_bytes(&self) -> Option<u64> {
        written(&fs::read_to_string(&self.stat).ok()?)
    }

    /// Cache flushes that it has finished since the machine was started.
    pub fn flushes(&self) -> Option<u64> {
        flushed(&fs::read_to_string(&self.stat).ok()?)
    }
}

fn written(stat: &str) -> Option<u64> {
    Some(field(stat, 6)? * SECTOR_BYTES)
}

fn flushed(stat: &str) -> Option<u64> {
    field(stat, 15)
}

fn field(stat: &str, index: usize) -> Option<u64> {
    stat.split_whitespace().nth(index)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sectors_written_are_the_seventh_field() {
        let stat = "  100  1  2000  3  400  5  6000  7  0  8  9  0 0 0 0\n";
        assert_eq!(written(stat), Some(6000 * 512));
        assert_eq!(written("1 2 3"), None);
    }

    #[test]
    fn flushes_are_the_sixteenth_field() {
        let stat = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 4711 17";
        assert_eq!(flushed(stat), Some(4711));
    }

    #[test]
    fn a_directory_takes_the_blocks_of_its_files() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(directory_bytes(directory.path()).unwrap(), 0);
        fs::write(directory.path().join("x"), vec![1; 100_000]).unwrap();
        fs::File::open(directory.path().join("x"))
            .and_then(|file| file.sync_all())
            .unwrap();
        assert!(directory_bytes(directory.path()).unwrap() >= 100_000);
        let above = tempfile::tempdir().unwrap();
        let below = above.path().join("below");
        fs::rename(directory.keep(), below).unwrap();
        assert!(directory_bytes(above.path()).unwrap() >= 100_000);
    }
}
