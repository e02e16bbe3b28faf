//! The one error of this crate: a closed enum whose messages say what happened and what to do about it.
//!
//! Owns the classification of failed calls: what is permanent, and what a reconnect or a retry may cure. Used by every
//! module here. A failure is `Clone`, because one lost stream fails many waiting items.

use std::time::Duration;

use baton_proto::v1::ErrorCode;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// The domain of Baton's `google.rpc.ErrorInfo`.
const DOMAIN: &str = "baton";

/// What can go wrong.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The broker's address cannot be used.
    #[error("broker address {url:?} cannot be used ({reason}); give it as http://host:port")]
    InvalidUrl {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The queue, or this producer's window, has no room (`try_publish` only).
    #[error("the queue is full; try again later, or use publish(), which waits for room")]
    QueueFull,
    /// No item is ready (`get_nowait` only).
    #[error("no item is ready; try again later, or use lease() with a wait")]
    QueueEmpty,
    /// The broker refused this one item; the others are not affected.
    #[error("the broker refused the item: {message} ({})", reason(*code))]
    Refused {
        /// Why.
        code: ErrorCode,
        /// The same in words.
        message: String,
    },
    /// The item can never be sent: its encoding is larger than any broker takes.
    #[error(
        "the item has {bytes} bytes, more than {max}; put its payload elsewhere and publish a reference"
    )]
    ItemTooLarge {
        /// Bytes of the encoded item.
        bytes: usize,
        /// The most that is ever taken.
        max: usize,
    },
    /// The broker, or the way to it, failed the call.
    #[error("{}", rpc_text(_0))]
    Rpc(Status),
    /// The broker could not be reached.
    #[error("cannot connect to the broker at {url} ({reason}); check the address and that it runs")]
    Connect {
        /// Where to.
        url: String,
        /// What the operating system said.
        reason: String,
    },
    /// The broker was out of reach for too long.
    #[error("gave up after {} without a working broker; the last failure was: {last}", span(*after))]
    GaveUp {
        /// How long it was tried.
        after: Duration,
        /// What failed last.
        last: Box<Self>,
    },
    /// This producer or consumer was closed; open another.
    #[error("closed; open another one")]
    Closed,
    /// No lease of the queue ever looked like this one.
    #[error("the broker does not know this lease; settle with the client that received the item")]
    InvalidLease,
    /// The broker broke the contract.
    #[error("the broker broke the contract: {0}; client and broker versions may not fit")]
    Protocol(&'static str),
}

impl Error {
    /// Baton's own reason, where the broker gave one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::Rpc(status) => code_of(status),
            Self::GaveUp { last, .. } => last.code(),
            Self::QueueFull => Some(ErrorCode::QueueFull),
            Self::ItemTooLarge { .. } => Some(ErrorCode::ItemTooLarge),
            Self::InvalidUrl { .. }
            | Self::QueueEmpty
            | Self::Connect { .. }
            | Self::Closed
            | Self::InvalidLease
            | Self::Protocol(_) => None,
        }
    }

    /// Whether the same call may succeed later, unchanged. The library has retried these already where that is safe.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::QueueFull | Self::QueueEmpty | Self::Connect { .. } | Self::GaveUp { .. } => true,
            Self::Refused { code, .. } => is_transient_code(*code),
            Self::Rpc(status) => match code_of(status) {
                Some(code) => is_transient_code(code),
                None => is_transient_grpc(status.code()),
            },
            Self::InvalidUrl { .. }
            | Self::ItemTooLarge { .. }
            | Self::Closed
            | Self::InvalidLease
            | Self::Protocol(_) => false,
        }
    }

    /// How long the broker asks to wait before a retry.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Rpc(status) => status.get_details_retry_info()?.retry_delay,
            Self::GaveUp { last, .. } => last.retry_after(),
            _ => None,
        }
    }

    /// Whether a working broker asks to wait for room; only its absence counts against `give_up_after`.
    pub(crate) fn asks_to_wait(&self) -> bool {
        match self {
            Self::Rpc(status) => code_of(status).is_some_and(|code| {
                matches!(
                    code,
                    ErrorCode::QueueFull | ErrorCode::DedupFull | ErrorCode::DiskFull
                )
            }),
            _ => false,
        }
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::Rpc(status)
    }
}

/// What became of one item, from the wire.
pub(crate) fn refusal(code: i32, message: &str) -> Error {
    Error::Refused {
        code: ErrorCode::try_from(code).unwrap_or(ErrorCode::Unspecified),
        message: message.to_owned(),
    }
}

fn rpc_text(status: &Status) -> String {
    let reason = code_of(status).map_or("", reason);
    let cause = std::error::Error::source(status).map(root_cause);
    let cause = cause.filter(|cause| !status.message().contains(cause.as_str()));
    let mut text = format!("{:?}: {}", status.code(), status.message());
    if let Some(cause) = cause {
        text.push_str(": ");
        text.push_str(&cause);
    }
    if !reason.is_empty() {
        text.push_str(&format!(" ({reason})"));
    } else if status.code() == Code::Unimplemented {
        text.push_str("; is the address that of a Baton broker, and of its gRPC port?");
    }
    text
}

/// The innermost cause, which names what the operating system said.
pub(crate) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// A duration as people write it: `5m` rather than `300s`.
pub(crate) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        _ if duration.subsec_nanos() != 0 => format!("{duration:?}"),
        3600.. if seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        60.. if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

/// A code as docs/ERRORS.md and an ErrorInfo have it.
fn reason(code: ErrorCode) -> &'static str {
    code.as_str_name().trim_start_matches("ERROR_CODE_")
}

fn code_of(status: &Status) -> Option<ErrorCode> {
    let info = status.get_details_error_info()?;
    if info.domain != DOMAIN {
        return None;
    }
    ErrorCode::from_str_name(&format!("ERROR_CODE_{}", info.reason))
}

fn is_transient_code(code: ErrorCode) -> bool {
    match code {
        ErrorCode::QueueFull
        | ErrorCode::DedupFull
        | ErrorCode::LimitReached
        | ErrorCode::Draining
        | ErrorCode::Overloaded
        | ErrorCode::OutcomeUnknown
        | ErrorCode::DiskFull
        | ErrorCode::JournalFailed => true,
        ErrorCode::Unspecified
        | ErrorCode::RequestInvalid
        | ErrorCode::QueueNameInvalid
        | ErrorCode::ItemInvalid
        | ErrorCode::ItemTooLarge
        | ErrorCode::BatchInvalid
        | ErrorCode::CreditInvalid
        | ErrorCode::HelloMissing
        | ErrorCode::QueueNotFound
        | ErrorCode::ItemNotFound
        | ErrorCode::QueueExists
        | ErrorCode::QueueClosed
        | ErrorCode::QueueNotEmpty
        | ErrorCode::SequenceForgotten
        | ErrorCode::EtagMismatch
        | ErrorCode::Internal => false,
    }
}

/// Without a reason of Baton's, the failure is the transport's or a proxy's. A connection that breaks surfaces as
/// Unknown, Internal or Cancelled, depending on which layer saw it first.
fn is_transient_grpc(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable
            | Code::Unknown
            | Code::Internal
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_they_are_given_to_flags() {
        for (milliseconds, text) in [
            (0, "0s"),
            (50, "50ms"),
            (1_500, "1.5s"),
            (90_000, "90s"),
            (300_000, "5m"),
            (7_200_000, "2h"),
        ] {
            assert_eq!(span(Duration::from_millis(milliseconds)), text);
        }
    }

    #[test]
    fn what_does_not_speak_baton_is_questioned() {
        let text = Error::Rpc(Status::unimplemented("404")).to_string();
        assert!(text.ends_with("and of its gRPC port?"), "{text}");
    }
}
