//! The order of things between the disk and those who wait, where a simulation cannot look: within one commit.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use baton_journal::Settings;
use baton_journal::fs::{FaultFs, File, FileSystem};
use baton_queue::{Config, Event, Timestamp};
use tokio::sync::watch;

use super::writer::Written;
use super::{Loops, Storage};
use crate::engine::commit::{Commit, CommitPosition, CommitProgress, CommitTarget as _};

/// What was told to be durable, looked at during each sync.
#[derive(Debug, Default)]
struct Spy {
    progress: Mutex<Option<watch::Receiver<CommitProgress>>>,
    syncs: AtomicU64,
    /// The furthest that was told while a sync had not returned yet.
    told_early: AtomicU64,
}

impl Spy {
    fn look(&self) {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        if let Some(progress) = self.progress.lock().unwrap().as_ref()
            && let CommitProgress::Durable(position) = *progress.borrow()
        {
            self.told_early.fetch_max(position.0, Ordering::Relaxed);
        }
    }
}

#[derive(Debug)]
struct SpiedFs(FaultFs, Arc<Spy>);

#[derive(Debug)]
struct SpiedFile(Arc<dyn File>, Arc<Spy>);

impl FileSystem for SpiedFs {
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(SpiedFile(self.0.open(name)?, Arc::clone(&self.1))))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(SpiedFile(
            self.0.create(name)?,
            Arc::clone(&self.1),
        )))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.0.sync_dir()
    }

    fn lock(&self) -> io::Result<Box<dyn std::fmt::Debug + Send + Sync>> {
        self.0.lock()
    }
}

impl File for SpiedFile {
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, parts: &[io::IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.0.write_at(parts, offset)
    }

    fn resize(&self, bytes: u64) -> io::Result<()> {
        self.0.resize(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.1.look();
        self.0.sync()
    }
}

fn storage(spy: &Arc<Spy>) -> (Storage, Loops) {
    let fs = SpiedFs(FaultFs::new(1), Arc::clone(spy));
    let mut salts = 0;
    let mut settings = Settings::new(move || {
        salts += 1;
        salts
    });
    settings.segment_bytes = 1 << 20;
    let (opened, loops) = Storage::over(Arc::new(fs), settings, 1 << 20).unwrap();
    (opened.storage, loops)
}

fn commit(position: u64) -> Commit {
    let config = Config::default();
    let at = Timestamp(position);
    Commit {
        position: CommitPosition(position),
        events: vec![Event::ConfigChanged { at, config }],
        ..Commit::default()
    }
}

#[test]
fn a_queue_is_told_after_the_sync_and_not_before() {
    let spy = Arc::<Spy>::default();
    let (storage, mut loops) = storage(&spy);
    let mut target = storage.create(&"q".parse().unwrap());
    let progress = target.progress();
    *spy.progress.lock().unwrap() = Some(progress.clone());
    for position in 1..=3 {
        let before = spy.syncs.load(Ordering::Relaxed);
        target.submit(commit(position));
        assert_eq!(loops.writer.step(Duration::ZERO), Written::Commit);
        assert!(
            spy.syncs.load(Ordering::Relaxed) > before,
            "it was not synced"
        );
        assert_eq!(spy.told_early.load(Ordering::Relaxed), position - 1);
        let durable = CommitProgress::Durable(CommitPosition(position));
        assert_eq!(*progress.borrow(), durable);
    }
}

#[test]
fn what_gathered_shares_one_sync() {
    let spy = Arc::<Spy>::default();
    let (storage, mut loops) = storage(&spy);
    let mut targets = ["a", "b", "c"].map(|name| storage.create(&name.parse().unwrap()));
    for target in &mut targets {
        target.submit(commit(1));
        target.submit(commit(2));
    }
    let before = spy.syncs.load(Ordering::Relaxed);
    assert_eq!(loops.writer.step(Duration::ZERO), Written::Commit);
    assert_eq!(spy.syncs.load(Ordering::Relaxed), before + 1);
    for target in &targets {
        let durable = CommitProgress::Durable(CommitPosition(2));
        assert_eq!(*target.progress().borrow(), durable);
        assert!(!target.is_busy());
    }
    assert_eq!(loops.writer.step(Duration::ZERO), Written::Nothing);
}

#[test]
fn nothing_is_kept_of_a_queue_that_is_gone() {
    let (storage, _loops) = storage(&Arc::default());
    let kept = storage.create(&"a".parse().unwrap());
    drop(storage.create(&"b".parse().unwrap()));
    assert_eq!(storage.links.len(), 1);
    assert!(storage.links.get(kept.stream()).is_some());
}
