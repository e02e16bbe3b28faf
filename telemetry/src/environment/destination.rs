//! Where a signal goes, and how.

use std::fmt;
use std::time::Duration;

use tonic::codegen::http::Uri;
use tonic::codegen::http::uri::Scheme;
use tonic::metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue};

use super::variable::{self, Read, Variable, variable};

/// `OTEL_EXPORTER_OTLP_TIMEOUT` where it is not set; the specification's.
const TIMEOUT: Duration = Duration::from_secs(10);

/// No request takes longer, whatever the user says: a batch is given up after that time.
const TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// What is exported. Shown as variables have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Metrics.
    Metrics,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Traces => "TRACES",
            Self::Metrics => "METRICS",
        })
    }
}

/// Where a signal goes, and how.
#[derive(Clone)]
pub struct Destination {
    pub(crate) endpoint: Uri,
    pub(crate) headers: MetadataMap,
    pub(crate) timeout: Duration,
    pub(crate) gzip: bool,
}

/// A variable that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The endpoint is a secure one.
    #[error("{0}: TLS is not supported yet; export over http:// to a collector beside the broker")]
    Tls(Variable),
    /// The endpoint has no scheme, which means TLS to some and not to others.
    #[error("{0}: write http:// before it, as in http://host:4317")]
    Scheme(Variable),
    /// The endpoint is none of OTLP/gRPC.
    #[error(
        "{0}: not an address of OTLP over gRPC, which has no path; write it as http://host:4317"
    )]
    Endpoint(Variable),
    /// OTLP over HTTP/1 is not spoken.
    #[error(
        "{0}: only grpc is spoken; set OTEL_EXPORTER_OTLP_PROTOCOL=grpc or that of the signal, and as endpoint the \
         collector's port for it (4317 where nobody changed it)"
    )]
    Protocol(Variable),
    /// Another exporter.
    #[error("{0}: the only exporter here is otlp; none switches it off")]
    Exporter(Variable),
    /// Not a number of milliseconds.
    #[error("{0}: a whole number of milliseconds is wanted, as in 10000")]
    Timeout(Variable),
    /// Another compression.
    #[error("{0}: write gzip or none")]
    Compression(Variable),
    /// A list that is none.
    #[error(
        "{0}: a list like key1=value1,key2=value2 is wanted, with %2C for a comma in a value and %25 for %"
    )]
    List(Variable),
    /// No header of a request can be like this.
    #[error(
        "{name}: {key:?} is no header that gRPC can send: lower-case letters, digits, '-' and visible text after '='"
    )]
    Header {
        /// The variable's.
        name: String,
        /// The header's. Its value may be a secret.
        key: String,
    },
}

impl Destination {
    /// What the environment says; `read` looks one variable up. None: there is nowhere to export to, the user does not want
    /// to, or a variable cannot be used; it is in `problems` then, once. None is looked at while exporting is switched off.
    pub fn from_env(
        signal: Signal,
        read: &Read<'_>,
        problems: &mut Vec<SettingsError>,
    ) -> Option<Self> {
        let endpoint = variable::of_signal(read, signal, "ENDPOINT")?;
        let mut note = |problem| {
            // Most variables are of both signals.
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        };
        if is_disabled(read, signal).map_err(&mut note).ok()? {
            return None;
        }
        let protocol = protocol(read, signal).map_err(&mut note).ok();
        let endpoint = uri(endpoint).map_err(&mut note).ok();
        let headers = headers(read, signal).map_err(&mut note).ok();
        let timeout = timeout(read, signal).map_err(&mut note).ok();
        let gzip = gzip(read, signal).map_err(&mut note).ok();
        protocol?;
        Some(Self {
            endpoint: endpoint?,
            headers: headers?,
            timeout: timeout?,
            gzip: gzip?,
        })
    }
}

/// Headers are secrets.
impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Destination")
            .field("endpoint", &self.endpoint)
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("timeout", &self.timeout)
            .field("gzip", &self.gzip)
            .finish()
    }
}

fn is_disabled(read: &Read<'_>, signal: Signal) -> Result<bool, SettingsError> {
    if variable::is_true(read, "OTEL_SDK_DISABLED") {
        return Ok(true);
    }
    let Some(exporters) = variable(read, &format!("OTEL_{signal}_EXPORTER")) else {
        return Ok(false);
    };
    let mut listed = exporters.value.split(',').map(str::trim);
    if listed.any(|it| it == "otlp") {
        return Ok(false);
    }
    match exporters.value.as_str() {
        "none" => Ok(true),
        _ => Err(SettingsError::Exporter(exporters)),
    }
}

fn uri(endpoint: Variable) -> Result<Uri, SettingsError> {
    if endpoint.value.contains('@') {
        // A password, which is not for the log.
        return Err(SettingsError::Endpoint(endpoint.without_value()));
    }
    let Some((scheme, _)) = endpoint.value.split_once("://") else {
        return Err(SettingsError::Scheme(endpoint));
    };
    if scheme.eq_ignore_ascii_case("https") {
        return Err(SettingsError::Tls(endpoint));
    }
    match endpoint.value.parse::<Uri>() {
        Ok(uri) if is_of_grpc(&uri) => Ok(uri),
        _ => Err(SettingsError::Endpoint(endpoint)),
    }
}

/// A path means the address of OTLP over HTTP.
fn is_of_grpc(uri: &Uri) -> bool {
    let host = uri.host().is_some_and(|host| !host.is_empty());
    let no_path = uri.path_and_query().is_none_or(|it| it.as_str() == "/");
    uri.scheme() == Some(&Scheme::HTTP) && host && no_path
}

fn headers(read: &Read<'_>, signal: Signal) -> Result<MetadataMap, SettingsError> {
    let mut headers = MetadataMap::new();
    let Some(list) = variable::of_signal(read, signal, "HEADERS") else {
        return Ok(headers);
    };
    let Some(pairs) = variable::pairs(&list.value) else {
        return Err(SettingsError::List(list.without_value()));
    };
    for (key, value) in pairs {
        let (Ok(name), Ok(value)) = (
            key.to_ascii_lowercase().parse::<MetadataKey<Ascii>>(),
            value.parse::<MetadataValue<Ascii>>(),
        ) else {
            let name = list.name;
            return Err(SettingsError::Header { name, key });
        };
        headers.insert(name, value);
    }
    Ok(headers)
}

/// 0 means no limit, which here is the longest time.
fn timeout(read: &Read<'_>, signal: Signal) -> Result<Duration, SettingsError> {
    let Some(timeout) = variable::of_signal(read, signal, "TIMEOUT") else {
        return Ok(TIMEOUT);
    };
    match timeout.value.parse() {
        Ok(0) => Ok(TIMEOUT_MAX),
        Ok(ms) => Ok(Duration::from_millis(ms).min(TIMEOUT_MAX)),
        Err(_) => Err(SettingsError::Timeout(timeout)),
    }
}

fn protocol(read: &Read<'_>, signal: Signal) -> Result<(), SettingsError> {
    match variable::of_signal(read, signal, "PROTOCOL") {
        Some(other) if other.value != "grpc" => Err(SettingsError::Protocol(other)),
        _ => Ok(()),
    }
}

/// The specification leaves the default open: spans shrink to a third.
fn gzip(read: &Read<'_>, signal: Signal) -> Result<bool, SettingsError> {
    match variable::of_signal(read, signal, "COMPRESSION") {
        None => Ok(true),
        Some(it) if it.value == "gzip" => Ok(true),
        Some(it) if it.value == "none" => Ok(false),
        Some(other) => Err(SettingsError::Compression(other)),
    }
}
