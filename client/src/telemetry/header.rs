//! `traceparent` and `tracestate` as an item carries them, written by hand: it is done for each item, traced or not.
//!
//! Pure. What they mean, and how they are read, is in `baton_telemetry::trace_context`.

use baton_telemetry::trace_context::TRACESTATE_KEY;
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// What W3C asks everyone to pass on, and the most that an item takes.
const STATE_BYTES_MAX: usize = 512;
const STATE_MEMBERS_MAX: usize = 32;

const PARENT_BYTES: usize = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".len();
const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// W3C's `sampled`, and `random`, which says that the trace id is.
const KNOWN_FLAGS: u8 = 3;

/// A `traceparent` of version 00 that says what a span's context says.
pub(super) fn of(span: &SpanContext) -> String {
    traceparent(span.trace_id(), span.span_id(), span.trace_flags())
}

/// A `traceparent` of version 00.
pub(super) fn traceparent(trace: TraceId, span: SpanId, flags: TraceFlags) -> String {
    let mut text = String::with_capacity(PARENT_BYTES);
    text.push_str("00-");
    push_hex(&mut text, &trace.to_bytes());
    text.push('-');
    push_hex(&mut text, &span.to_bytes());
    text.push('-');
    push_hex(&mut text, &[flags.to_u8() & KNOWN_FLAGS]);
    text
}

/// Names an item's `item` span and that span's parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) item: SpanId,
    pub(super) parent: Option<SpanId>,
}

/// A `tracestate`: our member first, then those of others, as many as fit. A member of ours that came along is of another
/// item and is left out.
pub(super) fn tracestate(member: Option<Member>, others: &TraceState) -> String {
    let mut state = String::new();
    let mut members = 0;
    if let Some(Member { item, parent }) = member {
        state.push_str(TRACESTATE_KEY);
        state.push('=');
        push_hex(&mut state, &item.to_bytes());
        if let Some(parent) = parent {
            state.push('-');
            push_hex(&mut state, &parent.to_bytes());
        }
        members = 1;
    }
    for (key, value) in others.into_iter().filter(|(key, _)| *key != TRACESTATE_KEY) {
        let comma = usize::from(members > 0);
        let bytes = state.len() + comma + key.len() + 1 + value.len();
        if members == STATE_MEMBERS_MAX || bytes > STATE_BYTES_MAX {
            break;
        }
        if members > 0 {
            state.push(',');
        }
        for part in [key, "=", value] {
            state.push_str(part);
        }
        members += 1;
    }
    state
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)].into());
        text.push(DIGITS[usize::from(byte & 15)].into());
    }
}

#[cfg(test)]
mod tests {
    use baton_telemetry::trace_context::{ItemContext, TraceParent};

    use super::*;

    const TRACE: TraceId = TraceId::from_bytes(*b"0123456789abcdef");
    const SPAN: SpanId = SpanId::from_bytes([0, 1, 2, 3, 4, 5, 6, 0xff]);
    const ITEM: SpanId = SpanId::from_bytes([9; 8]);

    fn others(members: usize, bytes_of_value: usize) -> TraceState {
        let member = |n| (format!("k{n:02}"), "v".repeat(bytes_of_value));
        TraceState::from_key_value((0..members).map(member)).unwrap()
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        for sampled in [true, false] {
            let flags = TraceFlags::NOT_SAMPLED.with_sampled(sampled);
            let text = traceparent(TRACE, SPAN, flags);
            let read = TraceParent::parse(&text).unwrap();
            assert_eq!(read.trace_id.bytes(), TRACE.to_bytes());
            assert_eq!(read.span_id.bytes(), SPAN.to_bytes());
            assert_eq!((read.sampled, read.to_string()), (sampled, text));
        }
        let parent = traceparent(TRACE, SPAN, TraceFlags::SAMPLED);
        for parent_of_item in [None, Some(SPAN)] {
            let member = Member {
                item: ITEM,
                parent: parent_of_item,
            };
            let state = tracestate(Some(member), &TraceState::NONE);
            let read = ItemContext::read(&parent, &state, "q", 1).unwrap();
            assert_eq!(read.item.bytes(), ITEM.to_bytes());
            let read_parent = read.parent.map(|id| SpanId::from_bytes(id.bytes()));
            assert_eq!(read_parent, parent_of_item);
        }
    }

    #[test]
    fn members_of_others_follow_and_another_items_is_left_out() {
        let member = Member {
            item: ITEM,
            parent: None,
        };
        let came = TraceState::from_key_value([("a", "1"), ("baton", "0"), ("b", "2")]).unwrap();
        let wanted = "baton=0909090909090909,a=1,b=2";
        assert_eq!(tracestate(Some(member), &came), wanted);
        assert_eq!(tracestate(None, &came), "a=1,b=2");
        assert_eq!(tracestate(None, &TraceState::NONE), "");
    }

    #[test]
    fn what_does_not_fit_is_dropped_from_the_right() {
        let member = Member {
            item: ITEM,
            parent: Some(SPAN),
        };
        let many = tracestate(Some(member), &others(32, 1));
        assert_eq!(many.split(',').count(), 32);
        assert!(many.starts_with("baton=") && many.ends_with("k30=v"));
        let long = tracestate(Some(member), &others(9, 60));
        assert!(long.len() <= 512 && long.len() + 65 > 512, "{}", long.len());
        assert!(long.ends_with(&format!("k06={}", "v".repeat(60))));
    }
}
