//! From here on files change: the old last segment is sealed, and a new one begins.

use std::sync::Arc;

use crate::catalog::Prepared;
use crate::error::Error;
use crate::frame::FIRST_FRAME;
use crate::header::{id_of, segment_name, sidecar_name};
use crate::keeper::Keeper;
use crate::reader::Reader;
use crate::recover::Recovered;
use crate::writer::Writer;

impl Recovered {
    /// Begins a new segment: nothing is appended to the old last one, whose torn end could verify later. Files that were
    /// prepared and not used are for the keeper.
    ///
    /// # Errors
    /// [`Error::Io`]. What was there is there still.
    pub fn start(self) -> Result<(Writer, Keeper, Reader), Error> {
        self.trim()?;
        let highest = self.drop_strays()?;
        let reader = self.reader();
        let Self {
            shared,
            lock,
            settings,
            report,
            last,
            spare,
        } = self;
        let segment_bytes = settings.segment_bytes;
        let mut keeper = Keeper::new(Arc::clone(&shared), lock.clone(), settings, highest + 1);
        for file in spare {
            keeper.add_free(Prepared {
                id: file.id,
                salt: 0,
                bytes: file.size,
                file: file.file,
            });
        }
        keeper.prepare_first()?;
        let writer = Writer::new(shared, lock, segment_bytes, last, report.commits);
        Ok((writer, keeper, reader))
    }

    /// The last segment keeps what is in use.
    fn trim(&self) -> Result<(), Error> {
        let (id, end) = self.last;
        let mut catalog = self.shared.catalog();
        let Some(segment) = catalog.segments.get_mut(&id) else {
            return Ok(());
        };
        let bytes = end.next_multiple_of(FIRST_FRAME);
        if segment.bytes > bytes {
            let name = segment_name(id);
            let fail = |action| move |source| (action, source);
            let cut = segment.file.resize(bytes).map_err(fail("cut"));
            let cut = cut.and_then(|()| segment.file.sync().map_err(fail("sync")));
            cut.map_err(|(action, source)| Error::io(action, &name, source))?;
            segment.bytes = bytes;
        }
        Ok(())
    }

    /// Removes sidecars of segments that are gone. Returns the highest id that any file has.
    fn drop_strays(&self) -> Result<u64, Error> {
        let fs = &self.shared.fs;
        let mut names = fs
            .list()
            .map_err(|source| Error::io("list", "the data directory", source))?;
        // In one order, so that a simulation repeats.
        names.sort_unstable();
        let catalog = self.shared.catalog();
        let mut highest = 0;
        for name in names {
            if let Some(id) = id_of(&name, ".seg") {
                highest = highest.max(id);
            }
            if let Some(id) = id_of(&name, ".idx") {
                highest = highest.max(id);
                if !catalog.segments.contains_key(&id) {
                    fs.remove(&sidecar_name(id))
                        .map_err(|source| Error::io("remove", &name, source))?;
                }
            }
        }
        Ok(highest)
    }
}
