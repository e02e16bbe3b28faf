//! Goes through one segment, whatever is wrong with it.

use bytes::Bytes;

use crate::block::Block;
use crate::directory::Directory;
use crate::error::Error;
use crate::frame::{ALIGN, FIRST_FRAME, Head, Kind, START_BYTES, Seed, frame_bytes};
use crate::fs::FileSystem;
use crate::header::sidecar_name;
use crate::index::{Entry, Index};
use crate::record::{Record, StreamId};
use crate::salvage::{Damage, Found, Hit, List, Place};
use crate::source::Source;
use crate::survey::SegmentFile;
use crate::walk::{Start, sidecar, start_of};

/// What a segment says of itself.
pub(super) struct Origin {
    salt: u64,
    header: bool,
    pub(super) start: Option<Start>,
}

impl Origin {
    /// None: the file has no commit of this segment, nor a header.
    pub(super) fn of(file: &SegmentFile) -> Result<Option<Self>, Error> {
        let mut source = Source::new(&*file.file, &file.name)?;
        let salt = match file.header {
            Some(header) => header.salt,
            None => match source.highest_commit(0, file.id, None)? {
                Some((_, salt)) => salt,
                None => return Ok(None),
            },
        };
        let head = source.frame(FIRST_FRAME, Seed::of(file.id, salt), u64::MAX)?;
        let is_start = |head: &Head| {
            let whole = head.length as usize == START_BYTES;
            head.tag.kind == Kind::Start && whole
        };
        let start = match head.filter(is_start) {
            Some(head) => Some(start_of(&mut source, FIRST_FRAME, &head)?),
            None => None,
        };
        Ok(Some(Self {
            salt,
            header: file.header.is_some(),
            start,
        }))
    }
}

pub(super) struct Segment<'a> {
    fs: &'a dyn FileSystem,
    file: &'a SegmentFile,
    visit: &'a mut dyn FnMut(Found),
    list: &'a mut List,
    index: Option<Index>,
    /// Since the last commit that is certain.
    tail: Vec<Found>,
    /// Number of that commit.
    last_commit: Option<u64>,
    /// All that verified, but starts and commits.
    entries: Vec<Entry>,
    damaged: bool,
}

impl<'a> Segment<'a> {
    pub(super) fn new(
        fs: &'a dyn FileSystem,
        file: &'a SegmentFile,
        visit: &'a mut dyn FnMut(Found),
        list: &'a mut List,
    ) -> Self {
        Self {
            fs,
            file,
            visit,
            list,
            index: None,
            tail: Vec::new(),
            last_commit: None,
            entries: Vec::new(),
            damaged: false,
        }
    }

    /// Nothing in the file verifies, and it was in use.
    pub(super) fn is_gone(&mut self, end: u64) {
        let what = "the next segment names it, and nothing in it verifies";
        self.damage(0, end, what);
        self.flush();
    }

    /// Goes up to `end`, which the next segment names. Without one the commits decide, as in recovery.
    pub(super) fn scan(&mut self, origin: &Origin, end: Option<u64>) -> Result<(), Error> {
        let mut source = Source::new(&*self.file.file, &self.file.name)?;
        let id = self.file.id;
        self.index = sidecar(self.fs, id, origin.salt, source.size());
        if !origin.header {
            self.damage(0, FIRST_FRAME, "its header does not verify");
            self.flush();
        }
        let limit = end.unwrap_or(u64::MAX);
        let scanned = self.frames(&mut source, Seed::of(id, origin.salt), limit)?;
        if let Some(end) = end {
            if scanned < end {
                let what = "it ends before the place that the next segment names";
                self.damage(scanned, end, what);
            }
            self.flush();
        }
        // What is left was never confirmed.
        self.tail.clear();
        self.compare_sidecar(scanned);
        Ok(())
    }

    /// Returns where the last frame ends.
    fn frames(&mut self, source: &mut Source<'_>, seed: Seed, limit: u64) -> Result<u64, Error> {
        let limit = limit.min(source.size());
        let (mut at, mut end) = (FIRST_FRAME, FIRST_FRAME);
        while at < limit {
            match source.frame(at, seed, limit)? {
                Some(head) => {
                    if at > end {
                        let what = "what is here does not verify, and records follow it";
                        self.damage(end, at, what);
                    }
                    self.frame(source, at, &head)?;
                    at += frame_bytes(head.length.into());
                    end = at;
                }
                None => at += ALIGN,
            }
        }
        Ok(end)
    }

    fn frame(&mut self, source: &mut Source<'_>, offset: u64, head: &Head) -> Result<(), Error> {
        let place = Place {
            file: self.file.name.clone(),
            offset,
        };
        match head.tag.kind {
            Kind::Start => return Ok(()),
            Kind::Commit => {
                self.commit(head.tag.number, place);
                return Ok(());
            }
            _ => {}
        }
        self.entries.extend(entry_of(offset, head));
        let payload = source.payload(offset, head)?;
        if head.tag.kind == Kind::Directory {
            let streams = self.list.take(head, payload, place);
            self.tail.extend(streams);
            return Ok(());
        }
        match record_of(head, payload) {
            Some(record) => self.tail.push(Found::Record(record, place)),
            None => {
                let end = offset + frame_bytes(head.length.into());
                self.damage(offset, end, "a block does not describe its items");
            }
        }
        Ok(())
    }

    /// A commit behind damage may be the one that a crash cut off, its frame on disk and its records not; a commit two
    /// above the last certain one was begun after the one between was durable.
    fn commit(&mut self, number: u64, place: Place) {
        let uncertain = |found: &Found| matches!(found, Found::Damage(_) | Found::Commit { .. });
        let torn = self.tail.iter().any(uncertain);
        self.tail.push(Found::Commit { number, place });
        let certain = match self.last_commit {
            _ if !torn => true,
            Some(last) => number > last + 1,
            None => self.tail.iter().any(|found| match found {
                Found::Commit { number: before, .. } => *before < number,
                _ => false,
            }),
        };
        if certain {
            self.last_commit = Some(number);
            self.flush();
        }
    }

    fn flush(&mut self) {
        for found in self.tail.drain(..) {
            self.damaged |= matches!(found, Found::Damage(_));
            (self.visit)(found);
        }
    }

    fn damage(&mut self, offset: u64, end: u64, what: &'static str) {
        let entries = self.index.iter().flat_map(|index| &index.entries);
        let hit = entries.filter(|entry| {
            let from = u64::from(entry.offset);
            from < end && from + entry.bytes() > offset
        });
        let damage = Damage {
            file: self.file.name.clone(),
            offset,
            end,
            what,
            hits: hit.filter_map(hit_of).collect(),
        };
        self.tail.push(Found::Damage(damage));
    }

    /// Recovery believes a sidecar that verifies: it has to say what the segment says.
    fn compare_sidecar(&mut self, scanned: u64) {
        let name = sidecar_name(self.file.id);
        match &self.index {
            Some(index) if !self.damaged => {
                let same = index.entries == self.entries && index.end <= scanned;
                if !same {
                    (self.visit)(Found::Damage(Damage {
                        file: name,
                        offset: 0,
                        end: 0,
                        what: "it does not agree with its segment; removed, it is made again",
                        hits: Vec::new(),
                    }));
                }
            }
            Some(_) => {}
            None => {
                if self.fs.open(&name).is_ok() {
                    (self.visit)(Found::Unused { file: name });
                }
            }
        }
    }
}

impl List {
    /// The whole list, once its last part was taken.
    fn take(&mut self, head: &Head, payload: Bytes, place: Place) -> Option<Found> {
        let tag = head.tag;
        if tag.count == 0 {
            *self = Self {
                begun: Some(place),
                of: (tag.number, tag.extra),
                parts: Vec::new(),
            };
        }
        let follows = self.of == (tag.number, tag.extra) && self.parts.len() == tag.count as usize;
        if !follows {
            *self = Self::default();
            return None;
        }
        self.parts.push(payload);
        if self.parts.len() < tag.extra as usize {
            return None;
        }
        let whole = std::mem::take(self);
        let directory = Directory::decode(&whole.parts.concat().into())?;
        Some(Found::Streams {
            next: StreamId(directory.next_stream),
            names: directory.names.into_iter().collect(),
            begun: whole.begun?,
        })
    }
}

fn entry_of(offset: u64, head: &Head) -> Option<Entry> {
    Some(Entry {
        tag: head.tag,
        offset: u32::try_from(offset).ok()?,
        length: head.length,
    })
}

/// None: it is no record, or says what cannot be.
fn record_of(head: &Head, payload: Bytes) -> Option<Record> {
    let tag = head.tag;
    let stream = StreamId(tag.stream);
    Some(match tag.kind {
        Kind::Opened => Record::StreamOpened {
            stream,
            name: payload,
        },
        Kind::Closed => Record::StreamClosed { stream },
        Kind::Facts => Record::Facts {
            stream,
            seq: tag.number,
            payload,
        },
        Kind::Bodies => Record::Bodies {
            stream,
            block: Block::parse(tag.number, tag.count, payload).ok()?,
        },
        Kind::Checkpoint => Record::Checkpoint {
            stream,
            as_of: tag.number,
            part: tag.count,
            parts: tag.extra,
            payload,
        },
        Kind::Start | Kind::Directory | Kind::Commit => return None,
    })
}

fn hit_of(entry: &Entry) -> Option<Hit> {
    let (stream, tag) = (entry.stream(), entry.tag);
    Some(match tag.kind {
        Kind::Opened => Hit::Opened(stream),
        Kind::Closed => Hit::Closed(stream),
        Kind::Facts => Hit::Facts {
            stream,
            seq: tag.number,
        },
        Kind::Bodies => Hit::Bodies {
            stream,
            first: tag.number,
            count: tag.count,
        },
        Kind::Checkpoint => Hit::Checkpoint {
            stream,
            as_of: tag.number,
        },
        Kind::Directory => Hit::Streams,
        Kind::Start | Kind::Commit => return None,
    })
}
