//! The seam to the file system: one flat directory. Two implementations: the real one, and one in memory that fails on
//! command.

#[cfg(feature = "fault")]
mod fault;
mod real;

use std::fmt;
use std::io;
use std::sync::Arc;

#[cfg(feature = "fault")]
pub use fault::{Call, FaultFs};
pub use real::RealFs;

/// What a disk is given at once without disturbing others for long. Aligned as direct writes want it.
#[repr(align(4096))]
struct Zeros([u8; 1 << 20]);

static ZEROS: Zeros = Zeros([0; 1 << 20]);

/// The directory that a journal lives in. Names are plain file names.
pub trait FileSystem: fmt::Debug + Send + Sync {
    /// The names of its files, in no order.
    ///
    /// # Errors
    /// The system's.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens a file that is there, for reading and writing.
    ///
    /// # Errors
    /// The system's; `NotFound`.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Makes an empty file; it is not there yet.
    ///
    /// # Errors
    /// The system's; `AlreadyExists`, `StorageFull`.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Gives a file another name, in place of whatever has it. Open handles go on.
    ///
    /// # Errors
    /// The system's.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Open handles go on.
    ///
    /// # Errors
    /// The system's.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes what was created, renamed and removed durable.
    ///
    /// # Errors
    /// The system's.
    fn sync_dir(&self) -> io::Result<()>;

    /// Keeps every other process (and every other lock) out, as long as what it returns lives.
    ///
    /// # Errors
    /// `WouldBlock`: somebody else has it.
    fn lock(&self) -> io::Result<Box<dyn fmt::Debug + Send + Sync>>;
}

/// An open file.
pub trait File: fmt::Debug + Send + Sync {
    /// Its length in bytes.
    ///
    /// # Errors
    /// The system's.
    fn size(&self) -> io::Result<u64>;

    /// Reads from `offset` on; how many bytes, perhaps fewer than asked for; 0 at the end.
    ///
    /// # Errors
    /// The system's.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes the parts one after the other from `offset` on; how many bytes, perhaps fewer than given.
    ///
    /// # Errors
    /// The system's; `StorageFull`.
    fn write_at(&self, parts: &[io::IoSlice<'_>], offset: u64) -> io::Result<usize>;

    /// Writes zeros from `offset` on, all of them: whole blocks, which nobody reads soon.
    ///
    /// # Errors
    /// The system's; `StorageFull`.
    fn write_zeros(&self, bytes: usize, offset: u64) -> io::Result<()> {
        write_zeros_cached(self, bytes, offset)
    }

    /// Sets its length; what is new reads as zeros, and the room for it is reserved.
    ///
    /// # Errors
    /// The system's; `StorageFull`.
    fn resize(&self, bytes: u64) -> io::Result<()>;

    /// Makes what was written, and the length, durable.
    ///
    /// # Errors
    /// The system's. After one, what is on disk is unknown.
    fn sync(&self) -> io::Result<()>;
}

/// As any other write does it.
fn write_zeros_cached(file: &(impl File + ?Sized), bytes: usize, offset: u64) -> io::Result<()> {
    let mut written = 0;
    while written < bytes {
        let piece = &ZEROS.0[..ZEROS.0.len().min(bytes - written)];
        match file.write_at(&[io::IoSlice::new(piece)], offset + written as u64)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            more => written += more,
        }
    }
    Ok(())
}
