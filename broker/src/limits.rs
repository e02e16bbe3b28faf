//! Every maximum of the broker that is not the queue's own, with its reason.

use std::time::Duration;

/// Default and most bytes of a payload: beyond 16 MiB a reference to the data serves better than a copy through a queue.
pub const PAYLOAD_BYTES_DEFAULT: usize = 1 << 20;
/// See [`PAYLOAD_BYTES_DEFAULT`].
pub const PAYLOAD_BYTES_MAX: usize = 16 << 20;
/// Items of one batch: enough that the cost of a message is shared by many.
pub const BATCH_ITEMS_MAX: usize = 1000;
/// Bytes of one batch's items together, unless a single item alone is larger.
pub const BATCH_BYTES_MAX: usize = 4 << 20;
/// An encoded item is at most this much longer than its payload: attributes, keys, trace context and their tags.
pub const ITEM_OVERHEAD_BYTES_MAX: usize = 20 * 1024;

/// Items of one message to a consumer, so that one with much credit does not keep the others waiting.
pub const DELIVERY_ITEMS_MAX: u32 = 256;
/// Bytes of one message to a consumer, unless a single item alone is larger: four HTTP/2 frames.
pub const DELIVERY_BYTES_MAX: u64 = 256 * 1024;
/// Bytes after which a unary lease stops: with the last item (a payload of the default limit), 1000 errors of earlier attempts
/// and the rest of the message, the reply stays within the 4 MiB that gRPC clients accept by default.
pub const LEASE_BYTES_MAX: u64 = 1 << 20;
/// Messages that wait for one stream's connection. With the two above, what a client that never reads can hold back.
pub const OUTBOX_MESSAGES: usize = 32;
/// Of these, kept free of deliveries, so that answers to settles find a place.
pub const OUTBOX_ANSWERS: usize = 16;

/// Items of credit that a consumer may have at a time.
pub const CREDIT_ITEMS_MAX: u64 = 1_000_000;
/// Bytes of credit that a consumer may have at a time.
pub const CREDIT_BYTES_MAX: u64 = 1 << 30;
/// Settles of one call or message.
pub const SETTLES_MAX: usize = 1000;
/// Ids of one admin call.
pub const IDS_MAX: usize = 1000;
/// Clients that GetServerInfo shows: more than anybody reads.
pub const CLIENTS_SHOWN_MAX: usize = 1000;
/// The longest window of latencies: what the ledger's slots cover.
pub const LATENCY_WINDOW_MAX: Duration = Duration::from_secs(24 * 3600);
/// Items of one page that shows items.
pub const PAGE_ITEMS_MAX: i32 = 100;
/// Bytes of items on one page: what gRPC clients accept by default.
pub const PAGE_BYTES_MAX: usize = 3 << 20;
/// Names of one page.
pub const PAGE_NAMES_MAX: i32 = 1000;
/// Longest wait of a long poll: shorter than what proxies allow an idle call.
pub const POLL_MAX: Duration = Duration::from_secs(60);
/// Bytes of a client id, a producer id or a consumer's label.
pub const NAME_BYTES_MAX: usize = 64;
/// Bytes of a service name or a client's version.
pub const LABEL_BYTES_MAX: usize = 128;

/// Queues of one broker: each is a task of some 13 KB.
pub const QUEUES_MAX: usize = 65_536;
/// Consumers' streams and long polls of one queue; publishers' streams of one queue.
pub const CLIENTS_PER_QUEUE_MAX: usize = 4096;
/// Requests that wait for one queue. Large bodies are bounded by their streams, small calls by this.
pub const MAILBOX_REQUESTS: usize = 1024;
/// Requests that a queue takes into one commit.
pub const TURN_REQUESTS: usize = 256;
/// Batches of one publisher's stream that may wait for their confirm.
pub const PUBLISH_BATCHES_IN_FLIGHT: usize = 16;
/// Bytes of one publisher's stream that may wait for their confirm; a larger batch goes alone.
pub const PUBLISH_BYTES_IN_FLIGHT: usize = 4 << 20;
/// Connections of one broker; further ones wait in the listen backlog until one closes.
pub const CONNECTIONS_MAX: usize = 8192;
/// Connections of the HTTP port: people, probes and scrapers.
pub const HTTP_CONNECTIONS_MAX: usize = 256;
/// Bytes of a path that the HTTP port reads: a queue's name with every byte escaped, and the longest path around it.
pub const HTTP_PATH_BYTES_MAX: usize = 512;
/// Bytes of a query that the HTTP port reads: two names with every byte escaped.
pub const HTTP_QUERY_BYTES_MAX: usize = 1024;
/// Queues that /metrics shows one by one: a queue is some 300 lines of it, and as many series where they are stored.
pub const METRICS_QUEUES_MAX: usize = 1000;
/// Scrapes whose answers are in memory at a time, some 36 MB each at the worst; others wait.
pub const SCRAPES_MAX: usize = 4;
/// Calls and streams of one connection at a time.
pub const STREAMS_PER_CONNECTION_MAX: u32 = 256;
/// How long a connection to the HTTP port lives: probes and scrapes are short.
pub const HTTP_CONNECTION_LIFETIME: Duration = Duration::from_secs(30);
/// Bytes that a client has to say within [`HELLO_TIMEOUT`]: HTTP/2's preface.
pub const PREFACE_BYTES: usize = 24;
/// A stream has to say who it is within this time.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may leave its keepalive pings unanswered; and how often it is asked.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// See [`KEEPALIVE_INTERVAL`].
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

const _: () = assert!(OUTBOX_ANSWERS < OUTBOX_MESSAGES);
const _: () = assert!(PAYLOAD_BYTES_DEFAULT <= PAYLOAD_BYTES_MAX);
const _: () = assert!(BATCH_BYTES_MAX <= PUBLISH_BYTES_IN_FLIGHT);
const _: () = assert!(TURN_REQUESTS <= MAILBOX_REQUESTS);

/// Most bytes of one request on the wire, for a broker that takes payloads of this size.
#[must_use]
pub fn message_bytes_max(payload_bytes_max: usize) -> usize {
    let item = payload_bytes_max + ITEM_OVERHEAD_BYTES_MAX;
    // The rest of the message, and room for a batch that is a little too large to be told so in our words.
    BATCH_BYTES_MAX.max(item) + (1 << 20)
}

/// Bytes of one queue's bodies that are kept in memory although they are on disk: what two dozen consumers can have on its way to
/// them at a time.
pub const HOT_BYTES_MAX: usize = 8 << 20;
/// Below this many, more is read from disk ahead of the consumers.
pub const HOT_BYTES_LOW: usize = 1 << 20;
/// Bytes of one read from disk: 5 to 50 us for each 64 KiB out of the page cache.
pub const READ_BYTES: u64 = 1 << 20;
/// Bytes of a read where the memory for bodies is used up: less would not be worth it.
pub const READ_BYTES_MIN: u64 = 64 * 1024;
/// Bytes after which a turn takes no more requests, and a commit no more turns: 1 KiB items cost 0.94 us each in commits of
/// half a MiB and 2.2 us in those of 4 MiB.
pub const COMMIT_BYTES: usize = 512 * 1024;
/// Commits of one queue that may be under way at a time: one is written while the next ones gather.
pub const COMMITS_UNDER_WAY_MAX: u64 = 16;
/// Bytes of one queue that may be under way to the disk.
pub const BYTES_UNDER_WAY_MAX: usize = 4 << 20;
