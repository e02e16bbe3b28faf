//! What can still be read of a damaged journal.

use baton_journal::{Found, Record, scan};

use crate::engine::{Engine, names};

#[derive(Debug, Default, PartialEq)]
struct Seen {
    records: u32,
    items: u32,
    commits: u32,
    damage: Vec<(String, u64)>,
}

fn seen(fs: &baton_journal::fs::FaultFs) -> Seen {
    let mut seen = Seen::default();
    scan(fs, &mut |found| match found {
        Found::Record(record, _) => {
            seen.records += 1;
            if let Record::Bodies { block, .. } = record {
                seen.items += block.count();
            }
        }
        Found::Commit { .. } => seen.commits += 1,
        Found::Streams { .. } => {}
        Found::Damage(damage) => seen.damage.push((damage.file, damage.offset)),
        Found::Unused { file } => panic!("{file} is of no use"),
    })
    .unwrap();
    seen
}

#[test]
fn what_is_around_a_damaged_record_is_found() {
    let mut engine = Engine::new(1, 1);
    let stream = engine.open_stream("q");
    for _ in 0..20 {
        engine.publish(stream, 2);
    }
    let fs = engine.fs.clone();
    let whole = seen(&fs);
    assert_eq!((whole.records, whole.items, whole.commits), (41, 40, 21));
    assert_eq!(whole.damage, []);
    let name = names(&fs, ".seg").remove(0);
    // The first record behind the start and the stream's own commit.
    let offset = 4096 + 48 + 40 + 48;
    fs.flip_bit(&name, offset + 33, 1).unwrap();
    let rest = seen(&fs);
    assert_eq!((rest.records, rest.items, rest.commits), (40, 40, 21));
    assert_eq!(rest.damage, [(name.clone(), offset)]);
    fs.flip_bit(&name, 20, 1).unwrap();
    let rest = seen(&fs);
    assert_eq!((rest.records, rest.damage.len()), (40, 2));
    assert_eq!(rest.damage[0], (name, 0));
}

#[test]
fn a_recycled_file_has_none_of_its_old_records() {
    let mut engine = Engine::new(2, 1);
    let stream = engine.open_stream("q");
    for _ in 0..500 {
        let first = engine.publish(stream, 20);
        engine.release(stream, first, 20);
        engine.begin_checkpoints(false, 1);
        engine.write_part().unwrap();
        while engine.step().unwrap() {}
    }
    let last = names(&engine.fs, ".seg").pop().unwrap();
    assert!(last.as_str() > "0000000012.seg", "files were used again");
    let mut seqs = Vec::new();
    scan(&engine.fs, &mut |found| match found {
        Found::Record(Record::Facts { seq, .. }, _) => seqs.push(seq),
        Found::Damage(damage) => panic!("{damage:?}"),
        _ => {}
    })
    .unwrap();
    assert!(seqs.windows(2).all(|pair| pair[0] + 1 == pair[1]));
    assert_eq!(seqs.last(), Some(&1000));
}
