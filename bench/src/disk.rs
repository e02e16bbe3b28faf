//! What a directory takes, and what its disk writes.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The unit of the kernel's statistics, whatever the disk's sectors are.
const SECTOR_BYTES: u64 = 512;

/// Bytes of disk that the files of a directory take: blocks, not lengths.
pub(crate) fn directory_bytes(path: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        match entry?.metadata() {
            Ok(metadata) => bytes += metadata.blocks() * SECTOR_BYTES,
            // The broker removed it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

/// The block device under a directory. Everybody's writes to it count.
#[derive(Debug)]
pub(crate) struct Device {
    stat: PathBuf,
}

impl Device {
    /// None where the file system is on no single device, or in RAM.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let device = fs::metadata(path).ok()?.dev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let stat = PathBuf::from(format!("/sys/dev/block/{major}:{minor}/stat"));
        stat.exists().then_some(Self { stat })
    }

    /// Since the machine was started.
    pub(crate) fn written_bytes(&self) -> Option<u64> {
        written(&fs::read_to_string(&self.stat).ok()?)
    }
}

fn written(stat: &str) -> Option<u64> {
    let sectors: u64 = stat.split_whitespace().nth(6)?.parse().ok()?;
    Some(sectors * SECTOR_BYTES)
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
    fn a_directory_takes_the_blocks_of_its_files() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(directory_bytes(directory.path()).unwrap(), 0);
        fs::write(directory.path().join("x"), vec![1; 100_000]).unwrap();
        fs::File::open(directory.path().join("x"))
            .and_then(|file| file.sync_all())
            .unwrap();
        assert!(directory_bytes(directory.path()).unwrap() >= 100_000);
    }
}
