//! The environment as users write it.

use std::time::Duration;

use super::*;

const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://jaeger:4317");
const SIGNALS: [Signal; 2] = [Signal::Traces, Signal::Metrics];

fn read<'a>(variables: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<String> + 'a {
    |name| {
        let found = variables.iter().find(|it| it.0 == name);
        found.map(|it| it.1.to_owned())
    }
}

fn from(variables: &[(&str, &str)]) -> Result<Option<Destination>, SettingsError> {
    let mut problems = Vec::new();
    let found = Destination::from_env(Signal::Traces, &read(variables), &mut problems);
    match problems.pop() {
        None => Ok(found),
        Some(problem) => {
            assert!(found.is_none() && problems.is_empty(), "{problems:?}");
            Err(problem)
        }
    }
}

fn destination(more: &[(&str, &str)]) -> Destination {
    let variables: Vec<_> = [ENDPOINT].into_iter().chain(more.iter().copied()).collect();
    from(&variables).unwrap().unwrap()
}

fn error(more: &[(&str, &str)]) -> String {
    let variables: Vec<_> = more.iter().copied().chain([ENDPOINT]).collect();
    from(&variables).unwrap_err().to_string()
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
    let destination = destination(&[]);
    assert_eq!(destination.endpoint.to_string(), "http://jaeger:4317/");
    assert_eq!(destination.timeout, Duration::from_secs(10));
    assert!(destination.gzip && destination.headers.is_empty());
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
    destination(&[("OTEL_SDK_DISABLED", "1")]);
    destination(&[("OTEL_TRACES_EXPORTER", "console, otlp")]);
    assert!(error(&[("OTEL_TRACES_EXPORTER", "zipkin")]).contains("OTEL_TRACES_EXPORTER=zipkin"));
}

#[test]
fn variables_of_traces_go_first() {
    let destination = destination(&[
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://[::1]:1"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "250"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "none"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
    ]);
    assert_eq!(destination.endpoint.to_string(), "http://[::1]:1/");
    assert_eq!(destination.timeout, Duration::from_millis(250));
    assert!(!destination.gzip);
}

#[test]
fn no_request_takes_longer_than_a_batch_is_kept() {
    for value in ["0", "86400000"] {
        let destination = destination(&[("OTEL_EXPORTER_OTLP_TIMEOUT", value)]);
        assert_eq!(destination.timeout, Duration::from_secs(60));
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
            "OTLP_PROTOCOL=grpc",
        ),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "milliseconds"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "-1", "milliseconds"),
        (
            "OTEL_EXPORTER_OTLP_COMPRESSION",
            "zstd",
            "write gzip or none",
        ),
    ] {
        let error = error(&[(name, value)]);
        assert!(error.starts_with(&format!("{name}={value}: ")), "{error}");
        assert!(error.contains(advice), "{error}");
    }
}

#[test]
fn headers_are_sent_as_they_were_meant() {
    let name = "OTEL_EXPORTER_OTLP_HEADERS";
    let destination = destination(&[(name, "Authorization=Basic%20c2Vj, x-scope-orgid = a ")]);
    assert_eq!(
        destination.headers.get("authorization").unwrap(),
        "Basic c2Vj"
    );
    assert_eq!(destination.headers.get("x-scope-orgid").unwrap(), "a");
    assert_eq!(destination.headers.len(), 2);
}

#[test]
fn headers_are_never_shown() {
    let name = "OTEL_EXPORTER_OTLP_HEADERS";
    let shown = format!("{:?}", destination(&[(name, "authorization=secret")]));
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
fn an_empty_variable_is_not_set_whatever_it_is() {
    let names = [
        "SDK_DISABLED",
        "TRACES_EXPORTER",
        "SERVICE_NAME",
        "RESOURCE_ATTRIBUTES",
        "EXPORTER_OTLP_PROTOCOL",
        "EXPORTER_OTLP_TRACES_PROTOCOL",
        "EXPORTER_OTLP_HEADERS",
        "EXPORTER_OTLP_TIMEOUT",
        "EXPORTER_OTLP_COMPRESSION",
        "EXPORTER_OTLP_TRACES_ENDPOINT",
    ];
    let names = names.map(|name| format!("OTEL_{name}"));
    for empty in ["", " "] {
        let variables: Vec<_> = names.iter().map(|name| (name.as_str(), empty)).collect();
        let (with, without) = (destination(&variables), destination(&[]));
        assert_eq!(format!("{with:?}"), format!("{without:?}"));
        assert_eq!(attributes(&read(&variables)), Ok(Vec::new()));
        let general = ("OTEL_EXPORTER_OTLP_ENDPOINT", empty);
        assert!(from(&[general]).unwrap().is_none());
    }
}

#[test]
fn signals_are_read_alike_and_have_variables_of_their_own() {
    let all = [
        ENDPOINT,
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
        ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "gzip"),
        ("OTEL_TRACES_EXPORTER", "otlp,console"),
    ];
    let gzip = SIGNALS.map(|signal| {
        let found = Destination::from_env(signal, &read(&all), &mut Vec::new());
        found.map(|destination| destination.gzip)
    });
    assert_eq!(gzip, [Some(false), Some(true)]);
    let one = [ENDPOINT, ("OTEL_METRICS_EXPORTER", "none")];
    let is_on =
        SIGNALS.map(|signal| Destination::from_env(signal, &read(&one), &mut Vec::new()).is_some());
    assert_eq!(is_on, [true, false]);
}

#[test]
fn all_problems_are_found_and_none_twice() {
    let wrong = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "jaeger:4317"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "zstd"),
    ];
    let mut problems = Vec::new();
    for signal in SIGNALS {
        assert!(Destination::from_env(signal, &read(&wrong), &mut problems).is_none());
    }
    assert_eq!(problems.len(), wrong.len(), "{problems:?}");
}

#[test]
fn attributes_end_with_the_service_that_counts() {
    let list = (
        "OTEL_RESOURCE_ATTRIBUTES",
        "service.name=a,deployment.environment.name=x%20y",
    );
    let named = attributes(&read(&[list, ("OTEL_SERVICE_NAME", "b")])).unwrap();
    let wanted = [
        ("service.name", "a"),
        ("deployment.environment.name", "x y"),
        ("service.name", "b"),
    ];
    let wanted = wanted.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(named, wanted);
    for (list, advice) in [("a=b,c", "key1=value1"), ("a=%zz", "%25 for %")] {
        let list = ("OTEL_RESOURCE_ATTRIBUTES", list);
        let error = attributes(&read(&[list])).unwrap_err().to_string();
        assert!(error.contains(advice), "{error}");
    }
}
