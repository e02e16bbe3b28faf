//! Spans as the test agent has received them. A field that is not read here, such as a count of dropped attributes, is
//! an error: what one wants to know of a span is here, and nothing else may be in it.

use serde::Deserialize;

use crate::attributes::{Attributes, Origin, Value, attributes, decimal, id, optional_id};

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Span {
    /// 32 hexadecimal digits.
    #[serde(deserialize_with = "id::<16, _>")]
    pub(crate) trace_id: String,
    /// 16 hexadecimal digits.
    #[serde(deserialize_with = "id::<8, _>")]
    pub(crate) span_id: String,
    /// None: it is a root.
    #[serde(
        rename = "parent_span_id",
        default,
        deserialize_with = "optional_id::<8, _>"
    )]
    pub(crate) parent: Option<String>,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) kind: Kind,
    /// W3C trace flags in the low byte; 0x100 and 0x200 say whether the parent is remote.
    #[serde(default)]
    pub(crate) flags: u32,
    #[serde(default)]
    pub(crate) trace_state: String,
    /// Since 1970.
    #[serde(rename = "start_time_unix_nano", deserialize_with = "decimal")]
    pub(crate) start_ns: u64,
    /// Since 1970.
    #[serde(rename = "end_time_unix_nano", deserialize_with = "decimal")]
    pub(crate) end_ns: u64,
    #[serde(default, deserialize_with = "attributes")]
    pub(crate) attributes: Attributes,
    #[serde(default)]
    pub(crate) events: Vec<Event>,
    #[serde(default)]
    pub(crate) links: Vec<Link>,
    #[serde(default)]
    pub(crate) status: Status,
    /// The name of the instrumentation.
    #[serde(skip)]
    pub(crate) scope: String,
    /// The URL of the schema that names follow; empty: none is said.
    #[serde(skip)]
    pub(crate) schema: String,
    /// Attributes of who emitted it.
    #[serde(skip)]
    pub(crate) resource: Attributes,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum Kind {
    #[default]
    #[serde(rename = "SPAN_KIND_UNSPECIFIED")]
    Unspecified,
    #[serde(rename = "SPAN_KIND_INTERNAL")]
    Internal,
    #[serde(rename = "SPAN_KIND_SERVER")]
    Server,
    #[serde(rename = "SPAN_KIND_CLIENT")]
    Client,
    #[serde(rename = "SPAN_KIND_PRODUCER")]
    Producer,
    #[serde(rename = "SPAN_KIND_CONSUMER")]
    Consumer,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Event {
    pub(crate) name: String,
    #[serde(rename = "time_unix_nano", deserialize_with = "decimal")]
    pub(crate) at_ns: u64,
    #[serde(default, deserialize_with = "attributes")]
    pub(crate) attributes: Attributes,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Link {
    #[serde(deserialize_with = "id::<16, _>")]
    pub(crate) trace_id: String,
    #[serde(deserialize_with = "id::<8, _>")]
    pub(crate) span_id: String,
    #[serde(default)]
    pub(crate) flags: u32,
    #[serde(default)]
    pub(crate) trace_state: String,
    #[serde(default, deserialize_with = "attributes")]
    pub(crate) attributes: Attributes,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Status {
    #[serde(default)]
    pub(crate) code: Code,
    #[serde(default)]
    pub(crate) message: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum Code {
    #[default]
    #[serde(rename = "STATUS_CODE_UNSET")]
    Unset,
    #[serde(rename = "STATUS_CODE_OK")]
    Ok,
    #[serde(rename = "STATUS_CODE_ERROR")]
    Error,
}

impl Span {
    /// What emitted it calls itself.
    pub(crate) fn service(&self) -> &str {
        let name = self.resource.get("service.name");
        name.and_then(Value::text).unwrap_or_default()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    #[serde(default)]
    resource_spans: Vec<OfResource>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfResource {
    #[serde(default)]
    resource: Origin,
    #[serde(default)]
    schema_url: String,
    #[serde(default)]
    scope_spans: Vec<OfScope>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfScope {
    #[serde(default)]
    scope: Origin,
    #[serde(default)]
    schema_url: String,
    #[serde(default)]
    spans: Vec<Span>,
}

/// Reads the agent's answer: a list of export requests.
pub(crate) fn parse(answer: &str) -> Result<Vec<Span>, serde_json::Error> {
    let requests: Vec<Request> = serde_json::from_str(answer)?;
    let mut found = Vec::new();
    for resource in requests.into_iter().flat_map(|one| one.resource_spans) {
        for scope in resource.scope_spans {
            let schema = if scope.schema_url.is_empty() {
                &resource.schema_url
            } else {
                &scope.schema_url
            };
            found.extend(scope.spans.into_iter().map(|span| Span {
                scope: scope.scope.name.clone(),
                schema: schema.clone(),
                resource: resource.resource.attributes.clone(),
                ..span
            }));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer of one request with one span with these fields.
    fn answer(fields: &str) -> String {
        let span = format!(
            r#"{{"name": "item q", "trace_id": "AAECAwQFBgcICQoLDA0ODw==", "span_id": "AAECAwQFBgc=",
                "start_time_unix_nano": "1795374000000000001", "end_time_unix_nano": "1795374000000000002" {fields}}}"#
        );
        format!(r#"[{{"resource_spans": [{{"scope_spans": [{{"spans": [{span}]}}]}}]}}]"#)
    }

    fn refusal(fields: &str) -> String {
        parse(&answer(fields)).unwrap_err().to_string()
    }

    #[test]
    fn ids_are_hexadecimal_and_times_lose_nothing() {
        let spans = parse(&answer("")).unwrap();
        assert_eq!(spans[0].trace_id, "000102030405060708090a0b0c0d0e0f");
        assert_eq!(
            (spans[0].span_id.as_str(), &spans[0].parent),
            ("0001020304050607", &None)
        );
        assert_eq!(spans[0].start_ns, 1_795_374_000_000_000_001);
        assert_eq!(
            (spans[0].kind, spans[0].status.code),
            (Kind::Unspecified, Code::Unset)
        );
    }

    #[test]
    fn the_schema_is_the_scopes_or_else_the_resources() {
        let of_resource =
            answer("").replace(r#"{"scope_spans""#, r#"{"schema_url": "r", "scope_spans""#);
        assert_eq!(parse(&of_resource).unwrap()[0].schema, "r");
        let of_scope = of_resource.replace(r#"{"spans""#, r#"{"schema_url": "s", "spans""#);
        assert_eq!(parse(&of_scope).unwrap()[0].schema, "s");
    }

    #[test]
    fn what_is_lost_invalid_or_ambiguous_is_an_error() {
        let lost = refusal(r#", "dropped_attributes_count": 3"#);
        assert!(lost.contains("dropped_attributes_count"), "{lost}");
        let zero = refusal(r#", "parent_span_id": "AAAAAAAAAAA=""#);
        assert!(zero.contains("is no id of 8 bytes"), "{zero}");
        let long = refusal(r#", "parent_span_id": "AAECAwQFBgcI""#);
        assert!(long.contains("is no id of 8 bytes"), "{long}");
        let pair = r#"{"key": "a", "value": {"int_value": "1"}}"#;
        let twice = refusal(&format!(r#", "attributes": [{pair}, {pair}]"#));
        assert!(twice.contains("a again"), "{twice}");
    }
}
