//! Spans as trees, and what is wrong with one, in words. Each check returns a list that is empty when all is well.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;

use crate::spans::{Kind, Span};

#[cfg(test)]
mod tests;

/// Every stage ends this long before the next one begins, so that tools that count microseconds see two that do not overlap.
pub(crate) const STEP_NS: u64 = 1000;

/// The spans of one trace, by their start; what starts together, the longest first.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    pub(crate) id: String,
    pub(crate) spans: Vec<Span>,
}

impl Trace {
    /// Sorts spans into their traces, the earliest first.
    pub(crate) fn all(spans: Vec<Span>) -> Vec<Self> {
        let mut traces = BTreeMap::<String, Vec<Span>>::new();
        for span in spans {
            traces.entry(span.trace_id.clone()).or_default().push(span);
        }
        let mut traces: Vec<_> = traces
            .into_iter()
            .map(|(id, mut spans)| {
                spans.sort_by_key(|span| (span.start_ns, u64::MAX - span.end_ns));
                Self { id, spans }
            })
            .collect();
        traces.sort_by_key(|trace| trace.spans[0].start_ns);
        traces
    }

    /// The span of this name; there has to be one.
    pub(crate) fn find(&self, name: &str) -> &Span {
        let mut named = self.spans.iter().filter(|span| span.name == name);
        match (named.next(), named.next()) {
            (Some(span), None) => span,
            (None, _) => panic!("no {name:?} in\n{}", self.outline()),
            (Some(_), Some(_)) => panic!("more than one {name:?} in\n{}", self.outline()),
        }
    }

    /// Spans whose parent is not here.
    pub(crate) fn roots(&self) -> impl Iterator<Item = &Span> {
        let here: HashSet<_> = self.spans.iter().map(|span| &span.span_id).collect();
        let is_root = move |span: &&Span| span.parent.as_ref().is_none_or(|id| !here.contains(id));
        self.spans.iter().filter(is_root)
    }

    pub(crate) fn children(&self, parent: &Span) -> impl Iterator<Item = &Span> {
        let is_child = |span: &&Span| span.parent.as_ref() == Some(&parent.span_id);
        self.spans.iter().filter(is_child)
    }

    /// A line for each span, below its parent: name, kind, who emitted it, and where it links to within the trace.
    ///
    /// ```text
    /// item q (internal, baton-broker)
    ///   process q (consumer, baton-consumer) -> create q
    /// ```
    pub(crate) fn outline(&self) -> String {
        let mut outline = String::new();
        for root in self.roots() {
            self.outline_below(root, 0, &mut outline);
        }
        outline
    }

    fn outline_below(&self, span: &Span, depth: usize, outline: &mut String) {
        let kind = kind_name(span.kind);
        let Span { name, .. } = span;
        write!(
            outline,
            "{:1$}{name} ({kind}, {2})",
            "",
            depth * 2,
            span.service()
        )
        .unwrap();
        for link in &span.links {
            let to = self.spans.iter().find(|to| to.span_id == link.span_id);
            let to = to.map_or("elsewhere", |to| to.name.as_str());
            write!(outline, " -> {to}").unwrap();
        }
        outline.push('\n');
        for child in self.children(span) {
            self.outline_below(child, depth + 1, outline);
        }
    }

    /// All checks; `broker` is the service whose spans are stages.
    pub(crate) fn violations(&self, broker: &str) -> Vec<String> {
        let mut violations = self.repeated_ids();
        violations.extend(self.roots_but_one());
        violations.extend(self.absent_parents());
        violations.extend(self.children_outside());
        violations.extend(self.stages_that_do_not_touch(broker));
        violations
    }

    pub(crate) fn repeated_ids(&self) -> Vec<String> {
        let mut first = HashMap::new();
        let mut violations = Vec::new();
        for span in &self.spans {
            if let Some(first) = first.insert(&span.span_id, &span.name) {
                let (id, name) = (&span.span_id, &span.name);
                violations.push(format!("{first:?} and {name:?} have the same id {id}"));
            }
        }
        violations
    }

    pub(crate) fn roots_but_one(&self) -> Vec<String> {
        let roots: Vec<_> = self.roots().map(|span| &span.name).collect();
        match roots.as_slice() {
            [_] => Vec::new(),
            _ => vec![format!("the roots are {roots:?} and not one")],
        }
    }

    pub(crate) fn absent_parents(&self) -> Vec<String> {
        let orphans = self.roots().filter_map(|span| {
            let parent = span.parent.as_ref()?;
            Some(format!("the parent {parent} of {:?} is absent", span.name))
        });
        orphans.collect()
    }

    pub(crate) fn children_outside(&self) -> Vec<String> {
        let mut violations = Vec::new();
        for parent in &self.spans {
            if parent.end_ns < parent.start_ns {
                violations.push(format!("{:?} ends before it starts", parent.name));
            }
            for child in self.children(parent) {
                let names = format!("{:?} in {:?}", child.name, parent.name);
                if child.start_ns < parent.start_ns {
                    let early = parent.start_ns - child.start_ns;
                    violations.push(format!("{names} starts {early} ns before it"));
                }
                if child.end_ns > parent.end_ns {
                    let late = child.end_ns - parent.end_ns;
                    violations.push(format!("{names} ends {late} ns after it"));
                }
            }
        }
        violations
    }

    /// Siblings of one service follow each other by [`STEP_NS`], neither more nor less.
    pub(crate) fn stages_that_do_not_touch(&self, service: &str) -> Vec<String> {
        let below = |parent| self.stages_that_do_not_touch_below(parent, service);
        self.spans.iter().flat_map(below).collect()
    }

    /// The same of one parent's children.
    pub(crate) fn stages_that_do_not_touch_below(
        &self,
        parent: &Span,
        service: &str,
    ) -> Vec<String> {
        let mut violations = Vec::new();
        let stages = self.children(parent);
        let stages: Vec<_> = stages.filter(|span| span.service() == service).collect();
        for (stage, next) in stages.iter().zip(stages.iter().skip(1)) {
            let gap = i128::from(next.start_ns) - i128::from(stage.end_ns);
            if gap != i128::from(STEP_NS) {
                let names = format!("{:?} starts {gap} ns after {:?}", next.name, stage.name);
                violations.push(format!("{names} and not {STEP_NS} ns"));
            }
        }
        violations
    }
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Unspecified => "unspecified",
        Kind::Internal => "internal",
        Kind::Server => "server",
        Kind::Client => "client",
        Kind::Producer => "producer",
        Kind::Consumer => "consumer",
    }
}
