//! An item as a producer makes it.
//!
//! Owns the builder and the one encoding of an item: what `encode` returns is stored and delivered verbatim.

use std::time::{Duration, SystemTime};

use baton_proto::v1;
use baton_proto::v1::item::Schedule;
use bytes::Bytes;
use prost::Message as _;

use crate::clock;
use crate::error::Error;

/// The largest payload that any broker takes, and room for everything else that an item may bring.
pub(crate) const MAX_ENCODED_BYTES: usize = 16 * 1024 * 1024 + 64 * 1024;

/// A unit of work to publish. Limits are the broker's: a payload of 1 MiB unless it was told otherwise (never over
/// 16 MiB), 64 attributes with 16 KiB together.
///
/// ```
/// use std::time::Duration;
/// use baton_client::Item;
///
/// let item = Item::new("resize cat.jpg")
///     .content_type("text/plain")
///     .attribute("tenant", "acme")
///     .delay(Duration::from_secs(5));
/// assert_eq!(&item.payload()[..], b"resize cat.jpg");
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    wire: v1::Item,
}

impl Item {
    /// An item with this payload, created now: its `publish` stage begins here.
    pub fn new(payload: impl Into<Bytes>) -> Self {
        let wire = v1::Item {
            payload: payload.into(),
            created_ns: clock::now_ns(),
            ..v1::Item::default()
        };
        Self { wire }
    }

    /// A label of the user's own.
    #[must_use]
    pub fn attribute(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.wire.attributes.insert(key.into(), value.into());
        self
    }

    /// The payload's media type, for example `application/json`.
    #[must_use]
    pub fn content_type(mut self, media_type: impl Into<String>) -> Self {
        self.wire.content_type = media_type.into();
        self
    }

    /// Not to be delivered before this long after the broker received it. Replaces `deliver_at`. At most 1 year.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.wire.schedule = Some(Schedule::Delay(clock::wire_duration(delay)));
        self
    }

    /// Not to be delivered before then, on the broker's wall clock. Replaces `delay`. At most 1 year ahead.
    #[must_use]
    pub fn deliver_at(mut self, at: SystemTime) -> Self {
        self.wire.schedule = Some(Schedule::DeliverAt(at.into()));
        self
    }

    /// How long after receipt the item is worth delivering. Unset: the queue's default. At most 1 year.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.wire.ttl = Some(clock::wire_duration(ttl));
        self
    }

    /// A second item with the same key within the queue's window is not stored: the first one's id comes back.
    #[must_use]
    pub fn dedup_key(mut self, key: impl Into<String>) -> Self {
        self.wire.dedup_key = key.into();
        self
    }

    /// W3C trace context of the item's creation, for those who speak no OpenTelemetry: it is sent as it is. Left out, the
    /// library takes the span around the publish.
    #[must_use]
    pub fn traceparent(mut self, traceparent: impl Into<String>) -> Self {
        self.wire.traceparent = traceparent.into();
        self
    }

    /// W3C vendor state that belongs to the traceparent.
    #[must_use]
    pub fn tracestate(mut self, tracestate: impl Into<String>) -> Self {
        self.wire.tracestate = tracestate.into();
        self
    }

    /// The work itself.
    pub fn payload(&self) -> &Bytes {
        &self.wire.payload
    }

    /// When it was created: nanoseconds of this machine's CLOCK_MONOTONIC.
    pub fn created_ns(&self) -> u64 {
        self.wire.created_ns
    }

    /// Somebody set a `traceparent`.
    pub(crate) fn has_trace_context(&self) -> bool {
        !self.wire.traceparent.is_empty()
    }

    pub(crate) fn set_trace_context(&mut self, traceparent: String, tracestate: String) {
        self.wire.traceparent = traceparent;
        self.wire.tracestate = tracestate;
    }

    /// Its one encoding.
    ///
    /// # Errors
    ///
    /// [`Error::ItemTooLarge`] for what would break the stream rather than be refused by itself.
    pub(crate) fn encode(&self) -> Result<Bytes, Error> {
        let bytes = self.wire.encoded_len();
        if bytes > MAX_ENCODED_BYTES {
            let max = MAX_ENCODED_BYTES;
            return Err(Error::ItemTooLarge { bytes, max });
        }
        Ok(self.wire.encode_to_vec().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_set_is_what_is_encoded() {
        let item = Item::new("work")
            .attribute("k", "v")
            .dedup_key("once")
            .ttl(Duration::from_millis(1500));
        let wire = v1::Item::decode(item.encode().unwrap()).unwrap();
        assert_eq!(wire, item.wire);
        assert_eq!(wire.ttl.unwrap().nanos, 500_000_000);
        assert_eq!(wire.attributes["k"], "v");
    }

    #[test]
    fn an_item_that_no_broker_takes_is_refused_here() {
        let item = Item::new(vec![0; MAX_ENCODED_BYTES]);
        assert!(matches!(item.encode(), Err(Error::ItemTooLarge { .. })));
    }
}
