//! Keeps segments ahead of the writer and frees those behind it, one bounded piece of work at a time.
//!
//! The order of work: what the writer waits for first (spares), then what gives room back, then what only saves time.
//! Where the disk is full, making new files comes last: it would fail again, and the rest may help.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::catalog::{Catalog, Prepared, Shared};
use crate::checkpoint::Progress;
use crate::empty::Emptying;
use crate::error::Error;
use crate::forward::{Copies, Forward};
use crate::lock::Lock;
use crate::prepare::Preparing;
use crate::record::StreamId;
use crate::settings::Settings;

/// A checkpoint is due once replay would begin so many segments behind the active one: replay reads few segments.
const SEGMENTS_BEHIND: usize = 4;
/// And so many times its own size was written since: checkpoints stay under 7 % of what is written.
const CHECKPOINT_SHARE: u64 = 16;

/// Prepares, indexes, empties and frees segments.
#[derive(Debug)]
pub struct Keeper {
    pub(crate) shared: Arc<Shared>,
    _lock: Lock,
    pub(crate) settings: Settings,
    pub(crate) next_id: u64,
    /// Files that nothing needs, under the names that they had.
    pub(crate) free: Vec<Prepared>,
    pub(crate) preparing: Option<Preparing>,
    /// Streams that were told to write a checkpoint, and how many they had completed then.
    asked: BTreeMap<StreamId, u64>,
    /// Nothing is being committed.
    idle: bool,
    pub(crate) emptying: Option<Emptying>,
}

/// What a step did.
#[derive(Debug)]
pub enum Step {
    /// Nothing is to be done.
    Idle,
    /// A piece of work; there may be more.
    Worked,
    /// To be committed with [`crate::Writer::forward`]; asked for again where it is not.
    Forward(Forward),
    /// The disk has no room for a segment, and nothing else is to be done. Try later.
    NoSpace,
}

impl Keeper {
    pub(crate) fn new(shared: Arc<Shared>, lock: Lock, settings: Settings, next_id: u64) -> Self {
        Self {
            shared,
            _lock: lock,
            settings,
            next_id,
            free: Vec::new(),
            preparing: None,
            asked: BTreeMap::new(),
            idle: false,
            emptying: None,
        }
    }

    pub(crate) fn add_free(&mut self, file: Prepared) {
        self.free.push(file);
    }

    /// One bounded piece of work. Call it again at once after [`Step::Worked`], else when something was committed or time
    /// has passed.
    ///
    /// # Errors
    /// [`Error::Io`]: calls that have nothing to do with room failed.
    pub fn step(&mut self) -> Result<Step, Error> {
        if self.preparing.is_some() {
            return self.go_on_preparing();
        }
        let (full, lacking) = self.lacking();
        if (lacking && self.recycle()?) || self.take_dead() || self.remove_free(full)? {
            return Ok(Step::Worked);
        }
        if lacking && !full && self.shared.catalog().prepared.is_empty() {
            return self.begin_preparing();
        }
        // Before further spares: an index that is not stored takes memory, and time at the next start.
        if self.store_index() {
            return Ok(Step::Worked);
        }
        if lacking && !full {
            return self.begin_preparing();
        }
        if self.directory_due() {
            let copies = Copies::Directory;
            return Ok(Step::Forward(Forward { copies }));
        }
        if let Some(step) = self.empty()? {
            return Ok(step);
        }
        if lacking {
            return self.begin_preparing();
        }
        Ok(Step::Idle)
    }

    /// Whether the disk is full, and whether there are fewer prepared segments than there should be.
    fn lacking(&self) -> (bool, bool) {
        let lacking = self.shared.catalog().prepared.len() < self.settings.spares;
        let full = lacking && self.shared.is_full();
        self.shared.set_full(full);
        (full, lacking)
    }

    /// Streams that should write a checkpoint now, each named once until it is complete. `idle`: nothing was committed for
    /// some time, so that what holds dead segments back may be written for that alone.
    pub fn wanted(&mut self, idle: bool) -> Vec<StreamId> {
        self.idle = idle;
        let catalog = self.shared.catalog();
        let due = Due::of(&catalog, idle || self.shared.is_full());
        let asked = &mut self.asked;
        asked.retain(|id, _| catalog.streams.contains_key(id));
        let streams = catalog.streams.iter();
        let wanted = streams.filter(|(id, stream)| {
            let completed = stream.progress.completed;
            due.is(&catalog, &stream.progress) && asked.insert(**id, completed) != Some(completed)
        });
        wanted.map(|(id, _)| *id).collect()
    }

    fn directory_due(&self) -> bool {
        let catalog = self.shared.catalog();
        let due = Due::of(&catalog, self.idle || self.shared.is_full());
        catalog.directory.under_way() || due.is(&catalog, &catalog.directory)
    }

    /// How many free files are kept for later.
    pub(crate) const fn kept_free(&self, full: bool) -> usize {
        if self.idle || full {
            0
        } else {
            self.settings.spares
        }
    }

    /// Takes a dead segment out of use.
    fn take_dead(&mut self) -> bool {
        let mut catalog = self.shared.catalog();
        let Some(id) = catalog.dead() else {
            return false;
        };
        catalog.cache.forget(id);
        let dead = catalog.segments.remove(&id);
        drop(catalog);
        self.free.extend(dead.map(|segment| Prepared {
            id,
            salt: segment.salt,
            bytes: segment.bytes,
            file: segment.file,
        }));
        true
    }
}

/// Which checkpoints are due.
struct Due {
    /// Replay must not begin here or below.
    horizon: Option<u64>,
    /// Nor here or below, if that alone holds a segment back.
    pinned: Option<u64>,
}

impl Due {
    fn of(catalog: &Catalog, eager: bool) -> Self {
        let horizon = catalog.segments.keys().rev().nth(SEGMENTS_BEHIND);
        let empty = catalog.sealed().filter(|(_, segment)| segment.live == 0);
        let pinned = empty.map(|(id, _)| id).max();
        Self {
            horizon: horizon.copied(),
            pinned: pinned.filter(|_| eager),
        }
    }

    fn is(&self, catalog: &Catalog, progress: &Progress) -> bool {
        let Some(needed_from) = progress.needed_from else {
            return false;
        };
        if Some(needed_from) <= self.pinned {
            return true;
        }
        let from = catalog.segments.range(needed_from..).next();
        let since = from.map_or(0, |(_, segment)| catalog.position() - segment.position);
        Some(needed_from) <= self.horizon && since >= CHECKPOINT_SHARE * progress.bytes
    }
}
