use std::io::IoSlice;

use super::inode::SECTOR;
use super::*;

fn write(file: &dyn File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    file.write_at(&[IoSlice::new(bytes)], offset)
}

/// A file whose name and `bytes` are durable.
fn durable(fs: &FaultFs, name: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = fs.create(name).unwrap();
    write(&*file, bytes, 0).unwrap();
    file.sync().unwrap();
    fs.sync_dir().unwrap();
    file
}

fn kind<T>(outcome: io::Result<T>) -> ErrorKind {
    outcome.map(|_| ()).unwrap_err().kind()
}

#[test]
fn what_was_written_is_read_and_its_end_is_known() {
    let fs = FaultFs::new(1);
    let file = fs.create("x").unwrap();
    let parts = [IoSlice::new(b"one"), IoSlice::new(b"two")];
    assert_eq!(file.write_at(&parts, 2).unwrap(), 6);
    let mut read = [1; 16];
    assert_eq!(file.read_at(&mut read, 1).unwrap(), 7);
    assert_eq!(&read[..7], b"\0onetwo");
    assert_eq!(file.read_at(&mut read, 8).unwrap(), 0);
    assert_eq!(fs.read_file("x").unwrap(), b"\0\0onetwo");
    assert_eq!(kind(fs.create("x")), ErrorKind::AlreadyExists);
    assert_eq!(kind(fs.open("y")), ErrorKind::NotFound);
}

#[test]
fn a_synced_byte_is_never_lost() {
    for seed in 0..200 {
        let fs = FaultFs::new(seed);
        let file = durable(&fs, "x", &[1; 4 * SECTOR]);
        // What is under way touches a byte in the middle, the end, and a sector that nobody synced.
        write(&*file, &[2; 2 * SECTOR], SECTOR as u64 + 100).unwrap();
        write(&*file, &[3; SECTOR], 4 * SECTOR as u64).unwrap();
        fs.crash();
        let left = fs.read_file("x").unwrap();
        assert!(left[..SECTOR + 100].iter().all(|byte| *byte == 1));
        assert!(
            left[3 * SECTOR + 100..4 * SECTOR]
                .iter()
                .all(|byte| *byte == 1)
        );
        assert!(
            left[SECTOR..3 * SECTOR + 100]
                .iter()
                .all(|byte| matches!(byte, 1 | 2))
        );
        assert!(left[4 * SECTOR..].iter().all(|byte| matches!(byte, 0 | 3)));
    }
}

#[test]
fn an_unsynced_sector_is_kept_or_lost_or_torn() {
    let (mut kept, mut lost, mut torn, mut mixed) = (0, 0, 0, 0);
    for seed in 0..400 {
        let fs = FaultFs::new(seed);
        let file = durable(&fs, "x", &[1; 2 * SECTOR]);
        write(&*file, &[2; 2 * SECTOR], 0).unwrap();
        fs.crash();
        let left = fs.read_file("x").unwrap();
        let (first, second) = left.split_at(SECTOR);
        match (first[0], first[SECTOR - 1]) {
            (2, 2) => kept += 1,
            (1, 1) => lost += 1,
            _ => torn += 1,
        }
        mixed += usize::from(first[0] != second[0]);
    }
    assert!([kept, lost, torn, mixed].iter().all(|count| *count > 20));
}

#[test]
fn an_unsynced_sector_may_be_what_it_was_between_two_writes() {
    let outcomes = (0..100).map(|seed| {
        let fs = FaultFs::new(seed);
        let file = durable(&fs, "x", &[1; SECTOR]);
        write(&*file, &[2; SECTOR], 0).unwrap();
        write(&*file, &[3; SECTOR], 0).unwrap();
        fs.crash();
        fs.read_file("x").unwrap()[0]
    });
    let mut found: Vec<u8> = outcomes.collect();
    found.sort_unstable();
    found.dedup();
    assert_eq!(found, [1, 2, 3]);
}

#[test]
fn what_was_cut_off_does_not_come_back_behind_a_new_length() {
    for seed in 0..100 {
        let fs = FaultFs::new(seed);
        let file = durable(&fs, "x", &[1; 3 * SECTOR]);
        file.resize(10).unwrap();
        file.resize(2 * SECTOR as u64).unwrap();
        fs.crash();
        let left = fs.read_file("x").unwrap();
        let expected: &[usize] = &[10, 2 * SECTOR, 3 * SECTOR];
        assert!(expected.contains(&left.len()));
        if left.len() == 2 * SECTOR {
            assert!(left[SECTOR..].iter().all(|byte| *byte == 0));
        }
    }
}

#[test]
fn of_unsynced_names_a_prefix_survives_and_a_rename_is_one_step() {
    let mut outcomes: Vec<Vec<String>> = Vec::new();
    for seed in 0..100 {
        let fs = FaultFs::new(seed);
        durable(&fs, "a", b"old");
        let new = fs.create("b").unwrap();
        write(&*new, b"new", 0).unwrap();
        new.sync().unwrap();
        fs.rename("b", "a").unwrap();
        fs.create("c").unwrap();
        fs.remove("a").unwrap();
        fs.crash();
        let names = fs.list().unwrap();
        if names.contains(&"a".to_owned()) {
            let content = fs.read_file("a").unwrap();
            let before_rename = names.contains(&"b".to_owned());
            assert!(content == b"old" || (content == b"new" && !before_rename));
        }
        outcomes.push(names);
    }
    outcomes.sort();
    outcomes.dedup();
    assert_eq!(
        outcomes,
        [vec!["a"], vec!["a", "b"], vec!["a", "c"], vec!["c"]]
    );
}

#[test]
fn synced_names_survive_and_a_removed_file_is_gone() {
    for seed in 0..20 {
        let fs = FaultFs::new(seed);
        durable(&fs, "a", b"a");
        durable(&fs, "b", b"b");
        fs.rename("a", "c").unwrap();
        fs.remove("b").unwrap();
        fs.sync_dir().unwrap();
        fs.crash();
        assert_eq!((fs.list().unwrap(), fs.used()), (vec!["c".to_owned()], 1));
    }
}

#[test]
fn the_same_seed_has_the_same_outcome() {
    let run = |seed| {
        let fs = FaultFs::new(seed);
        fs.short_writes(2);
        fs.fail(Call::Sync, 2, ErrorKind::Other);
        let mut counts = Vec::new();
        for name in ["a", "b", "c"] {
            let file = fs.create(name).unwrap();
            for at in 0..8 {
                counts.push(write(&*file, &[at; 700], u64::from(at) * 600).unwrap());
            }
            drop(file.sync());
            counts.push(write(&*file, &[9; 2000], 100).unwrap());
        }
        fs.crash();
        let names = fs.list().unwrap();
        let files: Vec<_> = names
            .iter()
            .map(|name| fs.read_file(name).unwrap())
            .collect();
        (counts, names, files)
    };
    assert_eq!(run(7), run(7));
    assert!((8..16).any(|seed| run(seed) != run(7)));
}

#[test]
fn after_a_failed_sync_the_next_one_lies() {
    let (mut kept, mut dropped) = (0, 0);
    for seed in 0..100 {
        let fs = FaultFs::new(seed);
        let file = durable(&fs, "x", &[1; SECTOR]);
        write(&*file, &[2; SECTOR], 0).unwrap();
        fs.fail(Call::Sync, 1, ErrorKind::Other);
        assert_eq!(kind(file.sync()), ErrorKind::Other);
        file.sync().unwrap();
        assert_eq!(fs.read_file("x").unwrap(), [2; SECTOR]);
        // What is written afterwards is as good as ever.
        write(&*file, &[3; SECTOR], SECTOR as u64).unwrap();
        file.sync().unwrap();
        fs.crash();
        let left = fs.read_file("x").unwrap();
        assert_eq!(left[SECTOR..], [3; SECTOR]);
        kept += usize::from(left[..SECTOR] == [2; SECTOR]);
        dropped += usize::from(left[..SECTOR] == [1; SECTOR]);
    }
    assert!(kept > 10 && dropped > 10);
}

#[test]
fn the_call_that_is_told_to_fails_and_every_call_is_counted() {
    let fs = FaultFs::new(1);
    let file = durable(&fs, "x", b"x");
    fs.fail(Call::Write, 2, ErrorKind::PermissionDenied);
    fs.fail(Call::Create, 1, ErrorKind::StorageFull);
    fs.fail(Call::Resize, 1, ErrorKind::Other);
    assert_eq!(write(&*file, b"a", 0).unwrap(), 1);
    assert_eq!(kind(write(&*file, b"b", 0)), ErrorKind::PermissionDenied);
    assert_eq!(write(&*file, b"c", 0).unwrap(), 1);
    assert_eq!(kind(fs.create("y")), ErrorKind::StorageFull);
    assert_eq!(kind(file.resize(9)), ErrorKind::Other);
    assert_eq!(
        (fs.list().unwrap(), file.size().unwrap()),
        (vec!["x".to_owned()], 1)
    );
    assert_eq!((fs.calls(Call::Write), fs.calls(Call::Create)), (4, 2));
}

#[test]
fn a_short_write_writes_what_it_says() {
    let fs = FaultFs::new(1);
    fs.short_writes(1);
    let file = fs.create("x").unwrap();
    let count = write(&*file, &[1; 100], 0).unwrap();
    assert!((1..100).contains(&count));
    assert_eq!(file.size().unwrap(), count as u64);
}

#[test]
fn a_full_disk_refuses_what_grows_and_takes_what_does_not() {
    let fs = FaultFs::new(1);
    fs.set_capacity(Some(100));
    let file = fs.create("x").unwrap();
    file.resize(90).unwrap();
    assert_eq!(kind(file.resize(101)), ErrorKind::StorageFull);
    assert_eq!(write(&*file, &[1; 30], 80).unwrap(), 20);
    assert_eq!(kind(write(&*file, &[1; 30], 100)), ErrorKind::StorageFull);
    assert_eq!(kind(fs.create("y")), ErrorKind::StorageFull);
    assert_eq!(write(&*file, &[2; 100], 0).unwrap(), 100);
    fs.set_capacity(Some(50));
    assert_eq!(write(&*file, &[3; 100], 0).unwrap(), 100);
    fs.set_capacity(Some(101));
    let other = fs.create("y").unwrap();
    assert_eq!(write(&*other, &[1; 30], 0).unwrap(), 1);
    // What is removed takes room as long as it is open.
    fs.remove("x").unwrap();
    assert_eq!(fs.used(), 101);
    drop(file);
    assert_eq!(fs.used(), 1);
}

#[test]
fn a_crash_ends_handles_and_locks() {
    let fs = FaultFs::new(1);
    let file = durable(&fs, "x", b"x");
    let before = fs.lock().unwrap();
    assert_eq!(kind(fs.lock()), ErrorKind::WouldBlock);
    fs.crash();
    assert!(write(&*file, b"y", 0).is_err() && file.sync().is_err() && file.size().is_err());
    let after = fs.lock().unwrap();
    drop((before, file));
    assert_eq!(kind(fs.lock()), ErrorKind::WouldBlock);
    drop(after);
    fs.lock().unwrap();
    assert_eq!(fs.read_file("x").unwrap(), b"x");
}

#[test]
fn without_power_nothing_changes_until_it_is_back() {
    let fs = FaultFs::new(1);
    let file = durable(&fs, "x", b"x");
    fs.cut_power_after(2);
    write(&*file, b"y", 0).unwrap();
    file.sync().unwrap();
    assert!(write(&*file, b"z", 0).is_err() && file.sync().is_err());
    assert!(fs.create("y").is_err() && fs.list().is_err() && fs.lock().is_err());
    fs.crash();
    assert_eq!(fs.read_file("x").unwrap(), b"y");
    fs.create("y").unwrap();
}

#[test]
fn a_cloned_disk_goes_its_own_way() {
    let fs = FaultFs::new(1);
    let file = durable(&fs, "x", &[1; SECTOR]);
    write(&*file, &[2; SECTOR], 0).unwrap();
    let _lock = fs.lock().unwrap();
    let crashes = (0..40).map(|seed| {
        let copy = fs.clone_disk(seed);
        copy.crash();
        let _free = copy.lock().unwrap();
        copy.read_file("x").unwrap()[0]
    });
    let found: Vec<u8> = crashes.collect();
    assert!(found.contains(&1) && found.contains(&2));
    fs.clone_disk(1).remove_file("x").unwrap();
    assert_eq!(fs.read_file("x").unwrap(), [2; SECTOR]);
}

#[test]
fn damage_is_what_programs_read_and_stays() {
    let fs = FaultFs::new(1);
    let file = durable(&fs, "x", &[0; 10]);
    durable(&fs, "y", b"y");
    fs.flip_bit("x", 3, 2).unwrap();
    fs.truncate("x", 5).unwrap();
    fs.remove_file("y").unwrap();
    fs.write_file("z", b"planted");
    assert_eq!(file.size().unwrap(), 5);
    fs.crash();
    assert_eq!(fs.read_file("x").unwrap(), [0, 0, 0, 4, 0]);
    assert_eq!(fs.list().unwrap(), ["x", "z"]);
    assert_eq!(kind(fs.flip_bit("x", 5, 0)), ErrorKind::InvalidInput);
}
