//! The load: producers by stream and by call, consumers by stream and by lease. Each tells the history what it was told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use baton_client::{Client, Confirm, Delivery, HandlerError, Item, Nack, Settling, Stop};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::history::{Handed, History, Identity, Word};
use crate::dice::Dice;

pub(crate) const QUEUE: &str = "work";
/// More would only make the last drain long.
const BACKLOG_MAX: u64 = 20_000;
const STREAM_PRODUCERS: u32 = 3;

/// Everybody at work, and how to stop them.
#[derive(Debug)]
pub(crate) struct Clients {
    history: Arc<History>,
    enough: Arc<AtomicBool>,
    stops: Vec<Stop>,
    producers: JoinSet<()>,
    consumers: JoinSet<()>,
}

impl Clients {
    pub(crate) fn start(client: &Client, history: &Arc<History>, dice: &mut Dice) -> Self {
        let mut clients = Self {
            history: Arc::clone(history),
            enough: Arc::default(),
            stops: Vec::new(),
            producers: JoinSet::new(),
            consumers: JoinSet::new(),
        };
        for producer in 0..=STREAM_PRODUCERS {
            let load = Load {
                client: client.clone(),
                history: Arc::clone(history),
                enough: Arc::clone(&clients.enough),
                dice: dice.fork(),
            };
            match producer {
                STREAM_PRODUCERS => clients.producers.spawn(load.publish_by_call(producer)),
                _ => clients.producers.spawn(load.publish_by_stream(producer)),
            };
        }
        for credit in [50, 400] {
            clients.consume_by_stream(client, credit, dice.fork());
        }
        let load = Load {
            client: client.clone(),
            history: Arc::clone(history),
            enough: Arc::clone(&clients.enough),
            dice: dice.fork(),
        };
        clients.consumers.spawn(load.consume_by_lease());
        clients
    }

    fn consume_by_stream(&mut self, client: &Client, credit: u32, dice: Dice) {
        let mut consumer = client.consumer(QUEUE).credit_items(credit).open();
        self.stops.push(consumer.stop_handle());
        let handler = Arc::new(Handler {
            history: Arc::clone(&self.history),
            dice: Mutex::new(dice),
        });
        self.consumers.spawn(async move {
            let handle = async |delivery| handler.handle(delivery, false).await;
            let ended = consumer.for_each(40, handle).await;
            if let Err(error) = ended {
                handler
                    .history
                    .violate(format!("a consumer ended: {error}"));
            }
        });
    }

    /// Ends when everything published is confirmed.
    pub(crate) async fn stop_publishing(&mut self) {
        self.enough.store(true, Ordering::Relaxed);
        while let Some(ended) = self.producers.join_next().await {
            ended.unwrap();
        }
    }

    /// Ends when everything in hand is settled.
    pub(crate) async fn stop_consuming(&mut self) {
        self.stops.iter().for_each(Stop::stop);
        while let Some(ended) = self.consumers.join_next().await {
            ended.unwrap();
        }
    }
}

struct Load {
    client: Client,
    history: Arc<History>,
    enough: Arc<AtomicBool>,
    dice: Dice,
}

impl Load {
    fn is_over(&self) -> bool {
        self.enough.load(Ordering::Relaxed)
    }

    async fn publish_by_stream(mut self, producer: u32) {
        let stream = self.client.producer(QUEUE).window_items(1000).open();
        let (unconfirmed, confirms) = mpsc::channel(2000);
        let mut noting = JoinSet::new();
        noting.spawn(note_confirms(Arc::clone(&self.history), confirms));
        let mut numbers = 0..;
        while !self.is_over() {
            let burst = usize::try_from(1 + self.dice.below(100)).unwrap();
            for number in numbers.by_ref().take(burst) {
                let identity = Identity { producer, number };
                let item = self.item(identity);
                self.history.publishing(identity);
                match stream.send(item).await {
                    Ok(confirm) => unconfirmed.send((identity, confirm)).await.unwrap(),
                    Err(error) => self.history.violate(format!("{identity}: {error}")),
                }
            }
            self.rest().await;
        }
        drop(unconfirmed);
        noting.join_next().await.unwrap().unwrap();
    }

    async fn publish_by_call(mut self, producer: u32) {
        let queue = self.client.queue(QUEUE);
        for number in 0.. {
            if self.is_over() {
                return;
            }
            let identity = Identity { producer, number };
            let item = self.item(identity);
            self.history.publishing(identity);
            match queue.publish_one(item).await {
                Ok(receipt) => self.history.confirmed(identity, receipt),
                Err(error) => self.history.violate(format!("{identity}: {error}")),
            }
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Bursts, so that batches differ; and never more than can be drained.
    async fn rest(&mut self) {
        sleep(self.dice.milliseconds(5, 50)).await;
        while self.history.backlog() > BACKLOG_MAX && !self.is_over() {
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Mostly small, now and then one that fills a commit.
    fn item(&mut self, identity: Identity) -> Item {
        let filler = match self.dice.below(100) {
            0 => self.dice.below(100_000),
            _ => self.dice.below(1_000),
        };
        let filler = "x".repeat(usize::try_from(filler).unwrap());
        Item::new(format!("{identity} {filler}"))
    }

    /// Leases of calls are not extended by themselves: some of them run out.
    async fn consume_by_lease(mut self) {
        let queue = self.client.queue(QUEUE);
        let handler = Arc::new(Handler {
            history: Arc::clone(&self.history),
            dice: Mutex::new(self.dice.fork()),
        });
        let mut in_hand = JoinSet::new();
        // It ends with the queue's last item, not with the last publish.
        while !self.is_over() || self.history.backlog() > self.history.counts().dead {
            let leased = queue.lease(20, Duration::from_millis(100)).await;
            if self.is_over() && leased.as_ref().is_ok_and(Vec::is_empty) {
                break;
            }
            for delivery in leased.unwrap_or_default() {
                let handler = Arc::clone(&handler);
                in_hand.spawn(async move { drop(handler.handle(delivery, true).await) });
            }
            while let Some(done) = in_hand.try_join_next() {
                done.unwrap();
            }
            sleep(Duration::from_millis(5)).await;
        }
        in_hand.join_all().await;
    }
}

async fn note_confirms(history: Arc<History>, mut confirms: mpsc::Receiver<(Identity, Confirm)>) {
    while let Some((identity, confirm)) = confirms.recv().await {
        match confirm.await {
            Ok(receipt) => history.confirmed(identity, receipt),
            Err(error) => history.violate(format!("{identity} was not confirmed: {error}")),
        }
    }
}

struct Handler {
    history: Arc<History>,
    dice: Mutex<Dice>,
}

impl Handler {
    /// Settles it, but for a few that are left to the library: an error is a nack, and so is a delivery that is dropped.
    async fn handle(&self, delivery: Delivery, may_expire: bool) -> Result<(), HandlerError> {
        let Some(identity) = identity_of(&delivery) else {
            let item = delivery.item_id();
            self.history.violate(format!("item {item} is nobody's"));
            return Ok(());
        };
        let (item, attempt) = (delivery.item_id(), delivery.attempt());
        let handed = self.history.handed(identity, item, attempt);
        let (fate, wait) = {
            let mut dice = self.dice.lock().await;
            (dice.below(1000), dice.milliseconds(1, 1600))
        };
        match fate {
            0..750 => self.say(handed, Word::Ack, || delivery.ack()).await,
            750..850 => {
                let nack = Nack::retry().delay(wait / 10).error("not yet");
                self.say(handed, Word::Retry, || delivery.nack(nack)).await;
            }
            850..900 => {
                self.say(handed, Word::Retry, || delivery.nack(Nack::retry()))
                    .await;
            }
            900..910 => {
                let nack = Nack::dead_letter("hopeless");
                self.say(handed, Word::Reject, || delivery.nack(nack)).await;
            }
            910..920 => return Err("fell over".into()),
            920..930 => {
                self.say(handed, Word::Extend, || delivery.extend(None))
                    .await;
                self.say(handed, Word::Ack, || delivery.ack()).await;
            }
            // Past its lease where nobody extends it, and past a kill now and then.
            _ => {
                sleep(if may_expire { wait } else { wait / 4 }).await;
                self.say(handed, Word::Ack, || delivery.ack()).await;
            }
        }
        Ok(())
    }

    async fn say(&self, handed: Handed, word: Word, send: impl FnOnce() -> Settling) {
        let life = self.history.says(handed, word);
        match send().await {
            Ok(answer) => self.history.told(handed, (word, life), answer),
            Err(error) => {
                let what = format!("{word:?} of {}", handed.identity);
                self.history.violate(format!("{what} failed: {error}"));
            }
        }
    }
}

fn identity_of(delivery: &Delivery) -> Option<Identity> {
    let text = std::str::from_utf8(delivery.payload()).ok()?;
    let (identity, filler) = text.split_once(' ')?;
    let (producer, number) = identity.split_once('-')?;
    let sound = filler.bytes().all(|byte| byte == b'x');
    sound.then_some(Identity {
        producer: producer.parse().ok()?,
        number: number.parse().ok()?,
    })
}
