//! What the standard variables say to a program: where both signals go, as [`environment`] reads it, and what the SDK reads by
//! itself. Everything that cannot be meant is a problem, said before anything is opened: an SDK would ignore it, and the user
//! would look for the spans.

use std::env;
use std::fs;

use opentelemetry::KeyValue;

use super::super::problems::Problems;
use crate::environment::{self, Destination, Read, Signal, variable};
use crate::{host, names};

const SAMPLERS: [&str; 6] = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];
/// Whole numbers from 0. The SDK takes no white space around them.
const NUMBERS: [&str; 5] = [
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_BSP_EXPORT_TIMEOUT",
    "OTEL_METRIC_EXPORT_INTERVAL",
];
const SERVICE_NAME_MAX_BYTES: usize = 128;

/// Which signals go where, and under which name.
#[derive(Clone, Debug)]
pub struct Settings {
    /// None: they are not exported; so below.
    pub(super) traces: Option<Destination>,
    pub(super) metrics: Option<Destination>,
    service_name: String,
    /// What the user says of this process.
    named: Vec<(String, String)>,
}

fn of_process(name: &str) -> Option<String> {
    env::var(name).ok()
}

pub(super) fn is_set(name: &str) -> bool {
    variable(&of_process, name).is_some()
}

impl Settings {
    /// Reads the process's variables.
    pub fn from_env(program: &str, problems: &mut Problems) -> Self {
        Self::read(program, &of_process, problems)
    }

    pub(super) fn read(program: &str, read: &Read<'_>, problems: &mut Problems) -> Self {
        let mut found = Vec::new();
        let traces = Destination::from_env(Signal::Traces, read, &mut found);
        let wants_traces = traces.is_some() || !found.is_empty();
        let metrics = Destination::from_env(Signal::Metrics, read, &mut found);
        let is_wanted = wants_traces || metrics.is_some() || !found.is_empty();
        let named = match environment::attributes(read) {
            Ok(named) => named,
            Err(problem) => {
                if is_wanted {
                    found.push(problem);
                }
                Vec::new()
            }
        };
        for problem in found {
            problems.note(problem);
        }
        if is_wanted {
            check_numbers(read, problems);
        }
        if wants_traces {
            check_sampler(read, problems);
        }
        let services = named.iter().rev();
        let mut services = services.filter(|(key, name)| is_service(key) && !name.is_empty());
        let service_name = services
            .next()
            .map_or_else(|| program.to_owned(), |(_, name)| name.clone());
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
            named,
        }
    }

    /// As in `service.name`; also where nothing is exported.
    #[must_use]
    pub fn service_name(&self) -> &str {
        &self.service_name
    }

    /// What else identifies this process: what is found out here, then the user's own words, which win.
    pub(super) fn attributes(&self) -> Vec<KeyValue> {
        let known = [
            (names::HOST_ID, host::id().unwrap_or_default()),
            (names::SERVICE_INSTANCE_ID, random_id()),
        ];
        let known = known.into_iter().filter(|(_, value)| !value.is_empty());
        let known = known.map(|(name, value)| KeyValue::new(name, value));
        let named = self.named.iter().cloned();
        let named = named.map(|(name, value)| KeyValue::new(name, value));
        known.chain(named).collect()
    }
}

fn is_service(key: &str) -> bool {
    key == names::SERVICE_NAME
}

/// What the SDK and the client library read by themselves, as it is; empty is unset.
fn raw(read: &Read<'_>, name: &str) -> Option<String> {
    read(name).filter(|value| !value.trim().is_empty())
}

fn check_numbers(read: &Read<'_>, problems: &mut Problems) {
    for name in NUMBERS {
        if let Some(value) = raw(read, name) {
            let problem = format!("{value:?} is no whole number");
            problems.check(value.parse::<u64>().is_ok(), name, problem);
        }
    }
}

fn check_sampler(read: &Read<'_>, problems: &mut Problems) {
    let Some(sampler) = raw(read, "OTEL_TRACES_SAMPLER") else {
        return;
    };
    let problem = format!("{sampler:?} is not one of {}", SAMPLERS.join(", "));
    problems.check(
        SAMPLERS.contains(&sampler.as_str()),
        "OTEL_TRACES_SAMPLER",
        problem,
    );
    if sampler.ends_with("traceidratio") {
        let argument = raw(read, "OTEL_TRACES_SAMPLER_ARG").unwrap_or_default();
        let ratio = argument.parse::<f64>();
        let fine = ratio.is_ok_and(|ratio| (0.0..=1.0).contains(&ratio));
        let problem = format!("{argument:?} is not a number from 0 to 1");
        problems.check(fine, "OTEL_TRACES_SAMPLER_ARG", problem);
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
        let settings = Settings::read("baton-test", &value, &mut problems);
        problems
            .finish(settings)
            .map_err(|problems| problems.to_string())
    }

    fn signals(variables: &[(&str, &str)]) -> (bool, bool) {
        let settings = read(variables).unwrap();
        (settings.traces.is_some(), settings.metrics.is_some())
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
    fn a_variable_that_is_empty_is_not_set() {
        for empty in ["", " "] {
            for name in [
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            ] {
                assert_eq!(signals(&[(name, empty)]), (false, false));
            }
            for name in NUMBERS.into_iter().chain([
                "OTEL_SDK_DISABLED",
                "OTEL_TRACES_EXPORTER",
                "OTEL_METRICS_EXPORTER",
                "OTEL_TRACES_SAMPLER",
                "OTEL_EXPORTER_OTLP_COMPRESSION",
                "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
            ]) {
                assert_eq!(signals(&[ENDPOINT, (name, empty)]), (true, true), "{name}");
            }
        }
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
        assert_eq!(name(&[resource, ("OTEL_SERVICE_NAME", "")]), "shop");
        let escaped = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a%2Cb");
        assert_eq!(name(&[escaped]), "a,b");
        let nonsense = ("OTEL_RESOURCE_ATTRIBUTES", "nonsense");
        assert_eq!(name(&[nonsense]), "baton-test", "nothing is exported");
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
                "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
                "https://collector",
                "TLS is not supported",
            ),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", "only grpc"),
            ("OTEL_METRICS_EXPORTER", "console", "none switches it off"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a", "key1=value1"),
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
        // As in the broker.
        let list = ("OTEL_TRACES_EXPORTER", "otlp,console");
        let gzip = ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip");
        assert_eq!(signals(&[ENDPOINT, list, gzip]), (true, true));
        let ratio = ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio");
        assert!(read(&[ENDPOINT, ratio, ("OTEL_TRACES_SAMPLER_ARG", "1.5")]).is_err());
        assert!(read(&[ENDPOINT, ratio, ("OTEL_TRACES_SAMPLER_ARG", "0.01")]).is_ok());
    }
}
