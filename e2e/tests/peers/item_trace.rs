//! What the trace of one item has to be, whoever wrote which part of it, and whatever became of the item. What is wrong
//! is told in words; a test adds what is particular to its case, as an outline.

use std::collections::BTreeSet;

use crate::attributes::Value;
use crate::critical_path::{critical_path, time_by_name};
use crate::ids;
use crate::spans::{Kind, Span};
use crate::tree::{STEP_NS, Trace};

/// What the broker calls itself.
pub(crate) const BROKER: &str = "baton-broker";

/// Stages that follow each other from an item's beginning to its end.
const PARTS: [&str; 8] = [
    "publish",
    "store",
    "scheduled",
    "queue",
    "deliver",
    "prefetch",
    "process",
    "settle",
];

/// The editions of names that we use.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.44.0";

/// One `item` span and what is below it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ItemTrace<'a> {
    pub(crate) trace: &'a Trace,
    pub(crate) item: &'a Span,
    /// Where the broker was reached.
    broker: &'a str,
}

/// `queue` of `queue orders`.
pub(crate) fn operation(span: &Span) -> &str {
    span.name.split_once(' ').map_or("", |(name, _)| name)
}

/// An attribute that is text; it has to be there.
pub(crate) fn text<'a>(span: &'a Span, key: &str) -> &'a str {
    let value = span.attributes.get(key).and_then(Value::text);
    value.unwrap_or_else(|| panic!("no text {key} in {span:#?}"))
}

/// An attribute that is a number; it has to be there.
pub(crate) fn number(span: &Span, key: &str) -> f64 {
    match span.attributes.get(key) {
        Some(Value::Int(number)) => *number as f64,
        Some(Value::Float(number)) => *number,
        other => panic!("{key} is {other:?} in {span:#?}"),
    }
}

/// The item's id, as its span says it.
pub(crate) fn message_id(span: &Span) -> u64 {
    text(span, "messaging.message.id").parse().unwrap()
}

/// Whether the broker wrote it in the name of a client.
pub(crate) fn is_synthesized(span: &Span) -> bool {
    span.attributes.get("messaging.baton.synthesized") == Some(&Value::Bool(true))
}

impl<'a> ItemTrace<'a> {
    /// Of a trace with one item.
    pub(crate) fn only(trace: &'a Trace) -> Self {
        let mut all = Self::all(trace);
        assert_eq!(all.len(), 1, "items in\n{}", trace.outline());
        all.remove(0)
    }

    /// Several, if they have a foreign span as their parent.
    pub(crate) fn all(trace: &'a Trace) -> Vec<Self> {
        let items = trace.spans.iter().filter(|span| operation(span) == "item");
        let broker = "127.0.0.1";
        let all = items.map(|item| Self {
            trace,
            item,
            broker,
        });
        all.collect()
    }

    /// By clients that reach the broker at this address, instead of 127.0.0.1.
    pub(crate) fn through(self, broker: &'a str) -> Self {
        Self { broker, ..self }
    }

    /// The item's spans, parents first.
    pub(crate) fn spans(&self) -> Vec<&'a Span> {
        let mut found = vec![self.item];
        let mut at = 0;
        while let Some(&span) = found.get(at) {
            found.extend(self.trace.children(span));
            at += 1;
        }
        found
    }

    /// Those of one operation, by their start.
    pub(crate) fn of(&self, name: &str) -> Vec<&'a Span> {
        let mut found = self.spans();
        found.retain(|span| operation(span) == name);
        found.sort_by_key(|span| span.start_ns);
        found
    }

    /// The only one of an operation.
    pub(crate) fn find(&self, name: &str) -> &'a Span {
        match self.of(name)[..] {
            [span] => span,
            ref found => panic!("{} {name:?} in\n{}", found.len(), self.trace.outline()),
        }
    }

    /// What is below the item, as in `create store queue deliver(process ack) settle`; batches are left out.
    pub(crate) fn shape(&self) -> String {
        self.shape_below(self.item)
    }

    fn shape_below(&self, parent: &Span) -> String {
        let mut children: Vec<_> = self.trace.children(parent).collect();
        children.retain(|child| operation(child) != "publish");
        // It begins where the item begins, to which the clocks of two processes need not agree.
        children.sort_by_key(|child| (operation(child) != "create", child.start_ns));
        let words = children
            .into_iter()
            .map(|child| match self.shape_below(child) {
                below if below.is_empty() => operation(child).to_owned(),
                below => format!("{}({below})", operation(child)),
            });
        words.collect::<Vec<_>>().join(" ")
    }

    /// Well made, whatever became of it.
    pub(crate) fn check(&self) {
        let violations = self.violations();
        assert_eq!(violations, Vec::<String>::new(), "{}", self.trace.outline());
    }

    /// What the item says became of it.
    pub(crate) fn outcome(&self) -> &'a str {
        text(self.item, "messaging.baton.outcome")
    }

    pub(crate) fn id(&self) -> u64 {
        message_id(self.item)
    }

    /// Why it was exported.
    pub(crate) fn sampled_by(&self) -> &'a str {
        text(self.item, "messaging.baton.sampled_by")
    }

    /// Milliseconds.
    pub(crate) fn stage_ms(&self, stage: &str) -> f64 {
        number(self.item, &format!("messaging.baton.stage.{stage}_ms"))
    }

    /// All checks.
    pub(crate) fn violations(&self) -> Vec<String> {
        let mut violations = self.trace.repeated_ids();
        violations.extend(self.trace.stages_that_do_not_touch_below(self.item, BROKER));
        violations.extend(self.children_outside());
        violations.extend(self.settles_that_overlap());
        for span in self.spans() {
            violations.extend(self.wrong_words(span));
            violations.extend(self.wrong_id(span));
        }
        violations.extend(self.wrong_sums());
        violations.extend(self.wait_off_the_critical_path());
        violations
    }

    /// What clients measure themselves may outlast its parent: it is over when they know what became of it, and a `publish`
    /// when the last of its batch is confirmed, which need not be the item that it hangs on.
    fn children_outside(&self) -> Vec<String> {
        let mut violations = Vec::new();
        for parent in self.spans() {
            for child in self.trace.children(parent) {
                let real = !is_synthesized(child);
                let outlasts =
                    ["create", "publish", "ack", "nack"].contains(&operation(child)) && real;
                let (from, to) = (parent.start_ns, parent.end_ns);
                let inside = from <= child.start_ns
                    && child.start_ns <= child.end_ns.min(to)
                    && (child.end_ns <= to || outlasts);
                if !inside {
                    let times = [child.start_ns, child.end_ns].map(|at| ago(from, at));
                    let length = ago(from, parent.end_ns);
                    let names = format!("{:?} in {:?}", child.name, parent.name);
                    violations.push(format!("{names} is at {times:?} ns of {length}"));
                }
            }
        }
        violations
    }

    /// A consumer settles when its work is over.
    fn settles_that_overlap(&self) -> Vec<String> {
        let mut violations = Vec::new();
        for deliver in self.of("deliver") {
            let child = |names: &[&str]| {
                let mut children = self.trace.children(deliver);
                children.find(|span| names.contains(&operation(span)))
            };
            if let (Some(process), Some(settle)) = (child(&["process"]), child(&["ack", "nack"])) {
                let gap = ago(process.end_ns, settle.start_ns);
                if gap < 0 || (is_synthesized(settle) && gap != i128::from(STEP_NS)) {
                    violations.push(format!("{:?} begins {gap} ns after the work", settle.name));
                }
            }
        }
        violations
    }

    fn wrong_words(&self, span: &Span) -> Vec<String> {
        let mut wrong = Vec::new();
        let name = operation(span);
        let expected = words(name);
        let queue = span.name.split_once(' ').map_or("", |(_, queue)| queue);
        let mut says = |what: &str, is: &str, should: &str| {
            if is != should {
                wrong.push(format!(
                    "{what} of {:?} is {is:?}, not {should:?}",
                    span.name
                ));
            }
        };
        let said = |key: &str| span.attributes.get(key).and_then(Value::text);
        let said = |key: &str| said(key).unwrap_or_default();
        says(
            "kind",
            &format!("{:?}", span.kind),
            &format!("{:?}", expected.kind),
        );
        says("schema", &span.schema, SCHEMA);
        says("system", said("messaging.system"), "baton");
        says("destination", said("messaging.destination.name"), queue);
        says("operation", said("messaging.operation.name"), name);
        says(
            "type",
            said("messaging.operation.type"),
            expected.operation_type,
        );
        says("address", said("server.address"), self.broker);
        if name != "publish" {
            let id = self.id().to_string();
            says("message id", said("messaging.message.id"), &id);
        }
        let keys: BTreeSet<_> = span.attributes.keys().map(String::as_str).collect();
        let required: BTreeSet<_> = expected.keys.iter().copied().collect();
        let required = &required | &BTreeSet::from(COMMON);
        let required = match CLIENTS.contains(&name) && !is_synthesized(span) {
            true => &required | &BTreeSet::from(CLOCK),
            false => required,
        };
        let missing: Vec<_> = required.difference(&keys).collect();
        let more = keys.difference(&required);
        let more: Vec<_> = more
            .filter(|key| !MAY_BE.contains(key) && !is_stage(key))
            .collect();
        if !missing.is_empty() || !more.is_empty() {
            wrong.push(format!(
                "{:?} lacks {missing:?} and has {more:?}",
                span.name
            ));
        }
        if let Some(Value::Int(error_ns @ 1..)) = span.attributes.get(CLOCK[1]) {
            wrong.push(format!(
                "{:?} is {error_ns} ns off on one machine",
                span.name
            ));
        }
        if span.flags & 1 == 0 {
            wrong.push(format!("{:?} is not sampled", span.name));
        }
        wrong
    }

    /// Those that the broker writes are computed; those of clients with an SDK are drawn by it.
    fn wrong_id(&self, span: &Span) -> Option<String> {
        let name = operation(span);
        let is_computed = span.service() == BROKER || is_synthesized(span);
        // An `item` begins the formula, and a made-up `create` has the id that was sent, if one was.
        if !is_computed || ["item", "create"].contains(&name) {
            return None;
        }
        let attempt = match span.attributes.get("messaging.baton.attempt") {
            Some(Value::Int(attempt)) => u32::try_from(*attempt).unwrap(),
            _ => 0,
        };
        let expected = ids::of(&span.trace_id, &self.item.span_id, name, attempt);
        let is = &span.span_id;
        (*is != expected).then(|| format!("{:?} has the id {is}, not {expected}", span.name))
    }

    /// An item's stages are all of its time.
    fn wrong_sums(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let parts: f64 = PARTS.map(|stage| self.stage_ms(stage)).iter().sum();
        let total = self.stage_ms("total");
        if (parts - total).abs() > 1e-6 {
            wrong.push(format!(
                "the stages take {parts} ms and the item {total} ms"
            ));
        }
        let mut lasts = |what: &str, span_ms: f64, stage_ms: f64, microseconds: usize| {
            // A stage is moved on by a microsecond for each short one before it.
            if (span_ms - stage_ms).abs() > microseconds as f64 / 1e3 {
                wrong.push(format!("{what} lasts {span_ms} ms and takes {stage_ms} ms"));
            }
        };
        let children = self.trace.children(self.item).count();
        lasts("the item", milliseconds(self.item), total, children + 1);
        for stage in ["store", "scheduled", "queue"] {
            let spans = self.of(stage);
            let span_ms = spans.iter().map(|span| milliseconds(span)).sum();
            let slack = (children + 1) * spans.len().max(1);
            lasts(stage, span_ms, self.stage_ms(stage), slack);
        }
        wrong
    }

    /// What Jaeger shows as the reason for the item's time has its waits in it, in full.
    fn wait_off_the_critical_path(&self) -> Vec<String> {
        let waits = self.of("queue");
        let Some(first) = waits.first() else {
            return Vec::new();
        };
        // An item below a foreign span, which did not wait for it, is on no path.
        if self.item.parent.is_some() {
            return Vec::new();
        }
        let path = critical_path(self.trace);
        let on_path = time_by_name(&path).get(first.name.as_str()).copied();
        let length = |span: &&Span| (span.end_ns - span.start_ns) / STEP_NS;
        let waited: u64 = waits.iter().map(length).sum();
        let (on_path, name) = (on_path.unwrap_or(0), &first.name);
        let wrong = on_path != waited;
        wrong
            .then(|| format!("{on_path} us of {waited} us {name:?} are on {path:?}"))
            .into_iter()
            .collect()
    }
}

fn ago(from: u64, at: u64) -> i128 {
    i128::from(at) - i128::from(from)
}

fn milliseconds(span: &Span) -> f64 {
    (span.end_ns - span.start_ns) as f64 / 1e6
}

fn is_stage(key: &str) -> bool {
    let stage = key.strip_prefix("messaging.baton.stage.");
    stage.is_some_and(|stage| stage.ends_with("_ms"))
}

/// Of every span.
const COMMON: [&str; 5] = [
    "messaging.system",
    "messaging.destination.name",
    "messaging.operation.name",
    "server.address",
    "server.port",
];

/// What a client measures itself, and so on its own clock.
const CLIENTS: [&str; 5] = ["create", "publish", "process", "ack", "nack"];

/// How that clock compares with the broker's.
const CLOCK: [&str; 2] = [
    "messaging.baton.clock.offset_ns",
    "messaging.baton.clock.error_ns",
];

/// What depends on how an item fared, and on who sent it.
const MAY_BE: [&str; 6] = [
    CLIENT,
    "error.type",
    "messaging.baton.synthesized",
    "messaging.baton.clock.approximate",
    "messaging.batch.message_count",
    "messaging.message.id",
];

/// What a span of an operation has to say.
struct Words {
    kind: Kind,
    /// In OpenTelemetry's words; empty: it has none for what a broker does.
    operation_type: &'static str,
    keys: &'static [&'static str],
}

const TYPE: &str = "messaging.operation.type";
const ITEM: &str = "messaging.message.id";
const CLIENT: &str = "messaging.client.id";
const ATTEMPT: &str = "messaging.baton.attempt";
const ATTEMPTS: &str = "messaging.baton.attempts";
const OUTCOME: &str = "messaging.baton.outcome";
const REASON: &str = "messaging.baton.reason";

fn words(operation: &str) -> Words {
    let (kind, operation_type, keys): (_, _, &[_]) = match operation {
        "item" => (Kind::Internal, "", &OF_ITEM),
        "create" => (Kind::Producer, "create", &[TYPE, ITEM, CLIENT]),
        "publish" => (Kind::Client, "send", &[TYPE, CLIENT]),
        "store" => (Kind::Server, "", &[ITEM]),
        "scheduled" => (Kind::Internal, "", &[ITEM, ATTEMPT]),
        "queue" => (Kind::Internal, "", &OF_QUEUE),
        "deliver" => (Kind::Client, "", &[ITEM, CLIENT, ATTEMPT, OUTCOME]),
        "process" => (Kind::Consumer, "process", &[TYPE, ITEM, CLIENT, ATTEMPT]),
        "ack" | "nack" => (Kind::Client, "settle", &[TYPE, ITEM, CLIENT, ATTEMPT]),
        "settle" => (Kind::Server, "", &[ITEM, CLIENT, ATTEMPT, OUTCOME]),
        "dead-letter" | "expire" => (Kind::Internal, "", &[ITEM, REASON, ATTEMPTS]),
        other => panic!("nobody knows of {other:?}"),
    };
    Words {
        kind,
        operation_type,
        keys,
    }
}

const OF_ITEM: [&str; 5] = [
    ITEM,
    OUTCOME,
    ATTEMPTS,
    "messaging.baton.sampled_by",
    "messaging.baton.clock.error_us",
];

const OF_QUEUE: [&str; 8] = [
    ITEM,
    ATTEMPT,
    "messaging.baton.wait_reason",
    "messaging.baton.wait.backlog_ms",
    "messaging.baton.wait.no_consumer_ms",
    "messaging.baton.wait.no_credit_ms",
    "messaging.baton.wait.paused_ms",
    "messaging.baton.wait.before_restart_ms",
];
