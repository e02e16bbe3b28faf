//! What an engine shows to those who watch it. Nothing here changes anything.
//!
//! A queue is observed in one turn of its own: numbers and copies of its histograms, so that it is never slowed for longer
//! than that takes. Called by `http` for each scrape and by `housekeeping`.

use std::sync::Arc;
use std::time::Duration;

use baton_ledger::Ledger;
use baton_ledger::account::Account;
use baton_ledger::sampling::Kept;
use baton_ledger::waits::Waits;
use baton_queue::Stats;
use baton_telemetry::histogram::Histogram;
use baton_telemetry::stage::Stage;
use baton_telemetry::windows::Exemplar;

use super::Engine;
use super::handle::QueueHandle;
use super::request::View;
use crate::error::Error;

/// How a queue stands, and where its items' time went since the broker began.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// Counts and totals.
    pub stats: Stats,
    /// It hands nothing out.
    pub paused: bool,
    /// Consumers' streams.
    pub consumers: u32,
    /// Publishers' streams.
    pub producers: u32,
    /// Age of the lease that has been held the longest; none: none is held, or nobody wants to know.
    pub oldest_leased_age: Option<Duration>,
    /// Age of the item that has been scheduled the longest.
    pub oldest_scheduled_age: Option<Duration>,
    /// Age of the oldest dead letter.
    pub oldest_dead_age: Option<Duration>,
    /// For how long ready items have waited for something.
    pub stalls: Waits,
    /// Those that have values, in the order of an item's life.
    pub stages: Vec<ObservedStage>,
}

/// All values of one stage.
#[derive(Debug, Clone)]
pub struct ObservedStage {
    /// Which.
    pub stage: Stage,
    /// Every item's.
    pub histogram: Histogram,
    /// Items to look at, ascending by how long they took.
    pub exemplars: Vec<Exemplar>,
}

impl QueueHandle {
    /// How it stands.
    ///
    /// # Errors
    /// The queue is gone, or its journal failed.
    pub async fn observe(&self) -> Result<Observed, Error> {
        self.act(|view| observed(view)).await
    }
}

fn observed(view: &View<'_>) -> Observed {
    let mut observed = Observed {
        stats: view.queue.stats(view.now),
        paused: view.queue.config().paused,
        consumers: view.demand.consumers,
        producers: view.producers,
        oldest_scheduled_age: view.queue.oldest_scheduled_age(view.now),
        oldest_dead_age: view.queue.oldest_dead_age(view.now),
        ..Observed::default()
    };
    if let Some(ledger) = &view.ledger {
        let age = |since| Duration::from_nanos(view.now.0.saturating_sub(since));
        observed.oldest_leased_age = ledger.oldest_lease().map(age);
        observed.stalls = ledger.stalls(view.now.0);
        observed.stages = stages(ledger);
    }
    observed
}

fn stages(ledger: &Ledger) -> Vec<ObservedStage> {
    let totals = ledger.series().totals();
    let observed = totals.map(|(stage, histogram, exemplars)| ObservedStage {
        stage,
        histogram,
        exemplars,
    });
    observed
        .filter(|observed| !observed.histogram.is_empty())
        .collect()
}

impl Engine {
    /// All queues, by name.
    #[must_use]
    pub fn queues(&self) -> Vec<QueueHandle> {
        self.list("", "", usize::MAX)
    }

    /// What the ledgers of all queues share; none: nobody wants to know where time goes.
    #[must_use]
    pub fn ledgers(&self) -> Option<&Arc<baton_ledger::Shared>> {
        let accounting = self.inner.shared.accounting.as_ref();
        accounting.map(|accounting| &accounting.ledgers)
    }

    /// How long each commit to the journal took; none in memory.
    #[must_use]
    pub fn commit_times(&self) -> Option<Histogram> {
        let storage = self.inner.storage.as_ref();
        storage.map(|storage| storage.commit_times())
    }

    /// Hands on what is worth a trace.
    pub(crate) fn give_traces(&self, traces: Vec<(Arc<Account>, Kept)>) {
        let accounting = self.inner.shared.accounting.as_ref();
        let Some(sink) = accounting.and_then(|accounting| accounting.sink.as_ref()) else {
            return;
        };
        for (account, kept) in traces {
            sink.keep(account, kept);
        }
    }
}
