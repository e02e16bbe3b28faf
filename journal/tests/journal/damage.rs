//! Bytes that are not what was written, files that are cut, changed or gone.

use std::sync::Arc;

use baton_journal::fs::FaultFs;
use baton_journal::{Error, ReadError, Report, recover};

use crate::engine::{Engine, check_bodies, names, settings};
use crate::state::{Random, State};

/// A journal of three small segments, without spares, and the state after each commit of the last one.
fn small() -> (FaultFs, Vec<State>) {
    let mut engine = Engine::new(1, 1);
    let stream = engine.open_stream("a");
    let other = engine.open_stream("b");
    engine.publish(stream, 3);
    engine.publish(other, 2);
    engine = engine.reopen(1, 2);
    engine.publish(stream, 3);
    engine.begin_checkpoint(stream, 2);
    engine.write_part().unwrap();
    engine.write_part().unwrap();
    engine.release(stream, 0, 1);
    engine.store();
    engine = engine.reopen(1, 3);
    let mut states = vec![engine.state.clone()];
    for _ in 0..3 {
        let mut change = engine.change();
        let first = change.publish(stream, 2);
        change.publish(other, 1);
        change.release(stream, first, 1);
        engine.commit(change).unwrap();
        states.push(engine.state.clone());
    }
    engine.store();
    let fs = engine.fs.clone();
    drop(engine);
    fs.sync_all();
    // Only what was used: the rest is zeros.
    let last = names(&fs, ".seg").pop().unwrap();
    let used = fs.read_file(&last).unwrap();
    let end = used.iter().rposition(|byte| *byte != 0).unwrap();
    fs.truncate(&last, end as u64 + 100).unwrap();
    (fs, states)
}

impl Engine {
    /// The keeper's work until sidecars are written.
    fn store(&mut self) {
        self.tidy().unwrap();
        // The spares are not what this is about.
        for name in self.names(".seg") {
            let id: u64 = name[..10].parse().unwrap();
            if id > 1
                && self.fs.read_file(&name).unwrap()[4096..]
                    .iter()
                    .all(|byte| *byte == 0)
            {
                self.fs.remove_file(&name).unwrap();
            }
        }
    }
}

/// Everything that can be read, or the first error.
fn read(fs: &FaultFs) -> Result<(State, Report), Error> {
    let mut state = State::default();
    let recovered = recover(Arc::new(fs.clone()), settings(1, 9), &mut state)?;
    match check_bodies(&state, &recovered.reader()) {
        Ok(()) => Ok((state, recovered.report().clone())),
        Err(ReadError::Damaged { file, offset, .. }) => Err(Error::Damaged {
            file,
            offset,
            what: "bodies",
        }),
        Err(other) => panic!("{other}"),
    }
}

fn loud(error: &Error) -> bool {
    matches!(
        error,
        Error::Damaged { .. } | Error::Missing { .. } | Error::Version { .. }
    )
}

#[test]
fn the_small_journal_is_whole() {
    let (fs, states) = small();
    assert_eq!(names(&fs, ".seg").len(), 3);
    assert_eq!(names(&fs, ".idx").len(), 2);
    let (state, report) = read(&fs).unwrap();
    assert_eq!(&state, states.last().unwrap());
    assert_eq!((report.segments, report.torn_bytes), (3, 0));
    assert_eq!(report.indexes_rebuilt, 0);
}

#[test]
fn a_last_segment_that_is_cut_anywhere_keeps_the_whole_commits_before() {
    let (fs, states) = small();
    let name = names(&fs, ".seg").pop().unwrap();
    let bytes = fs.read_file(&name).unwrap();
    let mut whole = 0;
    for cut in 0..bytes.len() {
        fs.write_file(&name, &bytes[..cut]);
        let (state, report) = read(&fs).unwrap();
        let found = states.iter().position(|known| *known == state);
        let found = found.unwrap_or_else(|| panic!("cut at {cut}: no state of ours"));
        assert!(found >= whole, "cut at {cut}");
        whole = found;
        if report.torn_bytes == 0 && found > 0 {
            assert!(report.segments == 3);
        }
    }
    assert_eq!(whole, states.len() - 1);
}

#[test]
fn another_segment_that_is_cut_is_whole_or_the_error_is_loud() {
    let (fs, states) = small();
    let all = names(&fs, ".seg");
    for name in &all[..2] {
        let bytes = fs.read_file(name).unwrap();
        let mut errors = 0;
        for cut in 0..bytes.len() {
            fs.write_file(name, &bytes[..cut]);
            match read(&fs) {
                Ok((state, _)) => assert_eq!(&state, states.last().unwrap(), "{name} cut at {cut}"),
                Err(error) => {
                    errors += 1;
                    assert!(loud(&error), "{name} cut at {cut}: {error}");
                }
            }
        }
        assert!(errors > 4096);
        fs.write_file(name, &bytes);
    }
}

/// Flips one bit of every byte of a file.
fn flip(fs: &FaultFs, name: &str, mut check: impl FnMut(u64, Result<(State, Report), Error>)) {
    let mut random = Random(11);
    for offset in 0..fs.read_file(name).unwrap().len() as u64 {
        let bit = random.below(8) as u8;
        fs.flip_bit(name, offset, bit).unwrap();
        check(offset, read(fs));
        fs.flip_bit(name, offset, bit).unwrap();
    }
}

#[test]
fn a_flipped_bit_is_harmless_or_loud() {
    let (fs, states) = small();
    let all = names(&fs, ".seg");
    for name in &all[..2] {
        let mut errors = 0;
        flip(&fs, name, |offset, outcome| match outcome {
            Ok((state, _)) => assert_eq!(&state, states.last().unwrap(), "{name} at {offset}"),
            Err(error) => {
                errors += 1;
                assert!(loud(&error), "{name} at {offset}: {error}");
            }
        });
        assert!(errors > 200, "{name}: {errors}");
    }
}

#[test]
fn a_flipped_bit_in_the_last_segment_drops_the_last_commit_at_most() {
    let (fs, states) = small();
    let name = names(&fs, ".seg").pop().unwrap();
    let (mut errors, mut dropped) = (0, 0);
    flip(&fs, &name, |offset, outcome| match outcome {
        Ok((state, _)) if &state == states.last().unwrap() => {}
        Ok((state, report)) => {
            dropped += 1;
            assert_eq!(state, states[states.len() - 2], "at {offset}");
            assert!(report.torn_bytes > 0, "at {offset}");
        }
        Err(error) => {
            errors += 1;
            assert!(loud(&error), "at {offset}: {error}");
        }
    });
    assert!(errors > 200 && dropped > 200, "{errors} {dropped}");
}

#[test]
fn a_sidecar_does_no_harm() {
    let (fs, states) = small();
    for name in names(&fs, ".idx") {
        let mut rebuilt = 0;
        flip(&fs, &name, |offset, outcome| {
            let (state, report) = outcome.unwrap();
            assert_eq!(&state, states.last().unwrap(), "{name} at {offset}");
            rebuilt += report.indexes_rebuilt;
        });
        let bytes = fs.read_file(&name).unwrap();
        assert_eq!(rebuilt, bytes.len(), "each flip is seen");
        fs.remove_file(&name).unwrap();
        let (state, report) = read(&fs).unwrap();
        assert_eq!(
            (&state, report.indexes_rebuilt > 0),
            (states.last().unwrap(), true)
        );
        fs.write_file(&name, &bytes);
    }
}

#[test]
fn without_sidecars_a_flipped_bit_is_loud() {
    let (fs, states) = small();
    for name in names(&fs, ".idx") {
        fs.remove_file(&name).unwrap();
    }
    let name = names(&fs, ".seg").remove(1);
    flip(&fs, &name, |offset, outcome| match outcome {
        Ok((state, _)) => assert_eq!(&state, states.last().unwrap(), "{name} at {offset}"),
        Err(error) => assert!(loud(&error), "{name} at {offset}: {error}"),
    });
}

#[test]
fn a_segment_that_is_gone_is_missed() {
    let (fs, _) = small();
    for name in &names(&fs, ".seg")[..2] {
        let bytes = fs.read_file(name).unwrap();
        fs.remove_file(name).unwrap();
        let error = read(&fs).unwrap_err();
        assert!(matches!(error, Error::Missing { .. }), "{name}: {error}");
        fs.write_file(name, &bytes);
    }
}

#[test]
fn another_version_is_refused() {
    let (fs, _) = small();
    let name = names(&fs, ".seg").remove(0);
    fs.flip_bit(&name, 8, 1).unwrap();
    let error = read(&fs).unwrap_err();
    assert!(matches!(error, Error::Version { found: 3, .. }));
}

#[test]
fn recovery_changes_nothing() {
    let (fs, _) = small();
    let contents = || {
        let all = names(&fs, "");
        let read = |name: &String| (name.clone(), fs.read_file(name).unwrap());
        all.iter().map(read).collect::<Vec<_>>()
    };
    let before = contents();
    read(&fs).unwrap();
    assert_eq!(contents(), before);
}

#[test]
fn arbitrary_bytes_are_no_reason_to_panic() {
    let mut random = Random(3);
    let (fs, _) = small();
    let all = names(&fs, "");
    for _ in 0..600 {
        let mut broken = Vec::new();
        for _ in 0..1 + random.below(3) {
            let name = &all[random.below(all.len() as u64) as usize];
            let mut bytes = fs.read_file(name).unwrap();
            broken.push((name, bytes.clone()));
            let from = random.below(bytes.len() as u64) as usize;
            let to = bytes.len().min(from + random.below(200) as usize);
            let value = random.next() as u8;
            bytes[from..to].iter_mut().for_each(|byte| *byte = value);
            fs.write_file(name, &bytes);
        }
        drop(read(&fs));
        for (name, bytes) in broken.into_iter().rev() {
            fs.write_file(name, &bytes);
        }
    }
}
