//! Settings as text, and their one way into a [`Config`].

use std::fmt::Display;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use baton_telemetry::logging::LogFormat;
use bytesize::ByteSize;

use super::Config;
use crate::limits::{PAYLOAD_BYTES_DEFAULT, PAYLOAD_BYTES_MAX};

const LISTEN: &str = "127.0.0.1:7400";
const HTTP: &str = "127.0.0.1:7401";
const GRACE: Duration = Duration::from_secs(10);
/// Longer than any orchestrator waits.
const GRACE_MAX: Duration = Duration::from_secs(3600);
/// A machine that runs a queue in memory has this; one that has more can say so.
const MEMORY_BYTES: u64 = 4 << 30;

/// Less than one batch would let nobody publish.
const MEMORY_BYTES_MIN: u64 = 16 << 20;

/// Every setting that a flag, a variable or the file may give.
#[derive(Debug, Default, Clone)]
pub(super) struct Settings {
    pub(super) listen: Option<String>,
    pub(super) http: Option<String>,
    pub(super) memory: Option<String>,
    pub(super) memory_limit: Option<String>,
    pub(super) max_payload: Option<String>,
    pub(super) no_auto_create: Option<String>,
    pub(super) grace: Option<String>,
    pub(super) insecure: Option<String>,
    pub(super) log_format: Option<String>,
    pub(super) log: Option<String>,
}

impl Settings {
    /// These, and where they say nothing, `others`.
    pub(super) fn or(self, others: Self) -> Self {
        Self {
            listen: self.listen.or(others.listen),
            http: self.http.or(others.http),
            memory: self.memory.or(others.memory),
            memory_limit: self.memory_limit.or(others.memory_limit),
            max_payload: self.max_payload.or(others.max_payload),
            no_auto_create: self.no_auto_create.or(others.no_auto_create),
            grace: self.grace.or(others.grace),
            insecure: self.insecure.or(others.insecure),
            log_format: self.log_format.or(others.log_format),
            log: self.log.or(others.log),
        }
    }

    /// The place of a setting by its name; none: there is no such setting.
    pub(super) fn place(&mut self, name: &str) -> Option<&mut Option<String>> {
        Some(match name {
            "listen" => &mut self.listen,
            "http" => &mut self.http,
            "memory" => &mut self.memory,
            "memory-limit" => &mut self.memory_limit,
            "max-payload" => &mut self.max_payload,
            "no-auto-create" => &mut self.no_auto_create,
            "grace" => &mut self.grace,
            "insecure" => &mut self.insecure,
            "log-format" => &mut self.log_format,
            "log" => &mut self.log,
            _ => return None,
        })
    }

    /// The configuration, and all that is wrong with it.
    pub(super) fn resolve(self) -> (Config, Vec<String>) {
        let mut read = Reader {
            problems: Vec::new(),
        };
        let insecure = read.switch("insecure", self.insecure);
        let config = Config {
            listen: read.address("listen", self.listen.as_deref().unwrap_or(LISTEN), insecure),
            http: read.address("http", self.http.as_deref().unwrap_or(HTTP), insecure),
            grace: read.grace(self.grace),
            payload_bytes_max: read.bytes(
                "max-payload",
                self.max_payload,
                PAYLOAD_BYTES_DEFAULT as u64,
                1..=PAYLOAD_BYTES_MAX as u64,
            ),
            memory_bytes_max: read.bytes(
                "memory-limit",
                self.memory_limit,
                MEMORY_BYTES,
                MEMORY_BYTES_MIN..=u64::MAX,
            ),
            auto_create: !read.switch("no-auto-create", self.no_auto_create),
            queues: Vec::new(),
            log_format: read.log_format(self.log_format),
            log: self.log.unwrap_or_else(|| "info".into()),
        };
        if self.memory.is_some_and(|memory| memory == "false") {
            read.problem(
                "memory",
                "false",
                "there is no other engine yet; leave it out or set it to true",
            );
        }
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

    fn grace(&mut self, value: Option<String>) -> Duration {
        let Some(value) = value else {
            return GRACE;
        };
        match humantime::parse_duration(&value) {
            Ok(grace) if grace <= GRACE_MAX => grace,
            Ok(_) => {
                self.problem("grace", &value, "is longer than 1h");
                GRACE
            }
            Err(fault) => {
                self.problem(
                    "grace",
                    &value,
                    format!("{fault}; write it as in 10s or 1m"),
                );
                GRACE
            }
        }
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
