//! What the standard variables say. Everything that cannot be meant is a problem, said before anything is opened: an SDK
//! would ignore it, and the user would look for the spans.

use std::env;
use std::fs;

use opentelemetry::KeyValue;

use super::super::problems::Problems;
use crate::clock::ClockDomain;
use crate::names;

/// Of all signals, then of one.
const ENDPOINTS: [&str; 3] = [
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
];
const SAMPLERS: [&str; 6] = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];
/// Whole numbers from 0.
const NUMBERS: [&str; 8] = [
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_BSP_EXPORT_TIMEOUT",
    "OTEL_METRIC_EXPORT_INTERVAL",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT",
];
const SERVICE_NAME_MAX_BYTES: usize = 128;

/// Which signals go where, and under which name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub(super) traces: bool,
    pub(super) metrics: bool,
    service_name: String,
}

/// A variable of this process. Empty is unset, as OpenTelemetry has it.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

pub(super) fn is_set(name: &str) -> bool {
    variable(name).is_some()
}

impl Settings {
    /// Reads the process's variables.
    pub fn from_env(program: &str, problems: &mut Problems) -> Self {
        Self::read(program, variable, problems)
    }

    pub(super) fn read(
        program: &str,
        variable: impl Fn(&str) -> Option<String>,
        problems: &mut Problems,
    ) -> Self {
        let disabled = variable("OTEL_SDK_DISABLED");
        let disabled = disabled.is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let mut signal = |name: &str| !disabled && signal(name, &variable, problems);
        let (traces, metrics) = (signal("TRACES"), signal("METRICS"));
        if traces || metrics {
            check_endpoints(&variable, problems);
            check_protocol(&variable, problems);
            check_numbers(&variable, problems);
        }
        if traces {
            check_sampler(&variable, problems);
        }
        let service_name = service_name(&variable).unwrap_or_else(|| program.to_owned());
        let bytes = service_name.len();
        let problem = format!("has {bytes} bytes, more than {SERVICE_NAME_MAX_BYTES}");
        problems.check(
            bytes <= SERVICE_NAME_MAX_BYTES,
            "OTEL_SERVICE_NAME",
            problem,
        );
        Self {
            traces,
            metrics,
            service_name,
        }
    }

    /// As in `service.name`; also where nothing is exported.
    #[must_use]
    pub fn service_name(&self) -> &str {
        &self.service_name
    }

    /// What else identifies this process.
    pub(super) fn attributes(&self) -> Vec<KeyValue> {
        let known = [
            (names::HOST_ID, host_id()),
            (names::SERVICE_INSTANCE_ID, random_id()),
        ];
        let known = known.into_iter().filter(|(_, value)| !value.is_empty());
        known
            .map(|(name, value)| KeyValue::new(name, value))
            .collect()
    }
}

/// Whether a signal is wanted: it has an endpoint and was not switched off.
fn signal(name: &str, variable: &impl Fn(&str) -> Option<String>, problems: &mut Problems) -> bool {
    let own = variable(&format!("OTEL_EXPORTER_OTLP_{name}_ENDPOINT"));
    if own.or_else(|| variable(ENDPOINTS[0])).is_none() {
        return false;
    }
    let exporter = format!("OTEL_{name}_EXPORTER");
    match variable(&exporter).as_deref() {
        None | Some("otlp") => {}
        Some("none") => return false,
        Some(other) => problems.add(&exporter, format!("{other:?} is not otlp or none")),
    }
    true
}

fn check_endpoints(variable: &impl Fn(&str) -> Option<String>, problems: &mut Problems) {
    for name in ENDPOINTS {
        if let Some(url) = variable(name) {
            let host = url.strip_prefix("http://").unwrap_or_default();
            let fine = !host.is_empty() && !host.starts_with([':', '/']);
            let problem =
                format!("{url:?} cannot be used; give it as http://host:4317 (gRPC, without TLS)");
            problems.check(fine, name, problem);
        }
    }
}

fn check_protocol(variable: &impl Fn(&str) -> Option<String>, problems: &mut Problems) {
    for signal in ["", "_TRACES", "_METRICS"] {
        let name = format!("OTEL_EXPORTER_OTLP{signal}_PROTOCOL");
        let protocol = variable(&name).unwrap_or_else(|| "grpc".to_owned());
        let problem = format!("{protocol:?} is not spoken here; use grpc, often on port 4317");
        problems.check(protocol == "grpc", &name, problem);
        let name = format!("OTEL_EXPORTER_OTLP{signal}_COMPRESSION");
        let compression = variable(&name).unwrap_or_else(|| "none".to_owned());
        let problem = format!("{compression:?} is not spoken here; leave it out");
        problems.check(compression == "none", &name, problem);
    }
}

fn check_numbers(variable: &impl Fn(&str) -> Option<String>, problems: &mut Problems) {
    for name in NUMBERS {
        if let Some(value) = variable(name) {
            let problem = format!("{value:?} is no whole number");
            problems.check(value.parse::<u64>().is_ok(), name, problem);
        }
    }
}

fn check_sampler(variable: &impl Fn(&str) -> Option<String>, problems: &mut Problems) {
    let Some(sampler) = variable("OTEL_TRACES_SAMPLER") else {
        return;
    };
    let problem = format!("{sampler:?} is not one of {}", SAMPLERS.join(", "));
    problems.check(
        SAMPLERS.contains(&sampler.as_str()),
        "OTEL_TRACES_SAMPLER",
        problem,
    );
    if sampler.ends_with("traceidratio") {
        let argument = variable("OTEL_TRACES_SAMPLER_ARG").unwrap_or_default();
        let ratio = argument.parse::<f64>();
        let fine = ratio.is_ok_and(|ratio| (0.0..=1.0).contains(&ratio));
        let problem = format!("{argument:?} is not a number from 0 to 1");
        problems.check(fine, "OTEL_TRACES_SAMPLER_ARG", problem);
    }
}

fn service_name(variable: &impl Fn(&str) -> Option<String>) -> Option<String> {
    let in_resource = || {
        let attributes = variable("OTEL_RESOURCE_ATTRIBUTES")?;
        let mut pairs = attributes
            .split(',')
            .filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.find(|(key, _)| key.trim() == names::SERVICE_NAME)?;
        Some(value.trim().to_owned()).filter(|name| !name.is_empty())
    };
    variable("OTEL_SERVICE_NAME").or_else(in_resource)
}

/// The machine's id; where there is none, as in most containers, the running kernel's: processes with equal clocks say
/// the same then too.
fn host_id() -> String {
    let machine = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    match machine.trim() {
        "" => ClockDomain::current().boot_id,
        id => id.to_owned(),
    }
}

/// A new one each time; empty where the system has none.
fn random_id() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
    id.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317");

    fn read(variables: &[(&str, &str)]) -> Result<Settings, String> {
        let mut problems = Problems::new();
        let value = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let settings = Settings::read("baton-test", value, &mut problems);
        problems
            .finish(settings)
            .map_err(|problems| problems.to_string())
    }

    fn signals(variables: &[(&str, &str)]) -> (bool, bool) {
        let settings = read(variables).unwrap();
        (settings.traces, settings.metrics)
    }

    #[test]
    fn nothing_is_exported_without_an_endpoint() {
        assert_eq!(signals(&[]), (false, false));
        assert_eq!(
            signals(&[("OTEL_TRACES_SAMPLER", "nonsense")]),
            (false, false)
        );
        assert_eq!(signals(&[ENDPOINT]), (true, true));
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://h:1");
        assert_eq!(signals(&[own]), (true, false));
    }

    #[test]
    fn signals_can_be_switched_off() {
        assert_eq!(
            signals(&[ENDPOINT, ("OTEL_METRICS_EXPORTER", "none")]),
            (true, false)
        );
        assert_eq!(
            signals(&[ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")]),
            (false, false)
        );
        assert_eq!(
            signals(&[ENDPOINT, ("OTEL_SDK_DISABLED", "0")]),
            (true, true)
        );
    }

    #[test]
    fn the_name_comes_from_where_opentelemetry_looks_for_it() {
        let name = |variables: &[(&str, &str)]| read(variables).unwrap().service_name;
        let resource = ("OTEL_RESOURCE_ATTRIBUTES", "a=b, service.name = shop ,c=d");
        assert_eq!(name(&[]), "baton-test");
        assert_eq!(name(&[resource]), "shop");
        assert_eq!(name(&[resource, ("OTEL_SERVICE_NAME", "till")]), "till");
    }

    #[test]
    fn what_cannot_be_meant_is_said_plainly() {
        for (name, value, says) in [
            (
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                "collector:4317",
                "http://host:4317",
            ),
            (
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                "https://collector",
                "without TLS",
            ),
            (
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                "http://:4317",
                "http://host:4317",
            ),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", "use grpc"),
            (
                "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
                "gzip",
                "leave it out",
            ),
            ("OTEL_TRACES_EXPORTER", "console", "otlp or none"),
            ("OTEL_TRACES_SAMPLER", "some", "always_on"),
            ("OTEL_TRACES_SAMPLER", "traceidratio", "from 0 to 1"),
            ("OTEL_BSP_SCHEDULE_DELAY", "5s", "whole number"),
        ] {
            let report = read(&[ENDPOINT, (name, value)]).unwrap_err();
            assert!(report.starts_with("1 problem "), "{report}");
            assert!(
                report.contains("OTEL_") && report.contains(says),
                "{report}"
            );
        }
        let ratio = ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio");
        assert!(read(&[ENDPOINT, ratio, ("OTEL_TRACES_SAMPLER_ARG", "1.5")]).is_err());
        assert!(read(&[ENDPOINT, ratio, ("OTEL_TRACES_SAMPLER_ARG", "0.01")]).is_ok());
    }
}
