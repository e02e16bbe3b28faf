//! Traces drawn by hand, for tests of what judges traces.

use std::collections::BTreeMap;

use crate::attributes::Value;
use crate::spans::{Kind, Link, Span, Status};
use crate::tree::Trace;

/// Since 1970, in microseconds: where a sketch's time begins.
pub(crate) const BEGINNING_US: u64 = 1_795_374_000_000_000;

#[derive(Debug, Default)]
pub(crate) struct Sketch {
    pub(crate) spans: Vec<Span>,
}

impl Sketch {
    /// Draws a span of the broker below the span of another name, or a root when that name is empty.
    pub(crate) fn span(mut self, name: &str, kind: Kind, below: &str, us: (u64, u64)) -> Self {
        let at = |us: u64| (BEGINNING_US + us) * 1000;
        let service = Value::Text("baton-broker".to_owned());
        self.spans.push(Span {
            trace_id: "1".repeat(32),
            span_id: format!("{:016x}", self.spans.len() + 1),
            parent: (!below.is_empty()).then(|| self.id(below)),
            name: name.to_owned(),
            kind,
            flags: 1,
            trace_state: String::new(),
            start_ns: at(us.0),
            end_ns: at(us.1),
            attributes: BTreeMap::new(),
            events: Vec::new(),
            links: Vec::new(),
            status: Status::default(),
            scope: String::new(),
            schema: String::new(),
            resource: BTreeMap::from([("service.name".to_owned(), service)]),
        });
        self
    }

    fn id(&self, name: &str) -> String {
        let mut named = self.spans.iter().filter(|span| span.name == name);
        named.next().expect("it is drawn").span_id.clone()
    }

    /// Says who emitted the last span.
    pub(crate) fn by(mut self, service: &str) -> Self {
        let last = self.spans.last_mut().expect("one is drawn");
        let service = Value::Text(service.to_owned());
        last.resource.insert("service.name".to_owned(), service);
        self
    }

    /// Links the last span to the span of another name.
    pub(crate) fn linked_to(mut self, name: &str) -> Self {
        let span_id = self.id(name);
        let last = self.spans.last_mut().expect("one is drawn");
        last.links.push(Link {
            trace_id: last.trace_id.clone(),
            span_id,
            flags: 1,
            trace_state: String::new(),
            attributes: BTreeMap::new(),
        });
        self
    }

    pub(crate) fn trace(self) -> Trace {
        Trace::all(self.spans).pop().expect("spans are drawn")
    }
}
