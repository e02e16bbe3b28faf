//! Settings as text, and their one way into a [`Config`].

use std::fmt::Display;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use baton_ledger::FINISHED_MAX;
use baton_ledger::sampling::SamplingSettings;
use baton_telemetry::logging::LogFormat;
use bytesize::ByteSize;

use super::Config;
use crate::engine::{Keep, StorageSettings};
use crate::limits::{COMMIT_BYTES, PAYLOAD_BYTES_DEFAULT, PAYLOAD_BYTES_MAX, message_bytes_max};

const LISTEN: &str = "127.0.0.1:7400";
const HTTP: &str = "127.0.0.1:7401";
const GRACE: Duration = Duration::from_secs(10);
/// Longer than any orchestrator waits.
const GRACE_MAX: Duration = Duration::from_secs(3600);
/// A machine that runs a queue in memory has this; one that has more can say so.
const MEMORY_BYTES: u64 = 4 << 30;

pub(super) const DATA: &str = "./baton-data";
/// A good part of a small machine; a backlog does not need it.
const MEMORY_BUDGET: u64 = 256 << 20;
/// Less would let a few busy queues wait for each other.
const MEMORY_BUDGET_MIN: u64 = 32 << 20;
/// Fills in 0.1 s at full speed, and the last copy of an item that pins it costs no more than this.
const SEGMENT_BYTES: u64 = 64 << 20;
/// Holds the largest commit, which has one batch of 16 MiB payloads at the most beside the others'.
const SEGMENT_BYTES_MIN: u64 = 8 << 20;
/// Prepared ahead, so that more would be a surprise on a small disk.
const SEGMENT_BYTES_MAX: u64 = 1 << 30;
/// Where items' time went, of a hundred busy queues: docs/LATENCY.md says what it is spent on.
const LATENCY_BUDGET: u64 = 64 << 20;
/// Less would hold the histograms of a few queues only.
const LATENCY_BUDGET_MIN: u64 = 1 << 20;
/// Nobody waits longer for an item than it may live.
const SLOW_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
/// Segments are whole pages.
const SEGMENT_UNIT: u64 = 4096;

/// Less than one batch would let nobody publish.
const MEMORY_BYTES_MIN: u64 = 16 << 20;

/// Every setting that a flag, a variable or the file may give.
#[derive(Debug, Default, Clone)]
pub(super) struct Settings {
    pub(super) listen: Option<String>,
    pub(super) http: Option<String>,
    pub(super) data: Option<String>,
    pub(super) memory_budget: Option<String>,
    pub(super) segment_size: Option<String>,
    pub(super) memory: Option<String>,
    pub(super) memory_limit: Option<String>,
    pub(super) max_payload: Option<String>,
    pub(super) no_auto_create: Option<String>,
    pub(super) grace: Option<String>,
    pub(super) insecure: Option<String>,
    pub(super) latency_budget: Option<String>,
    pub(super) latency_finished: Option<String>,
    pub(super) trace_limit: Option<String>,
    pub(super) trace_slow: Option<String>,
    pub(super) trace_baseline: Option<String>,
    pub(super) log_format: Option<String>,
    pub(super) log: Option<String>,
}

impl Settings {
    /// These, and where they say nothing, `others`.
    pub(super) fn or(self, others: Self) -> Self {
        Self {
            listen: self.listen.or(others.listen),
            http: self.http.or(others.http),
            data: self.data.or(others.data),
            memory_budget: self.memory_budget.or(others.memory_budget),
            segment_size: self.segment_size.or(others.segment_size),
            memory: self.memory.or(others.memory),
            memory_limit: self.memory_limit.or(others.memory_limit),
            max_payload: self.max_payload.or(others.max_payload),
            no_auto_create: self.no_auto_create.or(others.no_auto_create),
            grace: self.grace.or(others.grace),
            insecure: self.insecure.or(others.insecure),
            latency_budget: self.latency_budget.or(others.latency_budget),
            latency_finished: self.latency_finished.or(others.latency_finished),
            trace_limit: self.trace_limit.or(others.trace_limit),
            trace_slow: self.trace_slow.or(others.trace_slow),
            trace_baseline: self.trace_baseline.or(others.trace_baseline),
            log_format: self.log_format.or(others.log_format),
            log: self.log.or(others.log),
        }
    }

    /// The place of a setting by its name; none: there is no such setting.
    pub(super) fn place(&mut self, name: &str) -> Option<&mut Option<String>> {
        Some(match name {
            "listen" => &mut self.listen,
            "http" => &mut self.http,
            "data" => &mut self.data,
            "memory-budget" => &mut self.memory_budget,
            "segment-size" => &mut self.segment_size,
            "memory" => &mut self.memory,
            "memory-limit" => &mut self.memory_limit,
            "max-payload" => &mut self.max_payload,
            "no-auto-create" => &mut self.no_auto_create,
            "grace" => &mut self.grace,
            "insecure" => &mut self.insecure,
            "latency-budget" => &mut self.latency_budget,
            "latency-finished" => &mut self.latency_finished,
            "trace-limit" => &mut self.trace_limit,
            "trace-slow" => &mut self.trace_slow,
            "trace-baseline" => &mut self.trace_baseline,
            "log-format" => &mut self.log_format,
            "log" => &mut self.log,
            _ => return None,
        })
    }

    /// Where HTTP is served, and what is wrong with that. To ask there takes no permission.
    pub(super) fn http_address(self) -> (SocketAddr, Vec<String>) {
        let mut read = Reader {
            problems: Vec::new(),
        };
        let address = read.address("http", self.http.as_deref().unwrap_or(HTTP), true);
        (address, read.problems)
    }

    /// The configuration, and all that is wrong with it.
    pub(super) fn resolve(self) -> (Config, Vec<String>) {
        let mut read = Reader {
            problems: Vec::new(),
        };
        let insecure = read.switch("insecure", self.insecure);
        let payload_bytes_max = read.bytes(
            "max-payload",
            self.max_payload,
            PAYLOAD_BYTES_DEFAULT as u64,
            1..=PAYLOAD_BYTES_MAX as u64,
        );
        let keep = if read.switch("memory", self.memory) {
            read.is_unused("memory-budget", self.memory_budget, "without --memory");
            read.is_unused("segment-size", self.segment_size, "without --memory");
            read.memory(self.memory_limit)
        } else {
            read.is_unused("memory-limit", self.memory_limit, "with --memory");
            let directory = self.data.unwrap_or_else(|| DATA.into());
            let keep = read.journal(directory, self.memory_budget, self.segment_size);
            read.holds_largest_commit(&keep, payload_bytes_max);
            keep
        };
        let sampling = SamplingSettings::default();
        let config = Config {
            listen: read.address("listen", self.listen.as_deref().unwrap_or(LISTEN), insecure),
            http: read.address("http", self.http.as_deref().unwrap_or(HTTP), insecure),
            grace: read.duration("grace", self.grace, GRACE..=GRACE_MAX),
            latency_budget: read.latency_budget(self.latency_budget),
            latency_finished: read.number(
                "latency-finished",
                self.latency_finished,
                u32::try_from(FINISHED_MAX).expect("a few thousand"),
            ),
            sampling: SamplingSettings {
                traces_per_second: read.number(
                    "trace-limit",
                    self.trace_limit,
                    sampling.traces_per_second,
                ),
                slow: read.duration("trace-slow", self.trace_slow, sampling.slow..=SLOW_MAX),
                baseline: read.number("trace-baseline", self.trace_baseline, sampling.baseline),
            },
            otlp: None,
            payload_bytes_max,
            keep,
            auto_create: !read.switch("no-auto-create", self.no_auto_create),
            queues: Vec::new(),
            log_format: read.log_format(self.log_format),
            log: self.log.unwrap_or_else(|| "info".into()),
        };
        (config, read.problems)
    }
}

struct Reader {
    problems: Vec<String>,
}

impl Reader {
    fn problem(&mut self, name: &str, value: &str, fault: impl Display) {
        self.problems.push(format!("--{name} {value:?}: {fault}"));
    }

    fn switch(&mut self, name: &str, value: Option<String>) -> bool {
        match value.as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(other) => {
                self.problem(name, other, "has to be true or false");
                false
            }
        }
    }

    fn is_unused(&mut self, name: &str, value: Option<String>, where_used: &str) {
        if let Some(value) = value {
            self.problem(name, &value, format!("only means something {where_used}"));
        }
    }

    fn memory(&mut self, limit: Option<String>) -> Keep {
        let range = MEMORY_BYTES_MIN..=u64::MAX;
        let bytes_max = self.bytes("memory-limit", limit, MEMORY_BYTES, range);
        Keep::Memory { bytes_max }
    }

    fn journal(
        &mut self,
        directory: String,
        budget: Option<String>,
        segment: Option<String>,
    ) -> Keep {
        let budgets = MEMORY_BUDGET_MIN..=u64::MAX;
        let memory_bytes_max = self.bytes("memory-budget", budget, MEMORY_BUDGET, budgets);
        let segments = SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX;
        let segment_bytes = self.bytes("segment-size", segment, SEGMENT_BYTES, segments) as u64;
        if directory.is_empty() {
            self.problem(
                "data",
                &directory,
                "is no directory; leave it out for ./baton-data",
            );
        }
        Keep::Journal(StorageSettings {
            directory: directory.into(),
            segment_bytes: segment_bytes / SEGMENT_UNIT * SEGMENT_UNIT,
            memory_bytes_max,
        })
    }

    /// A segment has to hold any commit.
    fn holds_largest_commit(&mut self, keep: &Keep, payload_bytes_max: usize) {
        let least = message_bytes_max(payload_bytes_max) + 4 * COMMIT_BYTES;
        if let Keep::Journal(storage) = keep
            && storage.segment_bytes < least as u64
        {
            let bytes = ByteSize(storage.segment_bytes).to_string();
            let least = ByteSize(least as u64);
            let fault = format!("with this --max-payload it has to be {least} at least");
            self.problem("segment-size", &bytes, fault);
        }
    }

    fn address(&mut self, name: &str, value: &str, insecure: bool) -> SocketAddr {
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let resolved = value.to_socket_addrs().ok();
        let Some(address) = resolved.and_then(|mut addresses| addresses.next()) else {
            let fault =
                "is no address; write it as in 127.0.0.1:7400, [::1]:7400 or localhost:7400";
            self.problem(name, value, fault);
            return local;
        };
        if !address.ip().is_loopback() && !insecure {
            self.problem(
                name,
                value,
                "others can reach it, without TLS or authentication; say --insecure if you mean it",
            );
        }
        address
    }

    /// From nothing to the end of `range`, whose beginning is the default.
    fn duration(
        &mut self,
        name: &str,
        value: Option<String>,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        let default = *range.start();
        let Some(value) = value else {
            return default;
        };
        match humantime::parse_duration(&value) {
            Ok(duration) if duration <= *range.end() => return duration,
            Ok(_) => {
                let max = humantime::format_duration(*range.end());
                self.problem(name, &value, format!("is longer than {max}"));
            }
            Err(fault) => {
                self.problem(name, &value, format!("{fault}; write it as in 10s or 1m"));
            }
        }
        default
    }

    fn number(&mut self, name: &str, value: Option<String>, default: u32) -> u32 {
        let Some(value) = value else {
            return default;
        };
        value.parse().unwrap_or_else(|_| {
            self.problem(name, &value, format!("has to be 0 to {}", u32::MAX));
            default
        })
    }

    /// 0: no accounting.
    fn latency_budget(&mut self, value: Option<String>) -> usize {
        if value.as_deref() == Some("0") {
            return 0;
        }
        let range = LATENCY_BUDGET_MIN..=u64::MAX;
        self.bytes("latency-budget", value, LATENCY_BUDGET, range)
    }

    fn bytes(
        &mut self,
        name: &str,
        value: Option<String>,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> usize {
        let bytes = match value {
            None => default,
            Some(value) => match ByteSize::from_str(&value) {
                Ok(ByteSize(bytes)) if range.contains(&bytes) => bytes,
                Ok(_) => {
                    let (min, max) = (ByteSize(*range.start()), ByteSize(*range.end()));
                    self.problem(name, &value, format!("has to be {min} to {max}"));
                    default
                }
                Err(fault) => {
                    self.problem(
                        name,
                        &value,
                        format!("{fault}; write it as in 512KiB or 4MiB"),
                    );
                    default
                }
            },
        };
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    fn log_format(&mut self, value: Option<String>) -> LogFormat {
        match value.as_deref() {
            None | Some("text") => LogFormat::Text,
            Some("json") => LogFormat::Json,
            Some(other) => {
                self.problem("log-format", other, "has to be text or json");
                LogFormat::Text
            }
        }
    }
}
