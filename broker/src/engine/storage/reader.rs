//! The reader thread: brings bodies back from disk, so that neither the writer nor a queue waits for it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use baton_journal::{Block, ReadError, Reader, StreamId};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::engine::loading::{Loaded, Unreadable};
use crate::limits::{PAGE_BYTES_MAX, READ_BYTES};

/// Reads that wait. A queue has one under way and a caller of the admin service too; who finds no place tries again.
const READS_WAITING: usize = 1024;

/// Asks for bodies of one stream.
#[derive(Debug, Clone)]
pub(in crate::engine) struct BodyReader {
    stream: StreamId,
    requests: SyncSender<Request>,
}

#[derive(Debug)]
struct Request {
    stream: StreamId,
    what: What,
}

#[derive(Debug)]
enum What {
    /// For a queue.
    Ahead(Vec<(u64, u32)>, oneshot::Sender<Loaded>),
    /// For a caller who wants to see these.
    Show(Vec<u64>, oneshot::Sender<Vec<Option<bytes::Bytes>>>),
    /// Nobody will ask any more.
    End,
}

/// See the module.
#[derive(Debug)]
pub(in crate::engine) struct ReaderLoop {
    journal: Reader,
    requests: Receiver<Request>,
    failed: CancellationToken,
}

pub(super) fn body_reader(journal: Reader, failed: CancellationToken) -> (BodyReader, ReaderLoop) {
    let (sender, requests) = sync_channel(READS_WAITING);
    let reader = BodyReader {
        stream: StreamId(0),
        requests: sender,
    };
    (
        reader,
        ReaderLoop {
            journal,
            requests,
            failed,
        },
    )
}

impl BodyReader {
    pub(super) fn of(&self, stream: StreamId) -> Self {
        Self {
            stream,
            requests: self.requests.clone(),
        }
    }

    /// Reads runs of items ahead. None: too many reads wait.
    pub(in crate::engine) fn read(
        &self,
        runs: Vec<(u64, u32)>,
    ) -> Option<oneshot::Receiver<Loaded>> {
        let (reply, loaded) = oneshot::channel();
        self.ask(What::Ahead(runs, reply)).then_some(loaded)
    }

    /// The bodies of items, as far as they can be read.
    pub(in crate::engine) async fn show(&self, items: Vec<u64>) -> Vec<Option<bytes::Bytes>> {
        let none = vec![None; items.len()];
        let (reply, shown) = oneshot::channel();
        if !self.ask(What::Show(items, reply)) {
            return none;
        }
        shown.await.unwrap_or(none)
    }

    fn ask(&self, what: What) -> bool {
        let stream = self.stream;
        self.requests.try_send(Request { stream, what }).is_ok()
    }

    pub(super) fn close(&self) {
        // Fails where it has ended, or is so busy that it will see the channel close.
        drop(self.requests.try_send(Request {
            stream: self.stream,
            what: What::End,
        }));
    }
}

impl ReaderLoop {
    /// Runs until it is told to end.
    pub(super) fn run(self) {
        while self.step(Duration::from_secs(3600)) {}
    }

    /// One read. False: there will be no more.
    pub(in crate::engine) fn step(&self, wait: Duration) -> bool {
        use std::sync::mpsc::RecvTimeoutError::{Disconnected, Timeout};
        let request = match self.requests.recv_timeout(wait) {
            Ok(request) => request,
            Err(Timeout) => return true,
            Err(Disconnected) => return false,
        };
        match request.what {
            What::Ahead(runs, reply) => drop(reply.send(self.read(request.stream, &runs))),
            What::Show(items, reply) => drop(reply.send(self.show(request.stream, &items))),
            What::End => return false,
        }
        true
    }

    fn read(&self, stream: StreamId, runs: &[(u64, u32)]) -> Loaded {
        let mut loaded = Loaded::default();
        let mut bytes = 0;
        for &(first, count) in runs {
            let end = first + u64::from(count);
            let mut at = first;
            while at < end && bytes < READ_BYTES {
                let count = u32::try_from(end - at).expect("it is a part of a run");
                let room = usize::try_from(READ_BYTES - bytes).unwrap_or(usize::MAX);
                at = match self.journal.read(stream, at, count, room) {
                    Ok(blocks) => {
                        bytes += blocks
                            .iter()
                            .map(|block| block.payload().len() as u64)
                            .sum::<u64>();
                        let read = blocks.last().map_or(at, Block::end).max(at + 1);
                        loaded.blocks.extend(blocks);
                        read
                    }
                    Err(error) => self.unreadable(at, error, &mut loaded),
                };
            }
        }
        loaded
    }

    /// Notes what cannot be read. Where to go on.
    fn unreadable(&self, at: u64, error: ReadError, loaded: &mut Loaded) -> u64 {
        match error {
            // Settled in the meantime, most likely; the queue knows.
            ReadError::Gone => at + 1,
            ReadError::Damaged {
                file,
                offset,
                first,
                count,
            } => {
                let why: Arc<str> =
                    format!("the stored bytes are damaged: {file}, byte {offset}").into();
                loaded.unreadable.push(Unreadable { first, count, why });
                first.saturating_add(u64::from(count)).max(at + 1)
            }
            ReadError::Io(error) => {
                error!(%error, "stored items cannot be read; restart the broker to recover");
                self.failed.cancel();
                u64::MAX
            }
        }
    }

    fn show(&self, stream: StreamId, items: &[u64]) -> Vec<Option<bytes::Bytes>> {
        let mut bytes = 0;
        let bodies = items.iter().map(|&item| {
            if bytes > PAGE_BYTES_MAX {
                return None;
            }
            let blocks = self.journal.read(stream, item, 1, 1).ok()?;
            let body = blocks.first()?.get(item)?;
            bytes += body.len();
            Some(body)
        });
        bodies.collect()
    }
}
