//! Calls that fail.

use std::io::ErrorKind;

use baton_journal::fs::Call;
use baton_journal::{Error, Step};

use crate::engine::{Engine, SEGMENT_BYTES};

#[test]
fn after_a_failed_write_or_sync_nothing_is_written() {
    for call in [Call::Write, Call::Sync] {
        let mut engine = Engine::new(1, 1);
        let stream = engine.open_stream("q");
        engine.publish(stream, 1);
        engine.fs.fail(call, 1, ErrorKind::Other);
        let mut change = engine.change();
        change.publish(stream, 1);
        let failed = engine.writer.commit(&change.batch);
        assert!(matches!(failed, Err(Error::Io { .. })), "{call:?}");
        let writes = engine.fs.calls(Call::Write);
        let again = engine.writer.commit(&change.batch);
        assert!(matches!(again, Err(Error::Poisoned)), "{call:?}");
        assert_eq!(engine.fs.calls(Call::Write), writes);
        engine.check_bodies();
    }
}

#[test]
fn a_full_disk_stops_publishes_and_goes_by_itself() {
    let mut engine = Engine::new(3, 1);
    let stream = engine.open_stream("q");
    engine.publish(stream, 10);
    engine.fs.set_capacity(Some(2 * SEGMENT_BYTES + 4096));
    while let Step::Worked = engine.keeper.step().unwrap() {}
    assert!(matches!(engine.keeper.step().unwrap(), Step::NoSpace));
    assert!(!engine.reader.has_room());
    engine.publish(stream, 10);
    engine.fs.set_capacity(None);
    engine.tidy().unwrap();
    assert!(engine.reader.has_room());
    assert_eq!(engine.reader.counters().spares, 3);
    engine.reopen(3, 2);
}

#[test]
fn a_full_disk_starts_and_frees_itself() {
    let mut engine = Engine::new(2, 1);
    let stream = engine.open_stream("q");
    for _ in 0..100 {
        engine.publish(stream, 20);
        engine.tidy().unwrap();
    }
    let full = engine.fs.used();
    engine.fs.set_capacity(Some(full));
    let mut engine = engine.reopen(2, 2);
    engine.release(stream, 0, 2000);
    engine.settle();
    assert!(engine.reader.has_room());
    assert!(engine.reader.counters().segments <= 2);
    engine.reopen(2, 3);
}
