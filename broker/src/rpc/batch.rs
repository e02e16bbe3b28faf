//! A batch of encoded items, checked: what is wrong with one item refuses that item only.

use baton_proto::item_scan::{self, Routing, Schedule};
use baton_queue::{NewItem, Timestamp};
use bytes::Bytes;

use crate::error::Error;
use crate::limits::{BATCH_BYTES_MAX, BATCH_ITEMS_MAX, ITEM_OVERHEAD_BYTES_MAX};

/// See the module.
#[derive(Debug)]
pub(super) struct Batch {
    /// Items as they were sent.
    pub(super) count: u32,
    /// What the queue has to know of those that may be stored.
    pub(super) items: Vec<NewItem>,
    /// Their encodings.
    pub(super) bodies: Vec<Bytes>,
    /// Their producer's stamps; 0: not said.
    pub(super) created: Vec<u64>,
    /// The others, ascending by index.
    pub(super) refused: Vec<(u32, Error)>,
    /// Bytes of all.
    pub(super) bytes: usize,
}

impl Batch {
    /// Checks what a client sent at `now`.
    ///
    /// # Errors
    /// No items, or too many, or too many bytes.
    pub(super) fn read(
        sent: Vec<Bytes>,
        payload_bytes_max: usize,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let bytes = sent.iter().map(Bytes::len).sum();
        let too_large = bytes > BATCH_BYTES_MAX && sent.len() > 1;
        if sent.is_empty() || sent.len() > BATCH_ITEMS_MAX || too_large {
            return Err(Error::Batch {
                items: sent.len(),
                bytes,
                max_items: BATCH_ITEMS_MAX,
                max_bytes: BATCH_BYTES_MAX,
            });
        }
        let count = u32::try_from(sent.len()).expect("it was just checked");
        let mut batch = Self {
            count,
            items: Vec::with_capacity(sent.len()),
            bodies: Vec::with_capacity(sent.len()),
            created: Vec::with_capacity(sent.len()),
            refused: Vec::new(),
            bytes,
        };
        for (index, body) in (0..).zip(sent) {
            match read_item(index, &body, payload_bytes_max, now) {
                Ok((item, created_ns)) => {
                    batch.items.push(item);
                    batch.created.push(created_ns);
                    batch.bodies.push(body);
                }
                Err(error) => batch.refused.push((index, error)),
            }
        }
        Ok(batch)
    }
}

fn read_item(
    index: u32,
    body: &Bytes,
    payload_bytes_max: usize,
    now: Timestamp,
) -> Result<(NewItem, u64), Error> {
    let max = payload_bytes_max + ITEM_OVERHEAD_BYTES_MAX;
    let routing = item_scan::scan(body, payload_bytes_max)?;
    if body.len() > max {
        return Err(Error::ItemTooLarge {
            actual: body.len(),
            max,
        });
    }
    let key = &body[routing.dedup_key.clone()];
    let item = NewItem {
        index,
        size: u32::try_from(body.len()).expect("it was just checked"),
        due: due(&routing, now)?,
        expires_at: routing.ttl.map(|ttl| now.saturating_add(ttl)),
        dedup_key: (!key.is_empty()).then(|| Bytes::copy_from_slice(key)),
    };
    Ok((item, routing.created_ns))
}

fn due(routing: &Routing, now: Timestamp) -> Result<Option<Timestamp>, Error> {
    let due = match routing.schedule {
        Schedule::AtOnce => return Ok(None),
        Schedule::Delay(delay) => now.saturating_add(delay),
        Schedule::At(at) => Timestamp::default().saturating_add(at),
    };
    if due > now.saturating_add(item_scan::SCHEDULE_MAX) {
        return Err(item_scan::ScanError::TimeOutOfRange("deliver_at").into());
    }
    Ok((due > now).then_some(due))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use baton_proto::v1::{ErrorCode, Item, item};
    use prost::Message as _;

    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000_000_000_000_000);

    fn encoded(item: &Item) -> Bytes {
        item.encode_to_vec().into()
    }

    #[test]
    fn a_bad_item_is_refused_and_its_neighbours_are_not() {
        let large = Item {
            payload: vec![0; 11].into(),
            ..Item::default()
        };
        let batch = Batch::read(
            vec![
                encoded(&Item::default()),
                encoded(&large),
                Bytes::from_static(b"\xff"),
            ],
            10,
            NOW,
        );
        let batch = batch.unwrap();
        assert_eq!(
            batch
                .items
                .iter()
                .map(|item| item.index)
                .collect::<Vec<_>>(),
            [0]
        );
        let refused: Vec<_> = batch
            .refused
            .iter()
            .map(|(index, error)| (*index, error.code()))
            .collect();
        assert_eq!(
            refused,
            [(1, ErrorCode::ItemTooLarge), (2, ErrorCode::ItemInvalid)]
        );
    }

    #[test]
    fn a_batch_has_a_limit_of_items_and_of_bytes() {
        assert!(Batch::read(vec![], 10, NOW).is_err());
        assert!(Batch::read(vec![Bytes::new(); BATCH_ITEMS_MAX + 1], 10, NOW).is_err());
        assert!(Batch::read(vec![Bytes::new(); BATCH_ITEMS_MAX], 10, NOW).is_ok());
        let half = Bytes::from(vec![0; BATCH_BYTES_MAX / 2 + 1]);
        assert!(Batch::read(vec![half.clone(), half], 10, NOW).is_err());
    }

    #[test]
    fn a_schedule_becomes_a_time_on_the_brokers_clock() {
        let due = |schedule| {
            let item = Item {
                schedule: Some(schedule),
                ..Item::default()
            };
            Batch::read(vec![encoded(&item)], 10, NOW)
                .unwrap()
                .items
                .first()
                .map(|item| item.due)
        };
        let seconds = |seconds| prost_types::Duration { seconds, nanos: 0 };
        let at = |seconds| prost_types::Timestamp { seconds, nanos: 0 };
        assert_eq!(due(item::Schedule::Delay(seconds(0))), Some(None));
        assert_eq!(
            due(item::Schedule::Delay(seconds(5))),
            Some(Some(NOW.saturating_add(Duration::from_secs(5))))
        );
        assert_eq!(due(item::Schedule::DeliverAt(at(-5))), Some(None));
        assert_eq!(
            due(item::Schedule::DeliverAt(at(1_000_000_007))),
            Some(Some(NOW.saturating_add(Duration::from_secs(7))))
        );
        assert_eq!(
            due(item::Schedule::DeliverAt(at(i64::MAX))),
            None,
            "refused"
        );
    }
}
