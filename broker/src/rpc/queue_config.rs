//! A queue's configuration on the wire: defaults, the update mask, and the etag.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use baton_proto::opaque as wire;
use baton_queue::{Backoff, Config};

use super::convert::wire_duration;
use crate::error::Error;

/// Fields of QueueConfig, as update masks name them.
const FIELDS: [&str; 9] = [
    "lease_duration",
    "max_attempts",
    "backoff",
    "dedup_window",
    "default_ttl",
    "max_items",
    "max_bytes",
    "paused",
    "closed",
];

/// Reads a configuration; what is unset is as by default.
///
/// # Errors
/// A value is out of range.
pub(super) fn read(sent: wire::QueueConfig) -> Result<Config, Error> {
    let default = Config::default();
    let backoff = sent.backoff.map_or(Ok(default.backoff), read_backoff)?;
    let config = Config {
        lease_duration: span("config.lease_duration", sent.lease_duration)?
            .unwrap_or(default.lease_duration),
        max_attempts: if sent.max_attempts == 0 {
            default.max_attempts
        } else {
            sent.max_attempts
        },
        backoff,
        dedup_window: span("config.dedup_window", sent.dedup_window)?
            .unwrap_or(default.dedup_window),
        default_ttl: span("config.default_ttl", sent.default_ttl)?,
        max_items: (sent.max_items > 0).then_some(sent.max_items),
        max_bytes: (sent.max_bytes > 0).then_some(sent.max_bytes),
        paused: sent.paused,
        closed: sent.closed,
    };
    check(config)
}

fn check(config: Config) -> Result<Config, Error> {
    config
        .validate()
        .map_err(|fault| Error::invalid("config", fault.to_string()))?;
    Ok(config)
}

fn read_backoff(sent: wire::Backoff) -> Result<Backoff, Error> {
    let default = Backoff::default();
    let initial = span("config.backoff.initial", sent.initial)?.unwrap_or(default.initial);
    let max = span("config.backoff.max", sent.max)?;
    Ok(Backoff {
        initial,
        max: max.unwrap_or_else(|| default.max.max(initial)),
    })
}

fn span(
    field: &'static str,
    sent: Option<prost_types::Duration>,
) -> Result<Option<Duration>, Error> {
    let read = sent.map(Duration::try_from).transpose();
    read.map_err(|_| Error::invalid(field, "is negative or no duration"))
}

/// Changes the fields of `old` that `mask` names to those of `sent`.
///
/// # Errors
/// The mask names no field, or a value is out of range.
pub(super) fn update(
    old: Config,
    sent: wire::QueueConfig,
    mask: &[String],
) -> Result<Config, Error> {
    let new = read(sent)?;
    if mask.is_empty() || mask == ["*"] {
        return Ok(new);
    }
    let mut config = old;
    for path in mask {
        match path.as_str() {
            "lease_duration" => config.lease_duration = new.lease_duration,
            "max_attempts" => config.max_attempts = new.max_attempts,
            "backoff" => config.backoff = new.backoff,
            "dedup_window" => config.dedup_window = new.dedup_window,
            "default_ttl" => config.default_ttl = new.default_ttl,
            "max_items" => config.max_items = new.max_items,
            "max_bytes" => config.max_bytes = new.max_bytes,
            "paused" => config.paused = new.paused,
            "closed" => config.closed = new.closed,
            unknown => {
                let fault = format!("names {unknown:?}; it may name {}", FIELDS.join(", "));
                return Err(Error::invalid("update_mask", fault));
            }
        }
    }
    check(config)
}

/// Writes a configuration, defaults and all.
pub(super) fn write(config: &Config) -> wire::QueueConfig {
    wire::QueueConfig {
        lease_duration: Some(wire_duration(config.lease_duration)),
        max_attempts: config.max_attempts,
        backoff: Some(wire::Backoff {
            initial: Some(wire_duration(config.backoff.initial)),
            max: Some(wire_duration(config.backoff.max)),
        }),
        dedup_window: Some(wire_duration(config.dedup_window)),
        default_ttl: config.default_ttl.map(wire_duration),
        max_items: config.max_items.unwrap_or(0),
        max_bytes: config.max_bytes.unwrap_or(0),
        paused: config.paused,
        closed: config.closed,
    }
}

/// Differs between configurations; opaque to clients.
pub(super) fn etag(config: &Config) -> String {
    let mut hasher = DefaultHasher::new();
    prost::Message::encode_to_vec(&write(config)).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unset_fields_are_defaults_and_survive_the_wire() {
        let config = read(wire::QueueConfig::default()).unwrap();
        assert_eq!(config, Config::default());
        assert_eq!(read(write(&config)).unwrap(), config);
    }

    #[test]
    fn a_mask_changes_what_it_names_and_nothing_else() {
        let sent = wire::QueueConfig {
            paused: true,
            max_items: 7,
            ..wire::QueueConfig::default()
        };
        let config = update(Config::default(), sent, &["paused".into()]).unwrap();
        assert!(config.paused);
        assert_eq!(config.max_items, None);
        assert_ne!(etag(&config), etag(&Config::default()));
        let wrong = update(
            Config::default(),
            wire::QueueConfig::default(),
            &["pause".into()],
        );
        assert!(wrong.unwrap_err().to_string().contains("pause"));
    }

    #[test]
    fn values_out_of_range_are_refused() {
        let day = prost_types::Duration {
            seconds: 86_400,
            nanos: 0,
        };
        let sent = wire::QueueConfig {
            lease_duration: Some(day),
            ..wire::QueueConfig::default()
        };
        assert!(read(sent).is_err());
        let negative = prost_types::Duration {
            seconds: -1,
            nanos: 0,
        };
        let sent = wire::QueueConfig {
            default_ttl: Some(negative),
            ..wire::QueueConfig::default()
        };
        assert!(read(sent).is_err());
    }
}
