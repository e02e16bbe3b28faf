//! Waiting until items are settled.
//!
//! Owns the long poll behind `Producer::join` and `Queue::join`.

use std::time::Duration;

use baton_proto::opaque::{JoinRequest, JoinResponse};

use crate::call::retrying;
use crate::clock;
use crate::context::Context;
use crate::error::Error;

/// Half of the longest that the broker waits, so that a connection which died is noticed.
const POLL: Duration = Duration::from_secs(30);

/// What became of the items that were waited for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Joined {
    /// The item that was waited for; 0: there was none.
    pub up_to: u64,
    /// Acknowledged.
    pub acked: u64,
    /// Dead letters, discarded ones too.
    pub dead: u64,
    /// Their time to live ran out.
    pub expired: u64,
    /// Cancelled or purged.
    pub cancelled: u64,
}

/// Items after one id, up to another (0: up to the last one published when the call arrives).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) after: u64,
    pub(crate) up_to: u64,
}

/// Waits for as long as it takes. Cancel-safe.
pub(crate) async fn join(context: &Context, queue: &str, span: Span) -> Result<Joined, Error> {
    let mut up_to = span.up_to;
    loop {
        let request = JoinRequest {
            queue: queue.to_owned(),
            up_to,
            after: span.after,
            wait: Some(clock::wire_duration(POLL)),
        };
        let response = retrying(context, || {
            let (mut calls, request) = (context.calls(), request.clone());
            async move { calls.join(request).await }
        })
        .await?;
        if response.done {
            return Ok(joined(response));
        }
        // Items published later must not move the goal.
        up_to = response.up_to;
    }
}

fn joined(response: JoinResponse) -> Joined {
    Joined {
        up_to: response.up_to,
        acked: response.acked,
        dead: response.dead,
        expired: response.expired,
        cancelled: response.cancelled,
    }
}
