//! What the command line means. Everything that is wrong with it is reported at once, before anything is leased.

use std::ffi::OsString;
use std::time::Duration;

use baton_telemetry::program::flags::{OutputFlags, OutputForm};
use baton_telemetry::program::launch::Lasts;
use baton_telemetry::program::otel;
use baton_telemetry::program::problems::{Problems, check_queue_name};

use crate::PROGRAM;
use crate::args::{Args, ExecArgs, ItemFlags, JobArgs, PrintArgs};

const CONCURRENCY_MAX: u32 = 10_000;
/// With the highest concurrency still below the million items of credit that a broker takes.
const PREFETCH_MAX: u32 = 900_000;
/// A queue's payloads are at most this large unless its broker was told otherwise.
const USUAL_PAYLOAD_BYTES: u64 = 1 << 20;
const CREDIT_BYTES: u64 = 8 << 20;
/// Hides the network's latency from a job that takes no time.
const PREFETCH_WITHOUT_WORK: u32 = 1000;
const LEASE_LIMITS: (Duration, Duration) =
    (Duration::from_secs(1), Duration::from_secs(12 * 60 * 60));
const WORK_LIMITS: (Duration, Duration) = (Duration::ZERO, LEASE_LIMITS.1);

/// Settings of one run.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) queue: String,
    pub(crate) broker: String,
    pub(crate) give_up_after: Duration,
    pub(crate) job: JobConfig,
    pub(crate) concurrency: usize,
    pub(crate) credit_items: u32,
    pub(crate) credit_bytes: u64,
    pub(crate) lease: Option<Duration>,
    pub(crate) count: Option<u64>,
    pub(crate) until_drained: bool,
    pub(crate) lasts: Lasts,
    pub(crate) output: OutputFlags,
    pub(crate) otel: otel::Settings,
}

/// What is done with an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JobConfig {
    Print {
        work: Duration,
        raw: bool,
    },
    Exec {
        command: OsString,
        arguments: Vec<OsString>,
        kill_after: Duration,
    },
}

impl Config {
    /// # Errors
    ///
    /// Everything that is wrong.
    pub(crate) fn from_args(args: Args, job: JobArgs) -> Result<Self, Problems> {
        let mut problems = Problems::new();
        check_queue_name(&mut problems, &args.queue);
        let job = match job {
            JobArgs::Print(args) => print(&args, &mut problems),
            JobArgs::Exec(args) => exec(args, &mut problems),
        };
        let raw = matches!(job, JobConfig::Print { raw: true, .. });
        let json = args.output.output == OutputForm::Json;
        problems.check(
            !(raw && json),
            "--raw",
            "leaves no room for --output json; choose one",
        );
        let items = &args.items;
        let fits = (1..=CONCURRENCY_MAX).contains(&items.concurrency);
        problems.check(
            fits,
            "--concurrency",
            format!("has to be 1 to {CONCURRENCY_MAX}"),
        );
        problems.check(items.count != Some(0), "--count", "has to be at least 1");
        let lease = items.lease.as_ref();
        let lease = lease.map(|lease| problems.duration_within("--lease", lease, LEASE_LIMITS));
        let credit_items = credit_items(items, &job, &mut problems);
        let give_up_after = args.connection.give_up_after(&mut problems);
        let otel = otel::Settings::from_env(PROGRAM, &mut problems);
        problems.finish(Self {
            queue: args.queue,
            broker: args.connection.broker,
            give_up_after,
            job,
            concurrency: usize::try_from(items.concurrency).unwrap_or(usize::MAX),
            credit_items,
            // Large payloads must not keep jobs from running side by side.
            credit_bytes: CREDIT_BYTES.max(u64::from(items.concurrency) * USUAL_PAYLOAD_BYTES),
            lease,
            count: items.count,
            until_drained: items.until_drained,
            lasts: lasts(items),
            output: args.output,
            otel,
        })
    }
}

/// One that was told no end is there to be stopped, although its queue may be closed one day.
const fn lasts(items: &ItemFlags) -> Lasts {
    if items.count.is_some() || items.until_drained || items.until_closed {
        Lasts::UntilDone
    } else {
        Lasts::UntilStopped
    }
}

fn print(args: &PrintArgs, problems: &mut Problems) -> JobConfig {
    let work = problems.duration_within("--work", &args.work, WORK_LIMITS);
    JobConfig::Print {
        work,
        raw: args.raw,
    }
}

fn exec(args: ExecArgs, problems: &mut Problems) -> JobConfig {
    let kill_after = problems.duration_within("--kill-after", &args.kill_after, WORK_LIMITS);
    let mut words = args.command.into_iter();
    // clap asks for at least one word.
    let command = words.next().unwrap_or_default();
    JobConfig::Exec {
        command,
        arguments: words.collect(),
        kill_after,
    }
}

/// Items that may be here at a time: those at work and those that wait for it, but no more than are wanted at all.
fn credit_items(items: &ItemFlags, job: &JobConfig, problems: &mut Problems) -> u32 {
    let prefetch = items.prefetch.unwrap_or(match job {
        JobConfig::Print {
            work: Duration::ZERO,
            ..
        } => PREFETCH_WITHOUT_WORK,
        JobConfig::Print { .. } | JobConfig::Exec { .. } => 0,
    });
    problems.check(
        prefetch <= PREFETCH_MAX,
        "--prefetch",
        format!("has to be 0 to {PREFETCH_MAX}"),
    );
    let credit = items.concurrency.saturating_add(prefetch);
    items
        .count
        .and_then(|count| u32::try_from(count).ok())
        .map_or(credit, |count| count.min(credit))
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::args::Task;

    fn config(words: &[&str]) -> Result<Config, String> {
        let words = [&["baton-consumer"], words].concat();
        let mut args = Args::try_parse_from(words).map_err(|error| error.to_string())?;
        let Task::Consume(job) = args.task().map_err(|error| error.to_string())? else {
            return Err("nothing is consumed".to_owned());
        };
        Config::from_args(args, job).map_err(|problems| problems.to_string())
    }

    fn credit(words: &[&str]) -> u32 {
        config(words).unwrap().credit_items
    }

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn everything_after_the_dashes_is_the_command() {
        let words = [
            "q",
            "exec",
            "--concurrency",
            "3",
            "--",
            "sh",
            "-c",
            "exit 0",
            "--count",
            "1",
        ];
        let config = config(&words).unwrap();
        let wanted = JobConfig::Exec {
            command: "sh".into(),
            arguments: ["-c", "exit 0", "--count", "1"]
                .map(OsString::from)
                .to_vec(),
            kill_after: Duration::from_secs(10),
        };
        assert_eq!(
            (config.job, config.concurrency, config.count),
            (wanted, 3, None)
        );
    }

    #[test]
    fn exec_needs_a_command() {
        assert!(config(&["q", "exec"]).is_err());
        assert!(config(&["q", "exec", "--"]).is_err());
    }

    #[test]
    fn slow_work_takes_no_more_than_it_can_do_at_once() {
        assert_eq!(
            credit(&["q", "print", "--work", "1s", "--concurrency", "4"]),
            4
        );
        assert_eq!(credit(&["q", "exec", "--", "true"]), 1);
        assert_eq!(credit(&["q", "exec", "--prefetch", "5", "--", "true"]), 6);
    }

    #[test]
    fn quick_work_prefetches_but_never_more_than_is_wanted() {
        assert_eq!(credit(&["q", "print"]), 1001);
        assert_eq!(credit(&["q", "print", "--prefetch", "0"]), 1);
        assert_eq!(credit(&["q", "print", "--count", "7"]), 7);
        assert_eq!(credit(&["q", "print", "--count", "99999999999"]), 1001);
    }

    #[test]
    fn large_payloads_do_not_keep_jobs_from_running_side_by_side() {
        let bytes = |words: &[&str]| config(words).unwrap().credit_bytes;
        assert_eq!(bytes(&["q", "print"]), 8 << 20);
        assert_eq!(
            bytes(&["q", "exec", "--concurrency", "50", "--", "true"]),
            50 << 20
        );
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let report = config(&[
            "",
            "print",
            "--work",
            "x",
            "--raw",
            "--output",
            "json",
            "--concurrency",
            "0",
            "--count",
            "0",
            "--lease",
            "1ms",
            "--prefetch",
            "900001",
        ])
        .unwrap_err();
        assert!(report.starts_with("7 problems"), "{report}");
        for flag in [
            "QUEUE",
            "--work",
            "--raw",
            "--concurrency",
            "--count",
            "--lease",
            "--prefetch",
        ] {
            assert!(report.contains(flag), "{flag} in {report}");
        }
    }

    #[test]
    fn only_a_consumer_that_was_told_no_end_is_there_to_be_stopped() {
        let lasts = |words: &[&str]| config(&[&["q", "print"], words].concat()).unwrap().lasts;
        assert_eq!(lasts(&[]), Lasts::UntilStopped);
        for end in [&["--count=1"], &["--until-drained"], &["--until-closed"]] {
            assert_eq!(lasts(end), Lasts::UntilDone);
        }
    }

    #[test]
    fn a_queue_cannot_be_waited_for_in_two_ways() {
        assert!(
            config(&["q", "print", "--until-drained"])
                .unwrap()
                .until_drained
        );
        assert!(
            !config(&["q", "print", "--until-closed"])
                .unwrap()
                .until_drained
        );
        assert!(config(&["q", "print", "--until-drained", "--until-closed"]).is_err());
    }
}
