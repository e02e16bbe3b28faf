//! No bytes make decoding panic, and what was restored can be driven on. Events that were decoded are not applied: `apply`
//! trusts them, since a checksum stood before them.
#![no_main]

use std::sync::{Arc, LazyLock};

use baton_queue::{Queue, SessionId, Timestamp, Want, decode_events, encode_events};
use libfuzzer_sys::fuzz_target;

static SNAPSHOTS: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| fixture(include_str!("../../queue/tests/fixtures/snapshot-v1.hex")));
static EVENTS: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| fixture(include_str!("../../queue/tests/fixtures/events-v1.hex")));

/// Lines of a name and bytes.
fn fixture(text: &str) -> Vec<Vec<u8>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let hex = lines.filter_map(|line| line.split_once(' '));
    hex.map(|(_, hex)| bytes_of(hex.trim())).collect()
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    hex.as_bytes().chunks_exact(2).map(pair).collect()
}

/// Each change: a place, what it does there, a byte.
fn mutated(valid: &[Vec<u8>], input: &[u8]) -> Vec<u8> {
    let (which, changes) = input.split_first().unwrap_or((&0, &[]));
    let mut bytes = valid[usize::from(*which) % valid.len()].clone();
    for change in changes.chunks_exact(4) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % (bytes.len() + 1);
        match change[2] % 4 {
            0 if at < bytes.len() => bytes[at] = change[3],
            1 => bytes.insert(at, change[3]),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 => bytes.truncate(at),
            _ => {}
        }
    }
    bytes
}

fn restored(bytes: &[u8]) {
    let Ok(mut queue) = Queue::restore(bytes) else {
        return;
    };
    let mut again = Vec::new();
    queue.snapshot(&mut again);
    let twin = Queue::restore(&again).expect("what was written can be read");
    assert!(twin == queue, "a queue is the same after a restore");
    let now = Timestamp(1_800_000_000_000_000_000);
    let stats = queue.stats(now);
    // A few bytes may claim more items than there is memory for: see docs/QUEUE.md.
    if stats.scheduled + stats.ready + stats.leased + stats.dead > 100_000 {
        return;
    }
    let mut events = Vec::new();
    queue.restart(now, &mut events);
    queue.tick(now, 3, &mut events);
    let consumer: Arc<str> = "fuzz".into();
    let want = Want {
        items: 10,
        bytes: None,
        lease_duration: None,
        consumer: Some(consumer),
        up_to: None,
    };
    for run in queue.handle_lease(now, SessionId::UNARY, want, &mut events) {
        let last = run.first_seq + u64::from(run.count) - 1;
        queue.handle_ack(now, SessionId::UNARY, run.first_seq, last, &mut events);
    }
    while queue.poll_removed().is_some() {}
    let mut bytes = Vec::new();
    encode_events(&events, &mut bytes);
    let mut decoded = Vec::new();
    decode_events(&bytes, &mut |event| decoded.push(event)).expect("what was written can be read");
    assert_eq!(decoded, events);
}

fn decoded(bytes: &[u8]) {
    let mut events = Vec::new();
    if decode_events(bytes, &mut |event| events.push(event)).is_ok() {
        let mut again = Vec::new();
        encode_events(&events, &mut again);
        let mut twins = Vec::new();
        decode_events(&again, &mut |event| twins.push(event))
            .expect("what was written can be read");
        assert_eq!(twins, events);
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((mode, rest)) = input.split_first() else {
        return;
    };
    match mode % 4 {
        0 => restored(rest),
        1 => restored(&mutated(&SNAPSHOTS, rest)),
        2 => decoded(rest),
        _ => decoded(&mutated(&EVENTS, rest)),
    }
});
