//! How a queue behaves. The queue takes a [`Config`] as it is; whoever lets one in calls [`Config::validate`].

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::{
    BACKOFF_INITIAL_DEFAULT, BACKOFF_MAX, BACKOFF_MAX_DEFAULT, DEDUP_WINDOW_DEFAULT,
    DEDUP_WINDOW_MAX, DEDUP_WINDOW_MIN, LEASE_DURATION_DEFAULT, LEASE_DURATION_MAX,
    LEASE_DURATION_MIN, MAX_ATTEMPTS_DEFAULT, MAX_ATTEMPTS_MAX, TTL_MAX,
};

/// How a queue behaves.
// Kept on disk by position (see `codec`): a field more or less is a new version of the format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// How long a consumer may work on an item before others get it. 1 s to 12 h; default 30 s.
    pub lease_duration: Duration,
    /// Deliveries of an item before it becomes a dead letter. 1 to 10000; default 20.
    pub max_attempts: u32,
    /// How long a failed item waits before its next attempt.
    pub backoff: Backoff,
    /// How long a dedup key and a producer's sequence are remembered. 1 s to 24 h; default 10 min.
    pub dedup_window: Duration,
    /// Time to live of items that bring none. More than 0 and at most 1 year; default none.
    pub default_ttl: Option<Duration>,
    /// Depth in items (scheduled + ready + leased). None and 0: no limit, the default.
    pub max_items: Option<u64>,
    /// Depth in bytes of items, counted as `max_items` is. None and 0: no limit, the default.
    pub max_bytes: Option<u64>,
    /// Publishes are accepted, deliveries withheld.
    pub paused: bool,
    /// Publishes are refused.
    pub closed: bool,
}

/// Exponential back-off with full jitter: before attempt n+1 an item waits a random time between 0 and
/// min(max, initial * 2^(n-1)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// 0 to 12 h; default 1 s.
    pub initial: Duration,
    /// `initial` to 12 h; default 10 min.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: BACKOFF_INITIAL_DEFAULT,
            max: BACKOFF_MAX_DEFAULT,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lease_duration: LEASE_DURATION_DEFAULT,
            max_attempts: MAX_ATTEMPTS_DEFAULT,
            backoff: Backoff::default(),
            dedup_window: DEDUP_WINDOW_DEFAULT,
            default_ttl: None,
            max_items: None,
            max_bytes: None,
            paused: false,
            closed: false,
        }
    }
}

impl Config {
    /// Holds the configuration against the limits.
    ///
    /// # Errors
    /// The first field that is out of its limits.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !(LEASE_DURATION_MIN..=LEASE_DURATION_MAX).contains(&self.lease_duration) {
            return Err(ConfigError::LeaseDuration);
        }
        if !(1..=MAX_ATTEMPTS_MAX).contains(&self.max_attempts) {
            return Err(ConfigError::MaxAttempts);
        }
        if self.backoff.initial > BACKOFF_MAX {
            return Err(ConfigError::BackoffInitial);
        }
        if !(self.backoff.initial..=BACKOFF_MAX).contains(&self.backoff.max) {
            return Err(ConfigError::BackoffMax);
        }
        if !(DEDUP_WINDOW_MIN..=DEDUP_WINDOW_MAX).contains(&self.dedup_window) {
            return Err(ConfigError::DedupWindow);
        }
        if self
            .default_ttl
            .is_some_and(|ttl| ttl.is_zero() || ttl > TTL_MAX)
        {
            return Err(ConfigError::DefaultTtl);
        }
        Ok(())
    }

    /// The limit of depth in items, where there is one.
    pub(crate) fn items_limit(&self) -> Option<u64> {
        self.max_items.filter(|max| *max > 0)
    }

    /// The limit of depth in bytes, where there is one.
    pub(crate) fn bytes_limit(&self) -> Option<u64> {
        self.max_bytes.filter(|max| *max > 0)
    }
}

/// The field of a configuration that is out of its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// `lease_duration`.
    #[error("lease_duration is not within 1 s and 12 h")]
    LeaseDuration,
    /// `max_attempts`.
    #[error("max_attempts is not within 1 and {MAX_ATTEMPTS_MAX}")]
    MaxAttempts,
    /// `backoff.initial`.
    #[error("backoff.initial is more than 12 h")]
    BackoffInitial,
    /// `backoff.max`.
    #[error("backoff.max is not within backoff.initial and 12 h")]
    BackoffMax,
    /// `dedup_window`.
    #[error("dedup_window is not within 1 s and 24 h")]
    DedupWindow,
    /// `default_ttl`.
    #[error("default_ttl is not more than 0 and at most 1 year")]
    DefaultTtl,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_within_the_limits() {
        assert_eq!(Config::default().validate(), Ok(()));
    }

    #[test]
    fn each_field_is_held_against_its_limits() {
        type Change = fn(&mut Config);
        const LONG: Duration = Duration::from_secs(400 * 24 * 60 * 60);
        const SHORT: Duration = Duration::from_millis(500);
        let table: [(Change, ConfigError); 9] = [
            (
                |config| config.lease_duration = SHORT,
                ConfigError::LeaseDuration,
            ),
            (
                |config| config.lease_duration = LONG,
                ConfigError::LeaseDuration,
            ),
            (|config| config.max_attempts = 0, ConfigError::MaxAttempts),
            (
                |config| config.max_attempts = 10_001,
                ConfigError::MaxAttempts,
            ),
            (
                |config| config.backoff.initial = LONG,
                ConfigError::BackoffInitial,
            ),
            (|config| config.backoff.max = SHORT, ConfigError::BackoffMax),
            (
                |config| config.dedup_window = SHORT,
                ConfigError::DedupWindow,
            ),
            (
                |config| config.default_ttl = Some(Duration::ZERO),
                ConfigError::DefaultTtl,
            ),
            (
                |config| config.default_ttl = Some(LONG),
                ConfigError::DefaultTtl,
            ),
        ];
        for (change, error) in table {
            let mut config = Config::default();
            change(&mut config);
            assert_eq!(config.validate(), Err(error), "{config:?}");
        }
    }

    #[test]
    fn no_back_off_at_all_is_allowed() {
        let backoff = Backoff {
            initial: Duration::ZERO,
            max: Duration::ZERO,
        };
        assert_eq!(
            Config {
                backoff,
                ..Config::default()
            }
            .validate(),
            Ok(())
        );
    }
}
