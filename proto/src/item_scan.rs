//! Reads the few fields of an encoded [`Item`](crate::v1::Item) that the broker routes by, and checks the rest, without
//! building it.
//!
//! What passes here decodes in every conforming protobuf library: lengths add up, known fields have their wire type,
//! strings are UTF-8, and the limits in `item.proto` hold. So an item that a consumer cannot decode is refused at its
//! publish. Called by the broker for each item; nothing is copied and nothing is allocated unless the item is refused.

use std::ops::Range;
use std::time::Duration;

use thiserror::Error;

/// Longest dedup key, bytes: a UUID, a hash or a path fits; a payload does not.
pub const DEDUP_KEY_BYTES_MAX: usize = 128;
/// Longest `traceparent`, bytes: version 00 has 55.
pub const TRACEPARENT_BYTES_MAX: usize = 64;
/// Longest `tracestate`, bytes: what W3C asks everyone to pass on.
pub const TRACESTATE_BYTES_MAX: usize = 512;
/// Most attributes of an item.
pub const ATTRIBUTES_MAX: usize = 64;
/// Most bytes of an item's attribute keys and values together.
pub const ATTRIBUTES_BYTES_MAX: usize = 16 * 1024;
/// Longest content type, bytes.
pub const CONTENT_TYPE_BYTES_MAX: usize = 128;
/// Longest delay and longest time to live: further ahead is a calendar's job.
pub const SCHEDULE_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// The routing fields of one item.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Routing {
    /// When it may be delivered.
    pub schedule: Schedule,
    /// How long after receipt it is worth delivering.
    pub ttl: Option<Duration>,
    /// Where its dedup key is in the encoding; empty: none.
    pub dedup_key: Range<usize>,
    /// When its producer made it, by the producer's clock; 0: not said.
    pub created_ns: u64,
}

/// When an item may first be delivered.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// As soon as it is durable.
    #[default]
    AtOnce,
    /// This long after receipt.
    Delay(Duration),
    /// At this time, since the Unix epoch; times before it are the epoch.
    At(Duration),
}

/// Why an item is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ScanError {
    /// Not protobuf, or not an item.
    #[error(
        "the item is not a well-formed baton.v1.Item; encode it with code generated from item.proto"
    )]
    Malformed,
    /// A string field holds something else.
    #[error("{0} is not UTF-8; put binary data into the payload")]
    NotUtf8(&'static str),
    /// Over a limit that no setting changes.
    #[error("{field} has {actual}, at most {max} are allowed")]
    OverLimit {
        /// The field.
        field: &'static str,
        /// What it has.
        actual: usize,
        /// What it may have.
        max: usize,
    },
    /// Over the broker's payload limit.
    #[error(
        "the payload has {actual} bytes, this broker takes {max}; send a reference to the data or raise --max-payload"
    )]
    PayloadTooLarge {
        /// Bytes it has.
        actual: usize,
        /// Bytes it may have.
        max: usize,
    },
    /// A duration or timestamp that is negative, malformed or too far ahead.
    #[error("{0} is out of range; it is 0 (ttl: more than 0) to 1 year")]
    TimeOutOfRange(&'static str),
    /// An attribute without a name.
    #[error("an attribute has an empty key; name it")]
    EmptyAttributeKey,
}

/// Scans one encoded item whose payload may have `payload_bytes_max` bytes.
///
/// # Errors
/// The first thing that is wrong with it. A field that appears twice counts as protobuf has it: the last one wins, and of
/// times the parts are merged.
pub fn scan(item: &[u8], payload_bytes_max: usize) -> Result<Routing, ScanError> {
    let mut routing = Routing::default();
    let (mut delay, mut deliver_at, mut ttl) = (None, None, None);
    let mut attributes = Attributes::default();
    let mut fields = Fields::new(item);
    while let Some(field) = fields.next()? {
        match (field.number, field.value) {
            // One of the two.
            (4, Value::Bytes(at)) => {
                deliver_at = None;
                merge(&mut delay, &item[at])?;
            }
            (5, Value::Bytes(at)) => {
                delay = None;
                merge(&mut deliver_at, &item[at])?;
            }
            (6, Value::Bytes(at)) => merge(&mut ttl, &item[at])?,
            (7, Value::Bytes(at)) => {
                text(&item[at.clone()], "dedup_key", DEDUP_KEY_BYTES_MAX)?;
                routing.dedup_key = at;
            }
            (8, Value::Bytes(at)) => text(&item[at], "traceparent", TRACEPARENT_BYTES_MAX)?,
            (9, Value::Bytes(at)) => text(&item[at], "tracestate", TRACESTATE_BYTES_MAX)?,
            (10, Value::Fixed64(at)) => routing.created_ns = at,
            (11, Value::Bytes(at)) => attributes.add(&item[at])?,
            (12, Value::Bytes(at)) => text(&item[at], "content_type", CONTENT_TYPE_BYTES_MAX)?,
            (15, Value::Bytes(at)) => payload(at.len(), payload_bytes_max)?,
            (4..=12 | 15, _) => return Err(ScanError::Malformed),
            _ => {}
        }
    }
    if let Some(delay) = delay {
        routing.schedule = Schedule::Delay(span(delay, "delay")?);
    }
    if let Some(at) = deliver_at {
        routing.schedule = Schedule::At(instant(at)?);
    }
    routing.ttl = ttl.map(time_to_live).transpose()?;
    Ok(routing)
}

/// What an item says of where it comes from.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Provenance<'a> {
    /// When its producer made it, by the producer's clock; 0: not said.
    pub created_ns: u64,
    /// W3C trace context; may be empty, or nonsense.
    pub traceparent: &'a str,
    /// W3C vendor state; may be empty.
    pub tracestate: &'a str,
}

/// Where an item that passed [`scan`] comes from; of one that did not, what can be read.
#[must_use]
pub fn provenance(item: &[u8]) -> Provenance<'_> {
    let mut found = Provenance::default();
    let mut fields = Fields::new(item);
    let text = |at: Range<usize>| std::str::from_utf8(&item[at]).unwrap_or_default();
    while let Ok(Some(field)) = fields.next() {
        match (field.number, field.value) {
            (8, Value::Bytes(at)) => found.traceparent = text(at),
            (9, Value::Bytes(at)) => found.tracestate = text(at),
            (10, Value::Fixed64(at)) => found.created_ns = at,
            _ => {}
        }
    }
    found
}

fn payload(actual: usize, max: usize) -> Result<(), ScanError> {
    if actual > max {
        return Err(ScanError::PayloadTooLarge { actual, max });
    }
    Ok(())
}

fn text(bytes: &[u8], field: &'static str, max: usize) -> Result<(), ScanError> {
    limit(field, bytes.len(), max)?;
    std::str::from_utf8(bytes).map_err(|_| ScanError::NotUtf8(field))?;
    Ok(())
}

fn limit(field: &'static str, actual: usize, max: usize) -> Result<(), ScanError> {
    if actual > max {
        return Err(ScanError::OverLimit { field, actual, max });
    }
    Ok(())
}

#[derive(Default)]
struct Attributes {
    count: usize,
    bytes: usize,
}

impl Attributes {
    fn add(&mut self, entry: &[u8]) -> Result<(), ScanError> {
        let mut key_bytes = 0;
        let mut value_bytes = 0;
        let mut fields = Fields::new(entry);
        while let Some(field) = fields.next()? {
            let length = match (field.number, field.value) {
                (1, Value::Bytes(at)) => (&mut key_bytes, at),
                (2, Value::Bytes(at)) => (&mut value_bytes, at),
                (1 | 2, _) => return Err(ScanError::Malformed),
                _ => continue,
            };
            *length.0 = length.1.len();
            std::str::from_utf8(&entry[length.1])
                .map_err(|_| ScanError::NotUtf8("an attribute"))?;
        }
        if key_bytes == 0 {
            return Err(ScanError::EmptyAttributeKey);
        }
        self.count += 1;
        self.bytes += key_bytes + value_bytes;
        limit("attributes", self.count, ATTRIBUTES_MAX)?;
        limit("bytes of attributes", self.bytes, ATTRIBUTES_BYTES_MAX)
    }
}

fn time_to_live(wire: Time) -> Result<Duration, ScanError> {
    let ttl = span(wire, "ttl")?;
    if ttl.is_zero() {
        return Err(ScanError::TimeOutOfRange("ttl"));
    }
    Ok(ttl)
}

fn span(Time { seconds, nanos }: Time, field: &'static str) -> Result<Duration, ScanError> {
    let seconds = u64::try_from(seconds).map_err(|_| ScanError::TimeOutOfRange(field))?;
    let nanos = u32::try_from(nanos).map_err(|_| ScanError::TimeOutOfRange(field))?;
    if nanos >= 1_000_000_000 || seconds > SCHEDULE_MAX.as_secs() {
        return Err(ScanError::TimeOutOfRange(field));
    }
    Ok(Duration::new(seconds, nanos))
}

/// How far ahead is checked where the clock is; here only that it is a timestamp.
fn instant(Time { seconds, nanos }: Time) -> Result<Duration, ScanError> {
    let nanos = u32::try_from(nanos).map_err(|_| ScanError::TimeOutOfRange("deliver_at"))?;
    if nanos >= 1_000_000_000 {
        return Err(ScanError::TimeOutOfRange("deliver_at"));
    }
    Ok(Duration::new(u64::try_from(seconds).unwrap_or(0), nanos))
}

/// `google.protobuf.Duration` and `Timestamp` have the same two fields.
#[derive(Clone, Copy, Default)]
struct Time {
    seconds: i64,
    nanos: i32,
}

/// A message that appears again changes those fields that it has, and leaves the others.
fn merge(time: &mut Option<Time>, bytes: &[u8]) -> Result<(), ScanError> {
    let time = time.get_or_insert_default();
    let mut fields = Fields::new(bytes);
    while let Some(field) = fields.next()? {
        match (field.number, field.value) {
            (1, Value::Varint(value)) => time.seconds = value.cast_signed(),
            // An int32 is the low half of its varint.
            (2, Value::Varint(value)) => time.nanos = (value & 0xffff_ffff) as u32 as i32,
            (1 | 2, _) => return Err(ScanError::Malformed),
            _ => {}
        }
    }
    Ok(())
}

struct Field {
    number: u64,
    value: Value,
}

enum Value {
    Varint(u64),
    Fixed64(u64),
    Fixed32,
    Bytes(Range<usize>),
}

/// Walks the fields of one message.
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn next(&mut self) -> Result<Option<Field>, ScanError> {
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = key >> 3;
        if number == 0 || key > u64::from(u32::MAX) {
            return Err(ScanError::Malformed);
        }
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(self.fixed64()?),
            2 => {
                let length = self.varint()?;
                let length = usize::try_from(length).map_err(|_| ScanError::Malformed)?;
                Value::Bytes(self.skip(length)?)
            }
            5 => self.skip(4).map(|_| Value::Fixed32)?,
            // Groups, which proto3 does not have.
            _ => return Err(ScanError::Malformed),
        };
        Ok(Some(Field { number, value }))
    }

    fn fixed64(&mut self) -> Result<u64, ScanError> {
        let at = self.skip(8)?;
        let bytes = self.bytes[at]
            .try_into()
            .map_err(|_| ScanError::Malformed)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn skip(&mut self, length: usize) -> Result<Range<usize>, ScanError> {
        if self.bytes.len() - self.at < length {
            return Err(ScanError::Malformed);
        }
        let start = self.at;
        self.at += length;
        Ok(start..self.at)
    }

    fn varint(&mut self) -> Result<u64, ScanError> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or(ScanError::Malformed)?;
            self.at += 1;
            if shift == 63 && byte > 1 {
                return Err(ScanError::Malformed);
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(ScanError::Malformed)
    }
}

#[cfg(test)]
mod tests;
