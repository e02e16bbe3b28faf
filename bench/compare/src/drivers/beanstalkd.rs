//! beanstalkd's text protocol over TCP.
//!
//! Publish: pipelined `put`, a sliding window of `INSERTED` answers.
//! Receive: the protocol has no prefetch, so a batch of `reserve-with-timeout` is pipelined;
//! the batch grows to `prefetch` while it comes back full and shrinks when it does not.
//! Ack: one `delete` per item, pipelined per batch, each answer checked.
//! Durability is the server's: with `-b` each put and delete is written to the log before the
//! answer; `-f0` also runs fsync before it, `-f50` at most once per 50 ms.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use tokio::io::{
    AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, BufWriter,
};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Mutex, OwnedSemaphorePermit, mpsc};
use tokio::task::JoinSet;

use super::window::Places;
use crate::driver::{Consumer, Driver, OnConfirm, Producer, QUEUE};

/// Seconds that a reserved item stays with its consumer.
const TIME_TO_RUN: u32 = 600;
/// Items that go out with one write.
const WRITE_ITEMS: usize = 256;
const BUFFER_BYTES: usize = 256 << 10;

#[derive(Debug)]
struct Link {
    reader: BufReader<OwnedReadHalf>,
    writer: BufWriter<OwnedWriteHalf>,
}

impl Link {
    async fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (reader, writer) = stream.into_split();
        Ok(Self {
            reader: BufReader::with_capacity(BUFFER_BYTES, reader),
            writer: BufWriter::with_capacity(BUFFER_BYTES, writer),
        })
    }

    async fn ask(&mut self, command: &str) -> Result<String> {
        self.writer.write_all(command.as_bytes()).await?;
        self.writer.write_all(b"\r\n").await?;
        self.writer.flush().await?;
        read_line(&mut self.reader).await
    }

    /// Asks for an answer that carries a YAML body.
    async fn ask_body(&mut self, command: &str) -> Result<Option<String>> {
        let answer = self.ask(command).await?;
        if answer == "NOT_FOUND" {
            return Ok(None);
        }
        let size = answer
            .strip_prefix("OK ")
            .with_context(|| answer.clone())?
            .parse()?;
        Ok(Some(String::from_utf8(self.body(size).await?)?))
    }

    async fn body(&mut self, size: usize) -> Result<Vec<u8>> {
        let mut body = vec![0; size + 2];
        self.reader.read_exact(&mut body).await?;
        body.truncate(size); // the CRLF
        Ok(body)
    }
}

async fn read_line(reader: &mut BufReader<OwnedReadHalf>) -> Result<String> {
    let mut line = String::with_capacity(32);
    if reader.read_line(&mut line).await? == 0 {
        bail!("connection closed");
    }
    line.truncate(line.trim_end().len());
    Ok(line)
}

#[derive(Debug)]
pub(crate) struct Beanstalkd {
    address: String,
    control: Mutex<Link>,
}

fn field<'a>(yaml: &'a str, name: &str) -> Option<&'a str> {
    yaml.lines()
        .find_map(|l| l.strip_prefix(name)?.strip_prefix(": "))
}

impl Driver for Beanstalkd {
    type Producer = BeanstalkProducer;
    type Consumer = BeanstalkConsumer;

    async fn connect(url: &str) -> Result<Self> {
        let address = url.trim_start_matches("beanstalk://").to_string();
        let control = Mutex::new(Link::open(&address).await?);
        Ok(Self { address, control })
    }

    async fn version(&self) -> Result<String> {
        let stats = self
            .control
            .lock()
            .await
            .ask_body("stats")
            .await?
            .unwrap_or_default();
        Ok(format!(
            "beanstalkd {}",
            field(&stats, "version").unwrap_or("?")
        ))
    }

    async fn reset(&self) -> Result<()> {
        let mut consumer = self.consumer(1024).await?;
        consumer.batch = 1024;
        while self.depth().await? > 0 {
            consumer.receive(Duration::ZERO, &mut Vec::new()).await?;
            consumer.ack().await?;
        }
        Ok(())
    }

    async fn producer(
        &self,
        window: usize,
        on_confirm: Option<OnConfirm>,
    ) -> Result<BeanstalkProducer> {
        let mut link = Link::open(&self.address).await?;
        link.ask(&format!("use {QUEUE}")).await?;
        let places = Places::new(window);
        // As many as have a place, so that there is always room.
        let (queue, items) = mpsc::channel(window);
        let (sent, unconfirmed) = mpsc::channel(window);
        let (writing, reading) = (places.clone(), places.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            if let Err(e) = write_loop(link.writer, items, sent).await {
                writing.fail(e);
            }
        });
        tasks.spawn(async move {
            if let Err(e) = confirm_loop(link.reader, unconfirmed, on_confirm).await {
                reading.fail(e);
            }
        });
        Ok(BeanstalkProducer {
            places,
            queue,
            _tasks: tasks,
        })
    }

    async fn consumer(&self, prefetch: usize) -> Result<BeanstalkConsumer> {
        let mut link = Link::open(&self.address).await?;
        link.ask(&format!("watch {QUEUE}")).await?;
        link.ask("ignore default").await?;
        Ok(BeanstalkConsumer {
            link,
            prefetch,
            batch: 1,
            unacked: Vec::new(),
        })
    }

    async fn depth(&self) -> Result<u64> {
        let stats = self
            .control
            .lock()
            .await
            .ask_body(&format!("stats-tube {QUEUE}"))
            .await?;
        let stats = stats.unwrap_or_default(); // a tube without items or users does not exist
        let count = |name| {
            field(&stats, name)
                .and_then(|n| n.parse::<u64>().ok())
                .unwrap_or(0)
        };
        Ok(count("current-jobs-ready") + count("current-jobs-reserved"))
    }
}

type Queued = (u64, Bytes, OwnedSemaphorePermit);

async fn write_loop(
    mut writer: BufWriter<OwnedWriteHalf>,
    mut items: mpsc::Receiver<Queued>,
    sent: mpsc::Sender<(u64, OwnedSemaphorePermit)>,
) -> Result<()> {
    let mut batch = Vec::new();
    let mut head = Vec::new();
    while items.recv_many(&mut batch, WRITE_ITEMS).await > 0 {
        for (id, payload, permit) in batch.drain(..) {
            head.clear();
            write!(head, "put 0 0 {TIME_TO_RUN} {}\r\n", payload.len())?;
            sent.try_send((id, permit))?;
            writer.write_all(&head).await?;
            writer.write_all(&payload).await?;
            writer.write_all(b"\r\n").await?;
        }
        writer.flush().await?;
    }
    Ok(())
}

async fn confirm_loop(
    mut reader: BufReader<OwnedReadHalf>,
    mut unconfirmed: mpsc::Receiver<(u64, OwnedSemaphorePermit)>,
    on_confirm: Option<OnConfirm>,
) -> Result<()> {
    while let Some((id, permit)) = unconfirmed.recv().await {
        let answer = read_line(&mut reader).await?;
        if !answer.starts_with("INSERTED ") {
            bail!("put: {answer}");
        }
        on_confirm.iter().for_each(|on_confirm| on_confirm.call(id));
        drop(permit);
    }
    Ok(())
}

#[derive(Debug)]
pub(crate) struct BeanstalkProducer {
    places: Places,
    queue: mpsc::Sender<Queued>,
    _tasks: JoinSet<()>,
}

impl Producer for BeanstalkProducer {
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
pub(crate) struct BeanstalkConsumer {
    link: Link,
    prefetch: usize,
    batch: usize,
    unacked: Vec<u64>,
}

impl Consumer for BeanstalkConsumer {
    async fn receive(&mut self, wait: Duration, out: &mut Vec<Bytes>) -> Result<()> {
        self.unacked.clear();
        // The protocol's unit, rounded up.
        let seconds = wait.as_millis().div_ceil(1000);
        let writer = &mut self.link.writer;
        writer
            .write_all(format!("reserve-with-timeout {seconds}\r\n").as_bytes())
            .await?;
        for _ in 1..self.batch {
            writer.write_all(b"reserve-with-timeout 0\r\n").await?;
        }
        writer.flush().await?;
        for _ in 0..self.batch {
            let answer = read_line(&mut self.link.reader).await?;
            let mut words = answer.split(' ');
            match (words.next(), words.next(), words.next()) {
                (Some("RESERVED"), Some(id), Some(size)) => {
                    out.push(self.link.body(size.parse()?).await?.into());
                    self.unacked.push(id.parse()?);
                }
                (Some("TIMED_OUT"), ..) => {}
                _ => bail!("reserve: {answer}"),
            }
        }
        let got = self.unacked.len();
        self.batch = if got == self.batch { got * 2 } else { got }.clamp(1, self.prefetch);
        Ok(())
    }

    async fn ack(&mut self) -> Result<()> {
        let mut commands = Vec::with_capacity(self.unacked.len() * 20);
        for id in &self.unacked {
            write!(commands, "delete {id}\r\n")?;
        }
        self.link.writer.write_all(&commands).await?;
        self.link.writer.flush().await?;
        for _ in self.unacked.drain(..) {
            let answer = read_line(&mut self.link.reader).await?;
            if answer != "DELETED" {
                bail!("delete: {answer}");
            }
        }
        Ok(())
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}
