//! A request made of encoded spans: what stands around them is written, they themselves are copied as they are.
//!
//! ```text
//! ExportTraceServiceRequest = 1: ResourceSpans, per service, in the order of their first spans
//! ResourceSpans = 1: Resource, 2: ScopeSpans, 3: schema_url
//! ScopeSpans    = 1: InstrumentationScope, 2: Span, as often as there are any, 3: schema_url
//! ```

use std::borrow::Cow;
use std::sync::Arc;

use super::resource::Resource;
use super::spans::Spans;
use super::wire::{delimited_length, put_head, put_text, text_length};

/// What names of attributes mean: those of the semantic conventions that this was written for.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

/// Who wrote the spans, whoever they are about.
pub const SCOPE_NAME: &str = "baton-broker";

const SCOPE_VERSION: &str = env!("CARGO_PKG_VERSION");

/// An `ExportTraceServiceRequest`, which is a `TracesData` as well. `own` goes with spans of no service.
pub(super) fn assemble(spans: &[Spans], own: &Resource) -> Vec<u8> {
    let groups = by_service(spans);
    let groups: Vec<_> = groups.iter().map(|it| Group::new(it, own)).collect();
    let length = groups
        .iter()
        .map(|it| delimited_length(1, it.length()))
        .sum();
    let mut request = Vec::with_capacity(length);
    for group in &groups {
        put_head(1, group.length(), &mut request);
        group.put(&mut request);
    }
    request
}

/// A request has spans of few services: they are looked for one by one.
fn by_service(spans: &[Spans]) -> Vec<Vec<&Spans>> {
    let mut groups: Vec<Vec<&Spans>> = Vec::new();
    for it in spans {
        match groups
            .iter_mut()
            .find(|group| is_same_service(group[0], it))
        {
            Some(group) => group.push(it),
            None => groups.push(vec![it]),
        }
    }
    groups
}

fn is_same_service(one: &Spans, other: &Spans) -> bool {
    match (&one.service, &other.service) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other) || one == other,
        (None, None) => true,
        _ => false,
    }
}

/// One `ResourceSpans`.
struct Group<'a> {
    resource: Cow<'a, Resource>,
    spans: &'a [&'a Spans],
    scope_spans_length: usize,
}

impl<'a> Group<'a> {
    fn new(spans: &'a [&'a Spans], own: &'a Resource) -> Self {
        let resource = match &spans[0].service {
            Some(service) => Cow::Owned(Resource::of_service(service)),
            None => Cow::Borrowed(own),
        };
        let encoded: usize = spans.iter().map(|it| it.encoded.len()).sum();
        let around = delimited_length(1, scope_length()) + text_length(3, SCHEMA_URL);
        Self {
            resource,
            spans,
            scope_spans_length: around + encoded,
        }
    }

    fn length(&self) -> usize {
        delimited_length(1, self.resource.encoded().len())
            + delimited_length(2, self.scope_spans_length)
            + text_length(3, SCHEMA_URL)
    }

    fn put(&self, into: &mut Vec<u8>) {
        put_head(1, self.resource.encoded().len(), into);
        into.extend_from_slice(self.resource.encoded());
        put_head(2, self.scope_spans_length, into);
        put_head(1, scope_length(), into);
        put_text(1, SCOPE_NAME, into);
        put_text(2, SCOPE_VERSION, into);
        for spans in self.spans {
            into.extend_from_slice(&spans.encoded);
        }
        put_text(3, SCHEMA_URL, into);
        put_text(3, SCHEMA_URL, into);
    }
}

const fn scope_length() -> usize {
    text_length(1, SCOPE_NAME) + text_length(2, SCOPE_VERSION)
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use prost::Message;

    use super::*;
    use crate::otlp::samples;

    fn own() -> Resource {
        Resource::of_process("broker", &[])
    }

    #[test]
    fn spans_are_grouped_by_service_and_keep_their_order() {
        let sent = [
            samples::spans(None, &["a", "b"]),
            samples::spans(Some("shop"), &["c"]),
            samples::spans(None, &["d"]),
            samples::spans(Some("mail"), &["e"]),
            samples::spans(Some("shop"), &["f"]),
        ];
        let encoded = assemble(&sent, &own());
        let request = ExportTraceServiceRequest::decode(encoded.as_slice()).unwrap();
        assert_eq!(
            samples::names(&request),
            [
                ("broker".into(), vec!["a".into(), "b".into(), "d".into()]),
                ("shop".into(), vec!["c".into(), "f".into()]),
                ("mail".into(), vec!["e".into()]),
            ]
        );
        assert_eq!(
            request.encode_to_vec(),
            encoded,
            "as any library would write it"
        );
    }

    #[test]
    fn each_group_says_which_conventions_and_which_program() {
        let encoded = assemble(&[samples::spans(None, &["a"])], &own());
        let request = ExportTraceServiceRequest::decode(encoded.as_slice()).unwrap();
        let group = &request.resource_spans[0];
        assert_eq!(group.schema_url, SCHEMA_URL);
        assert_eq!(group.scope_spans[0].schema_url, SCHEMA_URL);
        let scope = group.scope_spans[0].scope.as_ref().unwrap();
        assert_eq!(
            (scope.name.as_str(), scope.version.as_str()),
            (SCOPE_NAME, SCOPE_VERSION)
        );
    }

    #[test]
    fn nothing_is_an_empty_request() {
        assert!(assemble(&[], &own()).is_empty());
    }
}
