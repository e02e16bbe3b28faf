//! The engine: all queues of one broker. Finds and makes queues, and hands out [`QueueHandle`]s to them.
//!
//! Each queue is an actor of its own (`actor`); a request crosses one channel to reach it, and what it owes comes back
//! once its commit is durable (`commit`, `pending`). Called by the `rpc` and `http` modules; knows neither.

mod actor;
mod bodies;
mod commit;
mod consumers;
mod delivering;
mod handle;
mod joining;
mod outbox;
mod pending;
mod publishing;
mod request;
mod settling;
mod shared;
#[cfg(test)]
mod tests;
mod token;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, PoisonError, RwLock};

use baton_proto::v1::Durability;
use baton_queue::{Config, Queue, QueueName};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

pub use self::handle::{ProducerGuard, QueueHandle};
pub use self::outbox::{Outbox, OutboxReader};
pub use self::request::{
    Action, Attach, ConsumeOutput, Delivered, End, Fate, Join, Joined, Lease, Pong, Publish,
    PublishOutput, PublishPiece, PublishReply, Settle, SettleReply, Settlement, Stored,
    StreamBatch, View,
};
pub use self::shared::Clock;
pub use self::token::{Epoch, Token};

use self::actor::QueueActor;
use self::commit::{CommitTarget, MemoryTarget};
use self::shared::Shared;
use crate::error::Error;
use crate::limits::{MAILBOX_REQUESTS, QUEUES_MAX};

/// How an engine behaves.
#[derive(Debug, Clone, Copy)]
pub struct EngineSettings {
    /// Queues come into being on their first use.
    pub auto_create: bool,
    /// Bytes of items that the memory engine holds, over all queues.
    pub memory_bytes_max: usize,
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
    /// By name; held for a look-up or an insert only.
    queues: RwLock<BTreeMap<QueueName, QueueHandle>>,
    actors: TaskTracker,
    stop: CancellationToken,
}

impl Engine {
    /// An engine without queues.
    #[must_use]
    pub fn new(settings: EngineSettings) -> Self {
        let inner = Inner {
            settings,
            shared: Arc::new(Shared::new(settings.memory_bytes_max)),
            queues: RwLock::default(),
            actors: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The broker's clock.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.inner.shared.clock
    }

    /// How it behaves.
    #[must_use]
    pub fn settings(&self) -> EngineSettings {
        self.inner.settings
    }

    /// What a reply that says OK has outlived.
    #[must_use]
    pub fn durability(&self) -> Durability {
        MemoryTarget::new().durability()
    }

    /// A queue that exists.
    ///
    /// # Errors
    /// The name is none, or there is no such queue.
    pub fn queue(&self, name: &str) -> Result<QueueHandle, Error> {
        let name = parse_name(name)?;
        self.find(&name)
            .ok_or_else(|| Error::QueueNotFound(name.to_string()))
    }

    /// A queue, made with default settings if it is not there and the engine may.
    ///
    /// # Errors
    /// The name is none, or there is no such queue and none may be made.
    pub fn queue_or_create(&self, name: &str) -> Result<QueueHandle, Error> {
        let name = parse_name(name)?;
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

    /// Ends all queues' actors.
    pub async fn stop(&self) {
        self.inner.stop.cancel();
        self.inner.actors.close();
        self.inner.actors.wait().await;
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
        let mut queues = self.queues_mut();
        let full = queues.len() >= QUEUES_MAX;
        match queues.entry(name) {
            Entry::Occupied(mut gone) if gone.get().is_gone() => {
                let queue = self.start(gone.key(), config, Box::new(MemoryTarget::new()));
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
                let queue = self.start(free.key(), config, Box::new(MemoryTarget::new()));
                Ok(free.insert(queue).clone())
            }
        }
    }

    fn start(
        &self,
        name: &QueueName,
        config: Config,
        commits: Box<dyn CommitTarget>,
    ) -> QueueHandle {
        let (sender, mailbox) = mpsc::channel(MAILBOX_REQUESTS);
        let name: Arc<str> = name.as_str().into();
        let shared = self.inner.shared.clone();
        let queue = Queue::new(config);
        // Of its own for each queue and each life of it: no token of another one ever matches.
        let epoch = Epoch(rand::random());
        let actor = QueueActor::new(name.clone(), queue, epoch, commits, (mailbox, shared));
        let handle = QueueHandle::new(name, epoch, sender, actor.wake.clone());
        self.inner.actors.spawn(actor.run(self.inner.stop.clone()));
        handle
    }
}

fn parse_name(name: &str) -> Result<QueueName, Error> {
    name.parse()
        .map_err(|_| Error::QueueName(name.chars().take(200).collect()))
}
