//! The `ack` or `nack` span of one sampled delivery: from its settle to the broker's answer.

use std::time::SystemTime;

use opentelemetry::global::BoxedSpan;
use opentelemetry::trace::{Span as _, Status};

use super::attributes::error_type;
use super::scope::end_at;
use crate::error::Error;
use crate::settle::Settled;

/// `error.type` of a settle that came too late.
const LEASE_LOST: &str = "LEASE_LOST";

/// Dropped without an outcome, the span just ends.
#[derive(Debug)]
pub(crate) struct Settlement {
    pub(super) span: BoxedSpan,
}

impl Settlement {
    pub(crate) fn end(mut self, outcome: &Result<Settled, Error>) {
        if matches!(outcome, Ok(Settled::LeaseLost)) {
            self.span.set_attribute(error_type(LEASE_LOST));
            self.span.set_status(Status::error("the lease had ended"));
        }
        end_at(&mut self.span, SystemTime::now(), outcome.as_ref().err());
    }
}
