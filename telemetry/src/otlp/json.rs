//! Spans as a file that trace viewers open: OTLP's JSON, `{"resourceSpans": …}`; or [`Form::Tempo`], where other names are
//! used for the same.
//!
//! It is protobuf's JSON with three rules of OTLP's own (opentelemetry-proto, `docs/specification.md`, "JSON Protobuf
//! Encoding"): ids are hexadecimal, enums are numbers, keys are in lowerCamelCase. From protobuf's: 64-bit numbers are
//! strings, defaults are left out, numbers that are none are written as words. Pure; called by whoever offers a trace for
//! download.

use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{
    ResourceSpans, ScopeSpans, Span, Status, TracesData, span,
};
use prost::{DecodeError, Message};
use serde_json::{Map, Value, json};

use super::request::assemble;
use super::resource::Resource;
use super::spans::Spans;

/// Whose names are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// OTLP's own.
    Otlp,
    /// Those of OTLP's first editions, in which Grafana's page reads traces of Tempo that are uploaded: `batches` and
    /// `instrumentationLibrarySpans`, and kinds in words.
    Tempo,
}

/// The spans as one JSON document, grouped by service as they would be exported. `own` goes with spans of no service.
///
/// # Errors
///
/// If something else than [`encode`](super::encode) has written into them.
pub fn to_json(spans: &[Spans], own: &Resource, form: Form) -> Result<Value, DecodeError> {
    let data = TracesData::decode(assemble(spans, own).as_slice())?;
    let groups = data.resource_spans.iter();
    let groups: Value = groups.map(|group| resource_spans(group, form)).collect();
    Ok(match form {
        Form::Otlp => json!({ "resourceSpans": groups }),
        Form::Tempo => json!({ "batches": groups }),
    })
}

fn resource_spans(group: &ResourceSpans, form: Form) -> Value {
    let own = group.resource.as_ref().map(|it| it.attributes.as_slice());
    let resource = json!({ "attributes": attributes(own.unwrap_or_default()) });
    let scopes = group.scope_spans.iter();
    let scopes: Value = scopes.map(|group| scope_spans(group, form)).collect();
    match form {
        Form::Otlp => json!({
            "resource": resource,
            "scopeSpans": scopes,
            "schemaUrl": group.schema_url,
        }),
        Form::Tempo => json!({ "resource": resource, "instrumentationLibrarySpans": scopes }),
    }
}

fn scope_spans(group: &ScopeSpans, form: Form) -> Value {
    let InstrumentationScope { name, version, .. } = group.scope.clone().unwrap_or_default();
    let scope = json!({ "name": name, "version": version });
    let spans = group.spans.iter();
    let spans: Value = spans.map(|span| one_span(span, form)).collect();
    match form {
        Form::Otlp => json!({ "scope": scope, "spans": spans, "schemaUrl": group.schema_url }),
        Form::Tempo => json!({ "instrumentationLibrary": scope, "spans": spans }),
    }
}

fn one_span(span: &Span, form: Form) -> Value {
    let mut fields = Map::new();
    let mut put = |key: &str, value: Value| fields.insert(key.to_owned(), value);
    put("traceId", hex(&span.trace_id));
    put("spanId", hex(&span.span_id));
    if !span.trace_state.is_empty() {
        put("traceState", json!(span.trace_state));
    }
    if !span.parent_span_id.is_empty() {
        put("parentSpanId", hex(&span.parent_span_id));
    }
    put("flags", json!(span.flags));
    put("name", json!(span.name));
    match form {
        Form::Otlp => put("kind", json!(span.kind)),
        Form::Tempo => put("kind", json!(span.kind().as_str_name())),
    };
    put("startTimeUnixNano", number(span.start_time_unix_nano));
    put("endTimeUnixNano", number(span.end_time_unix_nano));
    put("attributes", attributes(&span.attributes));
    if !span.events.is_empty() {
        put("events", span.events.iter().map(event).collect());
    }
    if !span.links.is_empty() {
        put("links", span.links.iter().map(link).collect());
    }
    if let Some(it) = &span.status {
        put("status", status(it));
    }
    Value::Object(fields)
}

fn event(event: &span::Event) -> Value {
    json!({ "timeUnixNano": number(event.time_unix_nano), "name": event.name })
}

fn link(link: &span::Link) -> Value {
    json!({
        "traceId": hex(&link.trace_id),
        "spanId": hex(&link.span_id),
        "attributes": attributes(&link.attributes),
    })
}

fn status(status: &Status) -> Value {
    json!({ "code": status.code, "message": status.message })
}

fn attributes(attributes: &[KeyValue]) -> Value {
    let attribute = |it: &KeyValue| {
        let value = it.value.as_ref().and_then(|it| it.value.as_ref());
        json!({ "key": it.key, "value": value.map_or_else(|| json!({}), any_value) })
    };
    attributes.iter().map(attribute).collect()
}

/// The kinds of value that [`encode`](super::encode) writes.
fn any_value(value: &any_value::Value) -> Value {
    match value {
        any_value::Value::StringValue(text) => json!({ "stringValue": text }),
        any_value::Value::BoolValue(yes) => json!({ "boolValue": yes }),
        any_value::Value::IntValue(number) => json!({ "intValue": number.to_string() }),
        any_value::Value::DoubleValue(number) => json!({ "doubleValue": double(*number) }),
        _ => json!({}),
    }
}

/// JSON has no word for these; protobuf has.
fn double(number: f64) -> Value {
    if number.is_finite() {
        json!(number)
    } else if number.is_nan() {
        json!("NaN")
    } else if number > 0.0 {
        json!("Infinity")
    } else {
        json!("-Infinity")
    }
}

/// More than 53 bits do not survive JavaScript.
fn number(number: u64) -> Value {
    Value::String(number.to_string())
}

fn hex(bytes: &[u8]) -> Value {
    Value::String(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::{Attribute, Link, SpanEvent, SpanKind, Value as Attr, samples};
    use crate::trace_context::{SpanId, TraceId};

    fn own() -> Resource {
        Resource::of_process("broker", &[])
    }

    /// A span with something in every field.
    fn full() -> Spans {
        let attribute = |key, value| Attribute { key, value };
        let attributes = [
            attribute("text", Attr::Str("a \"quoted\" é")),
            attribute("empty", Attr::Str("")),
            attribute("int", Attr::Int(i64::MIN)),
            attribute("double", Attr::Double(0.5)),
            attribute("bool", Attr::Bool(false)),
        ];
        let events = [SpanEvent {
            name: "synced",
            at_ns: 3,
        }];
        let links = [Link {
            trace_id: TraceId::new([0xcd; 16]).unwrap(),
            span_id: SpanId::new([0xef; 8]).unwrap(),
            attributes: &attributes[..1],
        }];
        let mut spans = Spans::of(None);
        spans.push(&crate::otlp::Span {
            parent: SpanId::new([0xab; 8]),
            parent_is_remote: true,
            tracestate: "baton=01",
            kind: SpanKind::Client,
            start_ns: u64::MAX - 1,
            end_ns: u64::MAX,
            events: &events,
            links: &links,
            error: Some("lease ran out"),
            ..samples::span("deliver orders", &attributes)
        });
        spans
    }

    #[test]
    fn a_span_is_written_by_the_rules_of_the_specification() {
        let json = to_json(&[full()], &own(), Form::Otlp).unwrap();
        let expected = json!({
            "traceId": "07070707070707070707070707070707",
            "spanId": "0909090909090909",
            "traceState": "baton=01",
            "parentSpanId": "abababababababab",
            "flags": 0x301,
            "name": "deliver orders",
            "kind": 3,
            "startTimeUnixNano": "18446744073709551614",
            "endTimeUnixNano": "18446744073709551615",
            "attributes": [
                { "key": "text", "value": { "stringValue": "a \"quoted\" é" } },
                { "key": "empty", "value": { "stringValue": "" } },
                { "key": "int", "value": { "intValue": "-9223372036854775808" } },
                { "key": "double", "value": { "doubleValue": 0.5 } },
                { "key": "bool", "value": { "boolValue": false } },
            ],
            "events": [{ "timeUnixNano": "3", "name": "synced" }],
            "links": [{
                "traceId": "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
                "spanId": "efefefefefefefef",
                "attributes": [{ "key": "text", "value": { "stringValue": "a \"quoted\" é" } }],
            }],
            "status": { "code": 2, "message": "lease ran out" },
        });
        assert_eq!(
            json["resourceSpans"][0]["scopeSpans"][0]["spans"][0],
            expected
        );
    }

    /// Another reader of the same format finds what was exported.
    #[test]
    fn opentelemetrys_own_reader_finds_the_same() {
        let spans = [
            full(),
            samples::spans(Some("shop"), &["create orders", "ack orders"]),
            samples::spans(None, &["item orders"]),
        ];
        let own = own();
        let text = to_json(&spans, &own, Form::Otlp).unwrap().to_string();
        let read: TracesData = serde_json::from_str(&text).unwrap();
        let exported = TracesData::decode(assemble(&spans, &own).as_slice()).unwrap();
        assert_eq!(read, exported);
    }

    /// What the page of Grafana takes: <https://grafana.com/docs/grafana/latest/datasources/tempo/json-trace-file/>.
    #[test]
    fn as_tempo_it_has_the_names_that_grafana_looks_for() {
        let json = to_json(&[full()], &own(), Form::Tempo).unwrap();
        let batch = &json["batches"][0];
        let attributes = batch["resource"]["attributes"].as_array().unwrap();
        assert!(attributes.iter().any(|it| it["key"] == "service.name"));
        let library = &batch["instrumentationLibrarySpans"][0];
        assert!(library["instrumentationLibrary"]["name"].is_string());
        let span = &library["spans"][0];
        assert_eq!(span["kind"], "SPAN_KIND_CLIENT");
        let json = to_json(&[full()], &own(), Form::Otlp).unwrap();
        let mut same = json["resourceSpans"][0]["scopeSpans"][0]["spans"][0].clone();
        same["kind"] = json!("SPAN_KIND_CLIENT");
        assert_eq!(*span, same);
    }

    #[test]
    fn what_is_not_there_is_left_out() {
        let json = to_json(&[samples::spans(None, &["item"])], &own(), Form::Otlp).unwrap();
        let span = &json["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        for absent in ["parentSpanId", "traceState", "events", "links", "status"] {
            assert!(span.get(absent).is_none(), "{absent}");
        }
    }

    #[test]
    fn numbers_that_are_none_are_words() {
        let words = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(double);
        assert_eq!(words, [json!("NaN"), json!("Infinity"), json!("-Infinity")]);
    }

    #[test]
    fn nothing_is_an_empty_document_and_garbage_an_error() {
        assert_eq!(
            to_json(&[], &own(), Form::Otlp).unwrap(),
            json!({ "resourceSpans": [] })
        );
        let garbage = Spans {
            service: None,
            encoded: vec![0xff],
            count: 1,
        };
        assert!(to_json(&[garbage], &own(), Form::Otlp).is_err());
    }
}
