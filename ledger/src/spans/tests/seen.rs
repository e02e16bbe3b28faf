//! Spans as a collector sees them.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ScopeSpans, Span};
use prost::Message;

use super::super::{Identity, ItemContext, Kept, Spans, spans, whole_tree};
use crate::account::Account;

/// A span and its service; None: the broker.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) service: Option<String>,
    pub(super) span: Span,
}

pub(super) fn identity() -> Identity {
    Identity {
        server_address: "queue.example".into(),
        server_port: 7480,
    }
}

/// In the order in which they were written.
pub(super) fn seen(account: &Account) -> Vec<Seen> {
    read(spans(account, Kept::Slow, &identity()))
}

/// Of the item's file.
pub(super) fn seen_in_file(account: &Account) -> Vec<Seen> {
    let made_up = ItemContext::made_up(9, &account.queue, account.item);
    read(whole_tree(account, made_up, &identity()))
}

fn read(spans: Vec<Spans>) -> Vec<Seen> {
    let mut all = Vec::new();
    for of_service in spans {
        let read = ScopeSpans::decode(of_service.encoded.as_slice()).unwrap();
        assert_eq!(read.spans.len(), of_service.count as usize);
        let service = of_service.service.map(|service| service.to_string());
        all.extend(read.spans.into_iter().map(|span| Seen {
            service: service.clone(),
            span,
        }));
    }
    all
}

impl Seen {
    pub(super) fn start_us(&self) -> u64 {
        self.span.start_time_unix_nano / 1000
    }

    pub(super) fn end_us(&self) -> u64 {
        self.span.end_time_unix_nano / 1000
    }

    pub(super) fn operation(&self) -> &str {
        self.span.name.split(' ').next().unwrap()
    }

    fn value(&self, key: &str) -> Option<&Value> {
        let mut attributes = self.span.attributes.iter();
        let attribute = attributes.find(|attribute| attribute.key == key)?;
        attribute.value.as_ref()?.value.as_ref()
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        match self.value(key)? {
            Value::StringValue(text) => Some(text),
            other => panic!("{key} is {other:?}"),
        }
    }

    /// Whole or not; true is 1.
    pub(super) fn number(&self, key: &str) -> Option<f64> {
        match self.value(key)? {
            Value::DoubleValue(number) => Some(*number),
            Value::IntValue(number) => Some(*number as f64),
            Value::BoolValue(yes) => Some(f64::from(u8::from(*yes))),
            other => panic!("{key} is {other:?}"),
        }
    }

    pub(super) fn status(&self) -> (StatusCode, &str) {
        match &self.span.status {
            Some(status) => (status.code(), &status.message),
            None => (StatusCode::Unset, ""),
        }
    }
}
