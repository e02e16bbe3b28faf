//! A broker process of the simulation: what the engine starts, without its tasks and threads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use baton_journal::Settings;
use baton_journal::fs::{FaultFs, FileSystem};
use baton_ledger::budget::Budget;
use baton_ledger::sampling::{SamplingSettings, TraceLimit};
use baton_queue::{Config, QueueName, Timestamp};
use tokio::sync::mpsc;

use super::dice::Dice;
use crate::engine::actor::QueueActor;
use crate::engine::bookkeeping::Accounting;
use crate::engine::request::Request;
use crate::engine::shared::{Chance, Clock, Shared};
use crate::engine::storage::{Kept, Loops, Storage, Written};
use crate::engine::store::Store;
use crate::engine::token::Epoch;
use crate::engine::{created, resumed};
use crate::error::Error;

/// Small, so that a run fills many of them; it holds what is committed at a time.
pub(super) const SEGMENT_BYTES: u64 = 1024 * 1024;
/// So that most bodies come from the disk.
const MEMORY_BYTES: usize = 256 * 1024;

/// Little of it, so that its end is met too.
fn accounting() -> Accounting {
    let ledgers = baton_ledger::Shared {
        budget: Budget::new(64 * 1024),
        limit: TraceLimit::new(100),
        sampling: Some(SamplingSettings::default()),
        finished_max: 1000,
    };
    Accounting {
        ledgers: Arc::new(ledgers),
        sink: None,
    }
}

pub(super) struct SimQueue {
    pub(super) actor: QueueActor,
    pub(super) epoch: Epoch,
    /// The next one is last.
    inbox: Vec<Request>,
    /// Keeps the mailbox open.
    _mailbox: mpsc::Sender<Request>,
}

pub(super) struct SimBroker {
    pub(super) storage: Storage,
    loops: Loops,
    shared: Arc<Shared>,
    pub(super) queues: BTreeMap<QueueName, SimQueue>,
    dice: Dice,
}

impl SimBroker {
    /// Starts on what the disk has.
    ///
    /// # Errors
    /// A call failed, as it may.
    pub(super) fn start(
        fs: &Arc<FaultFs>,
        clock: &'static AtomicU64,
        dice: &mut Dice,
    ) -> Result<Self, String> {
        let mut dice = Dice::new(dice.number());
        let mut salts = dice.clone();
        let mut settings = Settings::new(move || salts.number());
        settings.segment_bytes = SEGMENT_BYTES;
        settings.spares = 2;
        let opened = Storage::over(
            Arc::clone(fs) as Arc<dyn FileSystem>,
            settings,
            MEMORY_BYTES,
        );
        let (opened, loops) = match opened {
            Ok(opened) => opened,
            Err(error @ baton_journal::Error::Io { .. }) => return Err(error.to_string()),
            Err(error) => panic!("the journal does not open: {error}"),
        };
        let mut shared = Shared::new(
            MEMORY_BYTES / 2,
            Some(accounting()),
            opened.storage.failed().clone(),
        );
        shared.clock = Clock::simulated(clock);
        shared.chance = Chance::Seeded(AtomicU64::new(dice.number()));
        let queues = BTreeMap::new();
        let mut broker = Self {
            storage: opened.storage,
            loops,
            shared: Arc::new(shared),
            queues,
            dice,
        };
        for recovered in opened.queues {
            let name = recovered.name.clone();
            let (queue, store) = resumed(&broker.storage, recovered, broker.now());
            let before = broker
                .queues
                .insert(name.clone(), broker.actor(&name, queue, store));
            assert!(before.is_none(), "two queues of one name were recovered");
        }
        Ok(broker)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    pub(super) fn create(&mut self, name: &QueueName, config: Config) {
        let (queue, store) = created(&self.storage, name, config, self.now());
        let queue = self.actor(name, queue, store);
        self.queues.insert(name.clone(), queue);
    }

    fn actor(&self, name: &QueueName, queue: baton_queue::Queue, store: Store) -> SimQueue {
        let (sender, mailbox) = mpsc::channel(1);
        // Of no importance but to be different each time.
        let epoch =
            Epoch(self.dice.clone().number() ^ self.now().0.rotate_left(17) ^ queue.last_item().0);
        let parts = (mailbox, Arc::clone(&self.shared));
        let actor = QueueActor::new(name.as_str().into(), queue, epoch, store, parts);
        SimQueue {
            actor,
            epoch,
            inbox: Vec::new(),
            _mailbox: sender,
        }
    }

    /// Leaves a request in a queue's mailbox.
    pub(super) fn ask(&mut self, name: &QueueName, request: Request) {
        if let Some(queue) = self.queues.get_mut(name) {
            queue.inbox.insert(0, request);
        } else {
            request.refuse(&Error::QueueNotFound(name.to_string()));
        }
    }

    /// A turn of one queue.
    pub(super) fn turn(&mut self, name: &QueueName) {
        let Some(queue) = self.queues.get_mut(name) else {
            return;
        };
        if let Some(loaded) = queue.actor.loading.try_next() {
            queue.actor.take_loaded(loaded);
        }
        queue.actor.step(&mut queue.inbox);
        if queue.actor.is_over() {
            self.queues.remove(name);
        }
    }

    pub(super) fn write(&mut self) -> Written {
        self.loops.writer.step(Duration::ZERO)
    }

    pub(super) fn keep(&mut self) -> Kept {
        self.loops.keeper.ask_for_snapshots(self.dice.one_in(8));
        self.loops.keeper.step()
    }

    /// Like [`Self::keep`] in a broker that has had nothing to do for a while.
    pub(super) fn keep_idle(&mut self) {
        self.loops.keeper.ask_for_snapshots(true);
        self.loops.keeper.step();
    }

    pub(super) fn read(&mut self) {
        self.loops.reader.step(Duration::ZERO);
    }

    /// The queues as they are.
    pub(super) fn states(&self) -> BTreeMap<QueueName, baton_queue::Queue> {
        let queues = self.queues.iter();
        queues
            .map(|(name, queue)| (name.clone(), queue.actor.queue.clone()))
            .collect()
    }

    pub(super) fn has_failed(&self) -> bool {
        self.storage.failed().is_cancelled()
    }
}
