//! What the keeper asks the writer to write.

use crate::record::Record;

/// Records that let segments go: copies of the last needed items of one, or a part of the list of streams. For
/// [`crate::Writer::forward`].
#[derive(Debug)]
pub struct Forward {
    pub(crate) copies: Copies,
}

#[derive(Debug)]
pub(crate) enum Copies {
    /// The next part of the list of streams.
    Directory,
    /// Bodies that are needed from segment `from`.
    Blocks { from: u64, records: Vec<Record> },
}
