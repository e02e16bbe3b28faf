//! Where one item's time went, and a queue's: what the queue knows and what its ledger knows, put together.

use std::sync::Arc;
use std::time::Duration;

use baton_ledger::account::{Account, End, Outcome};
use baton_ledger::waits::Waits;
use baton_ledger::{ItemStamps, Known, KnownFailure, StageLatency};
use baton_queue::{Ending, Explanation, ItemId, ItemState, Timestamp};
use baton_telemetry::stage::Stage;
use bytes::Bytes;

use super::bookkeeping::{attempt_outcome, shift, stamps};
use super::handle::QueueHandle;
use super::request::View;
use crate::error::Error;

/// An item, explained.
#[derive(Debug)]
pub struct Explained {
    /// When this was so.
    pub now: Timestamp,
    /// Where it stands.
    pub explanation: Explanation,
    /// Where its time went; none: it is not remembered, or nobody wants to know.
    pub account: Option<Arc<Account>>,
}

/// A queue's stages over a window.
#[derive(Debug)]
pub struct Latency {
    /// What is covered.
    pub window: Duration,
    /// Those that have values, in the order of an item's life.
    pub stages: Vec<StageLatency>,
    /// What the waits that ended in the window were for, all items together.
    pub waits: Waits,
    /// All of those waits together, nanoseconds.
    pub waited_ns: u64,
    /// Age of the item that has been ready the longest.
    pub oldest_ready: Option<Duration>,
    /// Age of the oldest lease.
    pub oldest_leased: Option<Duration>,
}

impl QueueHandle {
    /// One item: where it is and where its time went. None: it was never published.
    ///
    /// # Errors
    /// The queue is gone.
    pub async fn explain(&self, item: ItemId) -> Result<Option<Explained>, Error> {
        let stamps = self.stamps(item).await?;
        self.act(move |view| explained(view, item, stamps)).await
    }

    /// What an item says of itself, which is in its body.
    async fn stamps(&self, item: ItemId) -> Result<ItemStamps, Error> {
        let at_hand = self.act(move |view| {
            let state = view.queue.state_of(item);
            let waits = state.is_some_and(|state| state != ItemState::Done);
            waits.then(|| view.body(item))
        });
        let body = match at_hand.await? {
            None => None,
            Some(Some(body)) => Some(body),
            Some(None) => self.bodies(vec![item.0]).await.pop().flatten(),
        };
        let read = |body: Bytes| stamps(&body, self.name(), item);
        Ok(body.map(read).unwrap_or_default())
    }

    /// Each stage over a window up to now.
    ///
    /// # Errors
    /// The queue is gone.
    pub async fn latency(&self, window: Duration) -> Result<Latency, Error> {
        self.act(move |view| latency(view, window)).await
    }

    /// The slowest items in a stage that ended within the window: how long they took, the slowest first.
    ///
    /// # Errors
    /// The queue is gone.
    pub async fn slowest(
        &self,
        stage: Stage,
        max: usize,
        window: Duration,
    ) -> Result<(Timestamp, Vec<(u64, Arc<Account>)>), Error> {
        self.act(move |view| {
            let after = view.now.0.saturating_sub(nanos(window));
            let found = view
                .ledger
                .as_ref()
                .map_or_else(Vec::new, |ledger| ledger.slowest(stage, after, max));
            (view.now, found)
        })
        .await
    }
}

fn explained(view: &View<'_>, item: ItemId, stamps: ItemStamps) -> Option<Explained> {
    let explanation = view.queue.explain(view.now, item, view.demand)?;
    let ledger = view.ledger.as_ref();
    let account = ledger.and_then(|ledger| match explanation.state {
        ItemState::Done => ledger
            .ended(item.0)
            .and_then(|account| as_it_ended(account, explanation.ending)),
        _ => {
            let known = known(&explanation, stamps);
            Some(Arc::new(ledger.account(&known, view.now.0)))
        }
    });
    Some(Explained {
        now: view.now,
        explanation,
        account,
    })
}

/// What is remembered may be of an end before the last one: of a dead letter that was removed, or redriven and then done.
fn as_it_ended(account: Arc<Account>, ending: Option<Ending>) -> Option<Arc<Account>> {
    let end = account.end?;
    let outcome = match ending {
        Some(Ending::Acked) => Outcome::Acked,
        Some(Ending::Expired) => Outcome::Expired,
        Some(Ending::Cancelled) => Outcome::Cancelled,
        Some(Ending::Discarded) => Outcome::Discarded,
        None => end.outcome,
    };
    if end.outcome == outcome {
        return Some(account);
    }
    let removed = (end.outcome, outcome) == (Outcome::Dead, Outcome::Discarded);
    removed.then(|| {
        // When it was removed is not known; its time went before.
        let end = Some(End { outcome, ..end });
        Arc::new(Account {
            end,
            ..(*account).clone()
        })
    })
}

fn known(explanation: &Explanation, stamps: ItemStamps) -> Known {
    let leased = (explanation.state == ItemState::Leased).then_some(explanation.since);
    let consumer = explanation.consumer.clone().unwrap_or_default();
    let dead = (explanation.state == ItemState::Dead).then_some(explanation.since);
    let ready = explanation.ready_at.map(|at| at.0);
    Known {
        item: explanation.item.0,
        taken_in: explanation.published_at.map_or(0, |at| at.0),
        attempts: explanation.attempts,
        forgiven: explanation.forgiven,
        ready,
        leased: leased.flatten().map(|at| (at.0, consumer)),
        failed: explanation.failed_attempts.iter().map(failure).collect(),
        dead: dead.flatten().map(|at| at.0),
        origin: explanation.origin.map(shift),
        stamps,
    }
}

fn failure(failed: &baton_queue::FailedAttempt) -> KnownFailure {
    KnownFailure {
        number: failed.attempt,
        consumer: Arc::clone(&failed.consumer),
        leased: failed.leased_at.0,
        ended: failed.ended_at.0,
        outcome: attempt_outcome(failed.reason),
        error: Arc::clone(&failed.error),
    }
}

fn latency(view: &View<'_>, window: Duration) -> Latency {
    let now = view.now.0;
    let oldest_ready = view.queue.stats(view.now).oldest_ready_age;
    let Some(ledger) = &view.ledger else {
        return Latency {
            window,
            stages: Vec::new(),
            waits: Waits::default(),
            waited_ns: 0,
            oldest_ready,
            oldest_leased: None,
        };
    };
    let (stages, covered) = ledger.series().over(now, window);
    let (waits, waited_ns) = ledger.waits_over(now, window);
    let age = |since: u64| Duration::from_nanos(now.saturating_sub(since));
    Latency {
        window: covered,
        stages,
        waits,
        waited_ns,
        oldest_ready,
        oldest_leased: ledger.oldest_lease().map(age),
    }
}

impl Explained {
    /// How the item ended, if that is remembered.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.account.as_ref()?.end
    }

    /// The item ended well.
    #[must_use]
    pub fn is_acked(&self) -> bool {
        self.end().is_some_and(|end| end.outcome == Outcome::Acked)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
