//! What a journal tells of itself.

/// What recovery found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Segments with commits.
    pub segments: usize,
    /// Bytes of them that are in use.
    pub bytes: u64,
    /// Streams that are open.
    pub streams: usize,
    /// Number of the last commit.
    pub commits: u64,
    /// Records of facts that were replayed.
    pub facts_replayed: u64,
    /// Bytes of the commit that a crash cut off, as far as they can be told from what the file held before.
    pub torn_bytes: u64,
    /// Sealed segments whose sidecar was absent or bad, so that they were read whole.
    pub indexes_rebuilt: usize,
}

/// What a journal did since it was opened, and what it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Commits since the start.
    pub commits: u64,
    /// Bytes that they wrote.
    pub bytes: u64,
    /// Syncs of commits.
    pub syncs: u64,
    /// Nanoseconds in them.
    pub sync_ns: u64,
    /// The longest, in nanoseconds.
    pub sync_ns_max: u64,
    /// Segments in use now.
    pub segments: u64,
    /// Segments prepared now.
    pub spares: u64,
}
