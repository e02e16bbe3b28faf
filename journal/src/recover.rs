//! From files to a catalog. Changes nothing on disk; the rules are in docs/FORMAT.md.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::cache::Cache;
use crate::catalog::{Catalog, IndexState, Prepared, Segment, Shared, Stream};
use crate::checkpoint::Progress;
use crate::directory::Directory;
use crate::error::Error;
use crate::extents::Extents;
use crate::fs::FileSystem;
use crate::lock::Lock;
use crate::log::{Log, Trace};
use crate::reader::Reader;
use crate::record::StreamId;
use crate::replay::{Records, Replay};
use crate::report::Report;
use crate::settings::Settings;
use crate::survey::{SegmentFile, Survey, Surveyed};

/// A journal that was read and not yet changed. Holds its lock.
#[derive(Debug)]
pub struct Recovered {
    pub(crate) shared: Arc<Shared>,
    pub(crate) lock: Lock,
    pub(crate) settings: Settings,
    pub(crate) report: Report,
    /// Id and end of the last segment.
    pub(crate) last: (u64, u64),
    /// Files without commits.
    pub(crate) spare: Vec<SegmentFile>,
}

/// Reads a journal and replays it. Changes nothing, but holds the lock as long as what it returns lives.
///
/// # Errors
/// [`Error::Locked`]; [`Error::Version`]; [`Error::Damaged`], [`Error::Missing`]: it is not whole; [`Error::Replay`]: the
/// caller could not make sense of it; [`Error::Io`].
pub fn recover(
    fs: Arc<dyn FileSystem>,
    settings: Settings,
    replay: &mut dyn Replay,
) -> Result<Recovered, Error> {
    let lock = Lock::take(&*fs)?;
    let survey = Survey::of(&*fs)?;
    let mut catalog = empty();
    let mut report = Report::default();
    let log = read(&*fs, &survey, &mut catalog, &mut report)?;
    let mut records = Records::of(&survey.used);
    let directory = records.directory(&log)?;
    report.facts_replayed = records.replay(&directory, &log, replay)?;
    report.streams = directory.names.len();
    fill(&mut catalog, &directory, &log);
    map_bodies(&mut catalog, &log, replay)?;
    let last = catalog.segments.last_key_value();
    let last = last.map_or((0, 0), |(id, segment)| (*id, segment.end));
    Ok(Recovered {
        shared: Shared::new(fs, catalog),
        lock,
        settings: settings.within_limits(),
        report,
        last,
        spare: survey.spare,
    })
}

impl Recovered {
    /// What was found.
    pub const fn report(&self) -> &Report {
        &self.report
    }

    /// An id that no stream ever had.
    pub fn next_stream(&self) -> StreamId {
        StreamId(self.shared.catalog().next_stream)
    }

    /// The number of a stream's last facts; 0: it has none.
    pub fn last_seq(&self, stream: StreamId) -> u64 {
        let catalog = self.shared.catalog();
        let stream = catalog.streams.get(&stream);
        stream.map_or(0, |stream| stream.last_seq)
    }

    /// Reads bodies without starting.
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.shared))
    }
}

fn empty() -> Catalog {
    Catalog {
        segments: BTreeMap::new(),
        active: None,
        prepared: VecDeque::new(),
        streams: BTreeMap::new(),
        directory: Progress::default(),
        next_stream: 1,
        cache: Cache::default(),
    }
}

/// Reads the segments' indexes, one at a time.
fn read(
    fs: &dyn FileSystem,
    survey: &Survey,
    catalog: &mut Catalog,
    report: &mut Report,
) -> Result<Log, Error> {
    let mut log = Log::default();
    for (place, used) in survey.used.iter().enumerate() {
        let Surveyed {
            index,
            rebuilt,
            torn_bytes,
        } = survey.read(fs, place)?;
        log.take(used.file.id, &index);
        report.segments += 1;
        report.bytes += index.end;
        report.commits = index.last_commit;
        report.torn_bytes += torn_bytes;
        report.indexes_rebuilt += usize::from(rebuilt);
        let prepared = Prepared {
            id: used.file.id,
            salt: used.salt,
            bytes: used.file.size,
            file: Arc::clone(&used.file.file),
        };
        let mut segment = Segment::new(&prepared, catalog.position());
        segment.end = index.end;
        segment.first_commit = index.first_commit;
        segment.last_commit = index.last_commit;
        // Its index is made again when it is needed: many of them at a time could be large.
        let last = place + 1 == survey.used.len();
        segment.index = match rebuilt || last {
            true => IndexState::Absent,
            false => IndexState::Stored,
        };
        catalog.segments.insert(used.file.id, segment);
    }
    report.torn_bytes += survey.cut_off(report.commits)?;
    Ok(log)
}

/// What is needed to replay each stream.
fn fill(catalog: &mut Catalog, directory: &Directory, log: &Log) {
    catalog.next_stream = directory.next_stream;
    match log.directory.first() {
        Some(first) => catalog.directory.complete(first.segment, &log.directory),
        None => {
            let first = log.changes.first();
            catalog.directory.needed_from = first.map(|at| at.segment);
        }
    }
    for (id, name) in &directory.names {
        let mut stream = Stream {
            name: name.clone(),
            ..Stream::default()
        };
        if let Some(trace) = log.traces.get(id) {
            fill_stream(&mut stream, trace);
        }
        catalog.streams.insert(*id, stream);
    }
}

fn fill_stream(stream: &mut Stream, trace: &Trace) {
    for at in &trace.facts {
        stream.facts(at.entry.tag.number, at.segment);
    }
    stream.last_seq = trace.last_seq();
    if let Some(first) = trace.checkpoint.first() {
        let facts = trace.facts.first().map_or(u64::MAX, |at| at.segment);
        let needed_from = first.segment.min(facts);
        stream.progress.complete(needed_from, &trace.checkpoint);
    }
}

/// Finds the bodies that are needed. A copy is in a higher segment than what it was copied from.
fn map_bodies(catalog: &mut Catalog, log: &Log, replay: &dyn Replay) -> Result<(), Error> {
    for (&id, stream) in &mut catalog.streams {
        let mut wanted = Extents::default();
        replay.needed(id, &mut |first, count| {
            let end = first.saturating_add(count.into());
            wanted.remove(first, end, |_| {});
            wanted.insert(first, end, 0);
        });
        for (&segment, streams) in log.bodies.iter().rev() {
            let mut live = 0;
            for &(first, end) in streams.get(&id).into_iter().flatten() {
                wanted.remove(first, end, |part| {
                    stream.extents.insert(part.first, part.end, segment);
                    live += part.items();
                });
            }
            if let Some(segment) = catalog.segments.get_mut(&segment) {
                segment.live += live;
            }
        }
        if let Some(missing) = wanted.all().next() {
            return Err(Error::Missing {
                stream: id,
                what: "bodies",
                from: missing.first,
            });
        }
    }
    Ok(())
}
