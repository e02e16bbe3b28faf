//! What to do about a request that failed: OTLP's table of status codes, and how long to wait (opentelemetry-proto,
//! `docs/specification.md`, "Failures" and "OTLP/gRPC Throttling"). Pure.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::collector::is_unanswered;

/// Bound of the first wait: a collector that restarts is back within seconds.
const FIRST: Duration = Duration::from_millis(500);

/// Bound of every wait of our own choice: so late an outage's end is noticed.
const LONGEST: Duration = Duration::from_secs(15);

/// The longest wait that a collector can ask for.
const WISH_MAX: Duration = Duration::from_secs(30);

/// What a failure means for the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Again, and not before the time that the collector asks for, if any.
    Retry(Option<Duration>),
    /// The collector will never take it.
    Refused,
}

/// What the status of a failed request means.
pub(super) fn judge(status: &Status) -> Verdict {
    let wish = status
        .get_details_retry_info()
        .and_then(|it| it.retry_delay)
        .filter(|delay| !delay.is_zero());
    let is_transient = match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::ResourceExhausted => status.get_details_retry_info().is_some(),
        Code::Ok
        | Code::Unknown
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Unimplemented
        | Code::Internal
        | Code::Unauthenticated => false,
    };
    if is_transient || is_unanswered(status) {
        Verdict::Retry(wish)
    } else {
        Verdict::Refused
    }
}

/// How long to wait before the next try. Grows over batches too, until a request is answered.
#[derive(Debug)]
pub(super) struct Backoff {
    bound: Duration,
}

impl Backoff {
    pub(super) const fn new() -> Self {
        Self { bound: FIRST }
    }

    /// Between half the bound and all of it; `random` is within 0 and 1. Never below what the collector asks for.
    pub(super) fn delay(&mut self, wish: Option<Duration>, random: f64) -> Duration {
        let own = self.bound.mul_f64(0.5 + random / 2.0);
        self.bound = (self.bound * 2).min(LONGEST);
        own.max(wish.unwrap_or_default().min(WISH_MAX))
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    fn with_wish(code: Code, delay: Option<Duration>) -> Status {
        Status::with_error_details(code, "", ErrorDetails::with_retry_info(delay))
    }

    /// The specification's table.
    #[test]
    fn each_code_is_judged_as_the_specification_says() {
        for code in (0..=16).map(Code::from_i32) {
            let again = [
                Code::Cancelled,
                Code::DeadlineExceeded,
                Code::Aborted,
                Code::OutOfRange,
                Code::Unavailable,
                Code::DataLoss,
            ];
            let expected = match again.contains(&code) {
                true => Verdict::Retry(None),
                false => Verdict::Refused,
            };
            assert_eq!(judge(&Status::new(code, "")), expected, "{code:?}");
        }
    }

    #[test]
    fn an_exhausted_collector_is_asked_again_only_if_it_says_so() {
        let second = Some(Duration::from_secs(1));
        let exhausted = |delay| judge(&with_wish(Code::ResourceExhausted, delay));
        assert_eq!(exhausted(second), Verdict::Retry(second));
        assert_eq!(exhausted(None), Verdict::Retry(None));
        assert_eq!(exhausted(Some(Duration::ZERO)), Verdict::Retry(None));
        assert_eq!(
            judge(&with_wish(Code::Unavailable, second)),
            Verdict::Retry(second)
        );
        assert_eq!(
            judge(&with_wish(Code::InvalidArgument, second)),
            Verdict::Refused
        );
    }

    #[test]
    fn a_connection_that_broke_is_no_answer() {
        let broken = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        let mut status = Status::unknown("");
        assert_eq!(judge(&status), Verdict::Refused);
        status.set_source(std::sync::Arc::new(broken));
        assert_eq!(judge(&status), Verdict::Retry(None));
    }

    #[test]
    fn waits_double_up_to_a_bound_and_differ() {
        let mut backoff = Backoff::new();
        let longest: Vec<_> = (0..8)
            .map(|_| backoff.delay(None, 1.0).as_millis())
            .collect();
        assert_eq!(longest, [500, 1000, 2000, 4000, 8000, 15000, 15000, 15000]);
        assert_eq!(backoff.delay(None, 0.0).as_millis(), 7500);
    }

    #[test]
    fn a_collector_can_ask_for_more_time_within_bounds() {
        let delay = |wish| Backoff::new().delay(Some(Duration::from_secs(wish)), 1.0);
        assert_eq!(delay(0), FIRST);
        assert_eq!(delay(7), Duration::from_secs(7));
        assert_eq!(delay(86400), WISH_MAX);
    }
}
