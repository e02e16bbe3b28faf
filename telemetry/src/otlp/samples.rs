//! Spans for tests, and what a collector reads of them.

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value;

use super::{Attribute, Span, SpanKind, Spans, Value};
use crate::trace_context::{SpanId, TraceId};

/// One span per name.
pub(super) fn spans(service: Option<&str>, names: &[&str]) -> Spans {
    let mut spans = Spans::of(service.map(Arc::from));
    for name in names {
        spans.push(&span(name, &[]));
    }
    spans
}

/// A span of an item, without links.
pub(super) fn span<'a>(name: &'a str, attributes: &'a [Attribute<'a>]) -> Span<'a> {
    Span {
        trace_id: TraceId::new([7; 16]).unwrap(),
        span_id: SpanId::new([9; 8]).unwrap(),
        parent: None,
        parent_is_remote: false,
        tracestate: "",
        name: (name, ""),
        kind: SpanKind::Internal,
        start_ns: 1,
        end_ns: 2,
        attributes,
        events: &[],
        links: &[],
        error: None,
    }
}

/// A span of about `bytes`.
pub(super) fn big(bytes: usize) -> Spans {
    let padding = "x".repeat(bytes);
    let mut spans = Spans::of(None);
    let attributes = [Attribute {
        key: "padding",
        value: Value::Str(&padding),
    }];
    spans.push(&span("big", &attributes));
    spans
}

/// Names of spans by the service they belong to.
pub(super) fn names(request: &ExportTraceServiceRequest) -> Vec<(String, Vec<String>)> {
    let groups = request.resource_spans.iter().map(|group| {
        let attributes = &group.resource.as_ref().unwrap().attributes;
        let service = attributes
            .iter()
            .find(|it| it.key == "service.name")
            .unwrap();
        let value = service.value.as_ref().unwrap().value.as_ref().unwrap();
        let any_value::Value::StringValue(service) = value else {
            panic!("{value:?}");
        };
        let spans = group.scope_spans.iter().flat_map(|it| &it.spans);
        (service.clone(), spans.map(|it| it.name.clone()).collect())
    });
    groups.collect()
}
