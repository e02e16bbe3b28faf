//! The environment as users write it.

use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::resource::v1 as proto;
use prost::Message;

use super::*;

const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://jaeger:4317");

fn from(variables: &[(&str, &str)]) -> Result<Option<Settings>, SettingsError> {
    Settings::from_env("broker", &|name| {
        let found = variables.iter().find(|it| it.0 == name);
        found.map(|it| it.1.to_owned())
    })
}

fn settings(more: &[(&str, &str)]) -> Settings {
    let variables: Vec<_> = [ENDPOINT].into_iter().chain(more.iter().copied()).collect();
    from(&variables).unwrap().unwrap()
}

fn error(more: &[(&str, &str)]) -> String {
    let variables: Vec<_> = more.iter().copied().chain([ENDPOINT]).collect();
    from(&variables).unwrap_err().to_string()
}

fn resource(settings: &Settings, key: &str) -> Option<String> {
    let message = proto::Resource::decode(settings.resource.encoded()).unwrap();
    let found = message.attributes.into_iter().find(|it| it.key == key)?;
    match found.value?.value? {
        any_value::Value::StringValue(text) => Some(text),
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_is_exported_without_an_endpoint() {
    assert!(from(&[]).unwrap().is_none());
    assert!(
        from(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")])
            .unwrap()
            .is_none()
    );
    let nonsense_of_others = [("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")];
    assert!(from(&nonsense_of_others).unwrap().is_none());
}

#[test]
fn an_endpoint_is_enough() {
    let settings = settings(&[]);
    assert_eq!(settings.endpoint().to_string(), "http://jaeger:4317/");
    assert_eq!(settings.timeout, Duration::from_secs(10));
    assert!(settings.gzip && settings.headers.is_empty());
    assert_eq!(settings.queue_bytes, 16 * 1024 * 1024);
    assert_eq!(resource(&settings, "service.name").unwrap(), "broker");
}

#[test]
fn it_can_be_switched_off_whatever_else_is_said() {
    for off in [
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_SDK_DISABLED", "TRUE"),
        ("OTEL_TRACES_EXPORTER", "none"),
    ] {
        let variables = [ENDPOINT, off, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")];
        assert!(from(&variables).unwrap().is_none(), "{off:?}");
    }
    settings(&[("OTEL_SDK_DISABLED", "1")]);
    settings(&[("OTEL_TRACES_EXPORTER", "console, otlp")]);
    assert!(error(&[("OTEL_TRACES_EXPORTER", "zipkin")]).contains("OTEL_TRACES_EXPORTER=zipkin"));
}

#[test]
fn variables_of_traces_go_first() {
    let settings = settings(&[
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://[::1]:1"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "250"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "none"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
    ]);
    assert_eq!(settings.endpoint().to_string(), "http://[::1]:1/");
    assert_eq!(settings.timeout, Duration::from_millis(250));
    assert!(!settings.gzip);
}

#[test]
fn no_request_takes_longer_than_a_batch_is_kept() {
    for value in ["0", "86400000"] {
        let settings = settings(&[("OTEL_EXPORTER_OTLP_TIMEOUT", value)]);
        assert_eq!(settings.timeout, Duration::from_secs(60));
    }
}

#[test]
fn what_cannot_be_used_says_what_to_write_instead() {
    let endpoint = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    for (name, value, advice) in [
        (endpoint, "https://jaeger:4317", "TLS is not supported yet"),
        (endpoint, "HTTPS://jaeger:4317", "TLS is not supported yet"),
        (endpoint, "jaeger:4317", "write http:// before it"),
        (endpoint, "localhost", "write http:// before it"),
        (
            endpoint,
            "http://jaeger:4318/v1/traces",
            "which has no path",
        ),
        (endpoint, "http://jaeger:4317/?a=b", "which has no path"),
        (endpoint, "http://", "http://host:4317"),
        (endpoint, "http://:4317", "http://host:4317"),
        (endpoint, "http://a b", "http://host:4317"),
        (endpoint, "unix:///run/otlp", "http://host:4317"),
        (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "http/protobuf",
            "only grpc is spoken",
        ),
        (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "http/json",
            "TRACES_PROTOCOL=grpc",
        ),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "milliseconds"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "-1", "milliseconds"),
        (
            "OTEL_EXPORTER_OTLP_COMPRESSION",
            "zstd",
            "write gzip or none",
        ),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=b,c", "key1=value1"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=%zz", "%25 for %"),
    ] {
        let error = error(&[(name, value)]);
        assert!(error.starts_with(&format!("{name}={value}: ")), "{error}");
        assert!(error.contains(advice), "{error}");
    }
}

#[test]
fn headers_are_sent_as_they_were_meant() {
    let name = "OTEL_EXPORTER_OTLP_HEADERS";
    let settings = settings(&[(name, "Authorization=Basic%20c2Vj, x-scope-orgid = a ")]);
    assert_eq!(settings.headers.get("authorization").unwrap(), "Basic c2Vj");
    assert_eq!(settings.headers.get("x-scope-orgid").unwrap(), "a");
    assert_eq!(settings.headers.len(), 2);
}

#[test]
fn headers_are_never_shown() {
    let name = "OTEL_EXPORTER_OTLP_HEADERS";
    let shown = format!("{:?}", settings(&[(name, "authorization=secret")]));
    assert!(
        shown.contains("authorization") && !shown.contains("secret"),
        "{shown}"
    );
    for list in [
        "secret",
        "a b=secret",
        "a-bin=secret",
        "a=secret%0a",
        "a=secret%zz",
    ] {
        let error = error(&[(name, list)]);
        assert!(
            error.starts_with(name) && !error.contains("secret"),
            "{error}"
        );
    }
}

#[test]
fn a_password_in_an_endpoint_is_not_shown() {
    for endpoint in [
        "http://me:secret@jaeger:4317",
        "https://me:secret@jaeger:4317",
        "me:secret@jaeger:4317",
    ] {
        let error = error(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint)]);
        assert!(
            error.contains("http://host:4317") && !error.contains("secret"),
            "{error}"
        );
    }
}

#[test]
fn the_service_is_named_by_its_own_variable_first() {
    let attributes = (
        "OTEL_RESOURCE_ATTRIBUTES",
        "service.name=a,deployment.environment.name=x%20y",
    );
    let one = settings(&[attributes]);
    assert_eq!(resource(&one, "service.name").unwrap(), "a");
    assert_eq!(
        resource(&one, "deployment.environment.name").unwrap(),
        "x y"
    );
    let two = settings(&[attributes, ("OTEL_SERVICE_NAME", "b")]);
    assert_eq!(resource(&two, "service.name").unwrap(), "b");
}
