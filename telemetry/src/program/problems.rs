//! Collects everything that is wrong with a configuration, so that it is all said at once.

use std::error::Error;
use std::fmt;
use std::time::Duration;

const QUEUE_NAME_MAX_BYTES: usize = 128;

/// What is wrong, flag by flag, in the order found.
#[derive(Debug, Default)]
pub struct Problems {
    found: Vec<String>,
}

impl Problems {
    /// None so far.
    #[must_use]
    pub const fn new() -> Self {
        Self { found: Vec::new() }
    }

    /// Notes that `flag` is wrong.
    pub fn add(&mut self, flag: &str, problem: impl fmt::Display) {
        self.found.push(format!("{flag}: {problem}"));
    }

    /// Notes a problem that names its flag or variable by itself.
    pub fn note(&mut self, problem: impl fmt::Display) {
        self.found.push(problem.to_string());
    }

    /// Notes `problem` unless `fine`.
    pub fn check(&mut self, fine: bool, flag: &str, problem: impl fmt::Display) {
        if !fine {
            self.add(flag, problem);
        }
    }

    /// The value of `flag`, or its default with the problem noted: the configuration is not used then.
    pub fn take<T: Default>(&mut self, flag: &str, value: Result<T, impl fmt::Display>) -> T {
        value.unwrap_or_else(|problem| {
            self.add(flag, problem);
            T::default()
        })
    }

    /// A duration such as `500ms`, as flags have it.
    pub fn duration(&mut self, flag: &str, text: &str) -> Duration {
        self.take(flag, parse_duration(text))
    }

    /// As `duration`, and within both limits.
    pub fn duration_within(
        &mut self,
        flag: &str,
        text: &str,
        (least, most): (Duration, Duration),
    ) -> Duration {
        let duration = match parse_duration(text) {
            Ok(duration) => duration,
            Err(problem) => {
                self.add(flag, problem);
                return least;
            }
        };
        let (shortest, longest) = (
            humantime::format_duration(least),
            humantime::format_duration(most),
        );
        let problem = format!("{text} is not within {shortest} and {longest}");
        self.check((least..=most).contains(&duration), flag, problem);
        duration
    }

    /// # Errors
    ///
    /// If there were any problems: all of them.
    pub fn finish<T>(self, configuration: T) -> Result<T, Self> {
        if self.found.is_empty() {
            Ok(configuration)
        } else {
            Err(self)
        }
    }
}

/// Parses `500ms`, `30s`, `1h 30m`.
///
/// # Errors
///
/// A sentence that shows what is expected.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| format!("{text:?} is no duration; say for example 500ms, 30s or 1h"))
}

/// Notes it if `name` cannot be a queue's.
pub fn check_queue_name(problems: &mut Problems, name: &str) {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let fine = (1..=QUEUE_NAME_MAX_BYTES).contains(&name.len()) && name.bytes().all(is_allowed);
    let problem = format!("{name:?} is no queue name; it takes 1 to 128 of A-Z a-z 0-9 . _ -");
    problems.check(fine, "QUEUE", problem);
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.found.len() == 1 {
            "problem"
        } else {
            "problems"
        };
        write!(f, "{} {noun} with the configuration", self.found.len())?;
        self.found
            .iter()
            .try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_are_reported_at_once() {
        let mut problems = Problems::new();
        let lease_limits = (Duration::from_secs(1), Duration::from_secs(60));
        assert_eq!(problems.duration("--delay", "2s"), Duration::from_secs(2));
        problems.duration("--ttl", "soon");
        problems.duration_within("--lease", "2h", lease_limits);
        problems.duration_within("--lease", "1m", lease_limits);
        problems.check(true, "--count", "never said");
        let report = problems.finish(()).unwrap_err().to_string();
        assert_eq!(
            report,
            "2 problems with the configuration\n  \
             --ttl: \"soon\" is no duration; say for example 500ms, 30s or 1h\n  \
             --lease: 2h is not within 1s and 1m"
        );
    }

    #[test]
    fn queue_names_are_letters_digits_and_three_signs() {
        let longest = "q".repeat(128);
        for (name, fine) in [
            ("orders.eu-1_b", true),
            (longest.as_str(), true),
            ("", false),
            ("a/b", false),
            ("ä", false),
        ] {
            let mut problems = Problems::new();
            check_queue_name(&mut problems, name);
            assert_eq!(problems.finish(()).is_ok(), fine, "{name}");
        }
    }

    #[test]
    fn a_bare_number_but_zero_is_no_duration() {
        assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
        assert!(parse_duration("5").is_err() && parse_duration("-5s").is_err());
    }
}
