//! A caller of the journal: streams, publishes, releases, checkpoints; and what must be there after it died.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use baton_journal::fs::FaultFs;
use baton_journal::{
    Batch, Block, Error, Keeper, ReadError, Reader, Record, Released, Replay as _, Report,
    Settings, Step, StreamId, Writer, recover,
};
use bytes::Bytes;

use crate::state::{Random, State, body};

pub(crate) const SEGMENT_BYTES: u64 = 256 << 10;

pub(crate) fn settings(spares: usize, seed: u64) -> Settings {
    let mut random = Random(seed);
    let mut settings = Settings::new(move || random.next());
    settings.segment_bytes = SEGMENT_BYTES;
    settings.spares = spares;
    settings
}

/// A checkpoint that is being written, part by part.
struct Checkpoint {
    stream: StreamId,
    as_of: u64,
    parts: VecDeque<Vec<u8>>,
    count: u32,
}

pub(crate) struct Engine {
    pub(crate) fs: FaultFs,
    pub(crate) writer: Writer,
    pub(crate) keeper: Keeper,
    pub(crate) reader: Reader,
    pub(crate) state: State,
    pub(crate) report: Report,
    pub(crate) next_stream: u32,
    checkpoints: Vec<Checkpoint>,
}

/// The batch under way, and what it makes of the state.
#[derive(Default)]
pub(crate) struct Change {
    pub(crate) batch: Batch,
    pub(crate) state: State,
}

impl Change {
    pub(crate) fn open(&mut self, stream: StreamId, name: &str) {
        let name = Bytes::copy_from_slice(name.as_bytes());
        self.state.opened(stream, &name).unwrap();
        self.batch
            .records
            .push(Record::StreamOpened { stream, name });
    }

    pub(crate) fn close(&mut self, stream: StreamId) {
        self.state.streams.remove(&stream);
        self.batch.records.push(Record::StreamClosed { stream });
    }

    fn facts(&mut self, stream: StreamId, text: String) {
        let known = self.state.streams.get_mut(&stream).unwrap();
        known.apply(text.as_bytes());
        self.batch.records.push(Record::Facts {
            stream,
            seq: known.seq,
            payload: text.into(),
        });
    }

    /// Returns the first item.
    pub(crate) fn publish(&mut self, stream: StreamId, count: u32) -> u64 {
        let first = self.state.streams[&stream].next_item;
        self.facts(stream, format!("p {first} {count}"));
        let items = first..first + u64::from(count);
        let bodies: Vec<Bytes> = items.map(|item| body(stream, item).into()).collect();
        let block = Block::of(first, &bodies);
        self.batch.records.push(Record::Bodies { stream, block });
        first
    }

    pub(crate) fn release(&mut self, stream: StreamId, first: u64, count: u32) {
        self.facts(stream, format!("r {first} {count}"));
        self.batch.released.push(Released {
            stream,
            first,
            count,
        });
    }
}

impl Engine {
    /// An empty disk.
    pub(crate) fn new(spares: usize, seed: u64) -> Self {
        Self::open(FaultFs::new(seed), spares, seed).unwrap()
    }

    pub(crate) fn open(fs: FaultFs, spares: usize, seed: u64) -> Result<Self, Error> {
        let mut state = State::default();
        let recovered = recover(Arc::new(fs.clone()), settings(spares, seed), &mut state)?;
        for (id, stream) in &state.streams {
            assert_eq!(recovered.last_seq(*id), stream.seq);
        }
        let report = recovered.report().clone();
        let next_stream = recovered.next_stream().0;
        let (writer, keeper, reader) = recovered.start()?;
        Ok(Self {
            fs,
            writer,
            keeper,
            reader,
            state,
            report,
            next_stream,
            checkpoints: Vec::new(),
        })
    }

    /// Stops and starts again, without a crash.
    pub(crate) fn reopen(self, spares: usize, seed: u64) -> Self {
        let (fs, state) = (self.fs.clone(), self.state.clone());
        drop(self);
        let engine = Self::open(fs, spares, seed).unwrap();
        assert_eq!(engine.state, state);
        engine.check_bodies();
        engine
    }

    pub(crate) fn change(&self) -> Change {
        Change {
            batch: Batch::default(),
            state: self.state.clone(),
        }
    }

    /// Commits, with work of the keeper where no segment is left.
    pub(crate) fn commit(&mut self, change: Change) -> Result<(), Error> {
        loop {
            match self.writer.commit(&change.batch) {
                Ok(()) => {
                    self.state = change.state;
                    return Ok(());
                }
                Err(Error::NoSegment) => assert!(self.tidy()? > 0, "the keeper makes room"),
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn open_stream(&mut self, name: &str) -> StreamId {
        let stream = StreamId(self.next_stream);
        self.next_stream += 1;
        let mut change = self.change();
        change.open(stream, name);
        self.commit(change).unwrap();
        stream
    }

    pub(crate) fn publish(&mut self, stream: StreamId, count: u32) -> u64 {
        let mut change = self.change();
        let first = change.publish(stream, count);
        self.commit(change).unwrap();
        first
    }

    pub(crate) fn release(&mut self, stream: StreamId, first: u64, count: u32) {
        let mut change = self.change();
        change.release(stream, first, count);
        self.commit(change).unwrap();
    }

    /// All the keeper's work, but what the writer has to do. Returns how many steps that were.
    pub(crate) fn tidy(&mut self) -> Result<usize, Error> {
        let mut steps = 0;
        while let Step::Worked = self.keeper.step()? {
            steps += 1;
        }
        Ok(steps)
    }

    /// One step, with what it wants committed. False: there was nothing to do.
    pub(crate) fn step(&mut self) -> Result<bool, Error> {
        match self.keeper.step()? {
            Step::Idle | Step::NoSpace => Ok(false),
            Step::Worked => Ok(true),
            Step::Forward(copies) => match self.writer.forward(copies) {
                Ok(()) => Ok(true),
                Err(Error::NoSegment) => Ok(false),
                Err(error) => Err(error),
            },
        }
    }

    /// Begins the checkpoints that the keeper wants, in so many parts.
    pub(crate) fn begin_checkpoints(&mut self, idle: bool, parts: usize) {
        for stream in self.keeper.wanted(idle) {
            assert!(self.checkpoints.iter().all(|begun| begun.stream != stream));
            self.begin_checkpoint(stream, parts);
        }
    }

    pub(crate) fn begin_checkpoint(&mut self, stream: StreamId, parts: usize) {
        let state = &self.state.streams[&stream];
        let payload = state.encode();
        let parts: VecDeque<Vec<u8>> = payload
            .chunks(payload.len().div_ceil(parts))
            .map(<[u8]>::to_vec)
            .collect();
        self.checkpoints.push(Checkpoint {
            stream,
            as_of: state.seq,
            count: parts.len() as u32,
            parts,
        });
    }

    /// Writes the next part of a checkpoint. False: there is none.
    pub(crate) fn write_part(&mut self) -> Result<bool, Error> {
        let streams = &self.state.streams;
        self.checkpoints
            .retain(|begun| streams.contains_key(&begun.stream));
        let Some(begun) = self.checkpoints.first() else {
            return Ok(false);
        };
        let mut change = self.change();
        let part = begun.count - begun.parts.len() as u32;
        change.batch.records.push(Record::Checkpoint {
            stream: begun.stream,
            as_of: begun.as_of,
            part,
            parts: begun.count,
            payload: begun.parts[0].clone().into(),
        });
        self.commit(change)?;
        let begun = &mut self.checkpoints[0];
        begun.parts.pop_front();
        if begun.parts.is_empty() {
            self.checkpoints.remove(0);
        }
        Ok(true)
    }

    /// Everything that is to be done when nothing else is.
    pub(crate) fn settle(&mut self) {
        for _ in 0..20 {
            self.begin_checkpoints(true, 1);
            while self.write_part().unwrap() {}
            while self.step().unwrap() {}
        }
    }

    pub(crate) fn check_bodies(&self) {
        check_bodies(&self.state, &self.reader).unwrap();
    }

    /// Names of files by their ending.
    pub(crate) fn names(&self, ending: &str) -> Vec<String> {
        names(&self.fs, ending)
    }
}

pub(crate) fn names(fs: &FaultFs, ending: &str) -> Vec<String> {
    let mut names = baton_journal::fs::FileSystem::list(fs).unwrap();
    names.retain(|name| name.ends_with(ending));
    names.sort();
    names
}

/// Every needed body is what was written, and what is not needed is gone.
pub(crate) fn check_bodies(state: &State, reader: &Reader) -> Result<(), ReadError> {
    for (id, stream) in &state.streams {
        let mut left: BTreeMap<u64, ()> = stream.needed.iter().map(|item| (*item, ())).collect();
        while let Some((&first, ())) = left.first_key_value() {
            let blocks = reader.read(*id, first, 100, 64 << 10)?;
            assert!(!blocks.is_empty());
            let mut next = first;
            for block in blocks {
                assert_eq!(block.first(), next);
                next = block.end();
                for item in block.first()..block.end() {
                    assert_eq!(block.get(item).unwrap(), body(*id, item));
                    assert_eq!(left.remove(&item), Some(()), "needed, and read once");
                }
            }
        }
        let never = reader.read(*id, stream.next_item, 1, 1);
        assert!(matches!(never, Err(ReadError::Gone)));
    }
    Ok(())
}
