//! The window: items published and not yet confirmed, bounded by count and bytes.
//!
//! Owns the accounting. An item's share of the window travels with the item and is given back when its fate is known, so a
//! caller that goes away frees nothing that is still under way. Callers wait in order: one at a time watches for room, the
//! others queue at a turnstile. Filled by `Producer`, emptied by its driver.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::{Notify, Semaphore, oneshot};

use crate::error::Error;
use crate::producer::Receipt;
use crate::telemetry::Outgoing;

pub(crate) type Reply = oneshot::Sender<Result<Receipt, Error>>;

/// An item in the window.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) item: Outgoing,
    pub(crate) reply: Reply,
}

impl Entry {
    /// Bytes of the encoded item.
    pub(crate) fn len(&self) -> usize {
        self.item.bytes.len()
    }
}

#[derive(Debug)]
pub(crate) struct Window {
    max_items: usize,
    max_bytes: usize,
    state: Mutex<State>,
    turnstile: Semaphore,
    room: Notify,
    work: Notify,
    progress: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// In the window and not yet taken by the driver.
    queued: VecDeque<Entry>,
    items: usize,
    bytes: usize,
    /// Callers at the turnstile; nobody overtakes them.
    waiting: usize,
    entered: u64,
    resolved: u64,
    first_error: Option<Error>,
    /// Why nothing more is taken.
    refusal: Option<Error>,
    closing: bool,
    finished: bool,
    first_item_id: u64,
    last_item_id: u64,
}

/// What the fate of some items gives back.
#[derive(Debug, Default)]
pub(crate) struct Release {
    pub(crate) items: usize,
    pub(crate) bytes: usize,
    pub(crate) error: Option<Error>,
    pub(crate) first_item_id: u64,
    pub(crate) last_item_id: u64,
}

/// Room in the window without an item in it.
#[derive(Debug)]
pub(crate) struct Reservation<'a> {
    window: &'a Window,
    bytes: usize,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.window.free(1, self.bytes);
    }
}

/// A caller at the turnstile.
struct Waiting<'a>(&'a Window);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

impl Window {
    pub(crate) fn new(max_items: usize, max_bytes: usize) -> Self {
        Self {
            max_items,
            max_bytes,
            state: Mutex::default(),
            turnstile: Semaphore::new(1),
            room: Notify::new(),
            work: Notify::new(),
            progress: Notify::new(),
        }
    }

    /// Waits for room, in order, and puts the item in. Cancelled before that, it has no effect.
    pub(crate) async fn enter(
        &self,
        item: Outgoing,
    ) -> Result<oneshot::Receiver<Result<Receipt, Error>>, Error> {
        let (reply, receiver) = oneshot::channel();
        let entry = Entry { item, reply };
        if let Some(entry) = self.try_enter(entry, false)? {
            self.enter_in_turn(entry).await?;
        }
        Ok(receiver)
    }

    async fn enter_in_turn(&self, mut entry: Entry) -> Result<(), Error> {
        self.lock().waiting += 1;
        let _waiting = Waiting(self);
        // Never closed, so this cannot fail; if it could, the only harm were a lost place in the line.
        let _turn = self.turnstile.acquire().await;
        loop {
            // A notification that comes before the wait is kept, so none is lost between the two.
            match self.try_enter(entry, true)? {
                None => return Ok(()),
                Some(refused) => entry = refused,
            }
            self.room.notified().await;
        }
    }

    /// Gives the entry back where there is no room for it.
    fn try_enter(&self, mut entry: Entry, in_turn: bool) -> Result<Option<Entry>, Error> {
        let mut state = self.lock();
        if let Some(error) = state.refusal() {
            drop(state);
            entry.item.end(SystemTime::now(), Err(&error));
            return Err(error);
        }
        let bytes = entry.len();
        if (state.waiting > 0 && !in_turn) || !self.fits(&state, bytes) {
            return Ok(Some(entry));
        }
        state.items += 1;
        state.bytes += bytes;
        state.entered += 1;
        let idle = state.queued.is_empty();
        state.queued.push_back(entry);
        drop(state);
        if idle {
            self.work.notify_one();
        }
        Ok(None)
    }

    /// An item that is larger than the whole window goes alone.
    fn fits(&self, state: &State, bytes: usize) -> bool {
        state.items == 0
            || (state.items < self.max_items && state.bytes.saturating_add(bytes) <= self.max_bytes)
    }

    /// Room for an item that does not go through the driver, at once or not at all.
    pub(crate) fn try_reserve(&self, bytes: usize) -> Result<Reservation<'_>, Error> {
        let mut state = self.lock();
        if let Some(error) = state.refusal() {
            return Err(error);
        }
        if state.waiting > 0 || !self.fits(&state, bytes) {
            return Err(Error::QueueFull);
        }
        state.items += 1;
        state.bytes += bytes;
        drop(state);
        Ok(Reservation {
            window: self,
            bytes,
        })
    }

    /// Moves everything that queued up to the end of `entries`. Called by the driver.
    pub(crate) fn take(&self, entries: &mut VecDeque<Entry>) {
        let mut state = self.lock();
        if entries.is_empty() {
            std::mem::swap(entries, &mut state.queued);
        } else {
            entries.append(&mut state.queued);
        }
    }

    /// Completes when something queued up, or the window was closed, since the last time.
    pub(crate) async fn work(&self) {
        self.work.notified().await;
    }

    /// Gives back what items held whose fate is known. Called by the driver, before it tells their callers.
    pub(crate) fn release(&self, release: Release) {
        let mut state = self.lock();
        state.resolved += release.items as u64;
        if state.first_error.is_none() {
            state.first_error = release.error;
        }
        state.note_item_id(release.first_item_id);
        state.note_item_id(release.last_item_id);
        drop(state);
        self.free(release.items, release.bytes);
        self.progress.notify_waiters();
    }

    fn free(&self, items: usize, bytes: usize) {
        let mut state = self.lock();
        state.items -= items;
        state.bytes -= bytes;
        let somebody_waits = state.waiting > 0;
        drop(state);
        if somebody_waits {
            self.room.notify_one();
        }
    }

    /// Takes no more items, for this reason; the first reason stands.
    pub(crate) fn refuse(&self, error: Error) {
        self.lock().refusal.get_or_insert(error);
        self.room.notify_one();
    }

    /// Takes no more items; the driver ends once the window is empty.
    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.work.notify_one();
        self.room.notify_one();
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.lock().closing
    }

    /// The driver has ended.
    pub(crate) fn finish(&self) {
        self.lock().finished = true;
        self.progress.notify_waiters();
    }

    pub(crate) async fn finished(&self) {
        self.wait_until(|state| state.finished.then_some(())).await;
    }

    pub(crate) async fn flush(&self) -> Result<(), Error> {
        let target = self.lock().entered;
        self.wait_until(|state| {
            let done = state.resolved >= target || state.finished;
            done.then(|| state.first_error.take().map_or(Ok(()), Err))
        })
        .await
    }

    async fn wait_until<T>(&self, mut poll: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            let mut progress = std::pin::pin!(self.progress.notified());
            progress.as_mut().enable();
            if let Some(done) = poll(&mut self.lock()) {
                return done;
            }
            progress.await;
        }
    }

    pub(crate) fn note_item_id(&self, id: u64) {
        self.lock().note_item_id(id);
    }

    /// The lowest and the highest id that was confirmed.
    pub(crate) fn item_ids(&self) -> Option<(u64, u64)> {
        let state = self.lock();
        (state.last_item_id > 0).then_some((state.first_item_id, state.last_item_id))
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().items
    }

    /// Guards short, await-free sections; nothing in them can leave the state half changed.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn refusal(&self) -> Option<Error> {
        let closed = self.closing.then_some(Error::Closed);
        self.refusal.clone().or(closed)
    }

    /// 0 is no id: a refused item, or a duplicate whose id is forgotten.
    fn note_item_id(&mut self, id: u64) {
        if id == 0 {
            return;
        }
        self.last_item_id = self.last_item_id.max(id);
        if self.first_item_id == 0 || id < self.first_item_id {
            self.first_item_id = id;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use futures_util::poll;

    fn item() -> Outgoing {
        Outgoing {
            bytes: Bytes::from_static(b"x"),
            created: None,
        }
    }

    fn release_one(window: &Window) {
        let mut taken = VecDeque::new();
        window.take(&mut taken);
        window.release(Release {
            items: 1,
            bytes: 1,
            ..Release::default()
        });
    }

    #[tokio::test]
    async fn nobody_overtakes_a_caller_that_waits() {
        let window = Window::new(1, 100);
        let _first = window.enter(item()).await.unwrap();
        let mut second = std::pin::pin!(window.enter(item()));
        assert!(poll!(&mut second).is_pending());
        release_one(&window);
        let mut third = std::pin::pin!(window.enter(item()));
        assert!(
            poll!(&mut third).is_pending(),
            "the room is the second one's"
        );
        assert!(window.try_reserve(1).is_err());
        assert!(poll!(&mut second).is_ready());
        release_one(&window);
        assert!(poll!(&mut third).is_ready());
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_lets_the_next_one_in() {
        let window = Window::new(1, 100);
        let _first = window.enter(item()).await.unwrap();
        let mut third = std::pin::pin!(window.enter(item()));
        {
            let mut second = std::pin::pin!(window.enter(item()));
            assert!(poll!(&mut second).is_pending());
            assert!(poll!(&mut third).is_pending());
            release_one(&window);
        }
        assert!(poll!(&mut third).is_ready());
        assert_eq!(window.len(), 1);
    }
}
