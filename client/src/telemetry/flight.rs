//! A batch on its way to the broker, until the last of its items is confirmed.
//!
//! Owns its times, and, where it holds a sampled item, what its `publish` span needs. That span is made when it is over,
//! because only then the items have ids: a child of its first sampled item's `create`, linked to those of all.

use std::time::SystemTime;

use opentelemetry::trace::{Link, SpanContext, SpanKind};

use super::LINKS_MAX;
use super::attributes::{Operation, message_count, message_id};
use super::creation::Created;
use super::scope::{Scope, end_at};
use super::wall_time;
use crate::clock::now_ns;
use crate::error::Error;

#[derive(Debug)]
pub(crate) struct Flight {
    items: usize,
    flushed_ns: u64,
    failed: usize,
    error: Option<Error>,
    traced: Option<Box<Traced>>,
}

#[derive(Debug)]
struct Traced {
    parent: SpanContext,
    links: Vec<Link>,
    /// Of the first item.
    item_id: u64,
}

impl Flight {
    /// A batch that goes out now.
    pub(crate) fn new(items: usize) -> Self {
        Self {
            items,
            flushed_ns: now_ns(),
            failed: 0,
            error: None,
            traced: None,
        }
    }

    /// The fate of one of its sampled items; 0: it has no id.
    pub(crate) fn note(&mut self, created: &Created, item_id: u64) {
        let context = created.context();
        let traced = self.traced.get_or_insert_with(|| {
            Box::new(Traced {
                parent: context.clone(),
                links: Vec::new(),
                item_id,
            })
        });
        if traced.links.len() < LINKS_MAX {
            let id = (item_id > 0).then(|| message_id(item_id));
            let link = Link::new(context.clone(), id.into_iter().collect(), 0);
            traced.links.push(link);
        }
    }

    /// One of its items failed.
    pub(crate) fn fail(&mut self, error: &Error) {
        self.failed += 1;
        self.error.get_or_insert_with(|| error.clone());
    }

    /// It is over: with the error that ended its stream, or as its items have it.
    pub(crate) fn end(self, scope: &Scope, at: SystemTime, lost: Option<&Error>) {
        let all_failed = self.failed >= self.items;
        let of_items = self.error.as_ref().filter(|_| all_failed);
        let error = lost.or(of_items);
        scope.published(self.flushed_ns, error);
        let (Some(traced), Some(tracer)) = (self.traced, scope.tracer()) else {
            return;
        };
        let mut span = scope.span(Operation::PUBLISH, SpanKind::Client);
        span.start_time = Some(wall_time(self.flushed_ns));
        let Traced {
            parent,
            links,
            item_id,
        } = *traced;
        span.links = Some(links);
        let which = match item_id {
            _ if self.items > 1 => Some(message_count(self.items)),
            0 => None,
            id => Some(message_id(id)),
        };
        let attributes = span.attributes.get_or_insert_default();
        attributes.extend(which);
        attributes.extend(scope.broker_time.attributes());
        let mut span = scope.start_below(tracer, span, parent);
        end_at(&mut span, at, error);
    }
}
