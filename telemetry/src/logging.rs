//! The log on stderr. stdout belongs to what a program is asked for.
//!
//! One subscriber per process, set up once by `main` before anything can log.

use std::env;
use std::io::{IsTerminal, Write, stderr};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::{MakeWriter, Subscriber};
use tracing_subscriber::util::SubscriberInitExt;

/// Environment variable that sets the filter where no flag does.
pub const FILTER_VARIABLE: &str = "BATON_LOG";

const DEFAULT_FILTER: &str = "info";

/// The layers below gRPC log each frame.
const QUIET_TRANSPORT: &str = "h2=info,hyper=info,hyper_util=info,tower=info,tonic=info";

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One short line; colours on a terminal only.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter cannot be understood.
    #[error(
        "log filter {filter:?} is not valid ({source}); say for example info or baton_client=debug,warn"
    )]
    Filter {
        /// As given.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Something else set up a subscriber before.
    #[error("the log was set up twice")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Sends the log to stderr. The filter is `filter` if there is one, else [`FILTER_VARIABLE`], else `info`.
///
/// # Errors
///
/// If the filter cannot be understood, or a subscriber stands already.
pub fn init(format: LogFormat, filter: Option<&str>) -> Result<(), LoggingError> {
    init_with(stderr, format, filter)
}

/// The same, through a writer that leads to stderr.
pub(crate) fn init_with<W>(
    writer: impl for<'a> MakeWriter<'a, Writer = W> + Send + Sync + 'static,
    format: LogFormat,
    filter: Option<&str>,
) -> Result<(), LoggingError>
where
    W: Write,
{
    let from_environment = env::var(FILTER_VARIABLE)
        .ok()
        .filter(|filter| !filter.is_empty());
    let filter = filter.map(str::to_owned).or(from_environment);
    let filter = parse_filter(filter.as_deref().unwrap_or(DEFAULT_FILTER))?;
    let builder = Subscriber::builder()
        .with_writer(writer)
        // A log on a full disk is no reason to end: told to stderr, which may be that log, it would be.
        .log_internal_errors(false)
        .with_env_filter(filter);
    match format {
        LogFormat::Text => builder
            .compact()
            .with_ansi(is_coloured())
            .finish()
            .try_init()?,
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init()?,
    }
    Ok(())
}

fn parse_filter(filter: &str) -> Result<EnvFilter, LoggingError> {
    EnvFilter::try_new(directives(filter)).map_err(|source| LoggingError::Filter {
        filter: filter.to_owned(),
        source,
    })
}

/// Who asks for `debug` wants to know what we do: not every frame, unless its module is named, as in `debug,h2=debug`.
fn directives(filter: &str) -> String {
    let is_chatty = |part: &str| matches!(part.trim(), "debug" | "trace");
    if filter.to_ascii_lowercase().split(',').any(is_chatty) {
        format!("{QUIET_TRANSPORT},{filter}")
    } else {
        filter.to_owned()
    }
}

/// Colour codes are for eyes: not in files, not where the user asked for none (no-color.org).
fn is_coloured() -> bool {
    stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_targets_are_filters() {
        for filter in ["info", "off", "baton_client=debug,warn"] {
            assert!(parse_filter(filter).is_ok(), "{filter}");
        }
    }

    #[test]
    fn debug_shows_no_frames_unless_they_are_asked_for() {
        for (filter, level) in [
            ("debug", "h2=info"),
            ("info,TRACE", "h2=info"),
            ("debug,h2=debug", "h2=debug"),
        ] {
            let parsed = parse_filter(filter).unwrap().to_string();
            assert!(
                parsed.split(',').any(|part| part == level),
                "{filter}: {parsed}"
            );
        }
        for filter in ["info", "off", "baton_client=debug,warn"] {
            assert_eq!(directives(filter), filter);
        }
    }

    #[test]
    fn a_filter_that_makes_no_sense_is_refused_with_its_text() {
        let error = parse_filter("baton=chatty").unwrap_err().to_string();
        assert!(error.contains("\"baton=chatty\""), "{error}");
    }
}
