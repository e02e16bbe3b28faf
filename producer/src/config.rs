//! What the command line means. Everything that is wrong with it is reported at once, before anything is opened.

use std::path::PathBuf;
use std::time::Duration;

use baton_telemetry::program::flags::OutputFlags;
use baton_telemetry::program::launch::Lasts;
use baton_telemetry::program::otel;
use baton_telemetry::program::problems::{Problems, check_queue_name};
use bytesize::ByteSize;

use crate::PROGRAM;
use crate::args::{Args, Format, GenerateArgs, ItemFlags, SendArgs, SourceArgs};
use crate::pace::Pace;

/// The most that any broker can be told to take.
const PAYLOAD_MAX: ByteSize = ByteSize::mib(16);
const SCHEDULE_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);
const ATTRIBUTES_MAX: usize = 64;
const ATTRIBUTES_MAX_BYTES: usize = 16 * 1024;
const CONTENT_TYPE_MAX_BYTES: usize = 128;
const PRODUCER_ID_MAX_BYTES: usize = 64;

/// Settings of one run.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) queue: String,
    pub(crate) broker: String,
    pub(crate) give_up_after: Duration,
    pub(crate) producer_id: Option<String>,
    pub(crate) source: SourceConfig,
    pub(crate) stamp: Stamp,
    pub(crate) join: bool,
    pub(crate) close: bool,
    pub(crate) output: OutputFlags,
    pub(crate) otel: otel::Settings,
}

/// Where the items come from.
#[derive(Debug, PartialEq)]
pub(crate) enum SourceConfig {
    Generate {
        count: Option<u64>,
        pace: Pace,
        size_bytes: usize,
        seed: Option<u64>,
    },
    Send {
        file: PathBuf,
        format: Format,
        max_bytes: usize,
    },
}

impl SourceConfig {
    pub(crate) const fn lasts(&self) -> Lasts {
        match self {
            Self::Generate { count: None, .. } => Lasts::UntilStopped,
            Self::Generate { .. } | Self::Send { .. } => Lasts::UntilDone,
        }
    }
}

/// What every item gets on top of its payload.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stamp {
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) content_type: Option<String>,
    pub(crate) delay: Duration,
    pub(crate) ttl: Option<Duration>,
    pub(crate) dedup_from_payload: bool,
}

impl Config {
    /// # Errors
    ///
    /// Everything that is wrong.
    pub(crate) fn from_args(args: Args, source: SourceArgs) -> Result<Self, Problems> {
        let mut problems = Problems::new();
        check_queue_name(&mut problems, &args.queue);
        let stamp = stamp(&args.items, &source, &mut problems);
        let source = match source {
            SourceArgs::Generate(args) => generate(&args, &mut problems),
            SourceArgs::Send(args) => send(args, &mut problems),
        };
        let producer_id = args.items.producer_id;
        let id_bytes = producer_id.as_ref().map_or(1, String::len);
        let id_fits = (1..=PRODUCER_ID_MAX_BYTES).contains(&id_bytes);
        problems.check(id_fits, "--producer-id", "has to have 1 to 64 bytes");
        let give_up_after = args.connection.give_up_after(&mut problems);
        let otel = otel::Settings::from_env(PROGRAM, &mut problems);
        problems.finish(Self {
            queue: args.queue,
            broker: args.connection.broker,
            give_up_after,
            producer_id,
            source,
            stamp,
            join: args.items.join,
            close: args.items.close,
            output: args.output,
            otel,
        })
    }
}

fn generate(args: &GenerateArgs, problems: &mut Problems) -> SourceConfig {
    let pace = args.rate.map_or_else(
        || Pace::parse_interval(&args.interval),
        |items_per_second| Ok(Pace::Rate { items_per_second }),
    );
    let pace = pace.unwrap_or_else(|problem| {
        problems.add("--interval", problem);
        Pace::Rate {
            items_per_second: 1.0,
        }
    });
    if let Pace::Rate { items_per_second } = pace {
        let fine = items_per_second.is_finite() && items_per_second > 0.0;
        problems.check(
            fine,
            "--rate",
            format!("{items_per_second} is not more than 0"),
        );
    }
    let size = args.size.as_deref().unwrap_or("0");
    SourceConfig::Generate {
        count: (args.count > 0).then_some(args.count),
        pace,
        size_bytes: payload_bytes("--size", size, problems),
        seed: args.seed,
    }
}

fn send(args: SendArgs, problems: &mut Problems) -> SourceConfig {
    let max_bytes = payload_bytes("--max-payload", &args.max_payload, problems);
    SourceConfig::Send {
        file: args.file,
        format: args.format,
        max_bytes,
    }
}

fn payload_bytes(flag: &str, text: &str, problems: &mut Problems) -> usize {
    let Ok(size) = text.parse::<ByteSize>() else {
        problems.add(
            flag,
            format!("{text:?} is no size; say for example 512B, 1KiB or 1MiB"),
        );
        return 0;
    };
    problems.check(
        size <= PAYLOAD_MAX,
        flag,
        format!("{size} is more than the {PAYLOAD_MAX} that a broker takes"),
    );
    usize::try_from(size.as_u64().min(PAYLOAD_MAX.as_u64())).unwrap_or(usize::MAX)
}

fn stamp(flags: &ItemFlags, source: &SourceArgs, problems: &mut Problems) -> Stamp {
    let (is_json, dedup_from_payload) = match source {
        SourceArgs::Generate(_) => (false, false),
        SourceArgs::Send(args) => (args.format == Format::Ndjson, args.dedup_from_line),
    };
    let implied_type = is_json.then(|| "application/json".to_owned());
    let content_type = flags.content_type.clone().or(implied_type);
    let type_bytes = content_type.as_ref().map_or(0, String::len);
    problems.check(
        type_bytes <= CONTENT_TYPE_MAX_BYTES,
        "--content-type",
        format!("has {type_bytes} bytes, more than {CONTENT_TYPE_MAX_BYTES}"),
    );
    let delay = problems.duration_within("--delay", &flags.delay, (Duration::ZERO, SCHEDULE_MAX));
    let ttl_limits = (Duration::from_nanos(1), SCHEDULE_MAX);
    let ttl = flags
        .ttl
        .as_ref()
        .map(|ttl| problems.duration_within("--ttl", ttl, ttl_limits));
    let is_ever_due = ttl.is_none_or(|ttl| ttl.is_zero() || delay < ttl);
    problems.check(
        is_ever_due,
        "--ttl",
        "is not longer than --delay: no item would be delivered",
    );
    Stamp {
        attributes: attributes(&flags.attribute, problems),
        content_type,
        delay,
        ttl,
        dedup_from_payload,
    }
}

fn attributes(flags: &[String], problems: &mut Problems) -> Vec<(String, String)> {
    let mut attributes: Vec<(String, String)> = Vec::new();
    for flag in flags {
        match flag.split_once('=') {
            Some(("", _)) => {
                problems.add("--attribute", format!("{flag:?} has no key before the '='"));
            }
            Some((key, _)) if attributes.iter().any(|(known, _)| known == key) => {
                problems.add("--attribute", format!("{key:?} is given twice"));
            }
            Some((key, value)) => attributes.push((key.to_owned(), value.to_owned())),
            None => problems.add("--attribute", format!("{flag:?} is not KEY=VALUE")),
        }
    }
    let bytes: usize = attributes
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    let fits = attributes.len() <= ATTRIBUTES_MAX && bytes <= ATTRIBUTES_MAX_BYTES;
    let problem = format!(
        "{} with {bytes} bytes together; at most {ATTRIBUTES_MAX} and 16 KiB are allowed",
        attributes.len()
    );
    problems.check(fits, "--attribute", problem);
    attributes
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::args::Task;

    fn config(words: &[&str]) -> Result<Config, String> {
        let words = [&["baton-producer"], words].concat();
        let mut args = Args::try_parse_from(words).map_err(|error| error.to_string())?;
        let Task::Publish(source) = args.task().map_err(|error| error.to_string())? else {
            return Err("nothing is published".to_owned());
        };
        Config::from_args(args, source).map_err(|problems| problems.to_string())
    }

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn generate_needs_no_flags() {
        let config = config(&["squares", "generate"]).unwrap();
        let pace = Pace::Interval {
            shortest: Duration::ZERO,
            longest: Duration::ZERO,
        };
        let wanted = SourceConfig::Generate {
            count: Some(20),
            pace,
            size_bytes: 0,
            seed: None,
        };
        assert_eq!(config.source, wanted);
        assert_eq!(
            (config.stamp.ttl, config.join, config.close),
            (None, false, false)
        );
    }

    #[test]
    fn only_a_generator_without_a_count_is_there_to_be_stopped() {
        let lasts = |words: &[&str]| config(words).unwrap().source.lasts();
        let endless = lasts(&["q", "generate", "--count", "0"]);
        assert_eq!(endless, Lasts::UntilStopped);
        assert_eq!(lasts(&["q", "generate"]), Lasts::UntilDone);
        assert_eq!(lasts(&["q", "send"]), Lasts::UntilDone);
    }

    #[test]
    fn flags_may_stand_before_and_after_the_subcommand() {
        let words = [
            "q",
            "--join",
            "generate",
            "--rate",
            "2.5",
            "--count=0",
            "--attribute",
            "a=b=c",
        ];
        let config = config(&words).unwrap();
        assert!(config.join);
        assert_eq!(
            config.stamp.attributes,
            [("a".to_owned(), "b=c".to_owned())]
        );
        let pace = Pace::Rate {
            items_per_second: 2.5,
        };
        let wanted = SourceConfig::Generate {
            count: None,
            pace,
            size_bytes: 0,
            seed: None,
        };
        assert_eq!(config.source, wanted);
    }

    #[test]
    fn ndjson_says_what_it_is_unless_told_otherwise() {
        let stamp = |words: &[&str]| config(words).unwrap().stamp.content_type;
        assert_eq!(stamp(&["q", "send"]), None);
        let ndjson = ["q", "send", "--format", "ndjson"];
        assert_eq!(stamp(&ndjson).as_deref(), Some("application/json"));
        let told = stamp(&[&ndjson[..], &["--content-type", "text/x"]].concat());
        assert_eq!(told.as_deref(), Some("text/x"));
    }

    #[test]
    fn dedup_by_line_is_refused_where_there_are_no_lines() {
        assert!(
            config(&["q", "send", "--dedup-from-line"])
                .unwrap()
                .stamp
                .dedup_from_payload
        );
        assert!(config(&["q", "generate", "--dedup-from-line"]).is_err());
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let report = config(&[
            "no/queue",
            "generate",
            "--interval",
            "3s..1s",
            "--size",
            "17MiB",
            "--delay",
            "2y",
            "--ttl",
            "0s",
            "--attribute",
            "a",
            "--attribute",
            "=b",
            "--producer-id",
            "",
            "--give-up-after",
            "never",
        ])
        .unwrap_err();
        assert!(report.starts_with("9 problems"), "{report}");
        for flag in [
            "QUEUE",
            "--interval",
            "--size",
            "--delay",
            "--ttl",
            "\"a\"",
            "\"=b\"",
        ] {
            assert!(report.contains(flag), "{flag} in {report}");
        }
    }

    #[test]
    fn a_rate_has_to_be_more_than_nothing() {
        for rate in ["0", "-1", "inf", "NaN"] {
            let rate = format!("--rate={rate}");
            let report = config(&["q", "generate", &rate]).unwrap_err();
            assert!(report.contains("is not more than 0"), "{rate}: {report}");
        }
    }

    #[test]
    fn items_that_would_expire_before_they_are_due_are_refused() {
        assert!(config(&["q", "send", "--delay", "9s", "--ttl", "10s"]).is_ok());
        let report = config(&["q", "send", "--delay", "10s", "--ttl", "10s"]).unwrap_err();
        assert!(report.contains("no item would be delivered"), "{report}");
    }
}
