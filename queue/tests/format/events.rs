//! Every kind of event with every option, as each version writes it.

use std::time::Duration;

use baton_queue::{
    Backoff, Column, Config, DecodeError, DedupKey, Dues, Event, FORMAT_VERSION, Failed,
    FailureReason, ItemId, Leased, Next, Origin, ProducerRun, PublishedItems, Repeated, SessionId,
    Timestamp, decode_events, encode_events,
};
use bytes::Bytes;

use crate::hex;

const VERSION_1: &str = include_str!("../fixtures/events-v1.hex");
const VERSION_2: &str = include_str!("../fixtures/events-v2.hex");
const NOW: u64 = 1_700_000_000_000_000_000;
const AT: Timestamp = Timestamp(NOW);

const fn later(nanos: u64) -> Timestamp {
    Timestamp(NOW + nanos)
}

fn published() -> PublishedItems {
    PublishedItems {
        at: AT,
        first: ItemId(7),
        count: 3,
        sizes: Column::Uniform(512),
        due: None,
        expires_at: None,
        producer: None,
        keys: Vec::new(),
        origin: None,
    }
}

fn published_with_all() -> PublishedItems {
    let all = [1, 300, 70_000].into();
    PublishedItems {
        sizes: Column::Each { all, offset: 0 },
        due: Some(later(5_000_000_000)),
        expires_at: Some(Timestamp(NOW - 1)),
        producer: Some(ProducerRun {
            id: "producer-1".into(),
            first_sequence: 1000,
        }),
        keys: vec![DedupKey {
            offset: 2,
            key: Bytes::from_static(b"key"),
            until: later(600_000_000_000),
        }],
        ..published()
    }
}

fn leased() -> Leased {
    Leased {
        at: AT,
        session: SessionId(2),
        consumer: None,
        first_seq: 41,
        first: ItemId(7),
        count: 3,
        deadline: later(30_000_000_000),
    }
}

fn failed(reason: FailureReason, next: Next) -> Event {
    let error = if next == Next::Dead { "" } else { "no route" };
    Event::Failed(Failed {
        at: AT,
        first: ItemId(7),
        count: 2,
        reason,
        error: error.into(),
        next,
    })
}

fn config() -> Config {
    Config {
        lease_duration: Duration::from_millis(1500),
        max_attempts: 7,
        backoff: Backoff {
            initial: Duration::from_secs(2),
            max: Duration::from_secs(100),
        },
        dedup_window: Duration::from_secs(60),
        default_ttl: Some(Duration::from_secs(3600)),
        max_items: Some(1_000_000),
        max_bytes: Some(1 << 30),
        paused: true,
        closed: true,
    }
}

/// A match without a wildcard, so that whoever adds an event comes here and adds it to the fixture too.
const fn name(event: &Event) -> &'static str {
    match event {
        Event::Published(PublishedItems {
            origin: Some(_), ..
        })
        | Event::PublishedFrom(..) => "published_from",
        Event::Published(_) => "published",
        Event::Repeated(_) => "repeated",
        Event::Leased(_) => "leased",
        Event::Extended { .. } => "extended",
        Event::Acked { .. } => "acked",
        Event::Failed(_) => "failed",
        Event::Released { .. } => "released",
        Event::Due { .. } => "due",
        Event::Expired { .. } => "expired",
        Event::Cancelled { .. } => "cancelled",
        Event::Redriven { .. } => "redriven",
        Event::Discarded { .. } => "discarded",
        Event::ConfigChanged { .. } => "config_changed",
        Event::SessionOpened { .. } => "session_opened",
        Event::SessionClosed { .. } => "session_closed",
        Event::SessionForgotten { .. } => "session_forgotten",
        Event::ProducerForgotten { .. } => "producer_forgotten",
        Event::KeysForgotten { .. } => "keys_forgotten",
    }
}

#[rustfmt::skip] // As a table.
pub(crate) fn all() -> Vec<Event> {
    let (at, first, count) = (AT, ItemId(300), 20);
    let (session, deadline) = (SessionId(3), later(10_000_000_000));
    let repeated = Repeated { at, count, first: None, producer: None };
    let producer = Some(ProducerRun { id: "producer-1".into(), first_sequence: 5 });
    let each = Dues::Each([later(1_000_000_000), later(900_000_000)].into());
    vec![
        Event::Published(published()),
        Event::Published(published_with_all()),
        Event::Repeated(repeated.clone()),
        Event::Repeated(Repeated { first: Some(first), producer, ..repeated }),
        Event::Leased(leased()),
        Event::Leased(Leased { consumer: Some("by-hand".into()), ..leased() }),
        Event::Extended { at, first, count, deadline },
        Event::Acked { at, first, count },
        failed(FailureReason::Nacked, Next::Ready),
        failed(FailureReason::LeaseExpired, Next::Scheduled(Dues::All(deadline))),
        failed(FailureReason::ConsumerGone, Next::Scheduled(each)),
        failed(FailureReason::Rejected, Next::Dead),
        failed(FailureReason::BrokerRestarted, Next::Ready),
        Event::Released { at, first, count },
        Event::Due { at, first, count },
        Event::Expired { at, first, count },
        Event::Cancelled { at, first, count },
        Event::Redriven { at, first, count },
        Event::Discarded { at, first, count },
        Event::ConfigChanged { at, config: Config::default() },
        Event::ConfigChanged { at, config: config() },
        Event::SessionOpened { at, session, consumer: "worker-1".into() },
        Event::SessionClosed { at, session, deadline },
        Event::SessionForgotten { at, session },
        Event::ProducerForgotten { at, producer: "producer-1".into() },
        Event::KeysForgotten { at, count },
    ]
}

/// What version 2 has more.
fn published_from() -> Event {
    let origin = Some(Origin {
        shift_ns: NOW - 77,
        error_ns: 42_000,
    });
    Event::Published(PublishedItems {
        origin,
        ..published_with_all()
    })
}

/// All of version 2.
fn batches() -> Vec<(&'static str, Vec<Event>)> {
    let mut batches = batches_of_version_1();
    batches.push(("published_from", vec![published_from()]));
    batches
}

/// Each event alone, and events of different times as one batch.
fn batches_of_version_1() -> Vec<(&'static str, Vec<Event>)> {
    let (first, count) = (ItemId(1), 1);
    let alone = all().into_iter().map(|event| (name(&event), vec![event]));
    let times = [0, 1_000, 999].map(|nanos| Event::Acked {
        at: later(nanos),
        first,
        count,
    });
    alone
        .chain([("batch", times.to_vec()), ("empty", Vec::new())])
        .collect()
}

fn encoded(events: &[Event]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_events(events, &mut bytes);
    bytes
}

fn decoded(bytes: &[u8]) -> Result<Vec<Event>, DecodeError> {
    let mut events = Vec::new();
    decode_events(bytes, &mut |event| events.push(event)).map(|()| events)
}

#[test]
fn events_are_written_as_version_2_writes_them() {
    let lines: Vec<_> = batches()
        .iter()
        .map(|(name, events)| hex::line(name, &encoded(events)))
        .collect();
    let fixture: Vec<_> = VERSION_2
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    assert_eq!(
        fixture,
        lines,
        "the format has changed; it would be\n{}",
        lines.join("\n")
    );
}

#[test]
fn events_that_both_versions_wrote_are_read() {
    for (fixture, batches) in [(VERSION_1, batches_of_version_1()), (VERSION_2, batches())] {
        let read = hex::parse(fixture);
        let read = read
            .into_iter()
            .map(|(name, bytes)| (name, decoded(&bytes).unwrap()));
        assert_eq!(read.collect::<Vec<_>>(), batches);
    }
}

#[test]
fn an_event_cut_short_is_an_error() {
    for (_, events) in batches() {
        let bytes = encoded(&events);
        for end in 0..bytes.len() {
            if let Ok(some) = decoded(&bytes[..end]) {
                assert!(some.len() < events.len(), "whole events before the cut");
            }
        }
    }
}

#[test]
fn another_version_is_named() {
    let mut bytes = encoded(&all());
    assert_eq!(bytes[0], FORMAT_VERSION);
    bytes[0] = 9;
    assert_eq!(decoded(&bytes), Err(DecodeError::Version { found: 9 }));
}

#[test]
fn a_part_of_a_column_is_written_as_its_own_values() {
    let sizes = Column::of(&[9, 9, 1, 300, 70_000, 9]).skip(2);
    let part = Event::Published(PublishedItems {
        sizes,
        ..published_with_all()
    });
    let whole = Event::Published(published_with_all());
    assert_eq!(encoded(&[part]), encoded(&[whole]));
}

#[test]
fn events_that_no_queue_reports_are_refused() {
    let none = Event::Acked {
        at: AT,
        first: ItemId(1),
        count: 0,
    };
    let sizes = Column::of(&[1, 2]);
    let short = Event::Published(PublishedItems {
        sizes,
        count: 2,
        ..published()
    });
    let mut bytes = encoded(&[short]);
    let count = 1 + bytes[1..].iter().position(|byte| *byte == 2).unwrap();
    bytes[count] = 3;
    for bytes in [encoded(&[none]), bytes] {
        assert!(matches!(
            decoded(&bytes),
            Err(DecodeError::Inconsistent { .. })
        ));
    }
}
