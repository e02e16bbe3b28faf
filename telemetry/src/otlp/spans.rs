//! Encoded spans of one service, as they travel from whoever ended them to the collector.

use std::sync::Arc;

use super::span::{Span, encode};

/// Encoded spans of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spans {
    /// Whose spans they are; None: the broker's own.
    pub service: Option<Arc<str>>,
    /// Entries of `ScopeSpans.spans`, as [`encode`] writes them.
    pub encoded: Vec<u8>,
    /// How many there are.
    pub count: u32,
}

impl Spans {
    /// None yet.
    #[must_use]
    pub const fn of(service: Option<Arc<str>>) -> Self {
        Self {
            service,
            encoded: Vec::new(),
            count: 0,
        }
    }

    /// Encodes one more.
    pub fn push(&mut self, span: &Span<'_>) {
        encode(span, &mut self.encoded);
        self.count += 1;
    }
}
