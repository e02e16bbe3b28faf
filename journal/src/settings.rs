//! What a journal is told when it is opened.

use std::fmt;

/// Bytes of a segment unless told otherwise: a segment is sealed every 0.2 s at 300 MB/s, and zeroed in that time.
const SEGMENT_BYTES_DEFAULT: u64 = 64 << 20;
/// Bytes of the smallest segment that is of use.
const SEGMENT_BYTES_MIN: u64 = 256 << 10;
/// Offsets in an index have 32 bits.
const SEGMENT_BYTES_MAX: u64 = 1 << 30;
/// Segments are whole pages.
const PAGE_BYTES: u64 = 4096;
/// Spares unless told otherwise.
const SPARES_DEFAULT: usize = 3;

/// How a journal keeps its files.
pub struct Settings {
    /// Bytes of a new segment: 256 KiB to 1 GiB, a multiple of 4096; default 64 MiB. Those that are there keep theirs.
    pub segment_bytes: u64,
    /// Segments that are kept prepared, at least 1; default 3.
    pub spares: usize,
    /// Random numbers, one for each use of a file. Injected, so that a simulation repeats.
    pub salts: Box<dyn FnMut() -> u64 + Send>,
}

impl Settings {
    /// The defaults.
    pub fn new(salts: impl FnMut() -> u64 + Send + 'static) -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            spares: SPARES_DEFAULT,
            salts: Box::new(salts),
        }
    }

    /// The next value within the limits, where one is out of them.
    pub(crate) fn within_limits(mut self) -> Self {
        let bytes = self
            .segment_bytes
            .clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
        self.segment_bytes = bytes.next_multiple_of(PAGE_BYTES);
        self.spares = self.spares.max(1);
        self
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("segment_bytes", &self.segment_bytes)
            .field("spares", &self.spares)
            .finish_non_exhaustive()
    }
}
