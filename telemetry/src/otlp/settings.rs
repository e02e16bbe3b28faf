//! Where spans go, as OpenTelemetry's environment variables say it.
//!
//! Variables and their meaning are those of the specification (`protocol/exporter.md`, `configuration/sdk-environment-
//! variables.md`, `resource/sdk.md`): one that is empty is not set, and one for traces goes before the one for all signals.
//! What differs: nothing is exported unless an endpoint is named, only gRPC without TLS is spoken, and a value that
//! cannot be used is an error instead of ignored. Read once by `main`.

use std::fmt;
use std::time::Duration;

use tonic::codegen::http::Uri;
use tonic::codegen::http::uri::Scheme;
use tonic::metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue};

use super::env::{self, Read, Variable};
use super::resource::Resource;

/// `OTEL_EXPORTER_OTLP_TIMEOUT` where it is not set; the specification's.
const TIMEOUT: Duration = Duration::from_secs(10);

/// No request takes longer, whatever the user says: a batch is given up after that time.
const TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// Spans that wait: a minute of 50 traces a second, 6 KiB each.
const QUEUE_BYTES: u64 = 16 << 20;

/// Where spans go, and how.
#[derive(Clone)]
pub struct Settings {
    pub(super) endpoint: Uri,
    pub(super) headers: MetadataMap,
    pub(super) timeout: Duration,
    pub(super) gzip: bool,
    pub(super) resource: Resource,
    pub(super) queue_bytes: u64,
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
        "{0}: only grpc is spoken; set OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=grpc, and as endpoint the collector's port \
         for it (4317 where nobody changed it)"
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

impl Settings {
    /// What the environment says; `read` looks one variable up. None: there is nothing to export to, or the user does not
    /// want to.
    ///
    /// # Errors
    ///
    /// If a variable cannot be used. None is looked at while exporting is switched off.
    pub fn from_env(default_service: &str, read: &Read<'_>) -> Result<Option<Self>, SettingsError> {
        let Some(endpoint) = env::of_traces(read, "ENDPOINT") else {
            return Ok(None);
        };
        if is_disabled(read)? {
            return Ok(None);
        }
        if let Some(protocol) = env::of_traces(read, "PROTOCOL")
            && protocol.value != "grpc"
        {
            return Err(SettingsError::Protocol(protocol));
        }
        Ok(Some(Self {
            endpoint: uri(endpoint)?,
            headers: headers(read)?,
            timeout: timeout(read)?,
            gzip: gzip(read)?,
            resource: Resource::from_env(default_service, read)?,
            queue_bytes: QUEUE_BYTES,
        }))
    }

    /// How many bytes of spans may wait, instead of 16 MiB.
    #[must_use]
    pub const fn with_queue_bytes(mut self, bytes: u64) -> Self {
        self.queue_bytes = bytes;
        self
    }

    /// The collector's address.
    #[must_use]
    pub const fn endpoint(&self) -> &Uri {
        &self.endpoint
    }

    /// Who the spans of no service belong to.
    #[must_use]
    pub const fn resource(&self) -> &Resource {
        &self.resource
    }
}

/// Headers are secrets.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("endpoint", &self.endpoint)
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("timeout", &self.timeout)
            .field("gzip", &self.gzip)
            .field("queue_bytes", &self.queue_bytes)
            .finish_non_exhaustive()
    }
}

impl Resource {
    /// This process, as `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` name it, exported or not.
    ///
    /// # Errors
    ///
    /// If the attributes are no list.
    pub fn from_env(default_service: &str, read: &Read<'_>) -> Result<Self, SettingsError> {
        let mut named = match env::variable(read, "OTEL_RESOURCE_ATTRIBUTES") {
            Some(list) => env::pairs(&list.value).ok_or(SettingsError::List(list))?,
            None => Vec::new(),
        };
        if let Some(service) = env::variable(read, "OTEL_SERVICE_NAME") {
            named.push(("service.name".into(), service.value));
        }
        Ok(Self::of_process(default_service, &named))
    }
}

fn is_disabled(read: &Read<'_>) -> Result<bool, SettingsError> {
    if env::is_true(read, "OTEL_SDK_DISABLED") {
        return Ok(true);
    }
    let Some(exporters) = env::variable(read, "OTEL_TRACES_EXPORTER") else {
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

fn headers(read: &Read<'_>) -> Result<MetadataMap, SettingsError> {
    let mut headers = MetadataMap::new();
    let Some(list) = env::of_traces(read, "HEADERS") else {
        return Ok(headers);
    };
    let Some(pairs) = env::pairs(&list.value) else {
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
fn timeout(read: &Read<'_>) -> Result<Duration, SettingsError> {
    let Some(timeout) = env::of_traces(read, "TIMEOUT") else {
        return Ok(TIMEOUT);
    };
    match timeout.value.parse() {
        Ok(0) => Ok(TIMEOUT_MAX),
        Ok(ms) => Ok(Duration::from_millis(ms).min(TIMEOUT_MAX)),
        Err(_) => Err(SettingsError::Timeout(timeout)),
    }
}

/// The specification leaves the default open: spans shrink to a third.
fn gzip(read: &Read<'_>) -> Result<bool, SettingsError> {
    match env::of_traces(read, "COMPRESSION") {
        None => Ok(true),
        Some(it) if it.value == "gzip" => Ok(true),
        Some(it) if it.value == "none" => Ok(false),
        Some(other) => Err(SettingsError::Compression(other)),
    }
}

#[cfg(test)]
mod tests;
