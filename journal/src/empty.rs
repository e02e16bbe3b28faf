//! Copies the last needed items of a nearly dead segment to where the log goes on, so that a straggler does not hold a
//! whole segment for ever.

use std::sync::Arc;

use crate::catalog::{Catalog, IndexState};
use crate::error::Error;
use crate::forward::{Copies, Forward};
use crate::index::{Bodies, Entry};
use crate::keeper::{Keeper, Step};
use crate::reader::{Place, ReadError, Want, read_one};
use crate::record::Record;

/// A segment is emptied if what is needed takes less than one part in so many.
const LIVE_SHARE: u64 = 10;
/// Bytes of one step.
const STEP_BYTES: u64 = 1 << 20;
/// One step is at most this share of a segment.
const STEPS_PER_SEGMENT: u64 = 8;
/// Records that are looked at while the catalog is held.
const RECORDS_AT_ONCE: usize = 4096;

/// A segment that is being emptied.
#[derive(Debug)]
pub(crate) struct Emptying {
    place: Place,
    index: Arc<Bodies>,
    next: usize,
    /// Something could not be read.
    skipped: bool,
}

impl Keeper {
    /// Goes on with the segment that is being emptied, or looks for one. None: there is nothing to do.
    pub(crate) fn empty(&mut self) -> Result<Option<Step>, Error> {
        if let Some(emptying) = self.emptying.take() {
            return self.go_on_emptying(emptying).map(Some);
        }
        let candidate = candidate(&self.shared.catalog());
        let Some((place, live)) = candidate else {
            return Ok(None);
        };
        let Some(index) = self.index_of(&place)? else {
            return Ok(Some(Step::Worked));
        };
        let bytes = self.live_bytes(&place, &index);
        if let Some(segment) = self.shared.catalog().segments.get_mut(&place.id) {
            segment.counted_at = Some(live);
        }
        if bytes < self.settings.segment_bytes / LIVE_SHARE {
            self.emptying = Some(Emptying {
                place,
                index,
                next: 0,
                skipped: false,
            });
        }
        Ok(Some(Step::Worked))
    }

    /// None: it cannot be read, so the segment stays.
    fn index_of(&self, place: &Place) -> Result<Option<Arc<Bodies>>, Error> {
        let mut catalog = self.shared.catalog();
        if let Some(index) = catalog.cache.get(place.id) {
            return Ok(Some(index));
        }
        let segment = catalog.segments.get(&place.id);
        let recent = segment.and_then(|segment| match &segment.index {
            IndexState::Sealed(recent) => Some(Arc::clone(recent)),
            _ => None,
        });
        drop(catalog);
        if let Some(recent) = recent {
            return Ok(Some(Arc::new(Bodies::of(recent.entries.clone()))));
        }
        match place.load(&self.shared) {
            Ok(index) => Ok(Some(index)),
            Err(Error::Damaged { .. }) => {
                self.stick(place.id);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn stick(&self, id: u64) {
        if let Some(segment) = self.shared.catalog().segments.get_mut(&id) {
            segment.stuck = true;
        }
    }

    /// Bytes of what is needed; items of a record share its bytes evenly.
    fn live_bytes(&self, place: &Place, index: &Bodies) -> u64 {
        let mut bytes = 0;
        for entries in index.entries().chunks(RECORDS_AT_ONCE) {
            let catalog = self.shared.catalog();
            for entry in entries {
                let needed = needed(&catalog, place.id, entry);
                let items: u64 = needed.map(|(first, end)| end - first).sum();
                bytes += entry.bytes().saturating_mul(items) / u64::from(entry.tag.count).max(1);
            }
        }
        bytes
    }

    fn go_on_emptying(&mut self, mut emptying: Emptying) -> Result<Step, Error> {
        let id = emptying.place.id;
        let most = STEP_BYTES.min(self.settings.segment_bytes / STEPS_PER_SEGMENT);
        let wants = {
            let catalog = self.shared.catalog();
            let live = catalog.segments.get(&id).map_or(0, |segment| segment.live);
            if live == 0 {
                return Ok(Step::Worked);
            }
            emptying.wants(&catalog, most)
        };
        if wants.is_empty() && emptying.next >= emptying.index.entries().len() {
            // What was not committed is asked for again, in another round.
            let mut catalog = self.shared.catalog();
            if let Some(segment) = catalog.segments.get_mut(&id) {
                segment.stuck = emptying.skipped;
                segment.counted_at = None;
            }
            return Ok(Step::Worked);
        }
        let mut records = Vec::with_capacity(wants.len());
        for want in wants {
            let stream = want.entry.stream();
            match read_one(&want) {
                Ok(block) => records.push(Record::Bodies { stream, block }),
                Err(ReadError::Io(error)) => return Err(error),
                Err(ReadError::Gone | ReadError::Damaged { .. }) => emptying.skipped = true,
            }
        }
        self.emptying = Some(emptying);
        if records.is_empty() {
            return Ok(Step::Worked);
        }
        let copies = Copies::Blocks { from: id, records };
        Ok(Step::Forward(Forward { copies }))
    }
}

impl Emptying {
    /// What is needed of the next records, up to `most` bytes, at least one record.
    fn wants(&mut self, catalog: &Catalog, most: u64) -> Vec<Want> {
        let mut wants = Vec::new();
        let mut bytes = 0;
        let entries = self.index.entries().iter().skip(self.next);
        for entry in entries.take(RECORDS_AT_ONCE) {
            let before = wants.len();
            for (first, end) in needed(catalog, self.place.id, entry) {
                let items = end - first;
                bytes += entry.bytes().saturating_mul(items) / u64::from(entry.tag.count).max(1);
                wants.push(Want {
                    place: self.place.clone(),
                    entry: *entry,
                    first,
                    end,
                });
            }
            if bytes > most && before > 0 {
                wants.truncate(before);
                break;
            }
            self.next += 1;
        }
        wants
    }
}

/// The items of a record that are needed from this segment.
fn needed<'a>(
    catalog: &'a Catalog,
    segment: u64,
    entry: &Entry,
) -> impl Iterator<Item = (u64, u64)> + 'a {
    let stream = catalog.streams.get(&entry.stream());
    let (first, end) = (entry.tag.number, entry.end());
    stream
        .into_iter()
        .flat_map(move |stream| stream.extents.parts(first, end))
        .filter(move |part| part.segment == segment)
        .map(|part| (part.first, part.end))
}

/// The oldest segment with nothing to replay that may be nearly dead, and how many items live in it.
fn candidate(catalog: &Catalog) -> Option<(Place, u64)> {
    if catalog.sealed().count() < 2 {
        return None;
    }
    let floor = catalog.floor();
    let mut sealed = catalog.sealed();
    let found = sealed.find(|(id, segment)| {
        // Counted again once a quarter of the items is gone: each segment's index is read a few times at most.
        let changed = segment
            .counted_at
            .is_none_or(|counted| segment.live <= counted / 4 * 3);
        *id < floor && segment.live > 0 && !segment.stuck && changed
    });
    found.map(|(id, segment)| (Place::of(id, segment), segment.live))
}
