//! The W3C trace context of an item, and the ids of the spans that belong to it.
//!
//! What travels with an item is its *creation context*: a `traceparent`, and from Baton's own producers one `tracestate`
//! member that names the `item` span and its parent, `baton=<item>` or `baton=<item>-<parent>` (16 hex digits each). Every
//! other span id is a hash that each party computes by itself, so a child can be exported before its parent, and exported
//! again without harm:
//!
//! ```text
//! item span without a member = xxh64(trace id, parent span id, queue name, item id as 8 bytes LE)
//! any other span of an item  = xxh64(trace id, item span id, name's number as 1 byte, attempt as 4 bytes LE)
//! ```
//!
//! xxh64 with seed 0, in big-endian; 0 is no id and becomes 1. A `traceparent` that is not valid is ignored (W3C Trace
//! Context, section 3.2); so is a member that is not ours. Called by the client library and the broker; pure.

use std::fmt;
use std::str;

use xxhash_rust::xxh64::xxh64;

/// The key of Baton's own `tracestate` member.
pub const TRACESTATE_KEY: &str = "baton";

const SAMPLED: u8 = 1;

/// 16 bytes, not all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId([u8; 16]);

/// 8 bytes, not all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId([u8; 8]);

impl TraceId {
    /// None: all zero, which is no id.
    #[must_use]
    pub fn new(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(Self(bytes))
    }

    /// As on the wire.
    #[must_use]
    pub const fn bytes(self) -> [u8; 16] {
        self.0
    }
}

impl SpanId {
    /// None: all zero, which is no id.
    #[must_use]
    pub fn new(bytes: [u8; 8]) -> Option<Self> {
        (bytes != [0; 8]).then_some(Self(bytes))
    }

    /// As on the wire.
    #[must_use]
    pub const fn bytes(self) -> [u8; 8] {
        self.0
    }

    fn hash(input: &[u8]) -> Self {
        Self(xxh64(input, 0).max(1).to_be_bytes())
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// Of the whole trace.
    pub trace_id: TraceId,
    /// Of the span that sent it.
    pub span_id: SpanId,
    /// Whether that span is recorded.
    pub sampled: bool,
}

impl TraceParent {
    /// Reads the header's value. None: not valid. Of versions after 00 the first four parts are read, as W3C asks.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        let (version, rest) = (text.get(..2)?, text.get(2..)?);
        let [version] = hex(version)?;
        let known_length = rest.len() == 53;
        let later = version > 0 && rest.len() > 53 && rest[53] == b'-';
        let separated = rest.len() >= 53 && [0, 33, 50].iter().all(|at| rest[*at] == b'-');
        if version == 0xff || !separated || !(known_length || later) {
            return None;
        }
        let [flags] = hex(&rest[51..53])?;
        Some(Self {
            trace_id: TraceId::new(hex(&rest[1..33])?)?,
            span_id: SpanId::new(hex(&rest[34..50])?)?,
            sampled: flags & SAMPLED != 0,
        })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = u8::from(self.sampled);
        write!(f, "00-{}-{}-{flags:02x}", self.trace_id, self.span_id)
    }
}

/// Lower case only, as W3C has it.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// The spans of an item that have computed ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemSpan {
    /// `create`, where the broker makes it up.
    Create,
    /// `store`.
    Store,
    /// `scheduled`, per attempt.
    Scheduled,
    /// `queue`, per attempt.
    Queue,
    /// `deliver`, per attempt.
    Deliver,
    /// `process`, where the broker makes it up.
    Process,
    /// `ack` or `nack`, where the broker makes it up.
    Ack,
    /// `settle`, per attempt.
    Settle,
    /// `dead-letter`.
    DeadLetter,
    /// `expire`.
    Expire,
}

/// What is known of an item's trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItemContext {
    /// Of all its spans.
    pub trace_id: TraceId,
    /// Of its `item` span.
    pub item: SpanId,
    /// Of the span that `item` is a child of; None: `item` is the root.
    pub parent: Option<SpanId>,
    /// Of its `create` span, the creation context.
    pub creation: Option<SpanId>,
    /// Whether its producer's spans are recorded.
    pub sampled: bool,
}

impl ItemContext {
    /// From what came with an item. None: no valid `traceparent`.
    #[must_use]
    pub fn read(traceparent: &str, tracestate: &str, queue: &str, item: u64) -> Option<Self> {
        let sent = TraceParent::parse(traceparent)?;
        let (trace_id, sampled) = (sent.trace_id, sent.sampled);
        let hashed = || foreign_item(sent, queue, item);
        let context = match member(tracestate) {
            // Ours: the span that sent it is the item's `create`.
            Some((item, parent)) => Self {
                trace_id,
                item,
                parent,
                creation: Some(sent.span_id),
                sampled,
            },
            // Of someone who knows nothing of Baton: the item is a child of that span.
            None if sampled => Self {
                trace_id,
                item: hashed(),
                parent: Some(sent.span_id),
                creation: None,
                sampled,
            },
            // Nobody records that span, so nobody would find the parent.
            None => Self {
                trace_id,
                item: hashed(),
                parent: None,
                creation: Some(sent.span_id),
                sampled,
            },
        };
        Some(context)
    }

    /// For an item that came without a context. `seed` differs between brokers and lives of a queue.
    #[must_use]
    pub fn made_up(seed: u64, queue: &str, item: u64) -> Self {
        let id = |salt: u64| {
            let input = [
                &seed.to_le_bytes(),
                &salt.to_le_bytes(),
                queue.as_bytes(),
                &item.to_le_bytes()[..],
            ];
            SpanId::hash(&input.concat()).bytes()
        };
        let mut trace_id = [0; 16];
        trace_id[..8].copy_from_slice(&id(0));
        trace_id[8..].copy_from_slice(&id(1));
        Self {
            trace_id: TraceId(trace_id),
            item: SpanId(id(2)),
            parent: None,
            creation: None,
            sampled: false,
        }
    }

    /// The context of a dead letter that was redriven: a trace of its own, for each redrive. `attempts` are those before it.
    #[must_use]
    pub fn redriven(&self, attempts: u32) -> Self {
        let id = |salt: u8| {
            let input = [
                &self.trace_id.0[..],
                &self.item.0,
                &[b'r', salt],
                &attempts.to_le_bytes(),
            ];
            SpanId::hash(&input.concat()).bytes()
        };
        let mut trace_id = [0; 16];
        trace_id[..8].copy_from_slice(&id(0));
        trace_id[8..].copy_from_slice(&id(1));
        Self {
            trace_id: TraceId(trace_id),
            item: SpanId(id(2)),
            parent: None,
            creation: None,
            sampled: self.sampled,
        }
    }

    /// The id of one of the item's spans; `attempt` is 0 where there is one for all.
    #[must_use]
    pub fn span(&self, span: ItemSpan, attempt: u32) -> SpanId {
        let mut input = [0; 29];
        input[..16].copy_from_slice(&self.trace_id.0);
        input[16..24].copy_from_slice(&self.item.0);
        input[24] = span as u8;
        input[25..].copy_from_slice(&attempt.to_le_bytes());
        SpanId::hash(&input)
    }

    /// The `item` span as a `traceparent`.
    #[must_use]
    pub fn as_parent(&self) -> TraceParent {
        TraceParent {
            trace_id: self.trace_id,
            span_id: self.item,
            sampled: self.sampled,
        }
    }

    /// The context of a delivery that says which `item` span it belongs to: see `Delivery.traceparent` in the contract.
    #[must_use]
    pub fn of_parent(item: TraceParent) -> Self {
        Self {
            trace_id: item.trace_id,
            item: item.span_id,
            parent: None,
            creation: None,
            sampled: item.sampled,
        }
    }
}

fn foreign_item(sent: TraceParent, queue: &str, item: u64) -> SpanId {
    /// Of queues' names: an item that is handed out should not have to allocate for this.
    const QUEUE_MAX: usize = 128;
    let input = [
        &sent.trace_id.0[..],
        &sent.span_id.0,
        queue.as_bytes(),
        &item.to_le_bytes(),
    ];
    let mut all = [0; 16 + 8 + QUEUE_MAX + 8];
    if queue.len() > QUEUE_MAX {
        return SpanId::hash(&input.concat());
    }
    let mut end = 0;
    for part in input {
        all[end..end + part.len()].copy_from_slice(part);
        end += part.len();
    }
    SpanId::hash(&all[..end])
}

/// Our member of a `tracestate`.
#[must_use]
pub fn state_member(item: SpanId, parent: Option<SpanId>) -> String {
    match parent {
        Some(parent) => format!("{TRACESTATE_KEY}={item}-{parent}"),
        None => format!("{TRACESTATE_KEY}={item}"),
    }
}

/// A `tracestate` without our member, which is of one item: passed on, another item would take it for its own, and all
/// computed ids with it. None: it has none.
#[must_use]
pub fn without_member(tracestate: &str) -> Option<String> {
    let others = || {
        tracestate
            .split(',')
            .filter(|member| value(member).is_none())
    };
    let members = tracestate.split(',').count();
    (others().count() < members).then(|| others().collect::<Vec<_>>().join(","))
}

/// Of our member.
fn value(member: &str) -> Option<&str> {
    let value = member.trim().strip_prefix(TRACESTATE_KEY)?;
    value.strip_prefix('=')
}

/// The `item` span and its parent, as our member names them.
fn member(tracestate: &str) -> Option<(SpanId, Option<SpanId>)> {
    let value = tracestate.split(',').find_map(value)?;
    let id = |text: &str| SpanId::new(hex(text.as_bytes())?);
    match value.split_once('-') {
        Some((item, parent)) => Some((id(item)?, Some(id(parent)?))),
        None => Some((id(value)?, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

    fn span(text: &str) -> SpanId {
        SpanId::new(hex(text.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn a_traceparent_is_read_and_written_as_it_was() {
        let read = TraceParent::parse(SENT).unwrap();
        assert_eq!(read.to_string(), SENT);
        let later = "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03-more";
        assert_eq!(TraceParent::parse(later), Some(read));
    }

    #[test]
    fn what_is_no_traceparent_is_none() {
        for text in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333é-1",
        ] {
            assert_eq!(TraceParent::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_state_is_passed_on_without_our_member() {
        for (sent, others) in [
            ("", None),
            ("a=1,b=2", None),
            ("batons=1,a=baton=1", None),
            ("baton=00000000000000aa", Some("")),
            (
                "baton=00000000000000aa-00000000000000bb,a=1,b=2",
                Some("a=1,b=2"),
            ),
            ("a=1, baton=nonsense ,b=2", Some("a=1,b=2")),
        ] {
            assert_eq!(without_member(sent).as_deref(), others, "{sent}");
        }
    }

    #[test]
    fn our_member_names_the_item_and_its_parent() {
        let (item, parent) = (span("00000000000000aa"), span("00000000000000bb"));
        let state = format!("other=1, {},x=y", state_member(item, Some(parent)));
        let context = ItemContext::read(SENT, &state, "q", 1).unwrap();
        assert_eq!((context.item, context.parent), (item, Some(parent)));
        assert_eq!(context.creation, Some(span("b7ad6b7169203331")));
        let root = ItemContext::read(SENT, &state_member(item, None), "q", 1).unwrap();
        assert_eq!((root.item, root.parent), (item, None));
    }

    #[test]
    fn a_foreign_span_is_the_items_parent_if_it_is_recorded() {
        let context =
            |sent, item| ItemContext::read(sent, "congo=t61,baton=nonsense", "q", item).unwrap();
        assert_eq!(context(SENT, 1).parent, Some(span("b7ad6b7169203331")));
        assert_eq!(context(UNSAMPLED, 1).parent, None);
        assert_ne!(
            context(SENT, 1).item,
            context(SENT, 2).item,
            "they share one parent"
        );
    }

    #[test]
    fn each_span_of_each_attempt_has_an_id_of_its_own() {
        let context = ItemContext::read(SENT, "", "q", 1).unwrap();
        let spans = [ItemSpan::Queue, ItemSpan::Deliver, ItemSpan::Settle];
        let mut ids: Vec<_> = spans
            .iter()
            .flat_map(|span| [1, 2].map(|attempt| context.span(*span, attempt)))
            .collect();
        ids.push(context.item);
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 7);
    }

    /// Other languages compute them too: the formula in the module's documentation, by Python's xxhash.
    #[test]
    fn ids_are_what_the_formula_says() {
        let context = ItemContext::read(SENT, "baton=00000000000000aa", "q", 1).unwrap();
        let input = b"\x0a\xf7\x65\x19\x16\xcd\x43\xdd\x84\x48\xeb\x21\x1c\x80\x31\x9c\0\0\0\0\0\0\0\xaa\x04\x02\0\0\0";
        assert_eq!(
            context.span(ItemSpan::Deliver, 2).bytes(),
            xxh64(input, 0).to_be_bytes()
        );
    }

    #[test]
    fn redriving_begins_a_trace_of_its_own() {
        let context = ItemContext::read(SENT, "", "q", 1).unwrap();
        let (once, twice) = (context.redriven(3), context.redriven(5));
        assert!(once.trace_id != context.trace_id && once.trace_id != twice.trace_id);
        assert_eq!(ItemContext::of_parent(once.as_parent()), once);
        assert_ne!(
            ItemContext::made_up(1, "q", 1),
            ItemContext::made_up(2, "q", 1)
        );
    }
}
