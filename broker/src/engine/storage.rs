//! The journal at work under an engine: one thread writes, one keeps segments in order, one reads bodies back.
//!
//! ```text
//! queue actor --- Submission ---> Mailbox ---> writer thread --- progress ---> queue actor
//!             --- BodyRead -----> reader thread --- Loaded ---> queue actor
//! keeper thread: prepares and frees segments; asks queues for snapshots through their links
//! ```
//!
//! Each thread is a loop around one `step`, so that a simulation can take the steps instead. The first failed write or sync
//! fails every queue and cancels [`Storage::failed`]: the process ends and begins again from what is on disk.

mod commit_times;
mod keeper;
mod link;
mod mailbox;
mod reader;
mod recovery;
mod target;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use baton_journal::fs::{FileSystem, RealFs};
use baton_journal::{Counters, Error, Keeper, Reader, Settings, StreamId, Writer};
use baton_queue::{QueueName, Timestamp};
use baton_telemetry::histogram::Histogram;
use tokio_util::sync::CancellationToken;
use tracing::info;

use self::commit_times::CommitTimes;
pub(super) use self::keeper::KeeperLoop;
#[cfg(test)]
pub(super) use self::keeper::Kept;
pub(super) use self::link::Links;
pub(super) use self::mailbox::Mailbox;
pub(super) use self::reader::BodyReader;
pub(super) use self::reader::ReaderLoop;
pub(super) use self::recovery::RecoveredQueue;
pub(crate) use self::recovery::Recovery;
pub(super) use self::target::JournalTarget;
pub(super) use self::writer::WriterLoop;
#[cfg(test)]
pub(super) use self::writer::Written;

/// How an engine keeps items on disk.
#[derive(Debug, Clone)]
pub struct StorageSettings {
    /// The data directory; made if it is not there.
    pub directory: PathBuf,
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// Bytes of memory for bodies, over all queues: on their way to the disk, and at hand for consumers.
    pub memory_bytes_max: usize,
}

/// What was found when a data directory was opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) storage: Storage,
    pub(super) queues: Vec<RecoveredQueue>,
    /// The time of the last event.
    pub(super) latest: Timestamp,
}

/// The open journal.
#[derive(Debug)]
pub(super) struct Storage {
    mailbox: Arc<Mailbox>,
    links: Arc<Links>,
    reader: BodyReader,
    journal: Reader,
    commit_times: Arc<CommitTimes>,
    next_stream: AtomicU32,
    failed: CancellationToken,
    /// Taken by the one who stops it.
    threads: Mutex<Vec<JoinHandle<()>>>,
    stop: CancellationToken,
}

/// The parts that threads, or a simulation, drive.
#[derive(Debug)]
pub(super) struct Loops {
    pub(super) writer: WriterLoop,
    pub(super) keeper: KeeperLoop,
    pub(super) reader: ReaderLoop,
}

impl Storage {
    /// Opens the directory, reads what is in it, and starts the threads.
    ///
    /// # Errors
    /// It cannot be read, is damaged, or somebody else has it.
    pub(super) fn open(settings: &StorageSettings) -> Result<Opened, Error> {
        let began = Instant::now();
        let fs = real(&settings.directory)?;
        let mut journal = Settings::new(rand::random);
        journal.segment_bytes = settings.segment_bytes;
        let (opened, loops) = Self::over(fs, journal, settings.memory_bytes_max)?;
        announce(&settings.directory, &opened, began.elapsed());
        opened.storage.start_threads(loops)?;
        Ok(opened)
    }

    /// The same over any file system, without threads.
    pub(super) fn over(
        fs: Arc<dyn FileSystem>,
        settings: Settings,
        memory_bytes_max: usize,
    ) -> Result<(Opened, Loops), Error> {
        let mut recovery = Recovery::default();
        let recovered = baton_journal::recover(fs, settings, &mut recovery)?;
        let report = recovered.report().clone();
        let (next_stream, latest) = (recovered.next_stream(), recovery.latest());
        let queues = recovery.finish(|stream| recovered.last_seq(stream));
        let (writer, keeper, journal) = recovered.start()?;
        let failed = CancellationToken::new();
        let (mailbox, links) = (
            Arc::new(Mailbox::new(memory_bytes_max / 4)),
            Arc::new(Links::default()),
        );
        let (reader, reader_loop) = reader::body_reader(journal.clone(), failed.clone());
        let loops = loops(
            writer,
            (keeper, journal.clone()),
            reader_loop,
            (&mailbox, &links, &failed),
        );
        let storage = Self {
            mailbox,
            links,
            reader,
            journal,
            commit_times: loops.writer.times(),
            next_stream: AtomicU32::new(next_stream.0),
            failed,
            threads: Mutex::default(),
            stop: CancellationToken::new(),
        };
        info!(
            segments = report.segments,
            bytes = report.bytes,
            commits = report.commits,
            facts = report.facts_replayed,
            torn_bytes = report.torn_bytes,
            indexes_rebuilt = report.indexes_rebuilt,
            "journal read"
        );
        Ok((
            Opened {
                storage,
                queues,
                latest,
            },
            loops,
        ))
    }

    /// Where a new queue's commits go.
    pub(super) fn create(&self, name: &QueueName) -> JournalTarget {
        let stream = StreamId(self.next_stream.fetch_add(1, Ordering::Relaxed));
        self.target(stream).opening(name)
    }

    /// Where the commits of a queue go on that was there before.
    pub(super) fn resume(&self, queue: &RecoveredQueue) -> JournalTarget {
        self.target(queue.stream).after(queue.last_seq)
    }

    fn target(&self, stream: StreamId) -> JournalTarget {
        let mailbox = Arc::clone(&self.mailbox);
        JournalTarget::new(stream, &self.links, mailbox, self.journal.clone())
    }

    /// Reads bodies of a stream.
    pub(super) fn reader(&self, stream: StreamId) -> BodyReader {
        self.reader.of(stream)
    }

    /// Cancelled when nothing more will be durable.
    pub(super) fn failed(&self) -> &CancellationToken {
        &self.failed
    }

    /// What it did so far.
    pub(super) fn counters(&self) -> Counters {
        self.journal.counters()
    }

    /// How long each commit took.
    pub(super) fn commit_times(&self) -> Histogram {
        self.commit_times.so_far()
    }

    /// Whether new items can be stored: the disk has room.
    pub(super) fn has_room(&self) -> bool {
        self.journal.has_room()
    }

    fn start_threads(&self, loops: Loops) -> Result<(), Error> {
        let Loops {
            writer,
            keeper,
            reader,
        } = loops;
        let stop = self.stop.clone();
        let started = [
            spawn("baton-writer", move || writer.run()),
            spawn("baton-keeper", move || keeper.run(&stop)),
            spawn("baton-reader", move || reader.run()),
        ];
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in started {
            threads.push(thread.map_err(|source| Error::Io {
                action: "start",
                file: "a thread".into(),
                source,
            })?);
        }
        Ok(())
    }

    /// Writes what was submitted, and ends the threads. Blocks until they have ended.
    pub(super) fn stop(&self) {
        self.tell_threads();
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A thread that panicked has said so.
            drop(thread.join());
        }
    }
}

impl Storage {
    fn tell_threads(&self) {
        self.stop.cancel();
        self.mailbox.close();
        self.reader.close();
    }
}

// An engine that is dropped without having been stopped leaves no thread behind.
impl Drop for Storage {
    fn drop(&mut self) {
        self.tell_threads();
    }
}

fn loops(
    writer: Writer,
    keeper: (Keeper, Reader),
    reader: ReaderLoop,
    (mailbox, links, failed): (&Arc<Mailbox>, &Arc<Links>, &CancellationToken),
) -> Loops {
    Loops {
        writer: WriterLoop::new(
            writer,
            Arc::clone(mailbox),
            Arc::clone(links),
            failed.clone(),
        ),
        keeper: KeeperLoop::new(
            keeper,
            Arc::clone(mailbox),
            Arc::clone(links),
            failed.clone(),
        ),
        reader,
    }
}

pub(super) fn real(directory: &Path) -> Result<Arc<dyn FileSystem>, Error> {
    match RealFs::open(directory) {
        Ok(fs) => Ok(Arc::new(fs)),
        Err(source) => Err(Error::Io {
            action: "open the data directory",
            file: directory.display().to_string(),
            source,
        }),
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.into()).spawn(run)
}

fn announce(directory: &Path, opened: &Opened, took: Duration) {
    let (mut items, mut dead_letters) = (0, 0);
    for queue in &opened.queues {
        let stats = queue.queue.stats(Timestamp(0));
        items += stats.scheduled + stats.ready + stats.leased;
        dead_letters += stats.dead;
    }
    let queues = opened.queues.len();
    info!(directory = %directory.display(), queues, items, dead_letters, ?took, "data directory opened");
}
