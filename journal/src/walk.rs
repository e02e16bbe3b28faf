//! Goes through the commits of one segment, verifying everything.

use std::sync::Arc;

use crate::error::Error;
use crate::frame::{
    COMMIT_BYTES, FIRST_FRAME, Head, Kind, START_BYTES, Seed, chain, frame_bytes, u64_at,
};
use crate::fs::{File, FileSystem};
use crate::header::sidecar_name;
use crate::index::{Entry, Index, decode};
use crate::source::{Source, read_full};

/// What a segment's first record says of the segment before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    /// 0: there is none.
    pub(crate) before: u64,
    pub(crate) end: u64,
    /// Number of the last commit.
    pub(crate) commit: u64,
}

/// What the whole commits at the beginning of a segment hold.
#[derive(Debug)]
pub(crate) struct Walk {
    /// None: there is no commit.
    pub(crate) start: Option<Start>,
    pub(crate) index: Index,
    /// Where the frames that verify end: after those of a commit that is not whole.
    pub(crate) whole: u64,
}

/// Goes up to `limit`, and no further than `commits` commits.
pub(crate) fn walk(
    source: &mut Source<'_>,
    id: u64,
    salt: u64,
    limit: u64,
    commits: u64,
) -> Result<Walk, Error> {
    let seed = Seed::of(id, salt);
    let mut walker = Walker::new();
    let mut begun = None;
    let mut found = 0;
    while found < commits {
        let offset = walker.whole;
        let Some(head) = source.frame(offset, seed, limit)? else {
            break;
        };
        let whole = match head.tag.kind {
            Kind::Start if offset == FIRST_FRAME && head.length as usize == START_BYTES => {
                begun = Some(start_of(source, offset, &head)?);
                walker.record(&head);
                true
            }
            Kind::Start => false,
            Kind::Commit => {
                let ours = head.length as usize == COMMIT_BYTES && {
                    let payload = source.payload(offset, &head)?;
                    u64_at(&payload, 0) == id && u64_at(&payload, 8) == salt
                };
                found += 1;
                ours && walker.commit(&head, begun)
            }
            _ => begun.is_some() && walker.entry(offset, &head),
        };
        if !whole {
            break;
        }
    }
    walker.index.entries.truncate(walker.committed);
    Ok(Walk {
        start: begun.filter(|_| walker.index.last_commit > 0),
        index: walker.index,
        whole: walker.whole,
    })
}

pub(crate) fn start_of(source: &mut Source<'_>, offset: u64, head: &Head) -> Result<Start, Error> {
    let payload = source.payload(offset, head)?;
    Ok(Start {
        before: u64_at(&payload, 0),
        end: u64_at(&payload, 8),
        commit: head.tag.number,
    })
}

/// The commit under way, and those before.
struct Walker {
    index: Index,
    committed: usize,
    whole: u64,
    records: u32,
    chain: u32,
}

impl Walker {
    const fn new() -> Self {
        Self {
            index: Index {
                end: FIRST_FRAME,
                first_commit: 0,
                last_commit: 0,
                entries: Vec::new(),
            },
            committed: 0,
            whole: FIRST_FRAME,
            records: 0,
            chain: 0,
        }
    }

    fn record(&mut self, head: &Head) {
        self.records += 1;
        self.chain = chain(self.chain, head.crc);
        self.whole += frame_bytes(head.length.into());
    }

    fn entry(&mut self, offset: u64, head: &Head) -> bool {
        let Ok(offset) = u32::try_from(offset) else {
            return false;
        };
        self.index.entries.push(Entry {
            tag: head.tag,
            offset,
            length: head.length,
        });
        self.record(head);
        true
    }

    /// False: the commit does not stand for the records before it.
    fn commit(&mut self, head: &Head, begun: Option<Start>) -> bool {
        let before = match (self.index.last_commit, begun) {
            (0, Some(start)) => start.commit,
            (0, None) => return false,
            (last, _) => last,
        };
        let number = before.checked_add(1);
        let tag = head.tag;
        if Some(tag.number) != number || tag.count != self.records || tag.extra != self.chain {
            return false;
        }
        if self.index.last_commit == 0 {
            self.index.first_commit = tag.number;
        }
        self.index.last_commit = tag.number;
        self.whole += frame_bytes(head.length.into());
        self.index.end = self.whole;
        self.committed = self.index.entries.len();
        self.records = 0;
        self.chain = 0;
        true
    }
}

/// The sidecar of a segment, if there is one and it is good.
pub(crate) fn sidecar(
    fs: &dyn FileSystem,
    id: u64,
    salt: u64,
    segment_bytes: u64,
) -> Option<Index> {
    let name = sidecar_name(id);
    let file = fs.open(&name).ok()?;
    let size = file.size().ok()?;
    // A record takes as many bytes in the segment as its entry takes here, or more.
    if size > segment_bytes {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(size).ok()?];
    let read = read_full(&*file, &name, &mut bytes, 0).ok()?;
    decode(bytes.get(..read)?, id, salt)
}

/// The index of a sealed segment, from its sidecar or from itself.
pub(crate) fn load(
    fs: &dyn FileSystem,
    file: &Arc<dyn File>,
    name: &str,
    (id, salt, end): (u64, u64, u64),
) -> Result<Index, Error> {
    let mut source = Source::new(&**file, name)?;
    if let Some(index) = sidecar(fs, id, salt, source.size())
        && index.end == end
    {
        return Ok(index);
    }
    let walk = walk(&mut source, id, salt, end, u64::MAX)?;
    if walk.index.end == end {
        Ok(walk.index)
    } else {
        Err(Error::Damaged {
            file: name.to_owned(),
            offset: walk.whole,
            what: "a record does not verify",
        })
    }
}
