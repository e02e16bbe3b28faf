//! Configuration: flags over `BATON_*` environment over a TOML file over defaults. Every problem is reported at once.
//!
//! `args` declares the flags, `file` reads the file; both give text, which is parsed in one place here, so that a
//! value means the same wherever it comes from. The first run needs none of it.

mod args;
mod file;
mod settings;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use baton_ledger::budget::Budget;
use baton_ledger::sampling::{SamplingSettings, TraceLimit};
use baton_telemetry::logging::LogFormat;
use baton_telemetry::otlp;
use clap::Parser as _;
use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::thread::disable_transparent_huge_pages;

use self::args::{Args, Instead};
use self::file::File;
use self::settings::Settings;
use crate::engine::{Accounting, Keep, TraceSink};
use crate::offline::Task;

/// How a broker behaves.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where gRPC is served. Default 127.0.0.1:7400.
    pub listen: SocketAddr,
    /// Where HTTP is served. Default 127.0.0.1:7401.
    pub http: SocketAddr,
    /// How long a shutdown may take. Default 10 s.
    pub grace: Duration,
    /// Bytes of a payload. Default 1 MiB, at most 16 MiB.
    pub payload_bytes_max: usize,
    /// Where items are kept. Default: a journal in ./baton-data.
    pub keep: Keep,
    /// Queues come into being on their first use. Default true.
    pub auto_create: bool,
    /// Queues that are there from the start.
    pub queues: Vec<(String, baton_queue::Config)>,
    /// Bytes for where items' time went, over all queues; 0: nobody wants to know. Default 64 MiB.
    pub latency_budget: usize,
    /// Ended items that each queue remembers one by one. Default 10 000.
    pub latency_finished: u32,
    /// Which items are traced. Default: see [`SamplingSettings`].
    pub sampling: SamplingSettings,
    /// Where traces go. Default: nowhere.
    pub otlp: Option<otlp::Settings>,
    /// How the log is written. Default text.
    pub log_format: LogFormat,
    /// What is logged. Default info.
    pub log: String,
}

impl Default for Config {
    fn default() -> Self {
        let (config, problems) = Settings::default().resolve();
        assert!(problems.is_empty(), "the defaults are sound");
        config
    }
}

impl Config {
    /// How queues account for their items' time, with traces to `sink`.
    pub(crate) fn accounting(&self, sink: Option<Arc<dyn TraceSink>>) -> Option<Accounting> {
        let ledgers = || baton_ledger::Shared {
            budget: Budget::new(self.latency_budget),
            limit: TraceLimit::new(self.sampling.traces_per_second),
            sampling: sink.is_some().then_some(self.sampling),
            finished_max: self.latency_finished as usize,
        };
        (self.latency_budget > 0).then(|| Accounting {
            ledgers: Arc::new(ledgers()),
            sink: sink.clone(),
        })
    }
}

/// What the process is asked to do.
#[derive(Debug, Clone)]
pub enum Command {
    /// To be a broker.
    Serve(Box<Config>),
    /// To look after a data directory.
    Offline(Task),
    /// To ask the broker that serves HTTP there how it is.
    Health(SocketAddr),
}

/// Why the process ends before it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Help or version, as asked.
    Asked(String),
    /// The command was used wrongly: what is wrong with it.
    Usage(String),
}

/// Reads what this process is asked to do, and its configuration.
///
/// # Errors
/// See [`Stop`].
pub fn from_process() -> Result<Command, Stop> {
    let asked = from(std::env::args_os(), |path| {
        std::fs::read_to_string(path).map_err(|error| error.to_string())
    })?;
    let Command::Serve(config) = asked else {
        return Ok(asked);
    };
    let otlp = otlp::Settings::from_env("baton-broker", &|name| std::env::var(name).ok())
        .map_err(|error| Stop::Usage(format!("error: {error}\n")))?;
    Ok(Command::Serve(Box::new(Config { otlp, ..*config })))
}

fn from(
    arguments: impl IntoIterator<Item = impl Into<std::ffi::OsString> + Clone>,
    read: impl FnOnce(&str) -> Result<String, String>,
) -> Result<Command, Stop> {
    let mut args = Args::try_parse_from(arguments).map_err(|error| {
        let text = error.render().to_string();
        if error.use_stderr() {
            Stop::Usage(text)
        } else {
            Stop::Asked(text)
        }
    })?;
    let mut problems = Vec::new();
    match args.command.take() {
        Some(Instead::Offline(offline)) => {
            let (task, problems) = offline.task();
            ended(problems).map(|()| Command::Offline(task))
        }
        Some(Instead::Health(health)) => {
            let file = file(health.config.as_deref(), read, &mut problems);
            let (http, found) = health.settings().or(file.settings).http_address();
            problems.extend(found);
            ended(problems).map(|()| Command::Health(http))
        }
        None => {
            let file = file(args.config.as_deref(), read, &mut problems);
            let (config, found) = args.settings().or(file.settings).resolve();
            problems.extend(found);
            ended(problems)?;
            Ok(Command::Serve(Box::new(Config {
                queues: file.queues,
                ..config
            })))
        }
    }
}

/// What stands in the file, if there is one.
fn file(
    path: Option<&str>,
    read: impl FnOnce(&str) -> Result<String, String>,
    problems: &mut Vec<String>,
) -> File {
    let Some(path) = path else {
        return File::default();
    };
    match read(path) {
        Ok(text) => File::parse(path, &text, problems),
        Err(error) => {
            problems.push(format!("--config {path}: {error}"));
            File::default()
        }
    }
}

fn ended(problems: Vec<String>) -> Result<(), Stop> {
    if problems.is_empty() {
        return Ok(());
    }
    let count = problems.len();
    let list = problems
        .iter()
        .map(|problem| format!("  - {problem}\n"))
        .collect::<String>();
    let noun = if count == 1 { "problem" } else { "problems" };
    Err(Stop::Usage(format!(
        "error: {count} {noun} with the configuration\n{list}\nTry '--help'.\n"
    )))
}

/// Lets the process have as many connections as the system allows it; the soft limit is often 1024.
pub fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // As it was, it serves too.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Has memory taken in pages of 4 KiB. In huge ones, which the allocator asks for, what a burst took stays resident as long
/// as one small thing lives in each 2 MiB.
pub fn refuse_huge_pages() {
    // Where the system does not know it, it serves too.
    let _ = disable_transparent_huge_pages(true);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serve(command: Command) -> Config {
        match command {
            Command::Serve(config) => *config,
            other => panic!("expected to serve, got {other:?}"),
        }
    }

    fn with(arguments: &[&str], file: &str) -> Result<Config, Stop> {
        let arguments = ["baton-broker", "--config", "baton.toml"]
            .iter()
            .chain(arguments);
        from(arguments.copied(), |_| Ok(file.to_owned())).map(serve)
    }

    fn offline(arguments: &[&str]) -> Result<Task, Stop> {
        let arguments = ["baton-broker"].iter().chain(arguments);
        match from(arguments.copied(), |_| Err("no file is asked for".into()))? {
            Command::Offline(task) => Ok(task),
            other => panic!("expected a task, got {other:?}"),
        }
    }

    #[test]
    fn a_data_directory_is_checked_and_salvaged_by_subcommands() {
        let check = offline(&["check", "--data", "d", "--json"]).unwrap();
        assert_eq!(
            check,
            Task::Check {
                data: "d".into(),
                json: true
            }
        );
        let salvage = offline(&["salvage", "--data", "d", "--into", "n"]).unwrap();
        assert_eq!(
            salvage,
            Task::Salvage {
                data: "d".into(),
                into: "n".into(),
                json: false
            }
        );
        let all = offline(&["salvage", "--data", "", "--into", ""]);
        assert!(
            matches!(all, Err(Stop::Usage(text)) if text.contains("--data") && text.contains("--into"))
        );
        for wrong in [
            &["salvage", "--data", "d"][..],
            &["--memory", "check"],
            &["check", "--grace", "1s"],
        ] {
            assert!(matches!(offline(wrong), Err(Stop::Usage(_))), "{wrong:?}");
        }
        let help = offline(&["--help"]);
        assert!(
            matches!(help, Err(Stop::Asked(text)) if text.contains("check") && text.contains("salvage"))
        );
    }

    fn problems(arguments: &[&str], file: &str) -> String {
        match with(arguments, file) {
            Err(Stop::Usage(text)) => text,
            other => panic!("expected problems, got {other:?}"),
        }
    }

    #[test]
    fn nothing_at_all_is_a_sound_configuration() {
        let config = from(["baton-broker"], |_| Err("no file is asked for".into()))
            .map(serve)
            .unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:7400");
        assert_eq!(config.http.to_string(), "127.0.0.1:7401");
        assert_eq!(config.grace, Duration::from_secs(10));
        assert!(config.auto_create);
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let config = with(&["--grace", "3s"], "grace = '5s'\nmax-payload = '2MiB'").unwrap();
        assert_eq!(config.grace, Duration::from_secs(3));
        assert_eq!(config.payload_bytes_max, 2 << 20);
    }

    #[test]
    fn what_is_remembered_of_ended_items_can_be_set_in_all_three_ways() {
        let finished = |config: Result<Config, Stop>| {
            let accounting = config.unwrap().accounting(None).unwrap();
            accounting.ledgers.finished_max
        };
        assert_eq!(finished(with(&[], "")), 10_000);
        assert_eq!(finished(with(&[], "latency-finished = 5")), 5);
        let flag = with(&["--latency-finished", "77"], "latency-finished = 5");
        assert_eq!(finished(flag), 77);
        let text = problems(&["--latency-finished", "many"], "");
        assert!(text.contains("latency-finished"), "{text}");
    }

    #[test]
    fn every_problem_is_told_at_once_with_its_place() {
        let file = "grace = 'soon'\nhtpp = 'x'\n[queues.'a b']\n[queues.q]\nmax-attempts = 0\nlease = '30s'\n";
        let text = problems(&["--listen", "nowhere", "--max-payload", "1TiB"], file);
        for part in [
            "--listen",
            "nowhere",
            "max-payload",
            "grace",
            "htpp",
            "a b",
            "max-attempts",
            "queues.q",
            "lease",
        ] {
            assert!(text.contains(part), "{text:?} does not name {part}");
        }
    }

    #[test]
    fn a_file_that_is_no_toml_or_not_there_is_a_problem() {
        assert!(problems(&[], "grace = ").contains("baton.toml"));
        let missing = from(["b", "--config", "x.toml"], |_| Err("no such file".into()));
        assert!(
            matches!(missing, Err(Stop::Usage(text)) if text.contains("x.toml") && text.contains("no such file"))
        );
    }

    #[test]
    fn health_is_asked_where_the_broker_was_told_to_serve_http() {
        let asks = |arguments: &[&'static str]| {
            let arguments = ["baton-broker", "health"].iter().chain(arguments);
            from(arguments.copied(), |_| Ok("http = '0.0.0.0:99'".into()))
        };
        let at = |arguments| match asks(arguments) {
            Ok(Command::Health(address)) => address.to_string(),
            other => panic!("expected to ask, got {other:?}"),
        };
        assert_eq!(at(&[]), "127.0.0.1:7401");
        assert_eq!(at(&["--config", "baton.toml"]), "0.0.0.0:99");
        assert_eq!(
            at(&["--config", "baton.toml", "--http", "[::]:1"]),
            "[::]:1"
        );
        assert!(
            matches!(asks(&["--http", "here"]), Err(Stop::Usage(text)) if text.contains("--http"))
        );
    }

    #[test]
    fn items_are_kept_on_disk_unless_memory_is_asked_for() {
        let Keep::Journal(storage) = with(&[], "").unwrap().keep else {
            panic!("the default keeps items on disk");
        };
        assert_eq!(storage.directory.to_str(), Some("./baton-data"));
        assert_eq!(
            (storage.segment_bytes, storage.memory_bytes_max),
            (64 << 20, 256 << 20)
        );
        let small = [
            "--data",
            "d",
            "--segment-size",
            "16MiB",
            "--memory-budget",
            "64MiB",
        ];
        let Keep::Journal(storage) = with(&small, "").unwrap().keep else {
            panic!("a directory was given");
        };
        assert_eq!(
            (storage.segment_bytes, storage.memory_bytes_max),
            (16 << 20, 64 << 20)
        );
        let memory = with(&["--memory"], "").unwrap().keep;
        assert!(matches!(memory, Keep::Memory { bytes_max } if bytes_max == 4 << 30));
    }

    #[test]
    fn settings_that_would_do_nothing_or_harm_are_problems() {
        let table: [(&[&str], &str); 6] = [
            (&["--memory-limit", "1GiB"], "with --memory"),
            (&["--memory", "--memory-budget", "1GiB"], "without --memory"),
            (&["--memory", "--segment-size", "64MiB"], "without --memory"),
            (&["--memory", "--data", "d"], "--data"),
            (&["--segment-size", "1MiB"], "segment-size"),
            (
                &["--segment-size", "8MiB", "--max-payload", "16MiB"],
                "max-payload",
            ),
        ];
        for (flags, part) in table {
            let text = problems(flags, "");
            assert!(text.contains(part), "{flags:?}: {text}");
        }
    }

    #[test]
    fn queues_are_declared_in_the_file() {
        let file = "[queues.orders]\nlease-duration = '1m'\nmax-items = 5\nbackoff-max = '30s'\npaused = true\n";
        let config = with(&[], file).unwrap();
        let (name, queue) = &config.queues[0];
        assert_eq!(name, "orders");
        assert_eq!(queue.lease_duration, Duration::from_secs(60));
        assert_eq!(queue.max_items, Some(5));
        assert_eq!(queue.backoff.max, Duration::from_secs(30));
        assert!(queue.paused);
    }

    #[test]
    fn an_address_that_others_reach_has_to_be_meant() {
        assert!(problems(&["--listen", "0.0.0.0:7400"], "").contains("--insecure"));
        assert!(with(&["--listen", "0.0.0.0:7400", "--insecure"], "").is_ok());
    }
}
