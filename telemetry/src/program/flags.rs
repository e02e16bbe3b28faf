//! The flags that every program has.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::problems::Problems;
use super::progress::Stderr;
use crate::logging::{self, LogFormat, LoggingError};

const LONGEST_GIVE_UP: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Where the broker is and how patient to be with it.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Broker")]
pub struct ConnectionFlags {
    /// Where the broker listens for gRPC
    #[arg(
        long,
        env = "BATON_BROKER",
        value_name = "URL",
        default_value = "http://127.0.0.1:7400",
        global = true
    )]
    pub broker: String,
    /// How long to go on trying while the broker cannot be reached, for example 30s
    #[arg(long, value_name = "DURATION", default_value = "5m", global = true)]
    pub give_up_after: String,
}

impl ConnectionFlags {
    /// How long to go on trying; what is wrong with it goes to `problems`.
    pub fn give_up_after(&self, problems: &mut Problems) -> Duration {
        let limits = (Duration::ZERO, LONGEST_GIVE_UP);
        problems.duration_within("--give-up-after", &self.give_up_after, limits)
    }
}

/// What the program says and how.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub struct OutputFlags {
    /// How to report: lines for people, or one JSON object for each item and one for the summary
    #[arg(long, value_enum, default_value_t, value_name = "FORM", global = true)]
    pub output: OutputForm,
    /// Say nothing about single items that went well; the summary stays
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// When to colour; auto: on a terminal, unless NO_COLOR is set
    #[arg(long, value_enum, default_value_t, value_name = "WHEN", global = true)]
    pub color: Colour,
    /// What to log to stderr: a level, or filters such as baton_client=debug,warn
    #[arg(
        long,
        env = "BATON_LOG",
        value_name = "FILTER",
        default_value = "warn",
        global = true
    )]
    pub log: String,
}

impl OutputFlags {
    /// Starts the log, which is JSON where the output is.
    ///
    /// # Errors
    ///
    /// As [`logging::init`].
    pub fn init_log(&self) -> Result<(), LoggingError> {
        let format = match self.output {
            OutputForm::Text => LogFormat::Text,
            OutputForm::Json => LogFormat::Json,
        };
        logging::init_with(|| Stderr, format, Some(&self.log))
    }
}

/// Who reads the output.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputForm {
    /// People.
    #[default]
    Text,
    /// Programs.
    Json,
}

/// When to colour.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colour {
    /// Where a terminal shows it.
    #[default]
    Auto,
    /// Files too.
    Always,
    /// Not at all.
    Never,
}

impl From<Colour> for anstream::ColorChoice {
    fn from(colour: Colour) -> Self {
        match colour {
            Colour::Auto => Self::Auto,
            Colour::Always => Self::Always,
            Colour::Never => Self::Never,
        }
    }
}
