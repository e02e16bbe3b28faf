//! The ids of spans, from the formulas in docs/TRACING.md and not from the code that has to obey them.

use xxhash_rust::xxh64::xxh64;

/// Numbers of the spans whose ids are computed.
const NUMBERED: [&str; 11] = [
    "create",
    "store",
    "scheduled",
    "queue",
    "deliver",
    "process",
    "ack",
    "settle",
    "dead-letter",
    "expire",
    "nack",
];

/// The id of an item's span; `attempt` is 0 where there is one for all.
pub(crate) fn of(trace_id: &str, item: &str, operation: &str, attempt: u32) -> String {
    let number = NUMBERED.iter().position(|&one| one == operation);
    let number = match operation {
        "nack" => 6,
        _ => u8::try_from(number.expect("it has a number")).unwrap(),
    };
    let mut input = [bytes(trace_id), bytes(item), vec![number]].concat();
    input.extend(attempt.to_le_bytes());
    hashed(&input)
}

/// The id of the `item` span of an item whose producer sent a `traceparent` and no member of ours.
pub(crate) fn of_foreign_item(trace_id: &str, parent: &str, queue: &str, item: u64) -> String {
    let mut input = [bytes(trace_id), bytes(parent), queue.into()].concat();
    input.extend(item.to_le_bytes());
    hashed(&input)
}

fn hashed(input: &[u8]) -> String {
    format!("{:016x}", xxh64(input, 0).max(1))
}

fn bytes(digits: &str) -> Vec<u8> {
    let pairs = (0..digits.len()).step_by(2);
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    pairs.map(byte).collect()
}
