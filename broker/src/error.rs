//! Everything the broker says no with, and the only place that knows gRPC codes, HTTP codes and the sentences of refusals.
//!
//! An error is made where the fault is found and turned into a status at the edge, in one step. Its
//! [`ErrorCode`] travels as the reason of a `google.rpc.ErrorInfo`; docs/ERRORS.md has a section for each.

use std::collections::HashMap;
use std::time::Duration;

use axum::http::StatusCode;
use baton_proto::item_scan::ScanError;
use baton_proto::v1::ErrorCode;
use thiserror::Error;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Domain of the ErrorInfo that every refusal carries.
pub const ERROR_DOMAIN: &str = "baton";

/// Why the broker did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// A field of the request is missing or out of range.
    #[error("{field}: {fault}")]
    Invalid {
        /// The field, as the .proto names it.
        field: &'static str,
        /// What is wrong with it, and what would be right.
        fault: String,
    },
    /// Not a name.
    #[error("{0:?} is no queue name; a name is 1 to 128 of letters, digits, '.', '_' and '-'")]
    QueueName(String),
    /// An item that can never be stored.
    #[error("{0}")]
    Item(#[from] ScanError),
    /// An item past the largest a batch may hold.
    #[error(
        "the encoded item has {actual} bytes, at most {max} are allowed; send a reference to the data"
    )]
    ItemTooLarge {
        /// Bytes it has.
        actual: usize,
        /// Bytes it may have.
        max: usize,
    },
    /// A batch of no items, or of too many.
    #[error(
        "a batch has 1 to {max_items} items of at most {max_bytes} bytes together, this one has {items} of {bytes}; split it"
    )]
    Batch {
        /// Items it has.
        items: usize,
        /// Bytes it has.
        bytes: usize,
        /// Items it may have.
        max_items: usize,
        /// Bytes it may have.
        max_bytes: usize,
    },
    /// Credit below 0, of nothing, or beyond what a consumer may have.
    #[error("credit: {0}")]
    Credit(String),
    /// A stream's first message was something else.
    #[error(
        "a stream begins with `start` and a hello that names the client; send them first, within 10 s"
    )]
    HelloMissing,
    /// No such queue, and none is made here.
    #[error("queue {0:?} does not exist; create it, or check the name")]
    QueueNotFound(String),
    /// No such item.
    #[error("item {0} was never published to this queue; check the id and the queue")]
    ItemNotFound(u64),
    /// An item of which no trace can be made.
    #[error(
        "item {0} has no trace here; only items that have ended have one, and as long as they are remembered"
    )]
    TraceNotFound(u64),
    /// Nothing is served under this path.
    #[error("there is nothing at {0:?}; docs/HTTP.md lists what there is")]
    PathUnknown(String),
    /// The HTTP port is for looking only.
    #[error("only GET and HEAD are served here; change things over gRPC")]
    MethodUnknown,
    /// Create of what is there.
    #[error("queue {0:?} exists already; update it instead")]
    QueueExists(String),
    /// Publish to a closed queue.
    #[error(
        "the queue is closed; reopen it with UpdateQueue (closed = false) or publish to another one"
    )]
    QueueClosed,
    /// Delete of a queue that still holds something.
    #[error("the queue still holds items or dead letters; purge it, or delete with force")]
    QueueNotEmpty,
    /// A sequence so old that its fate is not remembered.
    #[error(
        "the fate of this sequence is no longer remembered; look whether the item is there before publishing it again under a new sequence"
    )]
    SequenceForgotten,
    /// Someone else changed it first.
    #[error(
        "the queue's configuration was changed by someone else; read it again, then repeat the change"
    )]
    EtagMismatch,
    /// The depth limit.
    #[error(
        "the queue is full; wait until consumers make room, or raise its max_items and max_bytes"
    )]
    QueueFull,
    /// More at once than the queue may ever hold.
    #[error(
        "the batch is larger than the queue's depth limit; split it, or raise max_items and max_bytes"
    )]
    BatchNeverFits,
    /// The memory engine's limit over all queues.
    #[error(
        "the broker's memory for items is used up; wait until consumers make room, or raise --memory-limit"
    )]
    MemoryFull,
    /// The disk under the journal.
    #[error("the broker's disk is full; wait until consumers make room, or give it more")]
    DiskFull,
    /// A write or sync failed.
    #[error(
        "the broker's journal failed, nothing was done; it has to be restarted, repeat the call then"
    )]
    JournalFailed,
    /// Too many dedup keys inside the window.
    #[error(
        "the queue remembers as many dedup keys as it may; publish without a key, more slowly, or shorten the dedup window"
    )]
    DedupFull {
        /// When the oldest is forgotten.
        retry_after: Duration,
    },
    /// A stream's message that is no message, or is too long.
    #[error(
        "the stream's next message cannot be read ({0}); check its encoding, and split batches"
    )]
    Unreadable(String),
    /// Some other bound.
    #[error("the broker has {max} {what} already; close some, or use another broker")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        max: usize,
    },
    /// Shutting down.
    #[error("the broker is shutting down and took nothing; connect again and repeat the call")]
    Draining,
    /// The queue's mailbox is full.
    #[error(
        "the queue has more requests waiting than it may; nothing was done, repeat the call a little later"
    )]
    Overloaded,
    /// The request went in and its answer is lost.
    #[error(
        "the broker stopped before the outcome was known; repeat it only with a sequence or a dedup key, or look first"
    )]
    OutcomeUnknown,
}

impl Error {
    /// An [`Error::Invalid`].
    pub fn invalid(field: &'static str, fault: impl Into<String>) -> Self {
        Self::Invalid {
            field,
            fault: fault.into(),
        }
    }

    /// The machine's word for it.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid { .. }
            | Self::Unreadable(_)
            | Self::PathUnknown(_)
            | Self::MethodUnknown => ErrorCode::RequestInvalid,
            Self::QueueName(_) => ErrorCode::QueueNameInvalid,
            Self::Item(ScanError::PayloadTooLarge { .. }) | Self::ItemTooLarge { .. } => {
                ErrorCode::ItemTooLarge
            }
            Self::Item(_) => ErrorCode::ItemInvalid,
            Self::Batch { .. } | Self::BatchNeverFits => ErrorCode::BatchInvalid,
            Self::Credit(_) => ErrorCode::CreditInvalid,
            Self::HelloMissing => ErrorCode::HelloMissing,
            Self::QueueNotFound(_) => ErrorCode::QueueNotFound,
            Self::ItemNotFound(_) | Self::TraceNotFound(_) => ErrorCode::ItemNotFound,
            Self::QueueExists(_) => ErrorCode::QueueExists,
            Self::QueueClosed => ErrorCode::QueueClosed,
            Self::QueueNotEmpty => ErrorCode::QueueNotEmpty,
            Self::SequenceForgotten => ErrorCode::SequenceForgotten,
            Self::EtagMismatch => ErrorCode::EtagMismatch,
            Self::QueueFull | Self::MemoryFull => ErrorCode::QueueFull,
            Self::DiskFull => ErrorCode::DiskFull,
            Self::JournalFailed => ErrorCode::JournalFailed,
            Self::DedupFull { .. } => ErrorCode::DedupFull,
            Self::Limit { .. } => ErrorCode::LimitReached,
            Self::Draining => ErrorCode::Draining,
            Self::Overloaded => ErrorCode::Overloaded,
            Self::OutcomeUnknown => ErrorCode::OutcomeUnknown,
        }
    }

    /// When another try may go better; none: not by waiting.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::DedupFull { retry_after } => Some(*retry_after),
            Self::QueueFull | Self::MemoryFull | Self::Overloaded => {
                Some(Duration::from_millis(100))
            }
            Self::Limit { .. } | Self::Draining | Self::DiskFull | Self::JournalFailed => {
                Some(Duration::from_secs(1))
            }
            _ => None,
        }
    }

    /// What a gRPC client gets.
    #[must_use]
    pub fn status(&self) -> Status {
        let mut details = ErrorDetails::new();
        details.set_error_info(reason(self.code()), ERROR_DOMAIN, HashMap::new());
        if let Some(after) = self.retry_after() {
            details.set_retry_info(Some(after));
        }
        if let Self::Invalid { field, fault } = self {
            details.add_bad_request_violation(*field, fault.clone());
        }
        Status::with_error_details(grpc(self.code()), self.to_string(), details)
    }

    /// The status that an HTTP client gets.
    #[must_use]
    pub fn http_status(&self) -> StatusCode {
        match self {
            Self::PathUnknown(_) => StatusCode::NOT_FOUND,
            Self::MethodUnknown => StatusCode::METHOD_NOT_ALLOWED,
            _ => http(self.code()),
        }
    }
}

/// A reason as an ErrorInfo has it, and an HTTP answer.
pub(crate) fn reason(code: ErrorCode) -> &'static str {
    code.as_str_name().trim_start_matches("ERROR_CODE_")
}

/// The gRPC code of each reason.
#[must_use]
pub fn grpc(code: ErrorCode) -> Code {
    match code {
        ErrorCode::RequestInvalid
        | ErrorCode::QueueNameInvalid
        | ErrorCode::ItemInvalid
        | ErrorCode::ItemTooLarge
        | ErrorCode::BatchInvalid
        | ErrorCode::CreditInvalid
        | ErrorCode::HelloMissing => Code::InvalidArgument,
        ErrorCode::QueueNotFound | ErrorCode::ItemNotFound => Code::NotFound,
        ErrorCode::QueueExists => Code::AlreadyExists,
        ErrorCode::QueueClosed | ErrorCode::QueueNotEmpty | ErrorCode::SequenceForgotten => {
            Code::FailedPrecondition
        }
        ErrorCode::EtagMismatch => Code::Aborted,
        ErrorCode::QueueFull
        | ErrorCode::DedupFull
        | ErrorCode::LimitReached
        | ErrorCode::DiskFull => Code::ResourceExhausted,
        ErrorCode::Draining
        | ErrorCode::Overloaded
        | ErrorCode::OutcomeUnknown
        | ErrorCode::JournalFailed => Code::Unavailable,
        ErrorCode::Internal | ErrorCode::Unspecified => Code::Internal,
    }
}

/// The HTTP status of each reason.
#[must_use]
pub fn http(code: ErrorCode) -> StatusCode {
    match grpc(code) {
        Code::InvalidArgument => StatusCode::BAD_REQUEST,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        error.status()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes() -> impl Iterator<Item = ErrorCode> {
        (1..).map_while(|number| ErrorCode::try_from(number).ok())
    }

    #[test]
    fn every_reason_has_its_section_and_every_section_its_reason() {
        let page = include_str!("../../docs/ERRORS.md");
        let sections: Vec<_> = page
            .lines()
            .filter_map(|line| line.strip_prefix("## "))
            .collect();
        let reasons: Vec<_> = codes().map(reason).collect();
        assert_eq!(sections, reasons);
    }

    #[test]
    fn a_section_begins_with_the_code_that_is_sent() {
        let page = include_str!("../../docs/ERRORS.md");
        for code in codes() {
            let (_, section) = page.split_once(&format!("## {}\n", reason(code))).unwrap();
            let sent = format!("{:?}", grpc(code)).to_uppercase();
            let told = section.split(['.', ',']).next().unwrap().replace('_', "");
            assert_eq!(told, sent, "{code:?}");
        }
    }

    #[test]
    fn a_status_carries_its_reason_and_when_to_retry() {
        let status = Error::QueueFull.status();
        assert_eq!(status.code(), Code::ResourceExhausted);
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "QUEUE_FULL");
        assert!(details.retry_info().unwrap().retry_delay.is_some());
        let invalid = Error::invalid("max_items", "is -1")
            .status()
            .get_error_details();
        assert_eq!(
            invalid.bad_request().unwrap().field_violations[0].field,
            "max_items"
        );
    }
}
