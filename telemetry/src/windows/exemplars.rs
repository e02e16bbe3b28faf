//! Items to look at: one for each octave of a stage's latencies.

use crate::histogram::le_exponent;

/// One item as the example of how long something took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exemplar {
    /// Its trace.
    pub trace_id: [u8; 16],
    /// Its id within its queue.
    pub item: u64,
    /// How long it took, in nanoseconds.
    pub value_ns: u64,
    /// When that was known, on the clock of the windows.
    pub at_ns: u64,
}

impl Exemplar {
    /// Its `le` bucket; that of 0 ns comes first.
    fn octave(&self) -> Option<i32> {
        le_exponent(self.value_ns)
    }
}

/// At most one per octave, ascending: 66 in all.
#[derive(Debug, Default)]
pub(super) struct Exemplars {
    kept: Vec<Exemplar>,
}

impl Exemplars {
    pub(super) fn keep(&mut self, exemplar: Exemplar) {
        match self
            .kept
            .binary_search_by_key(&exemplar.octave(), Exemplar::octave)
        {
            Ok(place) if self.kept[place].at_ns <= exemplar.at_ns => self.kept[place] = exemplar,
            Ok(_) => {}
            Err(place) => self.kept.insert(place, exemplar),
        }
    }

    pub(super) fn drop_before(&mut self, from_ns: u64) {
        self.kept.retain(|exemplar| exemplar.at_ns >= from_ns);
        if self.kept.is_empty() {
            self.kept = Vec::new();
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Exemplar> {
        self.kept.iter()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.kept.capacity() * size_of::<Exemplar>()
    }
}
