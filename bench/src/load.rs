//! What the workloads have in common: items with numbers, producers, consumers.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use baton_client::{Client, Durability, Item};
use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::task::JoinSet;

use crate::broker::Broker;
use crate::seen::{Seen, shares};
use crate::stated::Stated;

pub(crate) const QUEUE: &str = "bench";

/// Bytes that a consumer may have in hand: never what limits one here.
const CREDIT_BYTES: u64 = 64 << 20;

/// The queue of a producer or a consumer, where they are spread over so many.
fn queue_of(number: u64, queues: u64) -> String {
    match queues {
        1 => QUEUE.into(),
        _ => format!("{QUEUE}-{}", number % queues),
    }
}

/// A payload that begins with the item's number.
pub(crate) fn body(number: u64, payload: usize) -> Bytes {
    let mut body = BytesMut::with_capacity(payload);
    body.put_u64(number);
    body.resize(payload, b'.');
    body.freeze()
}

/// Items to publish, by several producers at once: item `n` is producer `n % producers`'s.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Publishing {
    pub(crate) producers: u64,
    pub(crate) items: u64,
    pub(crate) payload: usize,
    /// Items that each producer may have unconfirmed.
    pub(crate) window: usize,
    /// One item in so many comes with a sampled trace context; 0: none.
    pub(crate) traced_every: u64,
    /// Producer `n` publishes to queue `n % queues`.
    pub(crate) queues: u64,
    /// Items a second, of all producers together; 0: as fast as it goes.
    pub(crate) rate: u64,
}

impl Publishing {
    /// Publishes everything over one connection, and waits until all is confirmed.
    pub(crate) async fn run(self, client: &Client, stated: &mut Stated) -> Result<()> {
        let mut producers = JoinSet::new();
        for (number, items) in (0..).zip(shares(self.items, self.producers)) {
            producers.spawn(self.producer(client.clone(), number, items));
        }
        while let Some(done) = producers.join_next().await {
            if let Some(durability) = done?? {
                stated.add(durability)?;
            }
        }
        Ok(())
    }

    fn item(&self, number: u64) -> Item {
        let item = Item::new(body(number, self.payload));
        if self.traced_every == 0 || !number.is_multiple_of(self.traced_every) {
            return item;
        }
        item.traceparent(traceparent(number + 1))
    }

    /// From the beginning on; none: at once.
    fn due(&self, number: u64) -> Option<Duration> {
        (self.rate > 0).then(|| Duration::from_secs_f64(number as f64 / self.rate as f64))
    }

    async fn producer(self, client: Client, own: u64, items: u64) -> Result<Option<Durability>> {
        let producer = client.producer(queue_of(own, self.queues));
        let producer = producer.window_items(self.window).open();
        let (mut last, begun) = (None, Instant::now());
        for index in 0..items {
            let number = own + index * self.producers;
            if let Some(due) = self.due(number)
                && due > begun.elapsed()
            {
                tokio::time::sleep_until((begun + due).into()).await;
            }
            // All but the last one's outcome comes with the flush.
            last = Some(producer.send(self.item(number)).await?);
        }
        producer.close().await?;
        match last {
            Some(confirm) => Ok(Some(confirm.await?.durability)),
            None => Ok(None),
        }
    }
}

/// One that is sampled. By hand: `format!` would be a good part of what is measured.
fn traceparent(id: u64) -> String {
    let digit = |index: u32| {
        let value = id >> (60 - 4 * index) & 0xf;
        char::from(b"0123456789abcdef"[value as usize])
    };
    let id: String = (0..16).map(digit).collect();
    ["00-", &id, &id, "-", &id, "-01"].concat()
}

/// Consumers that take and acknowledge until the queue is closed and has drained.
#[derive(Debug)]
pub(crate) struct Consuming {
    consumers: JoinSet<Result<Seen>>,
    producers: u64,
    queues: u64,
}

impl Consuming {
    /// Of what so many producers publish to so many queues; consumers take turns at these.
    pub(crate) fn new(producers: u64, queues: u64) -> Self {
        Self {
            consumers: JoinSet::new(),
            producers,
            queues,
        }
    }

    /// Adds a consumer that tells `each` the number of each item, and acknowledges it when that is done.
    pub(crate) fn add<E, F>(&mut self, client: &Client, credit: u32, mut each: E)
    where
        E: FnMut(u64) -> F + Send + 'static,
        F: Future<Output = ()> + Send,
    {
        let queue = queue_of(self.consumers.len() as u64, self.queues);
        let builder = client.consumer(queue).credit_items(credit);
        let mut consumer = builder.credit_bytes(CREDIT_BYTES).open();
        let mut seen = Seen::new(self.producers);
        self.consumers.spawn(async move {
            while let Some(delivery) = consumer.next().await {
                let delivery = delivery?;
                each(seen.mark_delivery(&delivery)).await;
                drop(delivery.ack());
            }
            consumer.close().await?;
            Ok(seen)
        });
    }

    /// Waits until everything is acknowledged, and checks that what each producer published came once and in order. When
    /// the last acknowledgement was confirmed.
    pub(crate) async fn finish(mut self, client: &Client, published: &[u64]) -> Result<Instant> {
        let queues = (0..self.queues).map(|number| client.queue(queue_of(number, self.queues)));
        let queues: Vec<_> = queues.collect();
        let mut acked = 0;
        for queue in &queues {
            acked += queue.join().await?.acked;
        }
        let done = Instant::now();
        for queue in queues {
            queue.close().await?;
        }
        let mut seen = Seen::new(self.producers);
        while let Some(other) = self.consumers.join_next().await {
            seen.merge(&other??);
        }
        seen.check(published)?;
        let items: u64 = published.iter().sum();
        ensure!(
            acked == items,
            "wrong result: {acked} of {items} items were acknowledged"
        );
        Ok(done)
    }
}

/// How many items are ready in the queue: as many as were published, where nobody takes any.
pub(crate) async fn check_waiting(broker: &Broker, items: u64) -> Result<()> {
    let stats = broker.client()?.queue(QUEUE).stats().await;
    let waiting = stats.context("wrong result: the queue is gone")?.ready;
    ensure!(
        waiting == items,
        "wrong result: {waiting} of {items} items wait"
    );
    Ok(())
}
