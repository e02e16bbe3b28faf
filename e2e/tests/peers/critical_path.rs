//! What Jaeger's user interface calls the critical path of a trace: the spans that it shows as "this is what took the
//! time". Its rules, restated from `packages/jaeger-ui/src/components/TracePage/CriticalPath` and
//! `model/transform-trace-data.ts` (2026-08), because whether ours are on the path depends on details:
//!
//! - it counts whole microseconds;
//! - a span is shown below the first of its parent and its links that is in the trace, and one without a parent takes a
//!   link within the trace for it;
//! - a CONSUMER below a PRODUCER does not block it and is left out, with all below it;
//! - what starts after its parent's end is left out; what only ends after it is cut off;
//! - the path goes back in time from the root's end, to the child that ends last, then to its sibling that ends last of
//!   those that end *before* (and not when) the child starts.

use std::collections::{BTreeMap, HashMap};

use crate::spans::{Kind, Span};
use crate::tree::Trace;

#[cfg(test)]
mod tests;

/// Part of a span that is on the path, in microseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) name: String,
    pub(crate) start_us: u64,
    pub(crate) end_us: u64,
}

#[derive(Debug, Clone)]
struct Node<'a> {
    span: &'a Span,
    /// Which need not be the one that it is shown below.
    parent: Option<&'a str>,
    start: u64,
    end: u64,
    /// By their start.
    children: Vec<&'a str>,
}

type Nodes<'a> = HashMap<&'a str, Node<'a>>;

/// The path, from its end to its beginning.
pub(crate) fn critical_path(trace: &Trace) -> Vec<Section> {
    let by_id: HashMap<_, _> = trace
        .spans
        .iter()
        .map(|span| (&span.span_id, span))
        .collect();
    let shown_below = |span: &Span| {
        let links = span.links.iter().map(|link| &link.span_id);
        let mut references = span.parent.iter().chain(links);
        references.find_map(|id| by_id.get(id).copied())
    };
    let mut below = HashMap::<&str, Vec<&Span>>::new();
    let mut roots = Vec::new();
    for span in &trace.spans {
        match shown_below(span) {
            Some(parent) => below.entry(&parent.span_id).or_default().push(span),
            None => roots.push(span),
        }
    }
    let mut path = Vec::new();
    for root in roots {
        let (mut nodes, mut order) = (Nodes::new(), Vec::new());
        collect(root, &below, &mut nodes, &mut order);
        fit(&mut nodes, &order);
        walk(&nodes, root, &mut path);
    }
    path
}

/// Microseconds on the path, by the spans' names.
pub(crate) fn time_by_name(path: &[Section]) -> BTreeMap<&str, u64> {
    let mut times = BTreeMap::new();
    for section in path {
        *times.entry(section.name.as_str()).or_default() += section.end_us - section.start_us;
    }
    times
}

/// Takes a span, and what blocks it below it; parents come first.
fn collect<'a>(
    span: &'a Span,
    below: &HashMap<&str, Vec<&'a Span>>,
    nodes: &mut Nodes<'a>,
    order: &mut Vec<&'a str>,
) {
    let start = span.start_ns / 1000;
    let mut links = span.links.iter();
    let link = links.find(|link| link.trace_id == span.trace_id);
    let link = link.map(|link| link.span_id.as_str());
    let children = below.get(span.span_id.as_str()).into_iter().flatten();
    let blocking = |child: &&&Span| span.kind != Kind::Producer || child.kind != Kind::Consumer;
    let children: Vec<_> = children.filter(blocking).collect();
    let node = Node {
        span,
        parent: span.parent.as_deref().or(link),
        start,
        end: start + (span.end_ns - span.start_ns) / 1000,
        children: children
            .iter()
            .map(|child| child.span_id.as_str())
            .collect(),
    };
    nodes.insert(&span.span_id, node);
    order.push(&span.span_id);
    for child in children {
        collect(child, below, nodes, order);
    }
}

/// Leaves out what is outside of its parent, and cuts off what sticks out.
fn fit<'a>(nodes: &mut Nodes<'a>, order: &[&'a str]) {
    for &id in order {
        let Some(parent) = nodes[id].parent else {
            continue;
        };
        let within = nodes.get(parent).map(|parent| (parent.start, parent.end));
        let Node { start, end, .. } = nodes[id];
        let fits = within.filter(|&(from, to)| {
            if start >= from {
                start < to
            } else {
                end > from
            }
        });
        if let (Some((from, to)), Some(node)) = (fits, nodes.get_mut(id)) {
            node.start = start.max(from);
            node.end = end.min(to);
        } else {
            nodes.remove(id);
        }
    }
}

fn walk(nodes: &Nodes<'_>, root: &Span, path: &mut Vec<Section>) {
    let mut at = nodes.get(root.span_id.as_str());
    let mut before = None;
    while let Some(node) = at {
        let child = last_to_end(nodes, node, before);
        let section = Section {
            name: node.span.name.clone(),
            start_us: child.map_or(node.start, |child| child.end),
            end_us: before.unwrap_or(node.end),
        };
        if section.start_us != section.end_us {
            path.push(section);
        }
        if child.is_some() {
            at = child;
            before = None;
        } else {
            at = node.parent.and_then(|parent| nodes.get(parent));
            before = Some(node.start);
        }
    }
}

/// Of those that end together, the first.
fn last_to_end<'n, 'a>(
    nodes: &'n Nodes<'a>,
    node: &Node<'a>,
    before: Option<u64>,
) -> Option<&'n Node<'a>> {
    let children = node.children.iter().filter_map(|id| nodes.get(id));
    let ended = children.filter(|child| before.is_none_or(|before| child.end < before));
    ended.reduce(|last, child| if child.end > last.end { child } else { last })
}
