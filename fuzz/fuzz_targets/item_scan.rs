//! The item scan against prost: what it lets pass decodes, and says what the scan says; what it refuses is malformed or over
//! a limit.
#![no_main]

use std::time::Duration;

use baton_proto::item_scan::{Schedule, scan};
use baton_proto::v1::{Item, item};
use libfuzzer_sys::fuzz_target;
use prost::Message;

const PAYLOAD_BYTES_MAX: usize = 4096;

fn duration(seconds: i64, nanos: i32) -> Duration {
    Duration::new(
        u64::try_from(seconds).expect("it is not negative"),
        u32::try_from(nanos).expect("it is not negative"),
    )
}

fuzz_target!(|input: &[u8]| {
    let Ok(routing) = scan(input, PAYLOAD_BYTES_MAX) else {
        return;
    };
    let item = Item::decode(input).expect("what the scan lets pass decodes");
    assert!(item.payload.len() <= PAYLOAD_BYTES_MAX);
    assert_eq!(&input[routing.dedup_key.clone()], item.dedup_key.as_bytes());
    match (routing.schedule, item.schedule) {
        (Schedule::AtOnce, None) => {}
        (Schedule::Delay(delay), Some(item::Schedule::Delay(wire))) => {
            assert_eq!(delay, duration(wire.seconds, wire.nanos));
        }
        (Schedule::At(at), Some(item::Schedule::DeliverAt(wire))) => {
            let expected = if wire.seconds < 0 {
                Duration::ZERO
            } else {
                duration(wire.seconds, wire.nanos)
            };
            assert_eq!(at, expected);
        }
        (scanned, decoded) => panic!("{scanned:?} is not {decoded:?}"),
    }
    let ttl = item.ttl.map(|wire| duration(wire.seconds, wire.nanos));
    assert_eq!(routing.ttl, ttl);
});
