//! How the programs end. The numbers are a contract with scripts and stand in every `--help`.

use std::process::ExitCode;

/// Shown below `--help`.
pub const EXIT_CODES_HELP: &str = "\
Exit codes:
  0    done, or whoever read the output went away; also SIGTERM to a run without an end of its own
  1    failed, for example no broker within --give-up-after
  2    flags that cannot be understood
  64   flags that were understood but make no sense
  65   bad input data (producer)
  127  the command does not exist (consumer exec)
  130  stopped by Ctrl-C (SIGINT) after finishing what was in hand
  143  stopped by SIGTERM before its end, after finishing what was in hand";

/// Why a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything asked for was done.
    Done,
    /// It could not be done.
    Failed,
    /// The flags make no sense together (EX_USAGE).
    Configuration,
    /// The input is broken (EX_DATAERR).
    BadInput,
    /// The command to run does not exist, as shells say it.
    CommandNotFound,
    /// SIGINT, as shells say it.
    Interrupted,
    /// SIGTERM, as shells say it.
    Terminated,
}

impl Exit {
    /// The number that the parent process sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Configuration => 64,
            Self::BadInput => 65,
            Self::CommandNotFound => 127,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exit_code_stands_in_the_help() {
        for exit in [
            Exit::Done,
            Exit::Failed,
            Exit::Configuration,
            Exit::BadInput,
            Exit::CommandNotFound,
            Exit::Interrupted,
            Exit::Terminated,
        ] {
            let row = format!("\n  {:<5}", exit.code());
            assert!(EXIT_CODES_HELP.contains(&row), "{exit:?}");
        }
    }
}
