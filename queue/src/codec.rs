//! Events as bytes, for the journal.
//!
//! ```text
//! batch = version: u8 | base: varint | event ...        (an empty batch is its version alone)
//! event = variant: varint | fields in order             (postcard's encoding of `Event`)
//! ```
//!
//! Times are kept as distances from `base`, the time of the first event: large numbers become small, and an event that
//! happens at the same time as the first one spends one byte on it. Bytes are taken for what they are: decoding checks all
//! that can be told from an event alone and never panics; whether an event fits a queue, only that queue can say.

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use thiserror::Error;

use crate::event::{Dues, Event, Failed, Leased, Next, ProducerRun, PublishedItems, Repeated};
use crate::id::ItemId;
use crate::time::Timestamp;

/// Version of the bytes of events and snapshots that this crate writes. It reads those before it too:
///
/// 1. without origins.
/// 2. with them.
pub const FORMAT_VERSION: u8 = 2;

/// No honest counter or id comes near it, and sums of a few of them do not overflow.
pub(crate) const COUNTER_MAX: u64 = 1 << 60;

/// Why bytes are no events, or no queue.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Of another version of Baton.
    #[error("format version {found} is unknown; this broker reads 1 to {FORMAT_VERSION}")]
    Version {
        /// The version that the bytes say they have.
        found: u8,
    },
    /// They end early, or say what cannot be.
    #[error("malformed after {offset} bytes")]
    Malformed {
        /// Where what cannot be read begins.
        offset: usize,
    },
    /// They can be read, but no queue ever wrote them.
    #[error("inconsistent: {rule}")]
    Inconsistent {
        /// The rule that is broken.
        rule: &'static str,
    },
}

/// Appends the events to `into`. Decoding these bytes gives equal events.
pub fn encode_events(events: &[Event], into: &mut Vec<u8>) {
    into.push(FORMAT_VERSION);
    let Some(base) = events.first().map(Event::at) else {
        return;
    };
    put(into, &base);
    for event in events {
        let mut event = event.clone();
        event.map_times(|time| *time = time.distance_from(base));
        if let Event::Published(published) = &mut event {
            let PublishedItems { sizes, count, .. } = published;
            published.sizes = sizes.clone().own(*count);
        }
        put(into, &stored(event));
    }
}

/// As it is on disk.
fn stored(event: Event) -> Event {
    match event {
        Event::Published(mut published) => match published.origin.take() {
            Some(origin) => Event::PublishedFrom(published, origin),
            None => Event::Published(published),
        },
        event => event,
    }
}

/// As it is in memory.
fn loaded(event: Event) -> Event {
    match event {
        Event::PublishedFrom(mut published, origin) => {
            published.origin = Some(origin);
            Event::Published(published)
        }
        event => event,
    }
}

/// Reads what [`encode_events`] wrote, event by event.
///
/// # Errors
/// Why the bytes are no events. Those before the first bad one have been handed to `each`.
pub fn decode_events(bytes: &[u8], each: &mut dyn FnMut(Event)) -> Result<(), DecodeError> {
    let mut input = Input::new(bytes)?;
    if input.is_empty() {
        return Ok(());
    }
    let base: Timestamp = input.take()?;
    while !input.is_empty() {
        let mut event: Event = input.take()?;
        event.map_times(|time| *time = time.onto_base(base));
        check(&event)?;
        each(loaded(event));
    }
    Ok(())
}

/// What can be told of an event without the queue that it happened to.
fn check(event: &Event) -> Result<(), DecodeError> {
    match event {
        Event::Published(published) | Event::PublishedFrom(published, _) => {
            check_published(published)
        }
        Event::Repeated(repeated) => check_repeated(repeated),
        Event::Failed(failed) => check_failed(failed),
        &Event::Leased(Leased {
            first,
            count,
            first_seq,
            ..
        }) => {
            ensure(
                first_seq < COUNTER_MAX,
                "lease numbers are far from their end",
            )?;
            check_items(first, count)
        }
        &(Event::Extended { first, count, .. }
        | Event::Acked { first, count, .. }
        | Event::Released { first, count, .. }
        | Event::Due { first, count, .. }
        | Event::Expired { first, count, .. }
        | Event::Cancelled { first, count, .. }
        | Event::Redriven { first, count, .. }
        | Event::Discarded { first, count, .. }) => check_items(first, count),
        Event::ConfigChanged { .. }
        | Event::SessionOpened { .. }
        | Event::SessionClosed { .. }
        | Event::SessionForgotten { .. }
        | Event::ProducerForgotten { .. }
        | Event::KeysForgotten { .. } => Ok(()),
    }
}

fn check_published(event: &PublishedItems) -> Result<(), DecodeError> {
    check_items(event.first, event.count)?;
    ensure(event.sizes.fits(event.count), "each item has a size")?;
    let mut keys = event.keys.iter();
    ensure(
        keys.all(|key| key.offset < event.count),
        "a key is that of an item",
    )?;
    check_sequences(event.producer.as_ref(), event.count)
}

fn check_repeated(event: &Repeated) -> Result<(), DecodeError> {
    check_items(event.first.unwrap_or(ItemId(1)), event.count)?;
    check_sequences(event.producer.as_ref(), event.count)
}

fn check_failed(event: &Failed) -> Result<(), DecodeError> {
    check_items(event.first, event.count)?;
    if let Next::Scheduled(Dues::Each(dues)) = &event.next {
        ensure(dues.len() == event.count as usize, "each item has its time")?;
    }
    Ok(())
}

fn check_items(first: ItemId, count: u32) -> Result<(), DecodeError> {
    let ids = 1..COUNTER_MAX;
    ensure(count > 0 && ids.contains(&first.get()), "items have ids")
}

fn check_sequences(producer: Option<&ProducerRun>, count: u32) -> Result<(), DecodeError> {
    let Some(ProducerRun { first_sequence, .. }) = producer else {
        return Ok(());
    };
    let last = first_sequence.checked_add(u64::from(count) - 1);
    ensure(
        *first_sequence > 0 && last.is_some(),
        "each item has a sequence",
    )
}

pub(crate) fn ensure(holds: bool, rule: &'static str) -> Result<(), DecodeError> {
    holds
        .then_some(())
        .ok_or(DecodeError::Inconsistent { rule })
}

/// Appends a value in postcard's encoding.
pub(crate) fn put<T: Serialize + ?Sized>(into: &mut Vec<u8>, value: &T) {
    postcard::serialize_with_flavor(value, Append(into)).expect("memory takes every value");
}

struct Append<'a>(&'a mut Vec<u8>);

impl Flavor for Append<'_> {
    type Output = ();

    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.0.push(data);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Bytes that are read from the front. Nothing is allocated for a length that the bytes left could not fill.
#[derive(Debug)]
pub(crate) struct Input<'a> {
    version: u8,
    whole: usize,
    rest: &'a [u8],
}

/// What a length that nothing has borne out yet may cost.
const ROOM_BYTES_MAX: usize = 1 << 20;

impl<'a> Input<'a> {
    /// Begins after the version.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (&found, rest) = bytes
            .split_first()
            .ok_or(DecodeError::Malformed { offset: 0 })?;
        let whole = bytes.len();
        match found {
            version @ 1..=FORMAT_VERSION => Ok(Self {
                version,
                whole,
                rest,
            }),
            _ => Err(DecodeError::Version { found }),
        }
    }

    /// Of the format that the bytes have.
    pub(crate) const fn version(&self) -> u8 {
        self.version
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Room for `count` values: no more of it than the bytes left can fill, and at first no more than 1 MiB.
    pub(crate) fn room<T>(&self, count: u64) -> Vec<T> {
        let begin = ROOM_BYTES_MAX / size_of::<T>().max(1);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        Vec::with_capacity(count.min(self.rest.len()).min(begin))
    }

    pub(crate) fn malformed(&self) -> DecodeError {
        let offset = self.whole - self.rest.len();
        DecodeError::Malformed { offset }
    }

    /// The next value.
    pub(crate) fn take<T: serde::Deserialize<'a>>(&mut self) -> Result<T, DecodeError> {
        let taken = postcard::take_from_bytes(self.rest);
        let (value, rest) = taken.map_err(|_| self.malformed())?;
        self.rest = rest;
        Ok(value)
    }
}
