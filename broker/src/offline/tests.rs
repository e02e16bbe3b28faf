//! Directories, sound and damaged, and the questions that tests ask of them: what `check` says, what a broker does, and what
//! `salvage` brings back.

mod damage;
mod refusals;
mod site;
mod version_1;

use std::sync::Arc;

use baton_ledger::party::Party;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use baton_journal::{Place, Record, StreamId};
use baton_queue::{Backoff, Config, Event, NackKind, Timestamp};
use bytes::Bytes;

use self::site::{Closed, Site, body, places, waiting};
use super::ranges::Ranges;
use super::report::QueueLine;
use super::*;
use crate::engine::{Engine, EngineSettings, Keep, Lease, Recovery, StorageSettings};

const HOUR: Duration = Duration::from_secs(3600);

/// Two queues over several segments: items in every state, a checkpoint in the middle of the first one's facts.
fn busy() -> Closed {
    static BUSY: OnceLock<Closed> = OnceLock::new();
    BUSY.get_or_init(build).copy()
}

fn build() -> Closed {
    let mut site = Site::new();
    let config = Config {
        max_attempts: 3,
        backoff: Backoff {
            initial: HOUR,
            max: HOUR,
        },
        ..Config::default()
    };
    site.open(1, config.clone());
    site.open(2, config);
    for round in 0..24 {
        for stream in [1, 2] {
            site.publish(stream, 30, None);
            site.ack(stream, 7);
            if round % 4 == 0 {
                site.publish(stream, 3, Some(HOUR));
                site.fail(stream, NackKind::DeadLetter);
                site.fail(stream, NackKind::Retry { delay: Some(HOUR) });
                site.lease(stream, 2);
            }
        }
        if round == 3 || round == 18 {
            site.checkpoint(1);
        }
    }
    site.closed()
}

fn checked(closed: &Closed, name: &str) -> (Verdict, Report) {
    check_directory(&closed.path(name)).unwrap()
}

fn engine(data: &Path) -> Result<Engine, Error> {
    Engine::open(EngineSettings {
        auto_create: false,
        accounting: None,
        keep: Keep::Journal(StorageSettings {
            directory: data.to_owned(),
            segment_bytes: 256 << 10,
            memory_bytes_max: 1 << 20,
        }),
    })
}

/// Whether a broker refuses to start.
fn refused(closed: &Closed) -> bool {
    let fs = open(&closed.path("data")).unwrap();
    baton_journal::recover(fs, Settings::new(|| 1), &mut Recovery::default()).is_err()
}

/// They hold one commit of 512 KiB.
fn small() -> Settings {
    let mut settings = Settings::new(rand::random);
    settings.segment_bytes = 1 << 20;
    settings
}

fn salvage_small(data: &Path, into: &Path) -> Result<(Verdict, Report), Failure> {
    salvage_directory(data, into, small())
}

/// What a broker has of a queue: each item that is not done, and its body.
async fn held(engine: &Engine, name: &str) -> BTreeMap<u64, Option<Bytes>> {
    let queue = engine.queue(name).unwrap();
    let items: Vec<u64> = queue
        .act(|view| waiting(view.queue))
        .await
        .unwrap()
        .into_iter()
        .collect();
    let bodies = queue.bodies(items.clone()).await;
    items.into_iter().zip(bodies).collect()
}

/// Leases everything that is ready, and acks nothing.
async fn delivered(engine: &Engine, name: &str) -> BTreeMap<u64, Bytes> {
    let queue = engine.queue(name).unwrap();
    let mut items = BTreeMap::new();
    while queue.act(|view| view.queue.ready_items()).await.unwrap() > 0 {
        let leased = queue.lease(|reply| Lease {
            consumer: Arc::new(Party::named("test")),
            items: 1000,
            bytes: 1 << 20,
            lease_duration: Some(HOUR),
            until: engine.clock().now().saturating_add(Duration::from_secs(20)),
            reply,
        });
        for item in leased.await.unwrap() {
            assert!(
                items.insert(item.item.0, item.body).is_none(),
                "leased once"
            );
        }
    }
    items
}

/// What may be asked of a salvage, from the records that can be read: independent of how it is done.
struct Owed {
    readable: BTreeSet<u64>,
    acked: BTreeSet<u64>,
}

impl Owed {
    fn of(data: &Path, stream: u32) -> Self {
        let mut owed = Self {
            readable: BTreeSet::new(),
            acked: BTreeSet::new(),
        };
        for (record, _) in places(data) {
            match record {
                Record::Bodies { stream: of, block } if of.0 == stream => {
                    owed.readable.extend(block.first()..block.end());
                }
                Record::Facts {
                    stream: of,
                    payload,
                    ..
                } if of.0 == stream => {
                    baton_queue::decode_events(&payload, &mut |event| {
                        if let Event::Acked { first, count, .. } = event {
                            owed.acked.extend((first.0..).take(count as usize));
                        }
                    })
                    .unwrap();
                }
                _ => {}
            }
        }
        owed
    }
}

/// Salvages, and holds the outcome to what is owed. Returns the report.
async fn salvaged(closed: &Closed) -> Report {
    let (data, into) = (closed.path("data"), closed.path("new"));
    let before = listing(&data);
    let (verdict, report) = salvage_small(&data, &into).unwrap();
    assert_eq!(verdict, Verdict::Sound);
    assert_eq!(listing(&data), before, "the old directory stays as it was");
    assert!(!closed.path("new.unfinished").exists());
    let (verdict, result) = checked(closed, "new");
    assert_eq!(verdict, Verdict::Sound, "{result}");
    let engine = engine(&into).unwrap();
    for stream in closed.queues.keys() {
        let line = report
            .queues
            .iter()
            .find(|line| line.stream == *stream)
            .unwrap();
        let owed = Owed::of(&data, *stream);
        let held = held(&engine, &line.name).await;
        for (item, body_of) in &held {
            assert_eq!(body_of.as_ref(), Some(&body(*stream, *item)), "item {item}");
            assert!(
                !owed.acked.contains(item),
                "item {item} was acked in a fact that can be read"
            );
        }
        let due: BTreeSet<u64> = closed
            .waiting(*stream)
            .intersection(&owed.readable)
            .copied()
            .collect();
        let kept: BTreeSet<u64> = held.keys().copied().collect();
        assert!(
            due.is_subset(&kept),
            "{stream}: {:?} are missing",
            due.difference(&kept)
        );
        let delivered = delivered(&engine, &line.name).await;
        assert_eq!(
            delivered.len() as u64,
            line.ready,
            "all that is ready comes"
        );
        assert!(
            delivered
                .iter()
                .all(|(item, got)| *got == body(*stream, *item))
        );
    }
    engine.stop().await;
    report
}

fn listing(data: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(data)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let named = entries.map(|path| {
        (
            path.file_name().unwrap().to_str().unwrap().to_owned(),
            fs::read(path).unwrap(),
        )
    });
    named.collect()
}

fn line(report: &Report, stream: u32) -> &QueueLine {
    report
        .queues
        .iter()
        .find(|line| line.stream == stream)
        .unwrap()
}

fn numbers(ranges: &Ranges) -> BTreeSet<u64> {
    ranges.iter().flat_map(|(first, end)| first..end).collect()
}

fn facts_of(stream: u32, is: impl Fn(&Event) -> bool + Copy) -> impl Fn(&Record) -> bool {
    move |record| match record {
        Record::Facts {
            stream: of,
            payload,
            ..
        } if of.0 == stream => {
            let mut found = false;
            let decoded = baton_queue::decode_events(payload, &mut |event| found |= is(&event));
            decoded.is_ok() && found
        }
        _ => false,
    }
}

fn bodies_of(stream: u32) -> impl Fn(&Record) -> bool {
    move |record| matches!(record, Record::Bodies { stream: of, .. } if of.0 == stream)
}

/// One that is in a sealed segment, with a sidecar.
fn sealed(closed: &Closed, places: &[Place]) -> Place {
    let last = closed.segments().pop().unwrap();
    let sealed: Vec<&Place> = places.iter().filter(|place| place.file != last).collect();
    sealed[sealed.len() / 2].clone()
}
