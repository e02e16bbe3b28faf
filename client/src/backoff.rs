//! How long to wait before connecting again: exponential, with full jitter, so that clients which lost the same broker do
//! not come back in step.
//!
//! Owns the count of failures and the time since a broker last answered, and tells about both: one line when the broker
//! is lost and one when it is back. Used by the drivers and by unary calls.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, span};

/// Before attempt n+1 a random time between 0 and `min(max, initial * 2^n)` goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Bound of the first wait.
    pub initial: Duration,
    /// Bound of every wait.
    pub max: Duration,
}

impl Default for Backoff {
    /// 100 ms to 5 s.
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(100),
            max: Duration::from_secs(5),
        }
    }
}

impl Backoff {
    fn bound(self, failures: u32) -> Duration {
        let factor = 2u32.saturating_pow(failures.min(31));
        self.initial.saturating_mul(factor).min(self.max)
    }

    fn delay(self, failures: u32) -> Duration {
        self.bound(failures).mul_f64(rand::random::<f64>())
    }
}

/// Counts failures until something works again.
#[derive(Debug)]
pub(crate) struct Patience {
    url: Arc<str>,
    backoff: Backoff,
    give_up_after: Duration,
    failures: u32,
    failing_since: Option<Instant>,
    /// When the user was told that no broker answers.
    told_at: Option<Instant>,
}

impl Patience {
    pub(crate) fn new(url: Arc<str>, backoff: Backoff, give_up_after: Duration) -> Self {
        Self {
            url,
            backoff,
            give_up_after,
            failures: 0,
            failing_since: None,
            told_at: None,
        }
    }

    /// A broker answered: the time until giving up starts anew. The back-off does not: a broker that accepts and falls
    /// over must not be hammered.
    pub(crate) fn answered(&mut self) {
        self.failing_since = None;
        if let Some(told_at) = self.told_at.take() {
            let seconds = told_at.elapsed().as_secs_f64();
            // As loud as the line before it, or the user would be left with that one.
            tracing::warn!("the broker at {} is back after {seconds:.1} s", self.url);
        }
    }

    /// Work got done: all is well.
    pub(crate) fn progressed(&mut self) {
        self.answered();
        self.failures = 0;
    }

    /// What was tried has been given up on: the next attempt is a first one.
    pub(crate) fn start_anew(&mut self) {
        self.failing_since = None;
        self.told_at = None;
        self.failures = 0;
    }

    /// Something failed that may be tried again: waits for a while, or says that it has been too long.
    ///
    /// # Errors
    ///
    /// [`Error::GaveUp`] once no broker has answered for `give_up_after`.
    pub(crate) async fn failed(&mut self, error: Error) -> Result<(), Error> {
        let wait = self.next_wait(error)?;
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// How long to wait before the next attempt.
    pub(crate) fn next_wait(&mut self, error: Error) -> Result<Duration, Error> {
        let now = Instant::now();
        if error.asks_to_wait() {
            self.answered();
        }
        let since = *self.failing_since.get_or_insert(now);
        let left = self.give_up_after.saturating_sub(now - since);
        if left.is_zero() {
            return Err(Error::GaveUp {
                after: self.give_up_after,
                last: Box::new(error),
            });
        }
        self.tell(&error);
        // The broker's word and jitter on top, or all clients would come back at the same moment.
        let wait = error.retry_after().unwrap_or_default() + self.backoff.delay(self.failures);
        self.failures = self.failures.saturating_add(1);
        // One more attempt at the very end, rather than none after the last long wait.
        Ok(wait.min(left))
    }

    /// One line for all attempts until a broker answers; the others are for who debugs.
    fn tell(&mut self, error: &Error) {
        if self.told_at.is_some() || error.asks_to_wait() {
            tracing::debug!(%error, failures = self.failures, "trying again");
            return;
        }
        self.told_at = Some(Instant::now());
        let (url, patience) = (&self.url, span(self.give_up_after));
        match error {
            Error::Connect { .. } => tracing::warn!("{error}; trying again for up to {patience}"),
            _ => tracing::warn!(
                "lost the broker at {url}: {error}; trying again for up to {patience}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patience(give_up_after: Duration) -> Patience {
        Patience::new("http://h:1".into(), Backoff::default(), give_up_after)
    }

    #[test]
    fn waits_grow_to_the_bound_and_no_further() {
        let backoff = Backoff::default();
        let bounds: Vec<_> = (0..8).map(|n| backoff.bound(n).as_millis()).collect();
        assert_eq!(bounds, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert!((0..100).all(|n| backoff.delay(n) <= backoff.bound(n)));
    }

    #[test]
    fn nothing_is_tried_without_patience() {
        let mut patience = patience(Duration::ZERO);
        let outcome = patience.next_wait(Error::Closed);
        assert!(matches!(outcome, Err(Error::GaveUp { .. })));
    }

    #[test]
    fn an_answer_starts_the_time_anew() {
        let mut patience = patience(Duration::from_secs(60));
        patience.next_wait(Error::QueueEmpty).unwrap();
        assert!(patience.failing_since.is_some());
        patience.answered();
        assert!(patience.failing_since.is_none());
        assert_eq!(patience.failures, 1);
        patience.progressed();
        assert_eq!(patience.failures, 0);
    }

    #[test]
    fn a_loss_is_told_once_until_the_broker_is_back() {
        let mut patience = patience(Duration::from_secs(60));
        patience.next_wait(Error::QueueEmpty).unwrap();
        let told_at = patience.told_at;
        assert!(told_at.is_some());
        patience.next_wait(Error::QueueEmpty).unwrap();
        assert_eq!(patience.told_at, told_at);
        patience.answered();
        assert!(patience.told_at.is_none());
    }
}
