//! The engine: all queues of one broker. Finds and makes queues, and hands out [`QueueHandle`]s to them.
//!
//! Each queue is an actor of its own (`actor`); a request crosses one channel to reach it, and what it owes comes back
//! once its commit is durable (`commit`, `pending`). Commits go to memory, or through `storage` into a journal. Called by
//! the `rpc` and `http` modules; knows neither.

mod actor;
mod bodies;
mod bookkeeping;
mod clients;
mod commit;
mod consumers;
mod delivering;
mod explaining;
mod handle;
mod joining;
mod last_active;
mod loading;
mod observe;
mod outbox;
mod pending;
mod publishing;
mod request;
mod settling;
mod shared;
#[cfg(test)]
mod simulation;
mod storage;
mod store;
#[cfg(test)]
mod tests;
mod token;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, PoisonError, RwLock};

use baton_journal::Counters;
use baton_proto::v1::Durability;
use baton_queue::{Config, Event, Queue, QueueName, Timestamp};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

pub use self::bookkeeping::{Accounting, TraceSink};
pub use self::clients::{Client, Clients, ClockOffset, Connected, Role};
pub use self::explaining::{Explained, Latency};
pub use self::handle::{ProducerGuard, QueueHandle};
pub use self::observe::{Observed, ObservedStage};
pub use self::outbox::{Outbox, OutboxReader};
pub use self::request::{
    Action, Attach, ConsumeOutput, Delivered, End, Fate, Join, Joined, Lease, Pong, Publish,
    PublishOutput, PublishPiece, PublishReply, Sending, Settle, SettleReply, SettledDeliveries,
    SettledLease, Settlement, Stored, StreamBatch, View,
};
pub use self::shared::Clock;
pub use self::token::{Epoch, Token};

use self::actor::QueueActor;
use self::shared::Shared;
pub(crate) use self::storage::Recovery;
pub use self::storage::StorageSettings;
use self::storage::{RecoveredQueue, Storage};
use self::store::Store;
use crate::error::Error;
use crate::limits::{MAILBOX_REQUESTS, QUEUES_MAX};

/// How an engine behaves.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// Queues come into being on their first use.
    pub auto_create: bool,
    /// Where items are kept.
    pub keep: Keep,
    /// How it accounts for items' time; none: not at all.
    pub accounting: Option<Accounting>,
}

/// Where an engine keeps items.
#[derive(Debug, Clone)]
pub enum Keep {
    /// In memory: a restart loses them.
    Memory {
        /// Bytes of items, over all queues.
        bytes_max: usize,
    },
    /// In a journal: what was confirmed outlives crashes of the process and of the machine.
    Journal(StorageSettings),
}

/// Whether an engine takes work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// It does.
    Ready,
    /// It is shutting down.
    Draining,
    /// No new items: the disk is full. Everything else goes on.
    DiskFull,
    /// Nothing: the journal failed, and the process has to begin again.
    Failed,
}

/// A cheap handle to all queues.
#[derive(Debug, Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: EngineSettings,
    shared: Arc<Shared>,
    storage: Option<Arc<Storage>>,
    /// By name; held for a look-up or an insert only.
    queues: RwLock<BTreeMap<QueueName, QueueHandle>>,
    actors: TaskTracker,
    clients: Arc<Clients>,
    stop: CancellationToken,
}

impl Engine {
    /// An engine with the queues that were there before, if it has a journal. Blocks while that is read.
    ///
    /// # Errors
    /// The journal cannot be opened.
    pub fn open(settings: EngineSettings) -> Result<Self, baton_journal::Error> {
        let (shared, storage, queues) = match &settings.keep {
            Keep::Memory { bytes_max } => {
                let never = CancellationToken::new();
                let accounting = settings.accounting.clone();
                (Shared::new(*bytes_max, accounting, never), None, Vec::new())
            }
            Keep::Journal(storage) => {
                let opened = Storage::open(storage)?;
                let failed = opened.storage.failed().clone();
                let accounting = settings.accounting.clone();
                let mut shared = Shared::new(storage.memory_bytes_max / 2, accounting, failed);
                shared.clock = shared.clock.not_before(opened.latest);
                (shared, Some(Arc::new(opened.storage)), opened.queues)
            }
        };
        let inner = Inner {
            settings,
            shared: Arc::new(shared),
            storage,
            queues: RwLock::default(),
            actors: TaskTracker::new(),
            clients: Arc::default(),
            stop: CancellationToken::new(),
        };
        let engine = Self {
            inner: Arc::new(inner),
        };
        if let Some(storage) = &engine.inner.storage {
            for queue in queues {
                engine.resume(storage, queue);
            }
        }
        Ok(engine)
    }

    /// The broker's clock.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.inner.shared.clock
    }

    /// Whether traces of items go anywhere.
    #[must_use]
    pub fn is_tracing(&self) -> bool {
        let accounting = self.inner.shared.accounting.as_ref();
        accounting.is_some_and(|accounting| accounting.sink.is_some())
    }

    /// The streams that are open.
    #[must_use]
    pub fn clients(&self) -> &Arc<Clients> {
        &self.inner.clients
    }

    /// How it behaves.
    #[must_use]
    pub fn settings(&self) -> &EngineSettings {
        &self.inner.settings
    }

    /// Whether it takes work.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        match &self.inner.storage {
            Some(storage) if storage.failed().is_cancelled() => Readiness::Failed,
            _ if self.is_draining() => Readiness::Draining,
            Some(storage) if !storage.has_room() => Readiness::DiskFull,
            _ => Readiness::Ready,
        }
    }

    /// Returns when the journal has failed: nothing more is stored by this process.
    pub async fn failed(&self) {
        match &self.inner.storage {
            Some(storage) => storage.failed().cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// What the journal did so far; none in memory.
    #[must_use]
    pub fn journal_counters(&self) -> Option<Counters> {
        self.inner
            .storage
            .as_ref()
            .map(|storage| storage.counters())
    }

    /// What a reply that says OK has outlived.
    #[must_use]
    pub fn durability(&self) -> Durability {
        match self.inner.settings.keep {
            Keep::Memory { .. } => Durability::Memory,
            Keep::Journal(_) => Durability::Fsynced,
        }
    }

    /// A queue that exists.
    ///
    /// # Errors
    /// The name is none, or there is no such queue.
    pub fn queue(&self, name: &str) -> Result<QueueHandle, Error> {
        let name = parse_name(name)?;
        self.is_alive()?;
        self.find(&name)
            .ok_or_else(|| Error::QueueNotFound(name.to_string()))
    }

    /// A queue, made with default settings if it is not there and the engine may.
    ///
    /// # Errors
    /// The name is none, or there is no such queue and none may be made.
    pub fn queue_or_create(&self, name: &str) -> Result<QueueHandle, Error> {
        let name = parse_name(name)?;
        self.is_alive()?;
        if let Some(queue) = self.find(&name) {
            return Ok(queue);
        }
        if !self.inner.settings.auto_create {
            return Err(Error::QueueNotFound(name.to_string()));
        }
        match self.insert(name.clone(), Config::default()) {
            Err(Error::QueueExists(_)) => self
                .find(&name)
                .ok_or_else(|| Error::QueueNotFound(name.to_string())),
            made => made,
        }
    }

    /// Makes a queue.
    ///
    /// # Errors
    /// The name is none or taken, or there are too many queues, or the broker drains.
    pub fn create(&self, name: &str, config: Config) -> Result<QueueHandle, Error> {
        self.insert(parse_name(name)?, config)
    }

    /// Deletes a queue and all that it holds.
    ///
    /// # Errors
    /// There is no such queue, or it holds something and `force` is not set.
    pub async fn delete(&self, name: &str, force: bool) -> Result<(), Error> {
        let name = parse_name(name)?;
        let queue = self.find(&name);
        let queue = queue.ok_or_else(|| Error::QueueNotFound(name.to_string()))?;
        queue.delete(force).await?;
        // Tidiness only: a queue that is gone is not found, whether it still stands here or not.
        let mut queues = self.queues_mut();
        if queues.get(&name).is_some_and(QueueHandle::is_gone) {
            queues.remove(&name);
        }
        info!(queue = %name, "queue deleted");
        Ok(())
    }

    /// Up to `max` queues whose names begin with `prefix`, after `after`, by name.
    #[must_use]
    pub fn list(&self, prefix: &str, after: &str, max: usize) -> Vec<QueueHandle> {
        let queues = self
            .inner
            .queues
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let matching = queues.iter().filter(|(name, queue)| {
            let name = name.as_str();
            name.starts_with(prefix) && name > after && !queue.is_gone()
        });
        matching.take(max).map(|(_, queue)| queue.clone()).collect()
    }

    /// Refuses publishes, hands nothing out any more and answers everyone who waits.
    pub fn drain(&self) {
        self.inner.shared.drain();
        for queue in self.list("", "", usize::MAX) {
            queue.wake();
        }
    }

    /// Whether it was told to drain.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.inner.shared.is_draining()
    }

    /// Items that are leased, over all queues.
    pub async fn leased_items(&self) -> u64 {
        self.sum(|stats| stats.leased).await
    }

    /// Items that are not settled for good, over all queues; dead letters too.
    pub async fn held_items(&self) -> u64 {
        self.sum(|stats| stats.scheduled + stats.ready + stats.leased + stats.dead)
            .await
    }

    async fn sum(&self, of: fn(&baton_queue::Stats) -> u64) -> u64 {
        let mut sum = 0;
        for queue in self.list("", "", usize::MAX) {
            let stats = queue.act(|view| view.queue.stats(view.now)).await;
            sum += stats.map_or(0, |stats| of(&stats));
        }
        sum
    }

    /// Ends all queues' actors, and then the journal.
    pub async fn stop(&self) {
        self.inner.stop.cancel();
        self.inner.actors.close();
        self.inner.actors.wait().await;
        if let Some(storage) = self.inner.storage.clone() {
            // It ends where its threads do; a panic of theirs was told by themselves.
            drop(tokio::task::spawn_blocking(move || storage.stop()).await);
        }
    }

    fn is_alive(&self) -> Result<(), Error> {
        let failed = self.inner.shared.has_failed();
        (!failed).then_some(()).ok_or(Error::JournalFailed)
    }

    fn find(&self, name: &QueueName) -> Option<QueueHandle> {
        self.inner
            .queues
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .filter(|queue| !queue.is_gone())
            .cloned()
    }

    fn queues_mut(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<QueueName, QueueHandle>> {
        self.inner
            .queues
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(&self, name: QueueName, config: Config) -> Result<QueueHandle, Error> {
        if self.is_draining() {
            return Err(Error::Draining);
        }
        self.is_alive()?;
        let mut queues = self.queues_mut();
        let full = queues.len() >= QUEUES_MAX;
        match queues.entry(name) {
            Entry::Occupied(mut gone) if gone.get().is_gone() => {
                let queue = self.create_queue(gone.key(), config);
                gone.insert(queue.clone());
                Ok(queue)
            }
            Entry::Occupied(taken) => Err(Error::QueueExists(taken.key().to_string())),
            Entry::Vacant(_) if full => Err(Error::Limit {
                what: "queues",
                max: QUEUES_MAX,
            }),
            Entry::Vacant(free) => {
                info!(queue = %free.key(), "queue created");
                let queue = self.create_queue(free.key(), config);
                Ok(free.insert(queue).clone())
            }
        }
    }

    fn create_queue(&self, name: &QueueName, config: Config) -> QueueHandle {
        let (queue, store) = match &self.inner.storage {
            Some(storage) => created(storage, name, config, self.clock().now()),
            None => (Queue::new(config), Store::memory()),
        };
        self.start(name, queue, store)
    }

    fn resume(&self, storage: &Storage, recovered: RecoveredQueue) {
        let name = recovered.name.clone();
        let (queue, store) = resumed(storage, recovered, self.clock().now());
        let handle = self.start(&name, queue, store);
        self.queues_mut().insert(name, handle);
    }

    fn start(&self, name: &QueueName, queue: Queue, store: Store) -> QueueHandle {
        let (sender, mailbox) = mpsc::channel(MAILBOX_REQUESTS);
        let name: Arc<str> = name.as_str().into();
        let shared = self.inner.shared.clone();
        // Of its own for each queue and each life of it: no token of another one ever matches.
        let epoch = Epoch(rand::random());
        let bodies = store.reader.clone();
        let actor = QueueActor::new(name.clone(), queue, epoch, store, (mailbox, shared.clone()));
        let doors = (sender, actor.wake.clone());
        let shared = (shared, actor.active.clone());
        let handle = QueueHandle::new(name, epoch, doors, shared, bodies);
        self.inner.actors.spawn(actor.run(self.inner.stop.clone()));
        handle
    }
}

/// A queue that begins, with all that it takes to store it.
fn created(storage: &Storage, name: &QueueName, config: Config, at: Timestamp) -> (Queue, Store) {
    let target = storage.create(name);
    let reader = storage.reader(target.stream());
    let mut queue = Queue::new(Config::default());
    // Even where it changes nothing: the queue is there once this is stored.
    let created = Event::ConfigChanged { at, config };
    queue.apply(&created);
    (queue, Store::journal(target, reader, vec![created]))
}

/// A queue that was there before; its leases are not.
fn resumed(storage: &Storage, recovered: RecoveredQueue, now: Timestamp) -> (Queue, Store) {
    let target = storage.resume(&recovered);
    let reader = storage.reader(recovered.stream);
    let mut queue = recovered.queue;
    let mut events = Vec::new();
    queue.restart(now, &mut events);
    (queue, Store::journal(target, reader, events))
}

fn parse_name(name: &str) -> Result<QueueName, Error> {
    name.parse()
        .map_err(|_| Error::QueueName(name.chars().take(200).collect()))
}
