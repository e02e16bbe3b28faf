//! One span, written by hand as OpenTelemetry's protobuf (`opentelemetry/proto/trace/v1/trace.proto`).
//!
//! A span is borrowed from whoever knows its parts, and appended to a buffer as one entry of `ScopeSpans.spans`: entries
//! can be put behind each other, and a request is made of them without looking inside. Nothing is allocated but what the
//! buffer grows by. Fields go in the order of their numbers and defaults are left out, as every protobuf library does it.
//! Pure; called by whoever ends a span in the broker.

use bytes::BufMut;
use prost::encoding::{encode_varint, encoded_len_varint};

use super::wire::{
    FIXED32, FIXED64, VARINT, delimited_length, fixed64_length, put_bytes, put_fixed64, put_head,
    put_tag, put_text, tag_length, text_length,
};
use crate::trace_context::{SpanId, TraceId};

/// What part a span has in a remote call; the values are those on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Within one process.
    Internal = 1,
    /// A request is answered.
    Server = 2,
    /// A request is made.
    Client = 3,
    /// An item is made.
    Producer = 4,
    /// An item is processed.
    Consumer = 5,
}

/// The value of an attribute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Text.
    Str(&'a str),
    /// A whole number.
    Int(i64),
    /// A number.
    Double(f64),
    /// Yes or no.
    Bool(bool),
}

/// What is said about a span, a link or a resource.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attribute<'a> {
    /// Once per list.
    pub key: &'a str,
    /// Its value.
    pub value: Value<'a>,
}

/// A span that this one has to do with, but is no child of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link<'a> {
    /// Its trace.
    pub trace_id: TraceId,
    /// Its id.
    pub span_id: SpanId,
    /// What the link is about.
    pub attributes: &'a [Attribute<'a>],
}

/// Something that happened within a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanEvent<'a> {
    /// What happened.
    pub name: &'a str,
    /// Nanoseconds since the Unix epoch.
    pub at_ns: u64,
}

/// A span that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    /// Of the whole trace.
    pub trace_id: TraceId,
    /// Its own.
    pub span_id: SpanId,
    /// None: the root.
    pub parent: Option<SpanId>,
    /// Whether the parent is a span of another process.
    pub parent_is_remote: bool,
    /// As in W3C's header; may be empty.
    pub tracestate: &'a str,
    /// Operation and destination, written with a space between them; without a destination the operation alone.
    pub name: (&'a str, &'a str),
    /// Its part in a remote call.
    pub kind: SpanKind,
    /// Nanoseconds since the Unix epoch.
    pub start_ns: u64,
    /// Nanoseconds since the Unix epoch, never below `start_ns`.
    pub end_ns: u64,
    /// About the span; keys are unique.
    pub attributes: &'a [Attribute<'a>],
    /// Within the span.
    pub events: &'a [SpanEvent<'a>],
    /// Spans of other branches or traces.
    pub links: &'a [Link<'a>],
    /// What went wrong; None leaves the status unset.
    pub error: Option<&'a str>,
}

/// `SpanFlags`: W3C's sampled flag; what is exported is sampled.
const SAMPLED: u32 = 0x001;
/// `SpanFlags`: whether the parent is remote is known.
const HAS_IS_REMOTE: u32 = 0x100;
/// `SpanFlags`: and it is.
const IS_REMOTE: u32 = 0x200;

/// `Status.code`.
const STATUS_ERROR: u64 = 2;

/// The number of `spans` in `ScopeSpans`.
const SPANS: u32 = 2;

/// Appends the span to `into`, as one entry of `ScopeSpans.spans`.
pub fn encode(span: &Span<'_>, into: &mut Vec<u8>) {
    let length = span.length();
    into.reserve(delimited_length(SPANS, length));
    put_head(SPANS, length, into);
    span.put(into);
}

impl Span<'_> {
    fn flags(&self) -> u32 {
        let remote = self.parent.is_some() && self.parent_is_remote;
        SAMPLED | HAS_IS_REMOTE | if remote { IS_REMOTE } else { 0 }
    }

    fn length(&self) -> usize {
        let attributes = self
            .attributes
            .iter()
            .map(|it| delimited_length(9, it.length()));
        let events = self
            .events
            .iter()
            .map(|it| delimited_length(11, it.length()));
        let links = self
            .links
            .iter()
            .map(|it| delimited_length(13, it.length()));
        delimited_length(1, 16)
            + delimited_length(2, 8)
            + text_length(3, self.tracestate)
            + self.parent.map_or(0, |_| delimited_length(4, 8))
            + self.name_length().map_or(0, |it| delimited_length(5, it))
            + tag_length(6)
            + encoded_len_varint(self.kind as u64)
            + fixed64_length(7, self.start_ns)
            + fixed64_length(8, self.end_ns)
            + attributes.sum::<usize>()
            + events.sum::<usize>()
            + links.sum::<usize>()
            + self
                .error
                .map_or(0, |it| delimited_length(15, status_length(it)))
            + tag_length(16)
            + size_of::<u32>()
    }

    fn put(&self, into: &mut Vec<u8>) {
        put_bytes(1, &self.trace_id.bytes(), into);
        put_bytes(2, &self.span_id.bytes(), into);
        put_text(3, self.tracestate, into);
        if let Some(parent) = self.parent {
            put_bytes(4, &parent.bytes(), into);
        }
        self.put_name(into);
        put_tag(6, VARINT, into);
        encode_varint(self.kind as u64, into);
        put_fixed64(7, self.start_ns, into);
        put_fixed64(8, self.end_ns, into);
        for attribute in self.attributes {
            attribute.put(9, into);
        }
        for event in self.events {
            put_head(11, event.length(), into);
            put_fixed64(1, event.at_ns, into);
            put_text(2, event.name, into);
        }
        for link in self.links {
            put_head(13, link.length(), into);
            link.put(into);
        }
        if let Some(message) = self.error {
            put_head(15, status_length(message), into);
            put_text(2, message, into);
            put_tag(3, VARINT, into);
            encode_varint(STATUS_ERROR, into);
        }
        put_tag(16, FIXED32, into);
        into.put_u32_le(self.flags());
    }

    /// None: there is no name to write.
    fn name_length(&self) -> Option<usize> {
        let (operation, destination) = self.name;
        let space = usize::from(!destination.is_empty());
        let length = operation.len() + space + destination.len();
        (length > 0).then_some(length)
    }

    fn put_name(&self, into: &mut Vec<u8>) {
        let Some(length) = self.name_length() else {
            return;
        };
        let (operation, destination) = self.name;
        put_head(5, length, into);
        into.put_slice(operation.as_bytes());
        if !destination.is_empty() {
            into.put_u8(b' ');
            into.put_slice(destination.as_bytes());
        }
    }
}

impl SpanEvent<'_> {
    fn length(&self) -> usize {
        fixed64_length(1, self.at_ns) + text_length(2, self.name)
    }
}

impl Link<'_> {
    fn length(&self) -> usize {
        let attributes = self
            .attributes
            .iter()
            .map(|it| delimited_length(4, it.length()));
        delimited_length(1, 16) + delimited_length(2, 8) + attributes.sum::<usize>()
    }

    fn put(&self, into: &mut Vec<u8>) {
        put_bytes(1, &self.trace_id.bytes(), into);
        put_bytes(2, &self.span_id.bytes(), into);
        for attribute in self.attributes {
            attribute.put(4, into);
        }
    }
}

impl Attribute<'_> {
    /// As field `number` of a message that has a list of `KeyValue` there.
    pub(super) fn put(&self, number: u32, into: &mut Vec<u8>) {
        put_head(number, self.length(), into);
        put_text(1, self.key, into);
        put_head(2, self.value.length(), into);
        self.value.put(into);
    }

    fn length(&self) -> usize {
        text_length(1, self.key) + delimited_length(2, self.value.length())
    }
}

impl Value<'_> {
    /// `AnyValue` has a choice of fields: which one is there matters, so that defaults are written too.
    fn length(&self) -> usize {
        match self {
            Self::Str(text) => delimited_length(1, text.len()),
            Self::Bool(_) => tag_length(2) + 1,
            Self::Int(number) => tag_length(3) + encoded_len_varint(number.cast_unsigned()),
            Self::Double(_) => tag_length(4) + size_of::<f64>(),
        }
    }

    fn put(&self, into: &mut Vec<u8>) {
        match self {
            Self::Str(text) => put_bytes(1, text.as_bytes(), into),
            Self::Bool(yes) => {
                put_tag(2, VARINT, into);
                into.put_u8(u8::from(*yes));
            }
            Self::Int(number) => {
                put_tag(3, VARINT, into);
                encode_varint(number.cast_unsigned(), into);
            }
            Self::Double(number) => {
                put_tag(4, FIXED64, into);
                into.put_f64_le(*number);
            }
        }
    }
}

fn status_length(message: &str) -> usize {
    text_length(2, message) + tag_length(3) + encoded_len_varint(STATUS_ERROR)
}

#[cfg(test)]
mod tests;
