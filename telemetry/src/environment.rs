//! OpenTelemetry's environment variables, with one meaning for the broker and the programs: whoever runs them sets one block
//! for all.
//!
//! Variables and their meaning are those of the specification (`protocol/exporter.md`, `configuration/sdk-environment-
//! variables.md`, `resource/sdk.md`): one that is empty is not set, and one for a signal goes before the one for all of
//! them. What differs: nothing is exported unless an endpoint is named, only gRPC without TLS is spoken, and a value that
//! cannot be used is an error instead of ignored. Pure: how a variable is found is an argument.

mod destination;
#[cfg(test)]
mod tests;
mod variable;

pub use destination::{Destination, SettingsError, Signal};
pub(crate) use variable::variable;
pub use variable::{Read, Variable};

/// What the user says about this process, percent-decoded: `OTEL_RESOURCE_ATTRIBUTES`, and at the end the `service.name` of
/// `OTEL_SERVICE_NAME`. Of a repeated key the last one counts.
pub(crate) fn attributes(read: &Read<'_>) -> Result<Vec<(String, String)>, SettingsError> {
    let mut named = match variable(read, "OTEL_RESOURCE_ATTRIBUTES") {
        Some(list) => variable::pairs(&list.value).ok_or(SettingsError::List(list))?,
        None => Vec::new(),
    };
    if let Some(service) = variable(read, "OTEL_SERVICE_NAME") {
        named.push((crate::names::SERVICE_NAME.to_owned(), service.value));
    }
    Ok(named)
}
