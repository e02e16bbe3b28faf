//! The TOML file: settings under their flags' names, and queues.

use std::str::FromStr as _;
use std::time::Duration;

use baton_queue::{Config as QueueConfig, QueueName};
use bytesize::ByteSize;
use toml::{Table, Value};

use super::settings::Settings;

/// What the file says.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) settings: Settings,
    pub(super) queues: Vec<(String, QueueConfig)>,
}

impl File {
    /// Reads a file; what is wrong with it goes to `problems`.
    pub(super) fn parse(path: &str, text: &str, problems: &mut Vec<String>) -> Self {
        let mut file = Self::default();
        let table = match text.parse::<Table>() {
            Ok(table) => table,
            Err(fault) => {
                problems.push(format!("{path}: {}", fault.to_string().trim_end()));
                return file;
            }
        };
        for (name, value) in table {
            match (name.as_str(), value, file.settings.place(&name)) {
                ("queues", Value::Table(queues), _) => file.read_queues(path, queues, problems),
                (_, value, Some(place)) => *place = Some(as_text(&value)),
                _ => problems.push(format!(
                    "{path}: {name} is no setting; see --help for the names"
                )),
            }
        }
        file
    }

    fn read_queues(&mut self, path: &str, queues: Table, problems: &mut Vec<String>) {
        for (name, value) in queues {
            let at = format!("{path}: queues.{name}");
            if QueueName::from_str(&name).is_err() {
                problems.push(format!(
                    "{at}: a name is 1 to 128 of letters, digits, '.', '_' and '-'"
                ));
            }
            let Value::Table(settings) = value else {
                problems.push(format!("{at}: has to be a table, [queues.{name}]"));
                continue;
            };
            let queue = read_queue(&at, settings, problems);
            self.queues.push((name, queue));
        }
    }
}

fn read_queue(at: &str, settings: Table, problems: &mut Vec<String>) -> QueueConfig {
    let mut queue = QueueConfig::default();
    for (name, value) in settings {
        if let Err(fault) = set(&mut queue, &name, &value) {
            problems.push(format!("{at}.{name}: {fault}"));
        }
    }
    if let Err(fault) = queue.validate() {
        problems.push(format!("{at}: {fault}"));
    }
    queue
}

fn set(queue: &mut QueueConfig, name: &str, value: &Value) -> Result<(), String> {
    match name {
        "lease-duration" => queue.lease_duration = duration(value)?,
        "max-attempts" => queue.max_attempts = positive(value)?,
        "backoff-initial" => queue.backoff.initial = duration(value)?,
        "backoff-max" => queue.backoff.max = duration(value)?,
        "dedup-window" => queue.dedup_window = duration(value)?,
        "default-ttl" => queue.default_ttl = Some(duration(value)?),
        "max-items" => queue.max_items = Some(positive(value)?),
        "max-bytes" => queue.max_bytes = Some(bytes(value)?),
        "paused" => queue.paused = value.as_bool().ok_or("has to be true or false")?,
        _ => {
            return Err("is no setting of a queue; lease-duration, max-attempts, backoff-initial, backoff-max, \
                        dedup-window, default-ttl, max-items, max-bytes and paused are"
                .into());
        }
    }
    Ok(())
}

fn duration(value: &Value) -> Result<Duration, String> {
    let text = value
        .as_str()
        .ok_or("has to be a duration in quotes, as in \"30s\"")?;
    humantime::parse_duration(text).map_err(|fault| format!("{text:?}: {fault}"))
}

fn bytes(value: &Value) -> Result<u64, String> {
    let text = as_text(value);
    let ByteSize(bytes) = ByteSize::from_str(&text)?;
    if bytes == 0 {
        Err("has to be more than 0; leave it out for no limit".into())
    } else {
        Ok(bytes)
    }
}

fn positive<N: TryFrom<i64>>(value: &Value) -> Result<N, String> {
    let number = value.as_integer().filter(|number| *number > 0);
    let number = number.and_then(|number| N::try_from(number).ok());
    number.ok_or_else(|| "has to be a whole number above 0".into())
}

fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
