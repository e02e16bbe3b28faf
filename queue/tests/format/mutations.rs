//! Bytes that nobody wrote: valid ones with some changed, and any at all.

use std::time::Duration;

use baton_queue::{Queue, SessionId, Want, decode_events, encode_events};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::events;
use crate::story::{SECOND, START, everything_of_version_2};

/// What to do to bytes: where, and which byte to put there; in place of the old one, before it, or none at all.
type Change = (prop::sample::Index, u8, u8);

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let byte = prop_oneof![any::<u8>(), Just(0), Just(1), Just(0x7f), Just(0xff)];
    vec((any::<prop::sample::Index>(), byte, 0..4_u8), 1..4)
}

fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for (index, byte, how) in changes {
        // The version is another test's.
        let at = 1 + index.index(bytes.len() - 1);
        match how {
            0 => bytes.insert(at, *byte),
            1 if bytes.len() > 2 => drop(bytes.remove(at)),
            _ => bytes[at] = *byte,
        }
    }
    bytes
}

/// Drives a queue that looks sound through what comes first after a restore.
fn drive(mut queue: Queue) {
    let mut events = Vec::new();
    let mut now = START;
    for _ in 0..3 {
        let want = Want {
            items: 50,
            ..Want::default()
        };
        queue.handle_lease(now, SessionId::UNARY, want, &mut events);
        queue.tick(now, 3, &mut events);
        queue.handle_ack(now, SessionId::UNARY, 0, u64::MAX, &mut events);
        queue.join(Default::default(), queue.last_item());
        queue.stats(now);
        now = now.saturating_add(Duration::from_secs(40));
    }
    queue.restart(now, &mut events);
    let mut bytes = Vec::new();
    queue.snapshot(&mut bytes);
    let again = Queue::restore(&bytes).expect("what goes on soundly can be stored");
    assert!(again == queue);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4000) })]

    #[test]
    fn no_change_of_a_snapshot_makes_it_panic(changes in changes()) {
        let bytes = changed(everything_of_version_2().snapshot(), &changes);
        if let Ok(queue) = Queue::restore(&bytes) {
            drive(queue);
        }
    }

    #[test]
    fn no_change_of_events_makes_them_panic(changes in changes()) {
        let mut bytes = Vec::new();
        encode_events(&events::all(), &mut bytes);
        let mut read = Vec::new();
        if decode_events(&changed(bytes, &changes), &mut |event| read.push(event)).is_ok() {
            let mut again = Vec::new();
            encode_events(&read, &mut again);
            let mut second = Vec::new();
            decode_events(&again, &mut |event| second.push(event)).expect("they were read before");
            prop_assert_eq!(read, second);
        }
    }

    #[test]
    fn no_bytes_at_all_make_them_panic(mut bytes in vec(any::<u8>(), 1..200)) {
        bytes[0] = baton_queue::FORMAT_VERSION;
        let _ = Queue::restore(&bytes);
        let _ = decode_events(&bytes, &mut drop);
    }
}

#[test]
fn every_single_byte_may_be_wrong() {
    let mut story = everything_of_version_2();
    story.wait(SECOND);
    let bytes = story.snapshot();
    for at in 1..bytes.len() {
        for value in [
            0,
            1,
            2,
            0x7f,
            0x80,
            0xff,
            bytes[at].wrapping_add(1),
            bytes[at] ^ 0x40,
        ] {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            if let Ok(queue) = Queue::restore(&bytes) {
                drive(queue);
            }
        }
    }
}
