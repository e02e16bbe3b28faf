//! What is committed is there again.

use baton_journal::{Batch, Block, Error, ReadError, Record, StreamId};
use bytes::Bytes;

use crate::engine::{Engine, SEGMENT_BYTES};

#[test]
fn an_empty_journal_recovers_to_nothing() {
    let engine = Engine::new(1, 1).reopen(1, 2).reopen(1, 3);
    assert_eq!(engine.report, baton_journal::Report::default());
    assert_eq!(engine.next_stream, 1);
}

#[test]
fn what_was_committed_is_there_after_a_restart() {
    let mut engine = Engine::new(1, 1);
    let streams: Vec<StreamId> = (0..50)
        .map(|n| engine.open_stream(&format!("queue-{n}")))
        .collect();
    for round in 0..6 {
        let mut change = engine.change();
        for stream in &streams {
            let first = change.publish(*stream, 3);
            change.release(*stream, first + round % 3, 1);
        }
        engine.commit(change).unwrap();
        engine.tidy().unwrap();
    }
    engine.check_bodies();
    let engine = engine.reopen(1, 2);
    assert_eq!(engine.report.streams, 50);
    assert_eq!(engine.report.commits, 56);
    assert_eq!(engine.report.torn_bytes, 0);
    assert_eq!(engine.report.indexes_rebuilt, 0);
    assert_eq!(engine.next_stream, 51);
}

#[test]
fn batches_go_over_the_borders_of_segments() {
    let mut engine = Engine::new(2, 1);
    let stream = engine.open_stream("q");
    for _ in 0..400 {
        engine.publish(stream, 20);
        engine.tidy().unwrap();
    }
    assert!(engine.reader.counters().segments > 5);
    engine.check_bodies();
    let engine = engine.reopen(2, 2);
    assert_eq!(engine.report.commits, 401);
    assert!(engine.report.segments > 5);
}

#[test]
fn a_closed_stream_stays_closed_and_its_id_is_not_given_again() {
    let mut engine = Engine::new(1, 1);
    let first = engine.open_stream("first");
    let second = engine.open_stream("second");
    engine.publish(first, 5);
    engine.publish(second, 5);
    let mut change = engine.change();
    change.close(second);
    engine.commit(change).unwrap();
    let gone = engine.reader.read(second, 0, 1, 1);
    assert!(matches!(gone, Err(ReadError::Gone)));
    let mut engine = engine.reopen(1, 2);
    assert_eq!(engine.next_stream, 3);
    engine.settle();
    let engine = engine.reopen(1, 3);
    assert_eq!(engine.next_stream, 3);
    assert_eq!(engine.report.streams, 1);
}

#[test]
fn a_checkpoint_counts_once_its_last_part_is_there() {
    let mut engine = Engine::new(1, 1);
    let stream = engine.open_stream("q");
    for _ in 0..10 {
        engine.publish(stream, 1);
    }
    engine.begin_checkpoint(stream, 3);
    engine.write_part().unwrap();
    engine.publish(stream, 1);
    engine.write_part().unwrap();
    let fork = engine.fs.clone_disk(7);
    let half = Engine::open(fork, 1, 8).unwrap();
    assert_eq!(
        (&half.state, half.report.facts_replayed),
        (&engine.state, 11)
    );
    engine.publish(stream, 1);
    engine.write_part().unwrap();
    let mut engine = engine.reopen(1, 2);
    assert_eq!(engine.report.facts_replayed, 2);
    // One that was cut off by a restart is begun anew.
    engine.begin_checkpoint(stream, 2);
    engine.write_part().unwrap();
    let mut engine = engine.reopen(1, 3);
    assert_eq!(engine.report.facts_replayed, 2);
    engine.begin_checkpoint(stream, 2);
    engine.write_part().unwrap();
    engine.write_part().unwrap();
    assert_eq!(engine.reopen(1, 4).report.facts_replayed, 0);
}

#[test]
fn an_empty_batch_only_releases() {
    let mut engine = Engine::new(1, 1);
    let stream = engine.open_stream("q");
    engine.publish(stream, 2);
    let commits = engine.reader.counters().commits;
    let mut change = engine.change();
    change.release(stream, 0, 1);
    change.batch.records.clear();
    engine.writer.commit(&change.batch).unwrap();
    assert_eq!(engine.reader.counters().commits, commits);
    let gone = engine.reader.read(stream, 0, 1, 1);
    assert!(matches!(gone, Err(ReadError::Gone)));
    let read = engine.reader.read(stream, 1, 5, 1).unwrap();
    assert_eq!((read[0].first(), read[0].count()), (1, 1));
}

#[test]
fn without_a_prepared_segment_nothing_is_done() {
    let mut engine = Engine::new(1, 1);
    let stream = engine.open_stream("q");
    let failed = loop {
        let mut change = engine.change();
        change.publish(stream, 50);
        match engine.writer.commit(&change.batch) {
            Ok(()) => engine.state = change.state,
            Err(error) => break error,
        }
    };
    assert!(matches!(failed, Error::NoSegment));
    assert!(engine.reader.has_room());
    // A smaller one may still fit.
    engine.publish(stream, 1);
    engine.tidy().unwrap();
    engine.publish(stream, 50);
    engine.reopen(1, 2);
}

#[test]
fn a_batch_that_no_segment_holds_is_refused() {
    let mut engine = Engine::new(1, 1);
    let stream = engine.open_stream("q");
    let room = SEGMENT_BYTES - 4096 - 48 - 48 - 32 - 8;
    let batch = |bytes: u64| Batch {
        records: vec![Record::Bodies {
            stream,
            block: Block::of(0, &[Bytes::from(vec![7; bytes as usize])]),
        }],
        released: Vec::new(),
    };
    let refused = engine.writer.commit(&batch(room + 8));
    assert!(matches!(refused, Err(Error::TooLarge { .. })));
    engine.tidy().unwrap();
    engine.writer.commit(&batch(room)).unwrap();
    let read = engine.reader.read(stream, 0, 1, 1).unwrap();
    assert_eq!(read[0].get(0).unwrap().len() as u64, room);
}

#[test]
fn large_and_many_records_are_written_in_parts() {
    let mut engine = Engine::new(1, 1);
    engine.fs.short_writes(2);
    let streams: Vec<StreamId> = (0..3).map(|_| engine.open_stream("q")).collect();
    for _ in 0..3 {
        let mut change = engine.change();
        for n in 0..1500 {
            change.publish(streams[n % 3], 1);
            if change.batch.records.len() > 200 {
                break;
            }
        }
        engine.commit(change).unwrap();
    }
    engine.check_bodies();
    engine.reopen(1, 2);
}

#[test]
fn a_second_broker_is_kept_out() {
    let engine = Engine::new(1, 1);
    let second = Engine::open(engine.fs.clone(), 1, 2);
    assert!(matches!(second.err(), Some(Error::Locked)));
    engine.reopen(1, 3);
}

#[test]
#[should_panic(expected = "facts are numbered without gaps")]
fn facts_with_a_gap_are_not_written() {
    let mut engine = Engine::new(1, 1);
    let stream = engine.open_stream("q");
    let mut batch = Batch::default();
    batch.records.push(Record::Facts {
        stream,
        seq: 2,
        payload: Bytes::new(),
    });
    drop(engine.writer.commit(&batch));
}
