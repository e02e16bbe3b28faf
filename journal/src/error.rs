//! What can go wrong with a journal.

use std::io;

use thiserror::Error;

use crate::record::StreamId;

/// Why a journal did not do something.
#[derive(Debug, Error)]
pub enum Error {
    /// Another broker has it.
    #[error(
        "the data directory is in use; stop the other broker, or give this one a directory of its own"
    )]
    Locked,
    /// A call to the file system failed.
    #[error("cannot {action} {file}: {source}")]
    Io {
        /// What was tried: a verb.
        action: &'static str,
        /// On what.
        file: String,
        /// Why it failed.
        source: io::Error,
    },
    /// Written by another version.
    #[error(
        "{file} has format version {found}, this program reads version 1; use the version that wrote it"
    )]
    Version {
        /// Which file.
        file: String,
        /// What it says.
        found: u32,
    },
    /// Bytes are not what was written, and it is not the torn end of the last commit.
    #[error(
        "{file} is damaged at byte {offset}: {what}; nothing was changed. Restore the directory from a copy, or rescue what \
         can be read with: baton-broker salvage"
    )]
    Damaged {
        /// Which file.
        file: String,
        /// Where.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// Records that have to be there are in no file: a file is missing.
    #[error(
        "{what} of stream {stream} from number {from} on are in no segment: is a file missing? Nothing was changed. Restore \
         the directory from a copy, or rescue what can be read with: baton-broker salvage"
    )]
    Missing {
        /// Of which stream.
        stream: StreamId,
        /// "facts" or "bodies".
        what: &'static str,
        /// The first number that is missing.
        from: u64,
    },
    /// The caller could not make sense of a payload.
    #[error(
        "{what} of stream {stream} cannot be read: {reason}; was it written by another version?"
    )]
    Replay {
        /// Of which stream.
        stream: StreamId,
        /// "facts" or "checkpoint".
        what: &'static str,
        /// The caller's words.
        reason: String,
    },
    /// No prepared segment is left, and the active one has no room for this. Nothing was written; try again when
    /// the keeper has made one.
    #[error("no segment is prepared")]
    NoSegment,
    /// A write or sync failed before: what is on disk is unknown until the journal is opened again.
    #[error("the journal failed before and takes nothing more")]
    Poisoned,
    /// A batch that no segment could hold.
    #[error("a commit of {bytes} bytes does not fit into a segment")]
    TooLarge {
        /// How large it was.
        bytes: u64,
    },
}

impl Error {
    pub(crate) fn io(action: &'static str, file: &str, source: io::Error) -> Self {
        Self::Io {
            action,
            file: file.to_owned(),
            source,
        }
    }
}
