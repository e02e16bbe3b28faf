//! The items that the driver has taken and the broker has not confirmed.
//!
//! Owns sequences: an item's is its place in line, so a re-send after a reconnect repeats the ones it had. Confirms come
//! in order and in any pieces; batches are therefore no unit here, only on the wire.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use baton_proto::opaque::{PublishBatch, PublishConfirm, PublishConfirms, PublishStarted};
use baton_proto::v1::Durability;

use crate::error::{Error, refusal};
use crate::producer::Receipt;
use crate::producer::window::{Entry, Release, Window};
use crate::telemetry::{Flight, Scope};

/// Until the broker says what it takes.
const BATCH_ITEMS: usize = 1000;
/// Also when the broker takes more: several batches of this size under way are faster than one large one.
const BATCH_BYTES: usize = 512 << 10;
/// So that batches grow, rather than multiply, while the broker is the slower side.
const MAX_BATCHES: usize = 16;

#[derive(Debug)]
pub(super) struct Unconfirmed {
    scope: Arc<Scope>,
    entries: VecDeque<Entry>,
    /// Of the first entry.
    first_sequence: u64,
    /// Entries, from the first on, that went out on this stream.
    sent: usize,
    /// Under way on this stream.
    batches: VecDeque<Batch>,
    batch_items: usize,
    batch_bytes: usize,
}

#[derive(Debug)]
struct Batch {
    /// The sequence after its last item.
    end: u64,
    flight: Flight,
}

impl Unconfirmed {
    pub(super) fn new(first_sequence: u64, scope: Arc<Scope>) -> Self {
        Self {
            scope,
            entries: VecDeque::new(),
            first_sequence,
            sent: 0,
            batches: VecDeque::new(),
            batch_items: BATCH_ITEMS,
            batch_bytes: BATCH_BYTES,
        }
    }

    pub(super) fn take_from(&mut self, window: &Window) {
        window.take(&mut self.entries);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn has_unsent(&self) -> bool {
        self.sent < self.entries.len()
    }

    pub(super) fn may_send(&self) -> bool {
        self.has_unsent() && self.batches.len() < MAX_BATCHES
    }

    /// The stream is lost. The next one knows nothing yet: everything is sent again.
    pub(super) fn restart(&mut self, error: &Error) {
        let sent = self.entries.range(..self.sent);
        for (sequence, entry) in (self.first_sequence..).zip(sent) {
            if let (Some(created), Some(flight)) =
                (&entry.item.created, flight_of(&mut self.batches, sequence))
            {
                flight.note(created, 0);
            }
        }
        let at = SystemTime::now();
        for batch in self.batches.drain(..) {
            batch.flight.end(&self.scope, at, Some(error));
        }
        self.sent = 0;
    }

    /// What the broker takes at most.
    pub(super) fn limit(&mut self, started: &PublishStarted) {
        let items = usize::try_from(started.max_batch_items).unwrap_or(usize::MAX);
        let bytes = usize::try_from(started.max_batch_bytes).unwrap_or(usize::MAX);
        // 0: not said.
        if items > 0 {
            self.batch_items = items.min(BATCH_ITEMS);
        }
        if bytes > 0 {
            self.batch_bytes = bytes.min(BATCH_BYTES);
        }
    }

    /// The next items to go out: at least one, and as many as fit.
    pub(super) fn next_batch(&mut self) -> Option<PublishBatch> {
        let unsent = self.entries.range(self.sent..).take(self.batch_items);
        let mut bytes = 0;
        let mut items = Vec::with_capacity(unsent.len());
        for entry in unsent {
            bytes += entry.len();
            if bytes > self.batch_bytes && !items.is_empty() {
                break;
            }
            items.push(entry.item.bytes.clone());
        }
        if items.is_empty() {
            return None;
        }
        let first_sequence = self.first_sequence + self.sent as u64;
        self.sent += items.len();
        self.batches.push_back(Batch {
            end: self.first_sequence + self.sent as u64,
            flight: Flight::new(items.len()),
        });
        Some(PublishBatch {
            first_sequence,
            items,
        })
    }

    /// Gives room back, then tells each caller.
    pub(super) fn confirm(
        &mut self,
        confirms: &PublishConfirms,
        window: &Window,
    ) -> Result<(), Error> {
        window.release(self.tally(&confirms.confirms)?);
        let durability = Durability::try_from(confirms.durability).unwrap_or_default();
        let at = SystemTime::now();
        for confirm in &confirms.confirms {
            self.resolve(confirm, durability, at);
        }
        let confirmed = self.first_sequence;
        while let Some(batch) = self.batches.pop_front_if(|batch| batch.end <= confirmed) {
            batch.flight.end(&self.scope, at, None);
        }
        Ok(())
    }

    fn tally(&self, confirms: &[PublishConfirm]) -> Result<Release, Error> {
        let mut release = Release::default();
        for confirm in confirms {
            let expected = self.first_sequence + release.items as u64;
            let count = confirm.count as usize;
            if confirm.first_sequence != expected || count == 0 {
                return Err(Error::Protocol("confirms out of order"));
            }
            if count > self.sent - release.items {
                return Err(Error::Protocol("a confirm of items that were not sent"));
            }
            let confirmed = self
                .entries
                .range(release.items..)
                .take(count)
                .map(Entry::len);
            release.bytes += confirmed.sum::<usize>();
            release.items += count;
            note(&mut release, confirm);
        }
        Ok(release)
    }

    fn resolve(&mut self, confirm: &PublishConfirm, durability: Durability, at: SystemTime) {
        let count = confirm.count as usize;
        let error = (confirm.error != 0).then(|| refusal(confirm.error, &confirm.error_message));
        self.scope.sent(u64::from(confirm.count), error.as_ref());
        for (n, mut entry) in (0..).zip(self.entries.drain(..count)) {
            let item_id = id_of(confirm, n);
            if error.is_some() || entry.item.created.is_some() {
                let flight = flight_of(&mut self.batches, self.first_sequence + n);
                tell(flight, &mut entry, (item_id, error.as_ref()), at);
            }
            let receipt = Receipt {
                item_id,
                duplicate: confirm.duplicate,
                durability,
            };
            // Nobody listening is fine: the confirm was dropped.
            let _ = entry.reply.send(error.clone().map_or(Ok(receipt), Err));
        }
        self.sent -= count;
        self.first_sequence += u64::from(confirm.count);
    }

    /// Fails everything with one error. What comes next goes on counting: some of these may be stored.
    pub(super) fn fail(&mut self, error: &Error, window: &Window) {
        self.restart(error);
        let entries = std::mem::take(&mut self.entries);
        self.first_sequence += entries.len() as u64;
        window.release(Release {
            items: entries.len(),
            bytes: entries.iter().map(Entry::len).sum(),
            error: (!entries.is_empty()).then(|| error.clone()),
            ..Release::default()
        });
        self.scope.sent(entries.len() as u64, Some(error));
        let at = SystemTime::now();
        for mut entry in entries {
            entry.item.end(at, Err(error));
            let _ = entry.reply.send(Err(error.clone()));
        }
    }
}

fn flight_of(batches: &mut VecDeque<Batch>, sequence: u64) -> Option<&mut Flight> {
    let batch = batches.iter_mut().find(|batch| sequence < batch.end)?;
    Some(&mut batch.flight)
}

/// What became of an item, for its spans.
fn tell(
    flight: Option<&mut Flight>,
    entry: &mut Entry,
    (item_id, error): (u64, Option<&Error>),
    at: SystemTime,
) {
    if let Some(flight) = flight {
        if let Some(created) = &entry.item.created {
            flight.note(created, item_id);
        }
        if let Some(error) = error {
            flight.fail(error);
        }
    }
    entry.item.end(at, error.map_or(Ok(item_id), Err));
}

fn note(release: &mut Release, confirm: &PublishConfirm) {
    if confirm.error != 0 && release.error.is_none() {
        release.error = Some(refusal(confirm.error, &confirm.error_message));
    }
    if confirm.first_item_id == 0 {
        return;
    }
    let first = confirm.first_item_id;
    let last = id_of(confirm, u64::from(confirm.count) - 1);
    if release.first_item_id == 0 || first < release.first_item_id {
        release.first_item_id = first;
    }
    release.last_item_id = release.last_item_id.max(last);
}

/// Of the nth item of a confirm; 0 stands for an id that nobody knows.
fn id_of(confirm: &PublishConfirm, n: u64) -> u64 {
    match confirm.first_item_id {
        0 => 0,
        first => first.saturating_add(n),
    }
}
