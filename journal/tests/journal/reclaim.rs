//! What is not needed goes; what is needed stays.

use baton_journal::{ReadError, Step, StreamId};

use crate::engine::{Engine, SEGMENT_BYTES, check_bodies};
use crate::state::State;

/// An engine with items in several segments.
fn filled(rounds: u32) -> (Engine, StreamId) {
    let mut engine = Engine::new(2, 1);
    let stream = engine.open_stream("q");
    for _ in 0..rounds {
        engine.publish(stream, 20);
        engine.tidy().unwrap();
    }
    (engine, stream)
}

/// Releases all items but these.
fn keep(engine: &mut Engine, stream: StreamId, items: &[u64]) {
    let needed: Vec<u64> = engine.state.streams[&stream]
        .needed
        .iter()
        .copied()
        .collect();
    let mut change = engine.change();
    for item in needed.into_iter().filter(|item| !items.contains(item)) {
        change.release(stream, item, 1);
    }
    engine.commit(change).unwrap();
}

/// The writer is to write the list of streams, no copies.
fn directory(copies: &baton_journal::Forward) -> bool {
    format!("{copies:?}").contains("Directory")
}

#[test]
fn a_drained_disk_shrinks_to_the_active_segment_and_the_spares() {
    let (mut engine, stream) = filled(200);
    let many = engine.names(".seg").len();
    assert!(many > 4);
    let items = engine.state.streams[&stream].next_item;
    engine.release(stream, 0, items as u32);
    engine.settle();
    assert_eq!(engine.names(".seg").len(), 1 + 2);
    assert_eq!(engine.names(".idx").len(), 0);
    assert_eq!(engine.reader.counters().segments, 1);
    let mut engine = engine.reopen(2, 2);
    engine.settle();
    assert!(engine.names(".seg").len() <= 2 + 2);
    engine.publish(stream, 1);
    engine.settle();
    assert_eq!(engine.names(".seg").len(), 1 + 2);
}

#[test]
fn nothing_is_freed_before_its_checkpoint_is_durable() {
    let (mut engine, stream) = filled(200);
    let items = engine.state.streams[&stream].next_item;
    engine.release(stream, 0, items as u32);
    let segments = engine.reader.counters().segments;
    engine.begin_checkpoints(true, 2);
    engine.write_part().unwrap();
    while engine.step().unwrap() {}
    assert_eq!(engine.reader.counters().segments, segments);
    assert!(engine.keeper.wanted(true).is_empty(), "asked for once");
    engine.write_part().unwrap();
    while engine.step().unwrap() {}
    assert_eq!(engine.reader.counters().segments, 1);
    engine.reopen(2, 2);
}

#[test]
fn under_load_files_are_used_again() {
    let mut engine = Engine::new(2, 1);
    let stream = engine.open_stream("q");
    for _ in 0..1500 {
        let first = engine.publish(stream, 20);
        engine.release(stream, first, 20);
        engine.begin_checkpoints(false, 1);
        engine.write_part().unwrap();
        while engine.step().unwrap() {}
        assert!(engine.names(".seg").len() <= 6 + 2 * 2);
    }
    let last = engine.names(".seg").pop().unwrap();
    assert!(last.as_str() > "0000000020.seg", "{last}");
    let engine = engine.reopen(2, 2);
    assert!(engine.report.segments <= 6);
}

#[test]
fn a_straggler_is_copied_and_its_segment_freed() {
    let (mut engine, stream) = filled(200);
    let items = engine.state.streams[&stream].next_item;
    keep(&mut engine, stream, &[5, items / 2, items - 900]);
    engine.begin_checkpoints(true, 1);
    engine.write_part().unwrap();
    let mut copied = 0;
    loop {
        match engine.keeper.step().unwrap() {
            Step::Forward(copies) => {
                copied += 1;
                engine.writer.forward(copies).unwrap();
            }
            Step::Worked => {}
            Step::Idle | Step::NoSpace => break,
        }
    }
    assert!(copied > 0);
    engine.check_bodies();
    let counters = engine.reader.counters();
    assert!(counters.segments <= 2, "{counters:?}");
    let mut engine = engine.reopen(2, 2);
    keep(&mut engine, stream, &[]);
    engine.settle();
    assert!(engine.reader.counters().segments <= 1);
}

#[test]
fn what_is_released_while_it_is_copied_stays_released() {
    let (mut engine, stream) = filled(200);
    let items = engine.state.streams[&stream].next_item;
    keep(&mut engine, stream, &[4, 5, 6, items / 2, items - 900]);
    engine.begin_checkpoints(true, 1);
    engine.write_part().unwrap();
    let copies = loop {
        match engine.keeper.step().unwrap() {
            Step::Forward(copies) if !directory(&copies) => break copies,
            Step::Forward(copies) => engine.writer.forward(copies).unwrap(),
            Step::Worked => {}
            Step::Idle | Step::NoSpace => panic!("a straggler is copied"),
        }
    };
    engine.release(stream, 4, 2);
    engine.writer.forward(copies).unwrap();
    engine.settle();
    engine.check_bodies();
    assert_eq!(engine.state.streams[&stream].needed.len(), 3);
    engine.reopen(2, 2);
}

#[test]
fn a_freed_segment_that_comes_back_is_freed_again() {
    let (mut engine, stream) = filled(100);
    let name = engine.names(".seg").remove(0);
    let bytes = engine.fs.read_file(&name).unwrap();
    let items = engine.state.streams[&stream].next_item;
    engine.release(stream, 0, items as u32);
    engine.settle();
    assert!(!engine.names(".seg").contains(&name));
    engine.publish(stream, 3);
    engine.fs.sync_all();
    engine.fs.write_file(&name, &bytes);
    let mut engine = engine.reopen(2, 2);
    engine.settle();
    assert!(!engine.names(".seg").contains(&name));
    engine.reopen(2, 3);
}

#[test]
fn a_recycled_file_shows_nothing_of_its_old_life() {
    let (mut engine, stream) = filled(100);
    for _ in 0..3 {
        let known = &engine.state.streams[&stream];
        let first = *known.needed.first().unwrap();
        let count = known.next_item - first;
        engine.release(stream, first, count as u32);
        engine.begin_checkpoints(true, 1);
        engine.write_part().unwrap();
        engine.begin_checkpoints(false, 1);
        while engine.step().unwrap() {}
        for _ in 0..100 {
            engine.publish(stream, 20);
            while engine.step().unwrap() {}
        }
        let (fs, state) = (engine.fs.clone(), engine.state.clone());
        fs.sync_all();
        drop(engine);
        engine = Engine::open(fs, 2, 9).unwrap();
        assert_eq!(engine.state, state);
        assert_eq!(engine.report.torn_bytes, 0);
    }
}

#[test]
fn a_reader_gets_the_right_bytes_or_learns_that_they_are_gone() {
    let (mut engine, stream) = filled(100);
    let reader = engine.reader.clone();
    let items = engine.state.streams[&stream].next_item;
    let racer = std::thread::spawn(move || {
        let (mut right, mut gone) = (0_u64, 0_u64);
        while gone < 200 {
            for item in (0..items).step_by(7) {
                match reader.read(stream, item, 3, 1 << 16) {
                    Ok(blocks) => {
                        let got = blocks[0].get(item).unwrap();
                        assert_eq!(got, crate::state::body(stream, item));
                        right += 1;
                    }
                    Err(ReadError::Gone) => gone += 1,
                    Err(other) => panic!("{other}"),
                }
            }
        }
        right
    });
    for first in (0..items).step_by(50) {
        engine.release(stream, first, 50.min(items - first) as u32);
        engine.begin_checkpoints(true, 1);
        engine.write_part().unwrap();
        while engine.step().unwrap() {}
        engine.publish(stream, 20);
    }
    racer.join().unwrap();
    let nothing = State::default();
    check_bodies(&nothing, &engine.reader).unwrap();
    assert!(engine.fs.used() >= SEGMENT_BYTES);
}
