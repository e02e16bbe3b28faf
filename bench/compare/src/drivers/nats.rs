//! NATS JetStream: file storage, work-queue retention, one durable pull consumer shared by all.
//!
//! Publish: `publish` with the JetStream ack awaited, a sliding window of them.
//! Receive: pull requests of `prefetch` messages, refilled by the client at half.
//! Ack: one explicit ack message per item, not confirmed by the server (the client's default).
//! Durability is the server's: the ack follows the write(2) into the block file; fsync runs
//! every `sync_interval` (2 minutes by default), or before each ack with `sync_interval: always`.

use std::fmt;
use std::future::IntoFuture as _;
use std::time::Duration;

use anyhow::{Result, anyhow};
use async_nats::Client;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::stream::{Config, RetentionPolicy, StorageType};
use async_nats::jetstream::{self, AckKind, Context, Message};
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};

use super::window::ConfirmWindow;
use crate::driver::{Consumer, Driver, OnConfirm, Producer, QUEUE};

const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than any run.
const ACK_WAIT: Duration = Duration::from_secs(600);
/// Never what limits a consumer here: prefetch does.
const UNACKED_MAX: i64 = 1_000_000;

#[derive(Debug)]
pub(crate) struct Nats {
    url: String,
    client: Client,
    jetstream: Context,
}

impl Driver for Nats {
    type Producer = NatsProducer;
    type Consumer = NatsConsumer;

    async fn connect(url: &str) -> Result<Self> {
        let client = async_nats::connect(url).await?;
        let jetstream = jetstream::new(client.clone());
        Ok(Self {
            url: url.into(),
            client,
            jetstream,
        })
    }

    async fn version(&self) -> Result<String> {
        Ok(format!("nats-server {}", self.client.server_info().version))
    }

    async fn reset(&self) -> Result<()> {
        let _ = self.jetstream.delete_stream(QUEUE).await;
        let stream = self
            .jetstream
            .create_stream(Config {
                name: QUEUE.into(),
                subjects: vec![QUEUE.into()],
                storage: StorageType::File,
                retention: RetentionPolicy::WorkQueue,
                num_replicas: 1,
                ..Default::default()
            })
            .await?;
        stream
            .create_consumer(pull::Config {
                durable_name: Some(QUEUE.into()),
                ack_policy: AckPolicy::Explicit,
                ack_wait: ACK_WAIT,
                max_ack_pending: UNACKED_MAX,
                ..Default::default()
            })
            .await?;
        Ok(())
    }

    async fn producer(&self, window: usize, on_confirm: Option<OnConfirm>) -> Result<NatsProducer> {
        let client = async_nats::connect(&self.url).await?;
        let jetstream = ContextBuilder::new()
            .timeout(PATIENCE)
            .ack_timeout(PATIENCE)
            .max_ack_inflight(window.max(1))
            .build(client);
        Ok(NatsProducer {
            jetstream,
            window: ConfirmWindow::new(window, on_confirm),
        })
    }

    async fn consumer(&self, prefetch: usize) -> Result<NatsConsumer> {
        let client = async_nats::connect(&self.url).await?;
        let consumer: PullConsumer = jetstream::new(client.clone())
            .get_consumer_from_stream(QUEUE, QUEUE)
            .await?;
        let messages = consumer
            .stream()
            .max_messages_per_batch(prefetch)
            .messages()
            .await?;
        Ok(NatsConsumer {
            client,
            messages,
            prefetch,
            unacked: Vec::new(),
        })
    }

    async fn depth(&self) -> Result<u64> {
        let mut stream = self.jetstream.get_stream(QUEUE).await?;
        Ok(stream.info().await?.state.messages)
    }
}

#[derive(Debug)]
pub(crate) struct NatsProducer {
    jetstream: Context,
    window: ConfirmWindow,
}

impl Producer for NatsProducer {
    async fn publish(&mut self, id: u64, payload: Bytes) -> Result<()> {
        let permit = self.window.places.take().await?;
        let ack = self.jetstream.publish(QUEUE, payload).await?;
        let confirmation = async move { Ok(ack.into_future().await.map(drop)?) };
        self.window.sent(id, permit, confirmation.boxed());
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        self.window.places.all_free().await
    }
}

pub(crate) struct NatsConsumer {
    client: Client,
    messages: pull::Stream,
    prefetch: usize,
    unacked: Vec<Message>,
}

impl fmt::Debug for NatsConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsConsumer").finish_non_exhaustive()
    }
}

impl Consumer for NatsConsumer {
    async fn receive(&mut self, wait: Duration, out: &mut Vec<Bytes>) -> Result<()> {
        self.unacked.clear();
        let Ok(first) = tokio::time::timeout(wait, self.messages.next()).await else {
            return Ok(());
        };
        let mut next = Some(first);
        while let Some(message) = next {
            let message = message.ok_or_else(|| anyhow!("consumer ended"))??;
            out.push(message.payload.clone());
            self.unacked.push(message);
            let room = self.unacked.len() < self.prefetch;
            next = if room {
                self.messages.next().now_or_never()
            } else {
                None
            };
        }
        Ok(())
    }

    async fn ack(&mut self) -> Result<()> {
        for message in self.unacked.drain(..) {
            message
                .ack_with(AckKind::Ack)
                .await
                .map_err(|e| anyhow!(e))?;
        }
        Ok(())
    }

    async fn close(self) -> Result<()> {
        self.client.flush().await?;
        Ok(self.client.drain().await?)
    }
}
