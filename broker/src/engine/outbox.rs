//! A consumer's outbox: what waits for its connection, bounded.
//!
//! The actor leases items to a consumer only when the outbox has a place for them, so a client that never reads holds
//! back [`OUTBOX_MESSAGES`] messages and no more. A reader that makes room in a full outbox wakes the actor; one that goes
//! away leaves behind which deliveries it never took.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_util::Stream;
use tokio::sync::{Notify, mpsc};

use super::request::ConsumeOutput;
use crate::limits::{OUTBOX_ANSWERS, OUTBOX_MESSAGES};

/// The actor's end.
#[derive(Debug)]
pub struct Outbox {
    messages: mpsc::Sender<ConsumeOutput>,
    blocked: Arc<AtomicBool>,
    untaken: Arc<Untaken>,
}

/// First and last lease of each delivery message that its reader never took. Locked without an await, by the reader when
/// it goes and by the actor afterwards.
type Untaken = Mutex<Vec<(u64, u64)>>;

/// The stream's end.
#[derive(Debug)]
pub struct OutboxReader {
    messages: mpsc::Receiver<ConsumeOutput>,
    blocked: Arc<AtomicBool>,
    untaken: Arc<Untaken>,
    wake: Arc<Notify>,
}

/// Makes an outbox whose reader wakes `wake` after it was full; the sender is for answers to the stream's own requests.
#[must_use]
pub(super) fn outbox(wake: Arc<Notify>) -> (Outbox, mpsc::Sender<ConsumeOutput>, OutboxReader) {
    let (sender, receiver) = mpsc::channel(OUTBOX_MESSAGES);
    let blocked = Arc::new(AtomicBool::new(false));
    let untaken = Arc::<Untaken>::default();
    let outbox = Outbox {
        messages: sender.clone(),
        blocked: blocked.clone(),
        untaken: untaken.clone(),
    };
    (
        outbox,
        sender,
        OutboxReader {
            messages: receiver,
            blocked,
            untaken,
            wake,
        },
    )
}

impl Outbox {
    /// Whether nobody reads it any more.
    pub(super) fn is_gone(&self) -> bool {
        self.messages.is_closed()
    }

    /// Ranges of leases that the reader never took before it went.
    pub(super) fn untaken(&self) -> Vec<(u64, u64)> {
        std::mem::take(&mut self.untaken.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A place for deliveries, if there is one; if not, the actor is woken when there is.
    pub(super) fn place_for_deliveries(&self) -> Option<mpsc::OwnedPermit<ConsumeOutput>> {
        self.place(OUTBOX_ANSWERS)
    }

    /// Whether there is such a place now; if not, the actor is woken when there is.
    pub(super) fn has_place_for_deliveries(&self) -> bool {
        let has_place = || !self.is_gone() && self.messages.capacity() > OUTBOX_ANSWERS;
        has_place() || {
            self.blocked.store(true, Ordering::SeqCst);
            // The reader may have made room before it could see the flag.
            has_place()
        }
    }

    /// A place for a notice or the end, if there is one; if not, the actor is woken when there is.
    pub(super) fn place_for_notice(&self) -> Option<mpsc::OwnedPermit<ConsumeOutput>> {
        self.place(0)
    }

    fn place(&self, keep_free: usize) -> Option<mpsc::OwnedPermit<ConsumeOutput>> {
        let try_once = || {
            let free = self.messages.capacity() > keep_free;
            free.then(|| self.messages.clone().try_reserve_owned().ok())
                .flatten()
        };
        try_once().or_else(|| {
            self.blocked.store(true, Ordering::SeqCst);
            // The reader may have made room before it could see the flag.
            try_once()
        })
    }
}

impl Drop for OutboxReader {
    fn drop(&mut self) {
        // Locked first: who sees it closed waits until all is written down.
        let mut untaken = self.untaken.lock().unwrap_or_else(PoisonError::into_inner);
        self.messages.close();
        while let Ok(message) = self.messages.try_recv() {
            if let ConsumeOutput::Deliveries(batch) = message
                && let (Some(first), Some(last)) = (batch.first(), batch.last())
            {
                untaken.push((first.seq, last.seq));
            }
        }
    }
}

impl Stream for OutboxReader {
    type Item = ConsumeOutput;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ConsumeOutput>> {
        let this = self.get_mut();
        let next = this.messages.poll_recv(cx);
        if matches!(next, Poll::Ready(Some(_))) && this.blocked.swap(false, Ordering::SeqCst) {
            this.wake.notify_one();
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outbox_that_nobody_reads_any_more_has_no_place() {
        let (outbox, _answers, reader) = outbox(Arc::new(Notify::new()));
        assert!(outbox.has_place_for_deliveries());
        drop(reader);
        assert!(outbox.is_gone());
        assert!(!outbox.has_place_for_deliveries());
        assert!(outbox.place_for_deliveries().is_none());
    }

    #[test]
    fn deliveries_leave_places_for_answers() {
        let (outbox, answers, _reader) = outbox(Arc::new(Notify::new()));
        let deliveries: Vec<_> = std::iter::from_fn(|| outbox.place_for_deliveries()).collect();
        assert_eq!(deliveries.len(), OUTBOX_MESSAGES - OUTBOX_ANSWERS);
        assert!(!outbox.has_place_for_deliveries());
        assert!(answers.try_reserve().is_ok());
    }
}
