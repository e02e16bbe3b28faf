//! What is written is what OpenTelemetry's own messages read, and byte for byte what they would have written.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1 as proto;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message;

use super::*;

/// A span that owns its parts.
#[derive(Clone, Debug)]
struct Parts {
    trace_id: TraceId,
    span_id: SpanId,
    parent: Option<SpanId>,
    parent_is_remote: bool,
    tracestate: String,
    name: (String, String),
    kind: SpanKind,
    times: (u64, u64),
    attributes: Vec<(String, OwnValue)>,
    events: Vec<(String, u64)>,
    links: Vec<OwnLink>,
    error: Option<String>,
}

type OwnLink = (TraceId, SpanId, Vec<(String, OwnValue)>);

#[derive(Clone, Debug)]
enum OwnValue {
    Str(String),
    Int(i64),
    Double(f64),
    Bool(bool),
}

fn trace_ids() -> impl Strategy<Value = TraceId> {
    any::<[u8; 16]>().prop_filter_map("all zero is no id", TraceId::new)
}

fn span_ids() -> impl Strategy<Value = SpanId> {
    any::<[u8; 8]>().prop_filter_map("all zero is no id", SpanId::new)
}

/// Empty, odd, and longer than a length of one byte can say.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        any::<String>(),
        "[a-z\0é😀]{0,20}",
        (100_usize..300).prop_map(|length| "x".repeat(length)),
    ]
}

fn attributes() -> impl Strategy<Value = Vec<(String, OwnValue)>> {
    let value = prop_oneof![
        texts().prop_map(OwnValue::Str),
        any::<i64>().prop_map(OwnValue::Int),
        (-2_i64..130).prop_map(OwnValue::Int),
        any::<f64>().prop_map(OwnValue::Double),
        Just(OwnValue::Double(0.0)),
        any::<bool>().prop_map(OwnValue::Bool),
    ];
    vec((texts(), value), 0..4)
}

fn kinds() -> impl Strategy<Value = SpanKind> {
    prop_oneof![
        Just(SpanKind::Internal),
        Just(SpanKind::Server),
        Just(SpanKind::Client),
        Just(SpanKind::Producer),
        Just(SpanKind::Consumer),
    ]
}

fn parts() -> impl Strategy<Value = Parts> {
    let ids = (
        trace_ids(),
        span_ids(),
        option::of(span_ids()),
        any::<bool>(),
    );
    let texts_of_it = (texts(), (texts(), texts()), option::of(texts()));
    let times = prop_oneof![Just((0, 0)), any::<(u64, u64)>()];
    let lists = (
        attributes(),
        vec((texts(), any::<u64>()), 0..3),
        vec((trace_ids(), span_ids(), attributes()), 0..3),
    );
    (ids, texts_of_it, kinds(), times, lists).prop_map(|(ids, texts, kind, times, lists)| Parts {
        trace_id: ids.0,
        span_id: ids.1,
        parent: ids.2,
        parent_is_remote: ids.3,
        tracestate: texts.0,
        name: texts.1,
        error: texts.2,
        kind,
        times,
        attributes: lists.0,
        events: lists.1,
        links: lists.2,
    })
}

fn borrowed<'a>(attributes: &'a [(String, OwnValue)]) -> Vec<Attribute<'a>> {
    let attribute = |(key, value): &'a (String, OwnValue)| Attribute {
        key,
        value: match value {
            OwnValue::Str(text) => Value::Str(text),
            OwnValue::Int(number) => Value::Int(*number),
            OwnValue::Double(number) => Value::Double(*number),
            OwnValue::Bool(yes) => Value::Bool(*yes),
        },
    };
    attributes.iter().map(attribute).collect()
}

impl Parts {
    fn encode(&self, into: &mut Vec<u8>) {
        let attributes = borrowed(&self.attributes);
        let events: Vec<_> = self
            .events
            .iter()
            .map(|(name, at_ns)| SpanEvent {
                name,
                at_ns: *at_ns,
            })
            .collect();
        let of_links: Vec<_> = self.links.iter().map(|it| borrowed(&it.2)).collect();
        let links: Vec<_> = self
            .links
            .iter()
            .zip(&of_links)
            .map(|((trace_id, span_id, _), attributes)| Link {
                trace_id: *trace_id,
                span_id: *span_id,
                attributes,
            })
            .collect();
        let span = Span {
            trace_id: self.trace_id,
            span_id: self.span_id,
            parent: self.parent,
            parent_is_remote: self.parent_is_remote,
            tracestate: &self.tracestate,
            name: (&self.name.0, &self.name.1),
            kind: self.kind,
            start_ns: self.times.0,
            end_ns: self.times.1,
            attributes: &attributes,
            events: &events,
            links: &links,
            error: self.error.as_deref(),
        };
        encode(&span, into);
    }

    /// The same, as OpenTelemetry's messages have it.
    fn message(&self) -> proto::Span {
        let remote = self.parent.is_some() && self.parent_is_remote;
        let name = match (self.name.0.as_str(), self.name.1.as_str()) {
            (operation, "") => operation.to_owned(),
            (operation, destination) => format!("{operation} {destination}"),
        };
        proto::Span {
            trace_id: self.trace_id.bytes().to_vec(),
            span_id: self.span_id.bytes().to_vec(),
            trace_state: self.tracestate.clone(),
            parent_span_id: self.parent.map_or_else(Vec::new, |id| id.bytes().to_vec()),
            flags: if remote { 0x301 } else { 0x101 },
            name,
            kind: self.kind as i32,
            start_time_unix_nano: self.times.0,
            end_time_unix_nano: self.times.1,
            attributes: key_values(&self.attributes),
            events: self.events.iter().map(event).collect(),
            links: self.links.iter().map(link).collect(),
            status: self.error.clone().map(|message| proto::Status {
                message,
                code: proto::status::StatusCode::Error.into(),
            }),
            ..proto::Span::default()
        }
    }
}

fn event((name, at_ns): &(String, u64)) -> proto::span::Event {
    proto::span::Event {
        time_unix_nano: *at_ns,
        name: name.clone(),
        ..proto::span::Event::default()
    }
}

fn link((trace_id, span_id, attributes): &OwnLink) -> proto::span::Link {
    proto::span::Link {
        trace_id: trace_id.bytes().to_vec(),
        span_id: span_id.bytes().to_vec(),
        attributes: key_values(attributes),
        ..proto::span::Link::default()
    }
}

fn key_values(attributes: &[(String, OwnValue)]) -> Vec<KeyValue> {
    let value = |value: &OwnValue| match value.clone() {
        OwnValue::Str(text) => any_value::Value::StringValue(text),
        OwnValue::Int(number) => any_value::Value::IntValue(number),
        OwnValue::Double(number) => any_value::Value::DoubleValue(number),
        OwnValue::Bool(yes) => any_value::Value::BoolValue(yes),
    };
    attributes
        .iter()
        .map(|(key, it)| KeyValue {
            key: key.clone(),
            value: Some(AnyValue {
                value: Some(value(it)),
            }),
            ..KeyValue::default()
        })
        .collect()
}

proptest! {
    #[test]
    fn spans_behind_each_other_are_read_as_they_were(spans in vec(parts(), 0..4)) {
        let mut encoded = Vec::new();
        for span in &spans {
            span.encode(&mut encoded);
        }
        let expected = proto::ScopeSpans {
            spans: spans.iter().map(Parts::message).collect(),
            ..proto::ScopeSpans::default()
        };
        prop_assert_eq!(&encoded, &expected.encode_to_vec());
        prop_assert_eq!(proto::ScopeSpans::decode(encoded.as_slice()).unwrap(), expected);
    }
}

#[test]
fn one_span_field_by_field() {
    let attributes = [Attribute {
        key: "messaging.baton.attempt",
        value: Value::Int(-1),
    }];
    let span = Span {
        trace_id: TraceId::new([0xab; 16]).unwrap(),
        span_id: SpanId::new([1; 8]).unwrap(),
        parent: SpanId::new([2; 8]),
        parent_is_remote: true,
        tracestate: "baton=01",
        name: ("create", "orders"),
        kind: SpanKind::Producer,
        start_ns: 1,
        end_ns: u64::MAX,
        attributes: &attributes,
        events: &[],
        links: &[],
        error: Some(""),
    };
    let mut encoded = Vec::new();
    encode(&span, &mut encoded);
    let read = proto::ScopeSpans::decode(encoded.as_slice()).unwrap();
    let read = &read.spans[0];
    assert_eq!(read.trace_id, [0xab; 16]);
    assert_eq!(
        (&read.span_id[..], &read.parent_span_id[..]),
        (&[1; 8][..], &[2; 8][..])
    );
    assert_eq!(
        (read.name.as_str(), read.trace_state.as_str()),
        ("create orders", "baton=01")
    );
    assert_eq!(read.kind(), proto::span::SpanKind::Producer);
    assert_eq!(
        (read.start_time_unix_nano, read.end_time_unix_nano),
        (1, u64::MAX)
    );
    assert_eq!(read.attributes[0].key, "messaging.baton.attempt");
    let status = read.status.as_ref().unwrap();
    assert_eq!(
        status.code(),
        proto::status::StatusCode::Error,
        "an empty message is an error too"
    );
    let flags = [
        proto::SpanFlags::ContextHasIsRemoteMask,
        proto::SpanFlags::ContextIsRemoteMask,
    ];
    assert_eq!(
        read.flags,
        flags.iter().fold(1, |all, flag| all | *flag as u32)
    );
}

/// NaN is equal to nothing, not even to what was read.
#[test]
fn a_number_that_is_none_arrives_bit_by_bit() {
    for number in [f64::NAN, f64::NEG_INFINITY, -0.0] {
        let mut encoded = Vec::new();
        let attribute = Attribute {
            key: "k",
            value: Value::Double(number),
        };
        attribute.put(9, &mut encoded);
        let read = proto::Span::decode(encoded.as_slice()).unwrap();
        let Some(any_value::Value::DoubleValue(read)) =
            read.attributes[0].value.as_ref().unwrap().value
        else {
            panic!("{read:?}");
        };
        assert_eq!(read.to_bits(), number.to_bits());
    }
}
