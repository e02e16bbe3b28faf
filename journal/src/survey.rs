//! Which of the files are segments in use, and what is in them. Reads only.

use std::sync::Arc;

use crate::error::Error;
use crate::frame::FIRST_FRAME;
use crate::fs::{File, FileSystem};
use crate::header::{Header, id_of, segment_name};
use crate::index::Index;
use crate::source::{Source, WINDOW_BYTES};
use crate::walk::{Start, Walk, sidecar, walk};

/// A file with a segment's name.
#[derive(Clone, Debug)]
pub(crate) struct SegmentFile {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) file: Arc<dyn File>,
    pub(crate) size: u64,
    /// None: it is none of this segment's.
    pub(crate) header: Option<Header>,
}

/// A segment with commits.
#[derive(Clone, Debug)]
pub(crate) struct Used {
    pub(crate) file: SegmentFile,
    pub(crate) salt: u64,
    pub(crate) start: Start,
}

/// What the files are.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// By id.
    pub(crate) used: Vec<Used>,
    /// Files without commits.
    pub(crate) spare: Vec<SegmentFile>,
    /// Those of them that may have the beginning of a commit.
    cut: Vec<Cut>,
}

/// A segment whose first commit is not whole, or was never begun.
#[derive(Debug)]
struct Cut {
    file: SegmentFile,
    /// Of that commit, as far as they can be told.
    bytes: u64,
    /// The highest number of a commit in it that verifies by itself.
    commit: u64,
}

/// A segment's index, and how it was come by.
#[derive(Debug)]
pub(crate) struct Surveyed {
    pub(crate) index: Index,
    pub(crate) rebuilt: bool,
    pub(crate) torn_bytes: u64,
}

/// The files with segments' names, by id.
pub(crate) fn segment_files(fs: &dyn FileSystem) -> Result<Vec<SegmentFile>, Error> {
    let names = fs
        .list()
        .map_err(|source| Error::io("list", "the data directory", source))?;
    let mut ids: Vec<u64> = names
        .iter()
        .filter_map(|name| id_of(name, ".seg"))
        .collect();
    ids.sort_unstable();
    ids.into_iter().map(|id| segment_file(fs, id)).collect()
}

fn segment_file(fs: &dyn FileSystem, id: u64) -> Result<SegmentFile, Error> {
    let name = segment_name(id);
    let file = fs
        .open(&name)
        .map_err(|source| Error::io("open", &name, source))?;
    let size = file
        .size()
        .map_err(|source| Error::io("measure", &name, source))?;
    let header = Header::read(&*file, &name, id)?;
    Ok(SegmentFile {
        id,
        name,
        file,
        size,
        header,
    })
}

impl SegmentFile {
    fn damaged(&self, offset: u64, what: &'static str) -> Error {
        Error::Damaged {
            file: self.name.clone(),
            offset,
            what,
        }
    }
}

const NO_HEADER: &str = "its header does not verify, its commits do";
const FIRST_COMMIT: &str = "its first commit does not verify, others do";
const MIDDLE: &str = "a record does not verify, and others after it do";
const SHORT: &str = "it ends before the place that the next segment names";

impl Survey {
    /// Tells used files from spares.
    pub(crate) fn of(fs: &dyn FileSystem) -> Result<Self, Error> {
        let mut survey = Self::default();
        for file in segment_files(fs)? {
            survey.sort(file)?;
        }
        survey.check_chain()?;
        Ok(survey)
    }

    fn sort(&mut self, file: SegmentFile) -> Result<(), Error> {
        let mut source = Source::new(&*file.file, &file.name)?;
        let Some(header) = file.header else {
            if source.highest_commit(0, file.id, None)?.is_some() {
                return Err(file.damaged(0, NO_HEADER));
            }
            self.spare.push(file);
            return Ok(());
        };
        let walk = walk(&mut source, file.id, header.salt, u64::MAX, 1)?;
        if let Some(start) = walk.start {
            let salt = header.salt;
            self.used.push(Used { file, salt, start });
            return Ok(());
        }
        let torn = torn_bytes(&mut source, &walk, header.blank)?;
        let salt = Some(header.salt);
        let found = source.highest_commit(FIRST_FRAME, file.id, salt)?;
        self.cut.push(Cut {
            file: file.clone(),
            bytes: torn,
            commit: found.map_or(0, |(number, _)| number),
        });
        self.spare.push(file);
        Ok(())
    }

    /// A segment names the one before. If that is there, it is in use.
    fn check_chain(&self) -> Result<(), Error> {
        let mut before: Option<&Used> = None;
        for used in &self.used {
            let named = used.start.before;
            if let Some(lost) = self.spare.iter().find(|file| file.id == named) {
                return Err(lost.damaged(0, "the next segment names it, and it has no commit"));
            }
            let last = before.map_or(0, |before| before.file.id);
            if named < last || named >= used.file.id {
                let what = "it names another segment before it than there is";
                return Err(used.file.damaged(FIRST_FRAME, what));
            }
            before = Some(used);
        }
        Ok(())
    }

    /// Bytes of a commit that is not whole, in segments behind the last one that has one that is. It is the one after
    /// `commit`, the last: a later one was begun only once that was durable, so it tells damage.
    pub(crate) fn cut_off(&self, commit: u64) -> Result<u64, Error> {
        let last = self.used.last().map_or(0, |used| used.file.id);
        let after = self.cut.iter().filter(|cut| cut.file.id > last);
        let mut bytes = 0;
        for cut in after {
            if cut.commit > commit + 1 {
                return Err(cut.file.damaged(FIRST_FRAME, FIRST_COMMIT));
            }
            bytes += cut.bytes;
        }
        Ok(bytes)
    }

    /// The index of a used segment.
    pub(crate) fn read(&self, fs: &dyn FileSystem, place: usize) -> Result<Surveyed, Error> {
        let used = &self.used[place];
        let next = self.used.get(place + 1);
        let named = next.filter(|next| next.start.before == used.file.id);
        let expected = named.map(|next| (next.start.end, next.start.commit));
        let size = used.file.size;
        if next.is_some()
            && let Some(index) = sidecar(fs, used.file.id, used.salt, size)
            && expected.is_none_or(|expected| expected == (index.end, index.last_commit))
            && index.first_commit.checked_sub(1) == Some(used.start.commit)
        {
            if index.end > size {
                return Err(used.file.damaged(size, "it is shorter than its index says"));
            }
            return Ok(Surveyed {
                index,
                rebuilt: false,
                torn_bytes: 0,
            });
        }
        self.walk(used, expected, next.is_none())
    }

    fn walk(
        &self,
        used: &Used,
        expected: Option<(u64, u64)>,
        last: bool,
    ) -> Result<Surveyed, Error> {
        let file = &used.file;
        let mut source = Source::new(&*file.file, &file.name)?;
        let limit = expected.map_or(u64::MAX, |(end, _)| end);
        let walk = walk(&mut source, file.id, used.salt, limit, u64::MAX)?;
        let (end, commit) = (walk.index.end, walk.index.last_commit);
        if expected.is_some_and(|expected| expected != (end, commit)) {
            return Err(file.damaged(walk.whole, SHORT));
        }
        // The next commit may be cut off, whichever of its parts reached the disk. Any later one was begun after it was durable.
        let found = source.highest_commit(end, file.id, Some(used.salt))?;
        let later = found.is_some_and(|(number, _)| number > commit + 1);
        if expected.is_none() && later {
            return Err(file.damaged(walk.whole, MIDDLE));
        }
        let mut torn = 0;
        if last {
            let blank = file.header.is_some_and(|header| header.blank);
            torn = torn_bytes(&mut source, &walk, blank)?;
        }
        Ok(Surveyed {
            index: walk.index,
            rebuilt: !last,
            torn_bytes: torn,
        })
    }
}

/// Bytes behind the last commit that are of one that is not whole: in a file that was zero, up to the last byte that is not;
/// in a recycled one, whose old bytes follow, only whole frames can be told.
fn torn_bytes(source: &mut Source<'_>, walk: &Walk, blank: bool) -> Result<u64, Error> {
    let end = walk.index.end;
    let mut torn = walk.whole - end;
    let mut at = end;
    while blank && at < source.size() {
        let piece = source.get(at, WINDOW_BYTES)?;
        if piece.is_empty() {
            break;
        }
        if let Some(written) = written_bytes(piece) {
            torn = torn.max(at + written as u64 - end);
        }
        at += piece.len() as u64;
    }
    Ok(torn)
}

/// Up to where a piece was written; none: it is all zeros. Looks at whole pages: files are large, and mostly zeros.
fn written_bytes(piece: &[u8]) -> Option<usize> {
    const PAGE: usize = 4096;
    static ZEROS: [u8; PAGE] = [0; PAGE];
    let mut end = piece.len();
    for page in piece.rchunks(PAGE) {
        if *page != ZEROS[..page.len()] {
            let last = page.iter().rposition(|byte| *byte != 0)?;
            return Some(end - page.len() + last + 1);
        }
        end -= page.len();
    }
    None
}
