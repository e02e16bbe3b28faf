//! What a journal still says of each queue, gathered from every record that can be read.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use baton_journal::fs::FileSystem;
use baton_journal::{Block, Damage, Error, Found, Hit, Place, Record, StreamId, scan};
use baton_queue::Sizes;
use bytes::Bytes;

use super::ranges::Ranges;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// The streams that were open at the end, as far as that can be told.
    pub(super) trails: BTreeMap<StreamId, Trail>,
    pub(super) damage: Vec<Damage>,
    /// Sidecars that are passed over.
    pub(super) unused: Vec<String>,
    /// Number of the last commit.
    pub(super) commits: u64,
    /// Where the last commit of each segment stands.
    pub(super) segments: BTreeMap<String, u64>,
    closed: BTreeSet<StreamId>,
}

/// What is left of one stream.
#[derive(Debug, Default)]
pub(super) struct Trail {
    pub(super) name: Option<Bytes>,
    /// The last whole one.
    pub(super) checkpoint: Option<Checkpoint>,
    /// Those after it, by number.
    pub(super) facts: BTreeMap<u64, Bytes>,
    pub(super) bodies: Vec<Bodies>,
    /// Numbers of facts that were where damage is.
    pub(super) hit_facts: Ranges,
    /// Items whose bodies were where damage is; there may be copies.
    pub(super) hit_items: Ranges,
    parts: Parts,
    last: Option<Place>,
}

/// What stands for all facts up to a number.
#[derive(Debug)]
pub(super) struct Checkpoint {
    pub(super) as_of: u64,
    pub(super) payload: Bytes,
}

/// Bodies that can be read.
#[derive(Debug)]
pub(super) struct Bodies {
    pub(super) first: u64,
    pub(super) count: u32,
    pub(super) sizes: Sizes,
}

impl Bodies {
    fn of(block: &Block) -> Self {
        let items = block.first()..block.end();
        let size = |item| block.get(item).map_or(0, |body| body.len());
        let sizes = items.map(|item| u32::try_from(size(item)).unwrap_or(u32::MAX));
        Self {
            first: block.first(),
            count: block.count(),
            sizes: Sizes::of(&sizes.collect::<Vec<_>>()),
        }
    }

    pub(super) fn end(&self) -> u64 {
        self.first + u64::from(self.count)
    }
}

/// A checkpoint that is being put together.
#[derive(Debug, Default)]
struct Parts {
    of: (u64, u32),
    taken: Vec<Bytes>,
}

impl Evidence {
    /// Reads every segment.
    ///
    /// # Errors
    /// See [`scan`].
    pub(super) fn gather(fs: &dyn FileSystem) -> Result<Self, Error> {
        let mut evidence = Self::default();
        scan(fs, &mut |found| evidence.take(found))?;
        Ok(evidence)
    }

    /// The name of a stream's queue, if it is known and is one.
    pub(super) fn name(&self, stream: StreamId) -> Option<&str> {
        let name = self.trails.get(&stream)?.name.as_deref()?;
        std::str::from_utf8(name).ok()
    }

    fn take(&mut self, found: Found) {
        match found {
            Found::Record(record, place) => self.record(record, place),
            Found::Commit { number, place } => {
                self.commits = self.commits.max(number);
                self.segments.insert(place.file, place.offset);
            }
            Found::Streams { next, names, begun } => self.streams(next, names, &begun),
            Found::Damage(damage) => {
                damage.hits.iter().for_each(|hit| self.hit(*hit));
                self.damage.push(damage);
            }
            Found::Unused { file } => self.unused.push(file),
        }
    }

    fn record(&mut self, record: Record, place: Place) {
        let stream = stream_of(&record);
        if self.closed.contains(&stream) {
            return;
        }
        if matches!(record, Record::StreamClosed { .. }) {
            self.trails.remove(&stream);
            self.closed.insert(stream);
            return;
        }
        let trail = self.trails.entry(stream).or_default();
        trail.last = Some(place);
        trail.take(record);
    }

    fn hit(&mut self, hit: Hit) {
        match hit {
            Hit::Facts { stream, seq } => {
                let trail = self.trails.get_mut(&stream);
                trail
                    .into_iter()
                    .for_each(|trail| trail.hit_facts.insert(seq, seq + 1));
            }
            Hit::Bodies {
                stream,
                first,
                count,
            } => {
                let end = first + u64::from(count);
                let trail = self.trails.get_mut(&stream);
                trail
                    .into_iter()
                    .for_each(|trail| trail.hit_items.insert(first, end));
            }
            Hit::Opened(_) | Hit::Closed(_) | Hit::Checkpoint { .. } | Hit::Streams => {}
        }
    }

    /// A stream that the list does not have was closed before it, unless something of it was written since.
    fn streams(&mut self, next: StreamId, names: Vec<(StreamId, Bytes)>, begun: &Place) {
        let listed: BTreeSet<StreamId> = names.iter().map(|(stream, _)| *stream).collect();
        self.trails.retain(|stream, trail| {
            let silent = trail
                .last
                .as_ref()
                .is_none_or(|last| is_before(last, begun));
            *stream >= next || listed.contains(stream) || !silent
        });
        for (stream, name) in names {
            if !self.closed.contains(&stream) {
                self.trails.entry(stream).or_default().name = Some(name);
            }
        }
    }
}

impl Trail {
    fn take(&mut self, record: Record) {
        match record {
            Record::StreamOpened { name, .. } => self.name = Some(name),
            Record::StreamClosed { .. } => {}
            Record::Facts { seq, payload, .. } => {
                let as_of = self.checkpoint.as_ref().map_or(0, |whole| whole.as_of);
                if seq > as_of {
                    self.facts.insert(seq, payload);
                }
            }
            Record::Bodies { block, .. } => self.bodies.push(Bodies::of(&block)),
            Record::Checkpoint {
                as_of,
                part,
                parts,
                payload,
                ..
            } => {
                if let Some(whole) = self.parts.take((as_of, parts), part, payload) {
                    self.facts = self.facts.split_off(&(as_of.saturating_add(1)));
                    self.checkpoint = Some(whole);
                }
            }
        }
    }
}

impl Parts {
    /// The checkpoint, once its last part was taken.
    fn take(&mut self, of: (u64, u32), part: u32, payload: Bytes) -> Option<Checkpoint> {
        if part == 0 {
            self.of = of;
            self.taken.clear();
        }
        if self.of != of || self.taken.len() != part as usize {
            *self = Self::default();
            return None;
        }
        self.taken.push(payload);
        let (as_of, parts) = of;
        (self.taken.len() == parts as usize).then(|| Checkpoint {
            as_of,
            payload: std::mem::take(&mut self.taken).concat().into(),
        })
    }
}

const fn stream_of(record: &Record) -> StreamId {
    match record {
        Record::StreamOpened { stream, .. }
        | Record::StreamClosed { stream }
        | Record::Facts { stream, .. }
        | Record::Bodies { stream, .. }
        | Record::Checkpoint { stream, .. } => *stream,
    }
}

/// Names of segments have their ids in digits, at least ten.
fn is_before(one: &Place, other: &Place) -> bool {
    let order = (one.file.len().cmp(&other.file.len()))
        .then_with(|| one.file.cmp(&other.file))
        .then_with(|| one.offset.cmp(&other.offset));
    order == Ordering::Less
}
