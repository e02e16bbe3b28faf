//! Each way to damage a directory.

use super::*;

#[tokio::test]
async fn a_sound_directory_is_sound_and_stays_as_it_is() {
    let closed = busy();
    assert!(closed.segments().len() >= 5, "{:?}", closed.segments());
    let before = listing(&closed.path("data"));
    let (verdict, report) = checked(&closed, "data");
    assert_eq!(verdict, Verdict::Sound, "{report}");
    assert_eq!(listing(&closed.path("data")), before);
    for (stream, queue) in &closed.queues {
        let stats = queue.stats(Timestamp(0));
        let line = line(&report, *stream);
        assert_eq!((line.scheduled, line.dead), (stats.scheduled, stats.dead));
        assert_eq!(line.ready, stats.ready + stats.leased);
    }
    assert!(report.to_string().contains("queue queue-1: "), "{report}");
    let whole = salvaged(&closed).await;
    assert!(whole.queues.iter().all(|line| line.lost_items.is_empty()
        && line.unknown_items.is_empty()
        && line.revived_items.is_empty()));
}

#[tokio::test]
async fn salvage_of_a_sound_directory_loses_nothing_of_a_queues_state() {
    let closed = busy();
    salvage_small(&closed.path("data"), &closed.path("new")).unwrap();
    let mut recovery = Recovery::default();
    let fs = open(&closed.path("new")).unwrap();
    let recovered = baton_journal::recover(fs, Settings::new(|| 1), &mut recovery).unwrap();
    for known in recovery.finish(|stream| recovered.last_seq(stream)) {
        assert_eq!(known.name.as_str(), format!("queue-{}", known.stream));
        assert!(
            known.queue == closed.queues[&known.stream.0],
            "all of the state"
        );
    }
}

#[tokio::test]
async fn a_damaged_body_costs_its_items_and_nothing_else() {
    let closed = busy();
    let place = sealed(&closed, &closed.of(bodies_of(1)));
    let block = closed
        .of(|_| true)
        .iter()
        .position(|other| *other == place)
        .unwrap();
    let Record::Bodies { block, .. } = &places(&closed.path("data"))[block].0 else {
        panic!("no bodies");
    };
    let hit: BTreeSet<u64> = (block.first()..block.end()).collect();
    let due: BTreeSet<u64> = closed.waiting(1).intersection(&hit).copied().collect();
    assert!(!due.is_empty());
    closed.flip(&place);
    let (verdict, report) = checked(&closed, "data");
    assert_eq!(verdict, Verdict::Unsound);
    let found = &report.damage[0];
    assert_eq!(
        (&found.file, found.offset, report.damage.len()),
        (&place.file, place.offset, 1)
    );
    let ids = Ranges::from_iter([(block.first(), block.end())]);
    assert_eq!(
        found.hits,
        [format!("bodies of items {ids} of queue queue-1")]
    );
    assert_eq!(numbers(&line(&report, 1).lost_items), due);
    assert!(report.verdict.contains("dead letters"), "{report}");
    let report = salvaged(&closed).await;
    assert_eq!(numbers(&line(&report, 1).lost_items), due);
    assert!(line(&report, 2).lost_items.is_empty());
    let engine = engine(&closed.path("data")).unwrap();
    let got = delivered(&engine, "queue-1").await;
    assert!(
        got.keys().all(|item| !due.contains(item)),
        "they are dead letters"
    );
    engine.stop().await;
}

#[tokio::test]
async fn damaged_facts_are_named_and_what_is_behind_them_counts() {
    for kind in [
        |event: &Event| matches!(event, Event::Acked { .. }),
        |event: &Event| matches!(event, Event::Published(_)),
    ] {
        let closed = busy();
        let place = sealed(&closed, &closed.of(facts_of(2, kind)));
        closed.flip(&place);
        let (verdict, report) = checked(&closed, "data");
        assert_eq!(verdict, Verdict::Unsound);
        assert_eq!(
            (&report.damage[0].file, report.damage[0].offset),
            (&place.file, place.offset)
        );
        assert!(
            report.damage[0].hits[0].contains("of queue queue-2"),
            "{report}"
        );
        assert!(report.refusal.is_some());
        assert!(refused(&closed), "a broker refuses to start");
        let report = salvaged(&closed).await;
        assert_eq!(line(&report, 2).missing_facts.count(), 1);
        assert!(line(&report, 1).missing_facts.is_empty());
        let restored: Vec<&QueueLine> = report
            .queues
            .iter()
            .filter(|line| line.begins_anew)
            .collect();
        assert!(restored.is_empty());
    }
}

#[tokio::test]
async fn without_its_checkpoint_a_queue_is_made_from_the_one_before_or_from_its_facts() {
    for which in [0, 1] {
        let closed = busy();
        let places = closed.of(|record| matches!(record, Record::Checkpoint { .. }));
        assert_eq!(places.len(), 2);
        closed.flip(&places[which]);
        let (verdict, report) = checked(&closed, "data");
        assert_eq!((verdict, report.damage.len()), (Verdict::Unsound, 1));
        assert_eq!(
            (&report.damage[0].file, report.damage[0].offset),
            (&places[which].file, places[which].offset)
        );
        assert_eq!(refused(&closed), which == 1, "only the last one is needed");
        let report = salvaged(&closed).await;
        let line = line(&report, 1);
        assert!(
            line.missing_facts.is_empty() && line.lost_items.is_empty(),
            "{report}"
        );
        assert!(
            line.unknown_items.is_empty() && line.revived_items.is_empty(),
            "{report}"
        );
    }
}

#[tokio::test]
async fn a_missing_segment_costs_what_was_in_it() {
    for place in 1..busy().segments().len() - 1 {
        let closed = busy();
        let name = closed.segments()[place].clone();
        closed.remove(&name);
        let (verdict, report) = checked(&closed, "data");
        assert_eq!(verdict, Verdict::Unsound, "{name}");
        assert!(
            report
                .refusal
                .as_ref()
                .is_some_and(|text| text.contains("is a file missing?")),
            "{report}"
        );
        assert!(refused(&closed));
        let report = salvaged(&closed).await;
        let checkpoints = closed.of(|record| matches!(record, Record::Checkpoint { .. }));
        if name < checkpoints[1].file {
            let line = line(&report, 1);
            assert!(
                line.missing_facts.is_empty() && !line.begins_anew,
                "{report}"
            );
            assert!(line.revived_items.is_empty() && line.unknown_items.is_empty());
        }
    }
}

#[tokio::test]
async fn what_is_before_a_missing_last_segment_is_rescued() {
    let closed = busy();
    closed.remove(&closed.segments().pop().unwrap());
    // That it is missing cannot be told; what is left must make sense.
    let (_, report) = checked(&closed, "data");
    assert_eq!(report.damage.len(), 0, "{report}");
    salvaged(&closed).await;
}

#[tokio::test]
async fn a_damaged_header_costs_nothing() {
    for place in 0..busy().segments().len() {
        let closed = busy();
        let name = closed.segments()[place].clone();
        closed.flip_at(&name, 20);
        let (verdict, report) = checked(&closed, "data");
        assert_eq!(verdict, Verdict::Unsound);
        assert_eq!(
            (&report.damage[0].file, report.damage[0].offset),
            (&name, 0)
        );
        assert!(refused(&closed));
        let report = salvaged(&closed).await;
        for (stream, queue) in &closed.queues {
            let line = line(&report, *stream);
            assert_eq!(line.items(), waiting(queue).len() as u64);
        }
    }
}

#[tokio::test]
async fn a_queue_whose_name_is_lost_gets_another() {
    let closed = busy();
    let places = closed.of(
        |record| matches!(record, Record::StreamOpened { stream, .. } if *stream == StreamId(2)),
    );
    // Its payload is its name.
    closed.flip_at(&places[0].file, places[0].offset + 32);
    let (verdict, _) = checked(&closed, "data");
    assert_eq!(verdict, Verdict::Unsound);
    assert!(refused(&closed));
    let report = salvaged(&closed).await;
    assert_eq!(line(&report, 2).name, "salvaged-2");
    assert_eq!(line(&report, 2).lost_items.count(), 0);
}

#[tokio::test]
async fn a_sidecar_that_disagrees_is_damage_and_one_that_does_not_verify_is_none() {
    let closed = busy();
    let name = closed.segments()[1].replace(".seg", ".idx");
    closed.flip_at(&name, 70);
    let (verdict, report) = checked(&closed, "data");
    assert_eq!(verdict, Verdict::Sound, "{report}");
    assert_eq!(report.unused_sidecars, [name.as_str()]);
    let path = closed.path("data").join(&name);
    let mut bytes = fs::read(&path).unwrap();
    // Right again, but for the number of an entry, with the checksum that belongs to it.
    bytes[70] ^= 4;
    bytes[72] ^= 1;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    fs::write(path, bytes).unwrap();
    let (verdict, report) = checked(&closed, "data");
    assert_eq!(verdict, Verdict::Unsound);
    assert!(
        report.damage.iter().any(|damage| damage.file == name),
        "{report}"
    );
}

#[tokio::test]
async fn a_torn_end_is_no_damage_even_behind_a_restart() {
    let mut site = Site::new();
    site.open(1, Config::default());
    site.publish(1, 3, None);
    site.lease(1, 1);
    let closed = site.closed();
    // Of the last commit its frame reached the disk, and its facts did not.
    let facts = closed.of(facts_of(1, |event| matches!(event, Event::Leased(_))));
    closed.flip(&facts[0]);
    let (verdict, report) = checked(&closed, "data");
    assert_eq!(verdict, Verdict::Sound, "{report}");
    assert_eq!(line(&report, 1).ready, 3);
    let engine = engine(&closed.path("data")).unwrap();
    assert_eq!(delivered(&engine, "queue-1").await.len(), 3);
    engine.stop().await;
    let (verdict, report) = checked(&closed, "data");
    assert_eq!(verdict, Verdict::Sound, "{report}");
    assert_eq!((report.segments, line(&report, 1).ready), (2, 3));
    let report = salvaged(&closed).await;
    assert!(line(&report, 1).missing_facts.is_empty(), "{report}");
}

#[tokio::test]
async fn every_flipped_byte_of_a_small_journal_is_rescued_around() {
    let mut site = Site::new();
    site.open(1, Config::default());
    site.publish(1, 3, None);
    site.ack(1, 1);
    site.publish(1, 2, Some(HOUR));
    site.fail(1, NackKind::DeadLetter);
    let closed = site.closed();
    let data = closed.path("data");
    let name = closed.segments()[0].clone();
    let whole = fs::read(data.join(&name)).unwrap();
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap();
    for at in (0..48).chain(4096..used).step_by(13) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x20;
        fs::write(data.join(&name), bytes).unwrap();
        let (_, report) = match check_directory(&data) {
            Ok(checked) => checked,
            Err(Failure::Journal(Error::Version { .. })) => continue,
            Err(error) => panic!("byte {at}: {error}"),
        };
        let into = closed.path("new");
        drop(fs::remove_dir_all(&into));
        salvage_small(&data, &into).unwrap_or_else(|error| panic!("byte {at}: {error}\n{report}"));
        let owed = Owed::of(&data, 1);
        let (_, result) = checked(&closed, "new");
        let items: u64 = result.queues.iter().map(QueueLine::items).sum();
        let due = closed.waiting(1).intersection(&owed.readable).count();
        // The last commit may be lost, as in a crash.
        assert!(
            items >= due as u64,
            "byte {at}: {items} of {due}\n{report}\n{result}"
        );
    }
}
