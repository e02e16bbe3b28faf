//! Who made spans, as OpenTelemetry's `Resource`: this process, or a client whose spans the broker writes for it.
//!
//! Names are those of the semantic conventions 1.44.0. Encoded once per process, or per service and request.

use super::span::{Attribute, Value};
use crate::host;

/// Names itself the SDK: there is no other one between the broker's spans and the wire.
const SDK_NAME: &str = "baton";

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Who made spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The content of a `Resource` message.
    encoded: Vec<u8>,
}

impl Resource {
    /// This process. `named` is what the user said about it, which goes before what is found out here; of a repeated key
    /// the last one counts.
    pub(super) fn of_process(service: &str, named: &[(String, String)]) -> Self {
        let instance = instance_id();
        let host = (host::id(), host::name());
        let mut attributes = vec![
            ("service.name", Value::Str(service)),
            ("service.version", Value::Str(VERSION)),
            ("service.instance.id", Value::Str(&instance)),
            ("process.pid", Value::Int(i64::from(std::process::id()))),
        ];
        if let Some(id) = &host.0 {
            attributes.push(("host.id", Value::Str(id)));
        }
        if let Some(name) = &host.1 {
            attributes.push(("host.name", Value::Str(name)));
        }
        for (key, value) in named {
            attributes.retain(|(found, _)| found != key);
            attributes.push((key, Value::Str(value)));
        }
        Self::of(attributes)
    }

    /// A client of which only the name is known.
    pub(super) fn of_service(service: &str) -> Self {
        Self::of(vec![("service.name", Value::Str(service))])
    }

    fn of(mut attributes: Vec<(&str, Value<'_>)>) -> Self {
        // Which SDK wrote them is not for the user to say.
        attributes.retain(|(key, _)| !key.starts_with("telemetry.sdk."));
        attributes.extend([
            ("telemetry.sdk.name", Value::Str(SDK_NAME)),
            ("telemetry.sdk.language", Value::Str("rust")),
            ("telemetry.sdk.version", Value::Str(VERSION)),
        ]);
        let mut encoded = Vec::new();
        for (key, value) in attributes {
            Attribute { key, value }.put(1, &mut encoded);
        }
        Self { encoded }
    }

    /// The content of a `Resource` message.
    pub(super) fn encoded(&self) -> &[u8] {
        &self.encoded
    }
}

/// A random UUID (RFC 9562, version 4), as the conventions ask for.
fn instance_id() -> String {
    let random: u128 = rand::random();
    let version = 0x4 << 76;
    let variant = 0b10 << 62;
    let kept = !(0xf << 76 | 0b11 << 62);
    let id = format!("{:032x}", random & kept | version | variant);
    [&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value;
    use opentelemetry_proto::tonic::resource::v1 as proto;
    use prost::Message;

    use super::*;

    fn read(resource: &Resource) -> Vec<(String, String)> {
        let message = proto::Resource::decode(resource.encoded()).unwrap();
        message
            .attributes
            .into_iter()
            .map(|it| match it.value.unwrap().value.unwrap() {
                any_value::Value::StringValue(text) => (it.key, text),
                any_value::Value::IntValue(number) => (it.key, number.to_string()),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn value(attributes: &[(String, String)], key: &str) -> String {
        let mut found = attributes.iter().filter(|it| it.0 == key);
        let (_, value) = found.next().unwrap_or_else(|| panic!("no {key}"));
        assert_eq!(found.next(), None, "{key} is repeated");
        value.clone()
    }

    fn named(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect()
    }

    #[test]
    fn a_process_says_who_and_where_it_is() {
        let attributes = read(&Resource::of_process("broker", &[]));
        assert_eq!(value(&attributes, "service.name"), "broker");
        assert_eq!(value(&attributes, "service.version"), VERSION);
        assert_eq!(value(&attributes, "host.id"), host::id().unwrap());
        assert_eq!(value(&attributes, "host.name"), host::name().unwrap());
        assert_eq!(
            value(&attributes, "process.pid"),
            std::process::id().to_string()
        );
        assert_eq!(value(&attributes, "telemetry.sdk.name"), "baton");
        assert_eq!(value(&attributes, "telemetry.sdk.language"), "rust");
    }

    #[test]
    fn what_the_user_says_goes_before_what_is_found_out() {
        let said = named(&[
            ("host.id", "first"),
            ("host.id", "mine"),
            ("deployment.environment.name", "test"),
            ("telemetry.sdk.name", "opentelemetry"),
        ]);
        let attributes = read(&Resource::of_process("broker", &said));
        assert_eq!(value(&attributes, "host.id"), "mine");
        assert_eq!(value(&attributes, "deployment.environment.name"), "test");
        assert_eq!(value(&attributes, "telemetry.sdk.name"), "baton");
    }

    #[test]
    fn a_client_is_known_by_name_alone() {
        let attributes = read(&Resource::of_service("shop"));
        assert_eq!(value(&attributes, "service.name"), "shop");
        assert!(
            attributes
                .iter()
                .skip(1)
                .all(|it| it.0.starts_with("telemetry.sdk."))
        );
    }

    #[test]
    fn an_instance_has_an_id_of_version_4() {
        for _ in 0..100 {
            let id = instance_id();
            let parts: Vec<_> = id.split('-').map(str::len).collect();
            assert_eq!(parts, [8, 4, 4, 4, 12], "{id}");
            assert!(
                id[14..].starts_with('4') && "89ab".contains(&id[19..20]),
                "{id}"
            );
        }
        assert_ne!(instance_id(), instance_id());
    }
}
