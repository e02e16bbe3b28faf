//! The scan against items as prost writes and reads them.

use std::collections::HashMap;

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::v1::Item;
use crate::v1::item::Schedule as WireSchedule;

const MIB: usize = 1 << 20;

fn full() -> Item {
    Item {
        ttl: Some(prost_types::Duration {
            seconds: 60,
            nanos: 5,
        }),
        dedup_key: "order-7".into(),
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
        tracestate: "a=b".into(),
        created_ns: 99,
        attributes: HashMap::from([("k".into(), "v".into()), ("empty".into(), String::new())]),
        content_type: "text/plain".into(),
        payload: Bytes::from_static(b"work"),
        schedule: Some(WireSchedule::Delay(prost_types::Duration {
            seconds: 3,
            nanos: 0,
        })),
    }
}

// Found by fuzzing.
#[test]
fn a_time_that_appears_twice_is_merged_as_protobuf_has_it() {
    let part = |seconds, nanos| Item {
        schedule: Some(WireSchedule::Delay(prost_types::Duration {
            seconds,
            nanos,
        })),
        ttl: Some(prost_types::Duration { seconds, nanos }),
        ..Item::default()
    };
    let twice = [part(3, 0), part(0, 5)].map(|item| item.encode_to_vec());
    let twice = twice.concat();
    let merged = Item::decode(&twice[..]).unwrap();
    assert_eq!(merged, part(3, 5));
    let routing = scan(&twice, MIB).unwrap();
    assert_eq!(routing.schedule, Schedule::Delay(Duration::new(3, 5)));
    assert_eq!(routing.ttl, Some(Duration::new(3, 5)));
}

#[test]
fn of_two_kinds_of_schedule_the_last_one_counts() {
    let delay = full();
    let at = Item {
        schedule: Some(WireSchedule::DeliverAt(prost_types::Timestamp {
            seconds: 9,
            nanos: 1,
        })),
        ..Item::default()
    };
    let both = [delay, at].map(|item| item.encode_to_vec()).concat();
    let routing = scan(&both, MIB).unwrap();
    assert_eq!(routing.schedule, Schedule::At(Duration::new(9, 1)));
}

#[test]
fn an_empty_item_has_no_routing() {
    assert_eq!(scan(&[], MIB), Ok(Routing::default()));
}

#[test]
fn every_routing_field_is_found() {
    let encoded = full().encode_to_vec();
    let routing = scan(&encoded, MIB).unwrap();
    assert_eq!(routing.schedule, Schedule::Delay(Duration::from_secs(3)));
    assert_eq!(routing.ttl, Some(Duration::new(60, 5)));
    assert_eq!(&encoded[routing.dedup_key], b"order-7");
}

#[test]
fn limits_are_told_with_what_was_sent() {
    let with = |change: fn(&mut Item)| {
        let mut item = full();
        change(&mut item);
        scan(&item.encode_to_vec(), 8).unwrap_err()
    };
    let cases = [
        (with(|i| i.payload = vec![0; 9].into()), "payload"),
        (with(|i| i.dedup_key = "k".repeat(129)), "dedup_key"),
        (with(|i| i.traceparent = "k".repeat(65)), "traceparent"),
        (with(|i| i.tracestate = "k".repeat(513)), "tracestate"),
        (with(|i| i.content_type = "k".repeat(129)), "content_type"),
        (
            with(|i| i.attributes = (0..65).map(|n| (n.to_string(), String::new())).collect()),
            "attributes",
        ),
        (
            with(|i| i.attributes = HashMap::from([("k".into(), "v".repeat(16 * 1024))])),
            "attributes",
        ),
        (
            with(|i| i.attributes = HashMap::from([(String::new(), "v".into())])),
            "attribute",
        ),
        (
            with(|i| i.ttl = Some(prost_types::Duration::default())),
            "ttl",
        ),
        (
            with(|i| {
                i.ttl = Some(prost_types::Duration {
                    seconds: -1,
                    nanos: 0,
                })
            }),
            "ttl",
        ),
        (
            with(|i| {
                i.ttl = Some(prost_types::Duration {
                    seconds: 1,
                    nanos: -1,
                })
            }),
            "ttl",
        ),
        (
            with(|i| {
                i.schedule = Some(WireSchedule::Delay(prost_types::Duration {
                    seconds: i64::MAX,
                    nanos: 0,
                }))
            }),
            "delay",
        ),
    ];
    for (error, word) in cases {
        assert!(
            error.to_string().contains(word),
            "{error} does not name {word}"
        );
    }
}

#[test]
fn wrong_wire_types_and_groups_are_malformed() {
    for bytes in [
        &[0x78, 0x01][..],
        &[0x22 | 1, 0][..],
        &[0x13, 0x14][..],
        &[0x00, 0x00][..],
        &[0x7a, 0x05, 0x00][..],
    ] {
        assert_eq!(scan(bytes, MIB), Err(ScanError::Malformed), "{bytes:?}");
    }
}

#[test]
fn text_that_is_not_utf8_is_refused() {
    assert_eq!(
        scan(&[0x3a, 1, 0xff], MIB),
        Err(ScanError::NotUtf8("dedup_key"))
    );
    assert_eq!(
        scan(&[0x5a, 3, 0x0a, 1, 0xff], MIB),
        Err(ScanError::NotUtf8("an attribute"))
    );
}

#[test]
fn both_declarations_of_an_item_are_the_same_on_the_wire() {
    let items = vec![full(), Item::default()];
    let typed = crate::v1::PublishBatch {
        first_sequence: 7,
        items: items.clone(),
    };
    let encoded = items
        .iter()
        .map(|item| item.encode_to_vec().into())
        .collect();
    let opaque = crate::opaque::PublishBatch {
        first_sequence: 7,
        items: encoded,
    };
    let decoded = crate::v1::PublishBatch::decode(opaque.encode_to_vec().as_slice()).unwrap();
    assert_eq!(decoded, typed);
    let decoded = crate::opaque::PublishBatch::decode(typed.encode_to_vec().as_slice()).unwrap();
    assert_eq!(decoded.items.len(), 2);
    assert_eq!(Item::decode(decoded.items[0].clone()).unwrap(), full());
}

proptest! {
    #[test]
    fn what_passes_the_scan_decodes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if scan(&bytes, MIB).is_ok() {
            prop_assert!(Item::decode(bytes.as_slice()).is_ok());
        }
    }

    #[test]
    fn a_changed_item_still_decodes_if_it_passes(at in 0_usize..200, to in any::<u8>()) {
        let mut bytes = full().encode_to_vec();
        let at = at % bytes.len();
        bytes[at] = to;
        if scan(&bytes, MIB).is_ok() {
            prop_assert!(Item::decode(bytes.as_slice()).is_ok());
        }
    }
}

#[test]
fn an_item_says_where_it_comes_from() {
    let item = Item {
        created_ns: 77,
        traceparent: "00-a-b-01".into(),
        tracestate: "x=y".into(),
        payload: vec![1; 100].into(),
        ..Item::default()
    };
    let encoded = item.encode_to_vec();
    let expected = Provenance {
        created_ns: 77,
        traceparent: "00-a-b-01",
        tracestate: "x=y",
    };
    assert_eq!(provenance(&encoded), expected);
    assert_eq!(scan(&encoded, 100).unwrap().created_ns, 77);
    assert_eq!(provenance(b"\xff\xff"), Provenance::default());
}
