//! What the broker's exporter is told: where spans go, whose they are, and how many may wait. Read once by `main`.

use tonic::codegen::http::Uri;

use super::resource::Resource;
use crate::environment::{self, Destination, Read, SettingsError, Signal};

/// Spans that wait: a minute of 50 traces a second, 6 KiB each.
const QUEUE_BYTES: u64 = 16 << 20;

/// Where spans go, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(super) destination: Destination,
    pub(super) resource: Resource,
    pub(super) queue_bytes: u64,
}

impl Settings {
    /// What the environment says; `read` looks one variable up. None: there is nothing to export to, or the user does not
    /// want to.
    ///
    /// # Errors
    ///
    /// If a variable cannot be used. None is looked at while exporting is switched off.
    pub fn from_env(default_service: &str, read: &Read<'_>) -> Result<Option<Self>, SettingsError> {
        let mut problems = Vec::new();
        let destination = Destination::from_env(Signal::Traces, read, &mut problems);
        if let Some(problem) = problems.into_iter().next() {
            return Err(problem);
        }
        let Some(destination) = destination else {
            return Ok(None);
        };
        Ok(Some(Self {
            destination,
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
        &self.destination.endpoint
    }

    /// Who the spans of no service belong to.
    #[must_use]
    pub const fn resource(&self) -> &Resource {
        &self.resource
    }
}

impl Resource {
    /// This process, as `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` name it, exported or not.
    ///
    /// # Errors
    ///
    /// If the attributes are no list.
    pub fn from_env(default_service: &str, read: &Read<'_>) -> Result<Self, SettingsError> {
        let named = environment::attributes(read)?;
        Ok(Self::of_process(default_service, &named))
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value;
    use opentelemetry_proto::tonic::resource::v1 as proto;
    use prost::Message;

    use super::*;

    fn from(variables: &[(&str, &str)]) -> Result<Option<Settings>, SettingsError> {
        Settings::from_env("broker", &|name| {
            let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://jaeger:4317");
            let mut all = variables.iter().chain([&endpoint]);
            let found = all.find(|it| it.0 == name);
            found.map(|it| it.1.to_owned())
        })
    }

    fn service(variables: &[(&str, &str)]) -> String {
        let settings = from(variables).unwrap().unwrap();
        let message = proto::Resource::decode(settings.resource.encoded()).unwrap();
        let mut attributes = message.attributes.into_iter();
        let found = attributes.find(|it| it.key == "service.name").unwrap();
        match found.value.unwrap().value.unwrap() {
            any_value::Value::StringValue(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_endpoint_is_enough() {
        let settings = from(&[]).unwrap().unwrap();
        assert_eq!(settings.endpoint().to_string(), "http://jaeger:4317/");
        assert_eq!(settings.queue_bytes, 16 * 1024 * 1024);
    }

    #[test]
    fn the_service_is_named_by_its_own_variable_first() {
        let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a");
        assert_eq!(service(&[]), "broker");
        assert_eq!(service(&[attributes]), "a");
        assert_eq!(service(&[attributes, ("OTEL_SERVICE_NAME", "b")]), "b");
    }

    #[test]
    fn what_cannot_be_used_is_an_error_unless_nothing_is_exported() {
        for wrong in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=b,c"),
        ] {
            assert!(from(&[wrong]).is_err());
            let nowhere = ("OTEL_EXPORTER_OTLP_ENDPOINT", "");
            assert!(from(&[wrong, nowhere]).unwrap().is_none());
        }
    }
}
