//! Writes sidecars.

use std::io;
use std::sync::Arc;

use crate::catalog::IndexState;
use crate::header::{segment_name, sidecar_name, write_full};
use crate::index::{Index, Recent, encode};
use crate::keeper::Keeper;
use crate::prepare::remove;
use crate::reader::Place;
use crate::walk::load;

/// A segment that has no sidecar yet.
struct Unstored {
    place: Place,
    commits: (u64, u64),
    recent: Option<Arc<Recent>>,
}

impl Keeper {
    /// Writes the sidecar of a sealed segment that has none. Not synced, and no matter if it fails: it is only an
    /// optimisation.
    pub(crate) fn store_index(&mut self) -> bool {
        let Some(unstored) = self.unstored() else {
            return false;
        };
        let id = unstored.place.id;
        let stored = self.store(&unstored).is_some();
        if !stored {
            drop(remove(&*self.shared.fs, &sidecar_name(id)));
        }
        if let Some(segment) = self.shared.catalog().segments.get_mut(&id) {
            segment.unstorable = !stored;
            segment.index = if stored {
                IndexState::Stored
            } else {
                IndexState::Absent
            };
        }
        true
    }

    fn unstored(&self) -> Option<Unstored> {
        let catalog = self.shared.catalog();
        let mut sealed = catalog.sealed();
        sealed.find_map(|(id, segment)| {
            let recent = match &segment.index {
                IndexState::Sealed(recent) => Some(Arc::clone(recent)),
                IndexState::Absent if !segment.unstorable => None,
                _ => return None,
            };
            Some(Unstored {
                place: Place::of(id, segment),
                commits: (segment.first_commit, segment.last_commit),
                recent,
            })
        })
    }

    fn store(&self, unstored: &Unstored) -> Option<()> {
        let place = &unstored.place;
        let (first, last) = unstored.commits;
        let ends = (place.end, first, last);
        let bytes = if let Some(recent) = &unstored.recent {
            encode(place.id, place.salt, ends, &recent.entries)
        } else {
            let key = (place.id, place.salt, place.end);
            let name = segment_name(place.id);
            let Index { entries, .. } = load(&*self.shared.fs, &place.file, &name, key).ok()?;
            encode(place.id, place.salt, ends, &entries)
        };
        self.write_sidecar(&sidecar_name(place.id), &bytes).ok()
    }

    fn write_sidecar(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        remove(&*self.shared.fs, name)?;
        let file = self.shared.fs.create(name)?;
        write_full(&*file, bytes, 0)
    }
}
