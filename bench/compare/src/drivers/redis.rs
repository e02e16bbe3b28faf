//! Redis Streams: one stream, one consumer group.
//!
//! Publish: `XADD`, in pipelines of up to half the window, two pipelines outstanding.
//! Receive: `XREADGROUP COUNT prefetch BLOCK`.
//! Ack: one `XACK` and one `XDEL` per item, in one pipeline per batch: without the `XDEL` the
//! stream would grow for ever, so a work queue needs both.
//! Durability is the server's `appendfsync`: `always` runs one fdatasync per turn of the event
//! loop before it answers (group commit); `everysec` answers first.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt as _, StreamExt as _};
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, FromRedisValue as _, IntoConnectionInfo as _, cmd, pipe,
};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinSet;

use super::window::Places;
use crate::driver::{Consumer, Driver, OnConfirm, Producer, QUEUE};

const GROUP: &str = "workers";
const FIELD: &str = "d";
const PATIENCE: Duration = Duration::from_secs(60);
/// Pipelines under way at a time, each of half the window.
const PIPELINES: usize = 2;

#[derive(Debug)]
pub(crate) struct Redis {
    client: Client,
    control: MultiplexedConnection,
    consumers: AtomicU64,
}

async fn open(client: &Client) -> Result<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
    Ok(client
        .get_multiplexed_async_connection_with_config(&config)
        .await?)
}

impl Driver for Redis {
    type Producer = RedisProducer;
    type Consumer = RedisConsumer;

    async fn connect(url: &str) -> Result<Self> {
        let info = url
            .into_connection_info()?
            .set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let client = Client::open(info)?;
        let mut control = open(&client).await?;
        cmd("PING").query_async::<()>(&mut control).await?; // fails while the log is loading
        Ok(Self {
            client,
            control,
            consumers: AtomicU64::new(0),
        })
    }

    async fn version(&self) -> Result<String> {
        let mut control = self.control.clone();
        let info: String = cmd("INFO").arg("server").query_async(&mut control).await?;
        let version = info.lines().find_map(|l| l.strip_prefix("redis_version:"));
        let (_, fsync): (String, String) = cmd("CONFIG")
            .arg("GET")
            .arg("appendfsync")
            .query_async(&mut control)
            .await?;
        Ok(format!(
            "redis {} appendfsync={fsync}",
            version.unwrap_or("?")
        ))
    }

    async fn reset(&self) -> Result<()> {
        let mut control = self.control.clone();
        cmd("DEL")
            .arg(QUEUE)
            .query_async::<()>(&mut control)
            .await?;
        let mut create = cmd("XGROUP");
        create
            .arg("CREATE")
            .arg(QUEUE)
            .arg(GROUP)
            .arg("0")
            .arg("MKSTREAM");
        Ok(create.query_async::<()>(&mut control).await?)
    }

    async fn producer(
        &self,
        window: usize,
        on_confirm: Option<OnConfirm>,
    ) -> Result<RedisProducer> {
        let connection = open(&self.client).await?;
        let places = Places::new(window);
        // As many as have a place, so that there is always room.
        let (queue, items) = mpsc::channel(window);
        let chunk = (window / PIPELINES).max(1);
        let failing = places.clone();
        let mut task = JoinSet::new();
        task.spawn(async move {
            if let Err(e) = publish_loop(connection, items, chunk, on_confirm).await {
                failing.fail(e);
            }
        });
        Ok(RedisProducer {
            places,
            queue,
            _task: task,
        })
    }

    async fn consumer(&self, prefetch: usize) -> Result<RedisConsumer> {
        let n = self.consumers.fetch_add(1, Ordering::Relaxed);
        let name = format!("c{}-{n}", std::process::id());
        let connection = open(&self.client).await?;
        Ok(RedisConsumer {
            connection,
            name,
            prefetch,
            unacked: Vec::new(),
        })
    }

    async fn depth(&self) -> Result<u64> {
        let mut control = self.control.clone();
        let (length, pending): (u64, (u64, redis::Value, redis::Value, redis::Value)) = pipe()
            .cmd("XLEN")
            .arg(QUEUE)
            .cmd("XPENDING")
            .arg(QUEUE)
            .arg(GROUP)
            .query_async(&mut control)
            .await?;
        Ok(length.max(pending.0))
    }
}

type Queued = (u64, Bytes, OwnedSemaphorePermit);

async fn publish_loop(
    connection: MultiplexedConnection,
    mut items: mpsc::Receiver<Queued>,
    chunk: usize,
    on_confirm: Option<OnConfirm>,
) -> Result<()> {
    let mut batch = Vec::with_capacity(chunk);
    let mut outstanding = FuturesOrdered::new();
    loop {
        tokio::select! {
            n = items.recv_many(&mut batch, chunk), if outstanding.len() < PIPELINES => {
                if n == 0 {
                    return Ok(());
                }
                let mut connection = connection.clone();
                let batch = std::mem::replace(&mut batch, Vec::with_capacity(chunk));
                outstanding.push_back(async move {
                    let mut pipeline = pipe();
                    for (_, payload, _) in &batch {
                        let add = pipeline.cmd("XADD").arg(QUEUE).arg("*").arg(FIELD);
                        add.arg(&payload[..]).ignore();
                    }
                    pipeline.query_async::<()>(&mut connection).await.map(|()| batch)
                });
            }
            Some(done) = outstanding.next(), if !outstanding.is_empty() => {
                for (id, _, permit) in done? {
                    on_confirm.iter().for_each(|on_confirm| on_confirm.call(id));
                    drop(permit);
                }
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct RedisProducer {
    places: Places,
    queue: mpsc::Sender<Queued>,
    _task: JoinSet<()>,
}

impl Producer for RedisProducer {
    async fn publish(&mut self, id: u64, payload: Bytes) -> Result<()> {
        let permit = self.places.take().await?;
        let _ = self.queue.try_send((id, payload, permit)); // a failed window reports at `take`
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        self.places.all_free().await
    }
}

#[derive(Debug)]
pub(crate) struct RedisConsumer {
    connection: MultiplexedConnection,
    name: String,
    prefetch: usize,
    unacked: Vec<Vec<u8>>,
}

/// The answer to XREADGROUP: `[[stream, [[entry id, [field, value]], ...]]]`, or nil when the wait ran out.
type Entries = Option<Vec<(String, Vec<(Vec<u8>, (String, Vec<u8>))>)>>;

impl Consumer for RedisConsumer {
    async fn receive(&mut self, wait: Duration, out: &mut Vec<Bytes>) -> Result<()> {
        self.unacked.clear();
        let mut read = cmd("XREADGROUP");
        read.arg("GROUP").arg(GROUP).arg(&self.name);
        read.arg("COUNT")
            .arg(self.prefetch)
            .arg("BLOCK")
            .arg(u64::try_from(wait.as_millis())?.max(1));
        read.arg("STREAMS").arg(QUEUE).arg(">");
        let answer = self.connection.send_packed_command(&read).boxed().await?;
        for (_, entries) in Entries::from_redis_value(answer)?.into_iter().flatten() {
            for (entry, (_, payload)) in entries {
                out.push(payload.into());
                self.unacked.push(entry);
            }
        }
        Ok(())
    }

    async fn ack(&mut self) -> Result<()> {
        let mut pipeline = pipe();
        for entry in self.unacked.drain(..) {
            pipeline
                .cmd("XACK")
                .arg(QUEUE)
                .arg(GROUP)
                .arg(&entry[..])
                .ignore();
            pipeline.cmd("XDEL").arg(QUEUE).arg(&entry[..]).ignore();
        }
        Ok(pipeline.query_async::<()>(&mut self.connection).await?)
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}
