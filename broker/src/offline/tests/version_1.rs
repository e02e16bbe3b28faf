//! A data directory that version 1 wrote: `tests/fixtures/data-v1`. Directories like it are on users' disks, so it is never
//! written again; a new version gets a fixture of its own. What is expected of it stands beside it as text, which may be
//! written anew where only the way it is shown changes.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use baton_journal::{Settings, StreamId, recover};
use baton_queue::{
    Admit, Backoff, Config, Demand, ItemId, NackKind, NewItem, ProducerRef, Publish, Queue,
    RedriveWhat, SessionId, Timestamp, Want,
};
use bytes::Bytes;

use super::site::{Site, body, waiting};
use crate::engine::Recovery;
use crate::offline::{Verdict, check_directory, open};

const HOUR: Duration = Duration::from_secs(3600);
const NOW: Timestamp = Timestamp(1_800_000_000_123_456_789);

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data-v1")
}

fn expected() -> PathBuf {
    fixture().with_extension("txt")
}

fn copy_of_fixture() -> tempfile::TempDir {
    let copy = tempfile::TempDir::new().unwrap();
    for entry in fs::read_dir(fixture()).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}

/// All that a broker would find in the directory, as text.
fn shown(data: &Path) -> String {
    let mut recovery = Recovery::default();
    let recovered = recover(open(data).unwrap(), Settings::new(|| 1), &mut recovery).unwrap();
    let mut text = format!("{:#?}\n", recovered.report());
    writeln!(
        text,
        "next stream {}, latest {}",
        recovered.next_stream(),
        recovery.latest()
    )
    .unwrap();
    let reader = recovered.reader();
    for known in recovery.finish(|stream| recovered.last_seq(stream)) {
        let (stream, seq) = (known.stream, known.last_seq);
        writeln!(text, "\nqueue {} stream {stream} seq {seq}", known.name).unwrap();
        show_queue(&mut text, stream, known.queue, |item| {
            let blocks = reader.read(stream, item, 1, 1).unwrap();
            blocks[0].get(item).unwrap()
        });
    }
    of_version_1(&text)
}

/// Without what this version had not: no origins, and nothing in the explanations of when an item got ready, nor of
/// how it ended.
fn of_version_1(text: &str) -> String {
    let line = |line: &str| match line.find(", ready_at: ") {
        Some(at) => {
            assert!(
                line.contains(", origin: None, ending: "),
                "version 1 has no origins"
            );
            format!("{} }})\n", &line[..at])
        }
        None if line.trim() == "origin: None," => String::new(),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

fn show_queue(text: &mut String, stream: StreamId, mut queue: Queue, read: impl Fn(u64) -> Bytes) {
    writeln!(text, "{:#?}\n{:#?}", queue.config(), queue.stats(NOW)).unwrap();
    for item in 1..=queue.last_item().0 {
        let why = queue.explain(NOW, ItemId(item), Demand::default());
        writeln!(text, "{why:?}").unwrap();
    }
    for item in waiting(&queue) {
        assert_eq!(read(item), body(stream.0, item), "the body of {item}");
    }
    let join = queue.join(ItemId::NONE, queue.last_item());
    writeln!(text, "{join:?}").unwrap();
    for session in 0..4 {
        let live = queue.live_leases(SessionId(session));
        writeln!(text, "session {session}: {live} live").unwrap();
    }
    // What is remembered of the past shows in what is made of the same again.
    for first in 1..=queue.last_item().0 {
        let items = [NewItem {
            dedup_key: Some(format!("key-{first}").into()),
            ..NewItem::default()
        }];
        let again = |queue: &mut Queue, id, items: &[NewItem]| {
            let mut queue = queue.clone();
            let producer = Some(ProducerRef {
                id,
                first_sequence: first,
            });
            let admit = Admit::All;
            let publish = Publish {
                producer,
                items,
                admit,
                origin: None,
            };
            queue.handle_publish(queue_now(), publish, &mut Vec::new())
        };
        let by_key = again(&mut queue, "another", &items);
        let by_sequence = again(&mut queue, "producer", &[NewItem::default()]);
        writeln!(text, "again {first}: {by_key:?} {by_sequence:?}").unwrap();
    }
    let mut events = Vec::new();
    queue.restart(queue_now(), &mut events);
    queue.tick(queue_now().saturating_add(20 * HOUR), 3, &mut events);
    writeln!(text, "after a restart {events:#?}").unwrap();
}

/// Shortly after the last event, so that windows are open still.
fn queue_now() -> Timestamp {
    NOW.saturating_add(Duration::from_secs(2))
}

#[test]
fn a_directory_of_version_1_is_read_in_all_its_parts() {
    let copy = copy_of_fixture();
    let shown = shown(copy.path());
    let expected = fs::read_to_string(expected()).unwrap();
    for (line, (shown, expected)) in shown.lines().zip(expected.lines()).enumerate() {
        assert_eq!(shown, expected, "line {}", line + 1);
    }
    assert_eq!(shown.len(), expected.len());
}

#[test]
fn a_directory_of_version_1_is_sound_but_for_its_torn_end() {
    let copy = copy_of_fixture();
    let (verdict, report) = check_directory(copy.path()).unwrap();
    assert_eq!(verdict, Verdict::Sound, "{report}");
    assert!(report.torn_bytes > 0, "{report}");
    assert!(report.segments >= 4 && report.queues.len() == 4, "{report}");
    assert_eq!(report.unused_sidecars.len(), 0);
    let indexes = fs::read_dir(copy.path()).unwrap();
    let indexes = indexes.filter(|entry| {
        entry
            .as_ref()
            .unwrap()
            .path()
            .extension()
            .is_some_and(|end| end == "idx")
    });
    assert!(indexes.count() >= 3);
}

fn story() -> Site {
    let mut site = Site::new();
    site.now = NOW;
    site.open(
        1,
        Config {
            lease_duration: Duration::from_secs(45),
            max_attempts: 2,
            backoff: Backoff {
                initial: Duration::from_secs(7),
                max: Duration::from_secs(70),
            },
            dedup_window: 3 * HOUR,
            default_ttl: Some(10 * HOUR),
            max_items: Some(1000),
            max_bytes: Some(1_000_000),
            paused: false,
            closed: false,
        },
    );
    site.open(2, Config::default());
    site.publish(1, 5, None);
    site.publish(1, 2, Some(HOUR));
    site.ack(1, 1);
    site.fail(1, NackKind::Retry { delay: None });
    site.fail(1, NackKind::DeadLetter);
    site.reopen();
    site.publish(2, 4, None);
    site.ack(2, 2);
    site.fail(2, NackKind::Retry { delay: Some(HOUR) });
    site.checkpoint(1);
    site.publish(1, 3, None);
    site.act(1, |queue, now, events| {
        drop(queue.cancel(now, &[ItemId(9)], events))
    });
    site.reopen();
    site.open(
        3,
        Config {
            paused: true,
            ..Config::default()
        },
    );
    site.publish(3, 2, None);
    site.publish(2, 3, None);
    consumers(&mut site);
    site.reopen();
    site.publish(1, 2, None);
    site.fail(1, NackKind::DeadLetter);
    site.act(1, |queue, now, events| {
        queue.redrive(now, RedriveWhat::Oldest(Some(1)), events);
    });
    site.publish(1, 2, None);
    site.fail(1, NackKind::DeadLetter);
    site.act(1, |queue, now, events| {
        queue.discard(now, &[ItemId(4)], events);
    });
    let short = Config {
        default_ttl: Some(Duration::from_millis(1)),
        ..Config::default()
    };
    site.open(4, short);
    site.publish(4, 2, None);
    site.act(4, |queue, now, events| queue.tick(now, 5, events));
    site
}

/// One that is there with a lease, and one that has left.
fn consumers(site: &mut Site) {
    site.act(2, |queue, now, events| {
        let here = queue.open_session(now, "here".into(), events);
        let left = queue.open_session(now, "left".into(), events);
        for session in [here, left] {
            let want = Want {
                items: 1,
                bytes: None,
                lease_duration: Some(HOUR),
                consumer: None,
                up_to: None,
            };
            queue.handle_lease(now, session, want, events);
        }
        queue.close_session(now, left, Duration::from_secs(60), events);
    });
}

#[test]
#[ignore = "wrote the fixture; a version writes its own once"]
fn write_the_fixture() {
    let mut site = story();
    let data = site.path("data");
    let last = |data: &Path| {
        let whole = super::places(data).pop().unwrap().1;
        data.join(whole.file)
    };
    site.publish(1, 6, None);
    let path = last(&data);
    let used = |bytes: &[u8]| {
        bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1)
    };
    site.closed_data(&fixture());
    for entry in fs::read_dir(fixture()).unwrap() {
        let path_of = entry.unwrap().path();
        let bytes = fs::read(&path_of).unwrap();
        let end = used(&bytes);
        // The last commit is torn: its bodies are there, and its facts not all.
        let keep = match path_of.file_name() == path.file_name() {
            true => end - 60,
            false => end.next_multiple_of(8).max(4096),
        };
        fs::write(&path_of, &bytes[..keep.min(bytes.len())]).unwrap();
    }
    fs::write(expected(), shown(copy_of_fixture().path())).unwrap();
}

#[test]
#[ignore = "writes what is shown of the fixture, where only the way it is shown has changed"]
fn write_what_is_expected_of_the_fixture() {
    fs::write(expected(), shown(copy_of_fixture().path())).unwrap();
}
