//! How far a checkpoint in parts has come. The same for live commits and for what recovery reads.

use crate::index::Entry;

/// A record and the segment that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At {
    pub(crate) segment: u64,
    pub(crate) entry: Entry,
}

/// The parts of a checkpoint, as far as they are there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parts {
    taken: Vec<At>,
}

impl Parts {
    /// Takes the next part. All parts, once they are complete. A first part begins anew; one that does not follow is passed
    /// over, with those before it.
    pub(crate) fn take(&mut self, at: At) -> Option<Vec<At>> {
        let tag = at.entry.tag;
        let follows = match self.taken.last() {
            _ if tag.count == 0 => {
                self.taken.clear();
                true
            }
            Some(before) => {
                let before = before.entry.tag;
                (before.number, before.extra) == (tag.number, tag.extra)
                    && before.count.checked_add(1) == Some(tag.count)
            }
            None => false,
        };
        if !follows {
            self.taken.clear();
            return None;
        }
        self.taken.push(at);
        (tag.count.checked_add(1) == Some(tag.extra)).then(|| std::mem::take(&mut self.taken))
    }

    /// The segment of the first part of one that is under way.
    pub(crate) fn begun_in(&self) -> Option<u64> {
        self.taken.first().map(|at| at.segment)
    }
}

/// What a stream needs of the log to be replayed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// The segment that replay begins in. None: there is nothing to replay.
    pub(crate) needed_from: Option<u64>,
    /// Bytes of the last complete checkpoint.
    pub(crate) bytes: u64,
    /// Checkpoints that were completed.
    pub(crate) completed: u64,
    parts: Parts,
}

impl Progress {
    /// Replay begins in this segment, unless it begins earlier.
    pub(crate) fn need(&mut self, segment: u64) {
        self.needed_from.get_or_insert(segment);
    }

    /// Takes a part of a checkpoint. Once it is complete: the segment of its first part.
    pub(crate) fn part(&mut self, at: At) -> Option<u64> {
        self.need(at.segment);
        let parts = self.parts.take(at)?;
        let first = parts.first()?.segment;
        self.complete(first, &parts);
        Some(first)
    }

    /// A checkpoint stands.
    pub(crate) fn complete(&mut self, needed_from: u64, parts: &[At]) {
        self.needed_from = Some(needed_from);
        self.bytes = parts.iter().map(|at| at.entry.bytes()).sum();
        self.completed += 1;
    }

    /// A checkpoint is under way.
    pub(crate) fn under_way(&self) -> bool {
        self.parts.begun_in().is_some()
    }
}
