//! RabbitMQ: one durable quorum queue, persistent messages, publisher confirms.
//!
//! Publish: `basic.publish` on a confirm channel, a sliding window of confirms.
//! Receive: `basic.consume` with `basic.qos(prefetch)`.
//! Ack: one `basic.ack` (multiple = false) per item; AMQP has no answer to it.
//! Durability: the confirm follows the Raft log's write and fdatasync, shared by all that waits
//! (group commit in the node's write-ahead log).

use std::fmt;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use bytes::Bytes;
use futures_util::future::try_join_all;
use futures_util::{FutureExt as _, StreamExt as _};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};

use super::window::ConfirmWindow;
use crate::driver::{Consumer, Driver, OnConfirm, Producer, QUEUE};

/// AMQP's word for "on disk".
const PERSISTENT: u8 = 2;

pub(crate) struct RabbitMq {
    url: String,
    _connection: Connection,
    channel: Channel,
}

async fn open(url: &str) -> Result<(Connection, Channel)> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    Ok((connection, channel))
}

fn queue_arguments() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert(
        "x-queue-type".into(),
        AMQPValue::LongString("quorum".into()),
    );
    arguments
}

impl fmt::Debug for RabbitMq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitMq").finish_non_exhaustive()
    }
}

impl Driver for RabbitMq {
    type Producer = RabbitProducer;
    type Consumer = RabbitConsumer;

    async fn connect(url: &str) -> Result<Self> {
        let (connection, channel) = open(url).await?;
        Ok(Self {
            url: url.into(),
            _connection: connection,
            channel,
        })
    }

    async fn version(&self) -> Result<String> {
        Ok("RabbitMQ".into()) // lapin keeps the server's properties to itself
    }

    async fn reset(&self) -> Result<()> {
        self.channel
            .queue_delete(QUEUE.into(), QueueDeleteOptions::default())
            .await?;
        let durable = QueueDeclareOptions {
            durable: true,
            ..Default::default()
        };
        self.channel
            .queue_declare(QUEUE.into(), durable, queue_arguments())
            .await?;
        Ok(())
    }

    async fn producer(
        &self,
        window: usize,
        on_confirm: Option<OnConfirm>,
    ) -> Result<RabbitProducer> {
        let (connection, channel) = open(&self.url).await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        Ok(RabbitProducer {
            _connection: connection,
            channel,
            window: ConfirmWindow::new(window, on_confirm),
        })
    }

    async fn consumer(&self, prefetch: usize) -> Result<RabbitConsumer> {
        let (connection, channel) = open(&self.url).await?;
        channel
            .basic_qos(u16::try_from(prefetch)?, BasicQosOptions::default())
            .await?;
        let options = BasicConsumeOptions::default();
        let deliveries = channel
            .basic_consume(QUEUE.into(), "".into(), options, FieldTable::default())
            .await?;
        Ok(RabbitConsumer {
            connection,
            channel,
            deliveries,
            prefetch,
            unacked: Vec::new(),
        })
    }

    /// Ready items only: an item held unacknowledged shows again once its consumer has closed.
    async fn depth(&self) -> Result<u64> {
        let passive = QueueDeclareOptions {
            passive: true,
            durable: true,
            ..Default::default()
        };
        let queue = self
            .channel
            .queue_declare(QUEUE.into(), passive, queue_arguments())
            .await?;
        Ok(queue.message_count().into())
    }
}

pub(crate) struct RabbitProducer {
    _connection: Connection,
    channel: Channel,
    window: ConfirmWindow,
}

impl fmt::Debug for RabbitProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitProducer").finish_non_exhaustive()
    }
}

impl Producer for RabbitProducer {
    async fn publish(&mut self, id: u64, payload: Bytes) -> Result<()> {
        let permit = self.window.places.take().await?;
        let persistent = BasicProperties::default().with_delivery_mode(PERSISTENT);
        let options = BasicPublishOptions::default();
        let confirm = self
            .channel
            .basic_publish("".into(), QUEUE.into(), options, &payload, persistent)
            .await?;
        let confirmation = async move {
            match confirm.await? {
                Confirmation::Ack(None) => Ok(()),
                other => bail!("not confirmed: {other:?}"),
            }
        };
        self.window.sent(id, permit, confirmation.boxed());
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        self.window.places.all_free().await
    }
}

pub(crate) struct RabbitConsumer {
    connection: Connection,
    channel: Channel,
    deliveries: lapin::Consumer,
    prefetch: usize,
    unacked: Vec<Delivery>,
}

impl fmt::Debug for RabbitConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitConsumer").finish_non_exhaustive()
    }
}

impl Consumer for RabbitConsumer {
    async fn receive(&mut self, wait: Duration, out: &mut Vec<Bytes>) -> Result<()> {
        self.unacked.clear();
        let Ok(first) = tokio::time::timeout(wait, self.deliveries.next()).await else {
            return Ok(());
        };
        let mut next = Some(first);
        while let Some(delivery) = next {
            let mut delivery = delivery.ok_or_else(|| anyhow!("consumer ended"))??;
            out.push(std::mem::take(&mut delivery.data).into());
            self.unacked.push(delivery);
            let room = self.unacked.len() < self.prefetch;
            next = if room {
                self.deliveries.next().now_or_never()
            } else {
                None
            };
        }
        Ok(())
    }

    async fn ack(&mut self) -> Result<()> {
        let acks = self.unacked.drain(..).map(|delivery| async move {
            match delivery.ack(BasicAckOptions::default()).await {
                Ok(true) => Ok(()),
                Ok(false) => Err(anyhow!("already acknowledged")),
                Err(e) => Err(e.into()),
            }
        });
        try_join_all(acks).await.map(drop)
    }

    async fn close(self) -> Result<()> {
        self.channel.close(200, "done".into()).await?;
        Ok(self.connection.close(200, "done".into()).await?)
    }
}
