//! A caller that does anything at any time, on a machine that may stop at any time: what was committed is there, whole,
//! and what was not is there whole or not at all.

use baton_journal::{Error, StreamId};

use crate::engine::{Change, Engine, check_bodies};
use crate::state::{Random, State};

/// What one run does.
struct Run {
    random: Random,
    engine: Option<Engine>,
    /// What may be there instead: the commit that failed was written or not.
    maybe: Option<State>,
    crashes: u32,
}

impl Run {
    fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            engine: Some(Engine::new(2, seed)),
            maybe: None,
            crashes: 0,
        }
    }

    fn engine(&mut self) -> &mut Engine {
        self.engine.as_mut().unwrap()
    }

    /// One thing; an error is a machine that stopped.
    fn act(&mut self) -> Result<(), Error> {
        match self.random.below(20) {
            0..10 => self.commit(),
            10..15 => {
                let engine = self.engine();
                engine.step().map(drop)
            }
            15 => {
                // A copy that is asked for and not made is asked for again.
                self.engine().keeper.step().map(drop)
            }
            16 => {
                let (idle, parts) = (self.random.one_in(3), 1 + self.random.below(3));
                self.engine().begin_checkpoints(idle, parts as usize);
                Ok(())
            }
            17 | 18 => self.engine().write_part().map(drop),
            _ => self.read(),
        }
    }

    fn commit(&mut self) -> Result<(), Error> {
        let mut change = self.engine().change();
        for _ in 0..1 + self.random.below(4) {
            self.add(&mut change);
        }
        let new = change.state.clone();
        let done = self.engine().commit(change);
        if done.is_err() {
            self.maybe = Some(new);
        }
        done
    }

    fn add(&mut self, change: &mut Change) {
        let streams: Vec<StreamId> = change.state.streams.keys().copied().collect();
        if streams.len() < 2 || (streams.len() < 8 && self.random.one_in(30)) {
            let id = self.engine().next_stream;
            self.engine().next_stream += 1;
            change.open(StreamId(id), &format!("queue-{id}"));
            return;
        }
        let stream = streams[self.random.below(streams.len() as u64) as usize];
        if self.random.one_in(60) {
            change.close(stream);
            return;
        }
        let needed = &change.state.streams[&stream].needed;
        if needed.len() > 60 || self.random.one_in(3) {
            // Mostly the oldest, so that there are stragglers.
            let skip = self.random.below(3) as usize;
            let Some(&first) = needed.iter().nth(skip) else {
                return;
            };
            let run = (first..).take_while(|item| needed.contains(item));
            let most = 1 + self.random.below(30) as usize;
            let count = run.take(most).count();
            change.release(stream, first, count as u32);
        } else {
            let count = 1 + self.random.below(20) as u32;
            change.publish(stream, count);
        }
    }

    fn read(&mut self) -> Result<(), Error> {
        let engine = self.engine();
        match check_bodies(&engine.state, &engine.reader) {
            Ok(()) => Ok(()),
            Err(baton_journal::ReadError::Io(error)) => Err(error),
            Err(other) => panic!("{other}"),
        }
    }

    /// The machine stops, and starts again.
    fn crash(&mut self, seed: u64) {
        let engine = self.engine.take().unwrap();
        let (fs, state) = (engine.fs.clone(), engine.state.clone());
        let next_stream = engine.next_stream;
        drop(engine);
        fs.crash();
        self.crashes += 1;
        let mut engine = Engine::open(fs, 2, seed).unwrap();
        if Some(&engine.state) != self.maybe.as_ref() {
            assert_eq!(engine.state, state, "crash {}", self.crashes);
        }
        engine.next_stream = engine.next_stream.max(next_stream);
        engine.check_bodies();
        self.maybe = None;
        self.engine = Some(engine);
    }

    fn go(mut self, seed: u64, steps: u32) -> Self {
        for step in 0..steps {
            if self.random.one_in(100) {
                let changes = self.random.below(60);
                self.engine().fs.cut_power_after(changes);
            }
            if self.random.one_in(400) {
                self.engine().fs.short_writes(3);
            }
            if self.act().is_err() {
                self.crash(seed + u64::from(step));
            }
        }
        self
    }
}

#[test]
fn what_was_committed_survives_anything() {
    let seeds = std::env::var("BATON_JOURNAL_SEEDS").ok();
    let seeds = seeds.map_or(6, |seeds| seeds.parse().expect("a number"));
    for seed in 0..seeds {
        let run = Run::new(seed).go(seed, 1500);
        assert!(run.crashes > 3, "seed {seed} crashed {} times", run.crashes);
    }
}

#[test]
fn the_same_calls_write_the_same_bytes() {
    let files = || {
        let run = Run::new(5).go(5, 600);
        let fs = run.engine.unwrap().fs;
        let mut names = baton_journal::fs::FileSystem::list(&fs).unwrap();
        names.sort();
        let read = |name: &String| crc32c::crc32c(&fs.read_file(name).unwrap());
        names
            .iter()
            .map(read)
            .zip(names.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(files(), files());
}
