//! Baton, through its client library as a user would use it: item by item, no batches of the caller's own.
//!
//! Publish: `Producer::send` for each item, with the library's own window of unconfirmed items; it packs into one message
//! what queued up while the last one was under way. Where nobody asks for the moment of each confirm, the `Confirm`s are
//! dropped and `flush` reports the first failure; the last one is awaited, for the durability that it states.
//! Receive: `Consumer::next` with a credit of `prefetch` items.
//! Ack: one `Delivery::ack` for each item, not awaited one by one: an empty server at the end proves all of them, since
//! the broker counts a settle when it is durable.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use baton_client::{Client, Confirm, Delivery, Durability, Item, QueueConfig};
use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::driver::{Consumer, Driver, OnConfirm, Producer, QUEUE};

/// Never what limits a consumer here: prefetch does.
const CREDIT_BYTES: u64 = 64 << 20;
/// Longer than a broker takes to come back.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Baton {
    url: String,
    control: Client,
    /// What every confirm has to state, too.
    durability: Durability,
}

fn client(url: &str) -> Result<Client> {
    Ok(Client::builder(url).give_up_after(PATIENCE).build()?)
}

impl Driver for Baton {
    type Producer = BatonProducer;
    type Consumer = BatonConsumer;

    async fn connect(url: &str) -> Result<Self> {
        let control = Client::builder(url)
            .give_up_after(Duration::from_millis(1))
            .build()?;
        let info = control.server_info().await?; // fails while it is not up
        Ok(Self {
            url: url.into(),
            durability: info.durability(),
            control: client(url)?,
        })
    }

    async fn version(&self) -> Result<String> {
        let info = self.control.server_info().await?;
        let durability = self.durability.as_str_name();
        Ok(format!("baton-broker {} {durability}", info.version))
    }

    async fn reset(&self) -> Result<()> {
        let queue = self.control.queue(QUEUE);
        if queue.describe().await.is_ok() {
            queue.delete(true).await?;
        }
        queue.create(QueueConfig::default()).await?;
        Ok(())
    }

    async fn producer(
        &self,
        window: usize,
        on_confirm: Option<OnConfirm>,
    ) -> Result<BatonProducer> {
        let builder = client(&self.url)?.producer(QUEUE).window_items(window);
        let producer = builder.window_bytes(usize::MAX).open();
        let mut watching = JoinSet::new();
        let confirms = on_confirm.map(|on_confirm| {
            // More than the window never waits for its turn.
            let (confirms, waiting) = mpsc::channel(window + 1);
            watching.spawn(watch(waiting, on_confirm, self.durability));
            confirms
        });
        Ok(BatonProducer {
            producer,
            confirms,
            watching,
            last: None,
            durability: self.durability,
        })
    }

    async fn consumer(&self, prefetch: usize) -> Result<BatonConsumer> {
        let builder = client(&self.url)?.consumer(QUEUE);
        let builder = builder.credit_items(u32::try_from(prefetch)?);
        Ok(BatonConsumer {
            consumer: builder.credit_bytes(CREDIT_BYTES).open(),
            prefetch,
            unacked: Vec::new(),
        })
    }

    async fn depth(&self) -> Result<u64> {
        let stats = self.control.queue(QUEUE).stats().await?;
        Ok(stats.ready + stats.scheduled + stats.leased + stats.dead)
    }
}

/// Confirms come in the order in which the items were sent.
async fn watch(
    mut waiting: mpsc::Receiver<(u64, Confirm)>,
    on_confirm: OnConfirm,
    promised: Durability,
) -> Result<()> {
    while let Some((id, confirm)) = waiting.recv().await {
        check(confirm.await?.durability, promised)?;
        on_confirm.call(id);
    }
    Ok(())
}

fn check(stated: Durability, promised: Durability) -> Result<()> {
    ensure!(stated == promised, "a confirm that states {stated:?}");
    Ok(())
}

#[derive(Debug)]
pub(crate) struct BatonProducer {
    producer: baton_client::Producer,
    /// To whoever watches them.
    confirms: Option<mpsc::Sender<(u64, Confirm)>>,
    watching: JoinSet<Result<()>>,
    /// Where nobody watches.
    last: Option<Confirm>,
    durability: Durability,
}

impl Producer for BatonProducer {
    async fn publish(&mut self, id: u64, payload: Bytes) -> Result<()> {
        let confirm = self.producer.send(Item::new(payload)).await?;
        match &self.confirms {
            Some(confirms) => confirms
                .send((id, confirm))
                .await
                .context("a watcher failed")?,
            None => self.last = Some(confirm),
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        self.producer.flush().await?;
        if let Some(last) = self.last.take() {
            check(last.await?.durability, self.durability)?;
        }
        self.confirms = None;
        while let Some(watched) = self.watching.join_next().await {
            watched??;
        }
        Ok(())
    }
}

#[derive(Debug)]
pub(crate) struct BatonConsumer {
    consumer: baton_client::Consumer,
    prefetch: usize,
    unacked: Vec<Delivery>,
}

impl Consumer for BatonConsumer {
    async fn receive(&mut self, wait: Duration, out: &mut Vec<Bytes>) -> Result<()> {
        self.unacked.clear();
        let Ok(first) = tokio::time::timeout(wait, self.consumer.next()).await else {
            return Ok(());
        };
        let mut next = Some(first);
        while let Some(delivery) = next {
            let delivery = delivery.ok_or_else(|| anyhow!("the consumer ended"))??;
            out.push(delivery.payload().clone());
            self.unacked.push(delivery);
            let room = self.unacked.len() < self.prefetch;
            next = if room {
                self.consumer.next().now_or_never()
            } else {
                None
            };
        }
        Ok(())
    }

    async fn ack(&mut self) -> Result<()> {
        for delivery in self.unacked.drain(..) {
            drop(delivery.ack());
        }
        Ok(())
    }

    async fn close(self) -> Result<()> {
        Ok(self.consumer.close().await?)
    }
}
