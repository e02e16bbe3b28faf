//! A data directory to be damaged: real queues and the real journal, small segments, one thread.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use baton_journal::fs::RealFs;
use baton_journal::{
    Batch, Block, Error, Found, Keeper, Place, Record, Released, Settings, Step, StreamId, Writer,
    recover, scan,
};
use baton_queue::{
    Admit, Config, Event, ItemId, Nack, NackKind, NewItem, ProducerRef, Publish, Queue, SessionId,
    Timestamp, Want,
};
use bytes::Bytes;
use tempfile::TempDir;

use crate::engine::Recovery;

const SEGMENT_BYTES: u64 = 256 << 10;

/// What every body of an item is.
pub(in crate::offline) fn body(stream: u32, item: u64) -> Bytes {
    format!("{stream}/{item};").repeat(120).into()
}

pub(in crate::offline) struct Site {
    root: TempDir,
    /// None: between two lives.
    journal: Option<(Writer, Keeper)>,
    pub(in crate::offline) queues: BTreeMap<u32, (Queue, u64)>,
    pub(in crate::offline) now: Timestamp,
}

impl Site {
    pub(in crate::offline) fn new() -> Self {
        let root = TempDir::new().unwrap();
        let journal = Some(start(&root.path().join("data")));
        Self {
            root,
            journal,
            queues: BTreeMap::new(),
            now: crate::offline::now(),
        }
    }

    pub(in crate::offline) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The broker's end, and another start: a new segment begins.
    pub(in crate::offline) fn reopen(&mut self) {
        self.journal = None;
        self.journal = Some(start(&self.path("data")));
        self.keep();
    }

    pub(in crate::offline) fn open(&mut self, stream: u32, config: Config) {
        self.queues
            .insert(stream, (Queue::new(Config::default()), 0));
        let opened = Record::StreamOpened {
            stream: StreamId(stream),
            name: Bytes::from(format!("queue-{stream}")),
        };
        let at = self.now;
        self.turn(stream, vec![opened], |queue, _, events| {
            let event = Event::ConfigChanged { at, config };
            queue.apply(&event);
            events.push(event);
        });
    }

    /// Publishes so many items; the first is one of a producer's, and has a key.
    pub(in crate::offline) fn publish(&mut self, stream: u32, count: u32, delay: Option<Duration>) {
        let first = self.queues[&stream].0.last_item().0 + 1;
        let bodies: Vec<Bytes> = (first..)
            .take(count as usize)
            .map(|item| body(stream, item))
            .collect();
        let due = delay.map(|delay| self.now.saturating_add(delay));
        let items: Vec<NewItem> = (0..)
            .zip(&bodies)
            .map(|(index, body)| NewItem {
                index,
                size: u32::try_from(body.len()).unwrap(),
                due,
                dedup_key: (index == 0).then(|| Bytes::from(format!("key-{first}"))),
                ..NewItem::default()
            })
            .collect();
        let block = Record::Bodies {
            stream: StreamId(stream),
            block: Block::of(first, &bodies),
        };
        self.turn(stream, vec![block], |queue, now, events| {
            let producer = Some(ProducerRef {
                id: "producer",
                first_sequence: first,
            });
            let publish = Publish {
                producer,
                items: &items,
                admit: Admit::All,
                origin: None,
            };
            queue.handle_publish(now, publish, events).unwrap();
        });
    }

    /// Leases so many; returns the first lease's number and the items.
    pub(in crate::offline) fn lease(&mut self, stream: u32, items: u32) -> (u64, Vec<u64>) {
        let want = Want {
            items,
            bytes: None,
            lease_duration: None,
            consumer: Some("worker".into()),
            up_to: None,
        };
        let mut leased = Vec::new();
        self.turn(stream, Vec::new(), |queue, now, events| {
            leased = queue.handle_lease(now, SessionId::UNARY, want, events);
        });
        let items = leased
            .iter()
            .flat_map(|run| (run.first.0..).take(run.count as usize));
        (leased[0].first_seq, items.collect())
    }

    /// Leases so many items and acks them.
    pub(in crate::offline) fn ack(&mut self, stream: u32, items: u32) {
        let (first, leased) = self.lease(stream, items);
        let last = first + leased.len() as u64 - 1;
        self.turn(stream, Vec::new(), |queue, now, events| {
            queue.handle_ack(now, SessionId::UNARY, first, last, events);
        });
    }

    /// Leases one item, and fails it.
    pub(in crate::offline) fn fail(&mut self, stream: u32, kind: NackKind) {
        let (first, _) = self.lease(stream, 1);
        let nack = Nack {
            kind,
            error: "it broke".into(),
            random: 7,
        };
        self.turn(stream, Vec::new(), |queue, now, events| {
            queue.handle_nack(now, SessionId::UNARY, first, first, nack, events);
        });
    }

    pub(in crate::offline) fn checkpoint(&mut self, stream: u32) {
        let (queue, seq) = &self.queues[&stream];
        let mut payload = Vec::new();
        queue.snapshot(&mut payload);
        let record = Record::Checkpoint {
            stream: StreamId(stream),
            as_of: *seq,
            part: 0,
            parts: 1,
            payload: payload.into(),
        };
        self.commit(vec![record], Vec::new());
    }

    pub(in crate::offline) fn act(
        &mut self,
        stream: u32,
        act: impl FnOnce(&mut Queue, Timestamp, &mut Vec<Event>),
    ) {
        self.turn(stream, Vec::new(), act);
    }

    fn turn(
        &mut self,
        stream: u32,
        mut records: Vec<Record>,
        act: impl FnOnce(&mut Queue, Timestamp, &mut Vec<Event>),
    ) {
        self.now = self.now.saturating_add(Duration::from_millis(1));
        let (queue, seq) = self.queues.get_mut(&stream).unwrap();
        let mut events = Vec::new();
        act(queue, self.now, &mut events);
        let mut payload = Vec::new();
        baton_queue::encode_events(&events, &mut payload);
        *seq += 1;
        let stream = StreamId(stream);
        records.push(Record::Facts {
            stream,
            seq: *seq,
            payload: payload.into(),
        });
        let mut released = Vec::new();
        while let Some((first, count)) = queue.poll_removed() {
            let first = first.0;
            released.push(Released {
                stream,
                first,
                count,
            });
        }
        self.commit(records, released);
    }

    fn commit(&mut self, records: Vec<Record>, released: Vec<Released>) {
        let batch = Batch { records, released };
        while let Err(error) = self.journal.as_mut().unwrap().0.commit(&batch) {
            assert!(matches!(error, Error::NoSegment), "{error}");
            self.keep();
        }
        self.keep();
    }

    fn keep(&mut self) {
        let (_, keeper) = self.journal.as_mut().unwrap();
        while let Step::Worked = keeper.step().unwrap() {}
    }

    /// The files, in a directory that stays.
    pub(in crate::offline) fn closed_data(self, to: &Path) {
        let data = self.path("data");
        drop(self.journal);
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(data).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }

    /// The broker's end: nothing holds the directory any more.
    pub(in crate::offline) fn closed(self) -> Closed {
        let data = self.path("data");
        let states = self.queues.into_iter();
        Closed {
            queues: states.map(|(stream, (queue, _))| (stream, queue)).collect(),
            places: places(&data),
            root: self.root,
        }
    }
}

fn start(data: &Path) -> (Writer, Keeper) {
    let fs = Arc::new(RealFs::open(data).unwrap());
    let mut salt = 0;
    let mut settings = Settings::new(move || {
        salt += 1;
        salt
    });
    settings.segment_bytes = SEGMENT_BYTES;
    settings.spares = 1;
    let recovered = recover(fs, settings, &mut Recovery::default()).unwrap();
    let (writer, mut keeper, _) = recovered.start().unwrap();
    while let Step::Worked = keeper.step().unwrap() {}
    (writer, keeper)
}

/// What stands where.
pub(in crate::offline) fn places(data: &Path) -> Vec<(Record, Place)> {
    let fs = RealFs::open(data).unwrap();
    let mut places = Vec::new();
    scan(&fs, &mut |found| {
        if let Found::Record(record, place) = found {
            places.push((record, place));
        }
    })
    .unwrap();
    places
}

/// A directory that nobody has open.
pub(in crate::offline) struct Closed {
    root: TempDir,
    pub(in crate::offline) queues: BTreeMap<u32, Queue>,
    places: Vec<(Record, Place)>,
}

impl Closed {
    pub(in crate::offline) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(in crate::offline) fn segments(&self) -> Vec<String> {
        let names: BTreeSet<String> = self
            .places
            .iter()
            .map(|(_, place)| place.file.clone())
            .collect();
        names.into_iter().collect()
    }

    /// Another directory with the same files.
    pub(in crate::offline) fn copy(&self) -> Self {
        let copy = Self {
            root: TempDir::new().unwrap(),
            queues: self.queues.clone(),
            places: self.places.clone(),
        };
        let data = copy.path("data");
        fs::create_dir(&data).unwrap();
        for entry in fs::read_dir(self.path("data")).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, data.join(path.file_name().unwrap())).unwrap();
        }
        copy
    }

    /// The places of the records that are so.
    pub(in crate::offline) fn of(&self, is: impl Fn(&Record) -> bool) -> Vec<Place> {
        let places = self.places.iter().filter(|(record, _)| is(record));
        places.map(|(_, place)| place.clone()).collect()
    }

    /// Flips a bit in the payload of a record.
    pub(in crate::offline) fn flip(&self, place: &Place) {
        self.flip_at(&place.file, place.offset + 40);
    }

    pub(in crate::offline) fn flip_at(&self, file: &str, offset: u64) {
        let path = self.path("data").join(file);
        let mut bytes = fs::read(&path).unwrap();
        bytes[usize::try_from(offset).unwrap()] ^= 4;
        fs::write(path, bytes).unwrap();
    }

    pub(in crate::offline) fn remove(&self, segment: &str) {
        let path = self.path("data").join(segment);
        fs::remove_file(&path).unwrap();
        drop(fs::remove_file(path.with_extension("idx")));
    }

    /// The items of a queue that are not done.
    pub(in crate::offline) fn waiting(&self, stream: u32) -> BTreeSet<u64> {
        waiting(&self.queues[&stream])
    }
}

pub(in crate::offline) fn waiting(queue: &Queue) -> BTreeSet<u64> {
    let mut items = BTreeSet::new();
    queue.unsettled(&mut |first: ItemId, count| items.extend((first.0..).take(count as usize)));
    items
}
