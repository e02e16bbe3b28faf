//! The first 4096 bytes of a segment's file, and the names of files.

use std::io::IoSlice;

use crate::error::Error;
use crate::frame::{FIRST_FRAME, u32_at, u64_at};
use crate::fs::File;
use crate::source::read_full;

const MAGIC: &[u8; 8] = b"BATONSEG";
pub(crate) const VERSION: u32 = 1;
const HEADER_BYTES: usize = 48;
/// What is written of it: up to the first frame.
const BLOCK_BYTES: usize = 4096;
const _: () = assert!(BLOCK_BYTES as u64 == FIRST_FRAME);

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) id: u64,
    /// Random for each use of the file.
    pub(crate) salt: u64,
    /// Of the file, as prepared.
    pub(crate) bytes: u64,
    /// All behind the header was zero: what is not zero was written since.
    pub(crate) blank: bool,
}

impl Header {
    fn encode(&self) -> [u8; BLOCK_BYTES] {
        let mut block = [0; BLOCK_BYTES];
        block[..8].copy_from_slice(MAGIC);
        block[8..12].copy_from_slice(&VERSION.to_le_bytes());
        block[16..24].copy_from_slice(&self.id.to_le_bytes());
        block[24..32].copy_from_slice(&self.salt.to_le_bytes());
        block[32..40].copy_from_slice(&self.bytes.to_le_bytes());
        block[40..44].copy_from_slice(&u32::from(self.blank).to_le_bytes());
        let crc = checksum(&block);
        block[12..16].copy_from_slice(&crc.to_le_bytes());
        block
    }

    /// None: it is no header.
    fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let whole = &bytes[..8] == MAGIC && u32_at(bytes, 12) == checksum(bytes);
        whole.then(|| Self {
            id: u64_at(bytes, 16),
            salt: u64_at(bytes, 24),
            bytes: u64_at(bytes, 32),
            blank: u32_at(bytes, 40) == 1,
        })
    }

    /// Writes it, not yet durable.
    pub(crate) fn write(&self, file: &dyn File) -> std::io::Result<()> {
        write_full(file, &self.encode(), 0)
    }

    /// Reads that of the file with id `id`. None: it has none, or another segment's.
    pub(crate) fn read(file: &dyn File, name: &str, id: u64) -> Result<Option<Self>, Error> {
        let mut bytes = [0; HEADER_BYTES];
        let read = read_full(file, name, &mut bytes, 0)?;
        if read < HEADER_BYTES {
            return Ok(None);
        }
        let found = u32_at(&bytes, 8);
        if &bytes[..8] == MAGIC && found != VERSION {
            let file = name.to_owned();
            return Err(Error::Version { file, found });
        }
        Ok(Self::decode(&bytes).filter(|header| header.id == id))
    }
}

fn checksum(block: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&block[..12]), &block[16..HEADER_BYTES])
}

/// Writes all of `bytes`.
pub(crate) fn write_full(file: &dyn File, bytes: &[u8], offset: u64) -> std::io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        let wrote = file.write_at(&[IoSlice::new(&bytes[done..])], offset + done as u64)?;
        if wrote == 0 {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        done += wrote;
    }
    Ok(())
}

/// The name of a segment's file.
pub(crate) fn segment_name(id: u64) -> String {
    format!("{id:010}.seg")
}

/// The name of a segment's sidecar.
pub(crate) fn sidecar_name(id: u64) -> String {
    format!("{id:010}.idx")
}

/// The id in a name with this ending; names of our making only.
pub(crate) fn id_of(name: &str, ending: &str) -> Option<u64> {
    let digits = name.strip_suffix(ending)?;
    let plain = digits.len() >= 10 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let id = digits.parse().ok().filter(|_| plain)?;
    (format!("{id:010}") == digits && id > 0).then_some(id)
}
