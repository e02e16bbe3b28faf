//! Every record that can still be read, whatever became of its neighbours. Offline.

mod segment;

use bytes::Bytes;

use crate::error::Error;
use crate::fs::FileSystem;
use crate::record::{Record, StreamId};
use crate::salvage::segment::{Origin, Segment};
use crate::survey::segment_files;

/// Where something was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// In which file.
    pub file: String,
    /// Where in it.
    pub offset: u64,
}

/// What [`scan`] found.
#[derive(Clone, Debug)]
pub enum Found {
    /// A record that was committed. Its commit may be damaged where others are not.
    Record(Record, Place),
    /// A commit: the records since the one before became durable together.
    Commit {
        /// It ascends by 1 over the whole journal.
        number: u64,
        /// Where.
        place: Place,
    },
    /// The journal's own list of the streams that were open, all its parts joined.
    Streams {
        /// An id that no stream had when it was written.
        next: StreamId,
        /// The streams and their names.
        names: Vec<(StreamId, Bytes)>,
        /// Of its first part: streams that were opened and closed since may not be in it.
        begun: Place,
    },
    /// Bytes that are not what was written.
    Damage(Damage),
    /// A sidecar that recovery passes over: it has no use, and does no harm.
    Unused {
        /// In which file.
        file: String,
    },
}

/// A piece of a file that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// In which file.
    pub file: String,
    /// Where it begins.
    pub offset: u64,
    /// Where it ends, as far as that can be told.
    pub end: u64,
    /// What is wrong there.
    pub what: &'static str,
    /// The records that stood there, by the segment's sidecar. Empty: it has none, or none of this journal's records.
    pub hits: Vec<Hit>,
}

/// A record that damage has hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hit {
    /// That a stream was opened, or its name.
    Opened(StreamId),
    /// That a stream was closed.
    Closed(StreamId),
    /// Facts.
    Facts {
        /// Of which stream.
        stream: StreamId,
        /// Their number.
        seq: u64,
    },
    /// Bodies of items.
    Bodies {
        /// Of which stream.
        stream: StreamId,
        /// The first item.
        first: u64,
        /// Items.
        count: u32,
    },
    /// A part of a checkpoint.
    Checkpoint {
        /// Of which stream.
        stream: StreamId,
        /// The number of the last fact that it stands for.
        as_of: u64,
    },
    /// A part of the list of streams.
    Streams,
}

/// Visits every record that was committed, in every segment, in order, whether it is needed or not; and every piece of
/// damage. Takes no lock, and changes nothing.
///
/// What was written behind the last commit is left out, as recovery leaves it out: it was never confirmed. Damage in the very
/// last commit cannot be told from that.
///
/// # Errors
/// [`Error::Io`], [`Error::Version`].
pub fn scan(fs: &dyn FileSystem, visit: &mut dyn FnMut(Found)) -> Result<(), Error> {
    let files = segment_files(fs)?;
    let origins = files.iter().map(Origin::of);
    let origins = origins.collect::<Result<Vec<Option<Origin>>, Error>>()?;
    let mut list = List::default();
    for (place, (file, origin)) in files.iter().zip(&origins).enumerate() {
        let later = origins[place + 1..].iter().flatten();
        let mut starts = later.filter_map(|origin| origin.start);
        let named = starts.find(|start| start.before == file.id);
        let visit: &mut dyn FnMut(Found) = &mut |found| visit(found);
        let mut segment = Segment::new(fs, file, visit, &mut list);
        match (origin, named) {
            (Some(origin), _) => segment.scan(origin, named.map(|start| start.end))?,
            (None, Some(start)) => segment.is_gone(start.end),
            (None, None) => {}
        }
    }
    Ok(())
}

/// The list of streams that is being put together.
#[derive(Debug, Default)]
pub(crate) struct List {
    begun: Option<Place>,
    /// Number, parts.
    of: (u64, u32),
    parts: Vec<Bytes>,
}
