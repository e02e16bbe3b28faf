//! Every maximum of a queue, with its reason. Limits of the wire (payload, batch) are the broker's.

use std::time::Duration;

const HOUR: Duration = Duration::from_secs(60 * 60);
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Bytes of a queue's name: fits a file name, a metric label and a log line.
pub const QUEUE_NAME_BYTES_MAX: usize = 128;

/// Shorter leases would run out while a delivery is still on its way.
pub const LEASE_DURATION_MIN: Duration = Duration::from_secs(1);
/// A consumer that is silent for longer is gone; longer work extends its lease.
pub const LEASE_DURATION_MAX: Duration = HOUR.saturating_mul(12);
/// Long enough for most handlers, short enough to notice a crash.
pub const LEASE_DURATION_DEFAULT: Duration = Duration::from_secs(30);

/// Without an end to attempts one poisonous item would occupy consumers for ever.
pub const MAX_ATTEMPTS_MAX: u32 = 10_000;
/// With the default back-off an item is tried for about an hour, at most two, before it is given up.
pub const MAX_ATTEMPTS_DEFAULT: u32 = 20;

/// A longer pause than the longest lease would look like a lost item.
pub const BACKOFF_MAX: Duration = HOUR.saturating_mul(12);
/// The shortest pause that a dependency which is restarting can use.
pub const BACKOFF_INITIAL_DEFAULT: Duration = Duration::from_secs(1);
/// An item that failed often is still tried six times an hour.
pub const BACKOFF_MAX_DEFAULT: Duration = Duration::from_secs(10 * 60);

/// Shorter windows would not outlast one reconnect.
pub const DEDUP_WINDOW_MIN: Duration = Duration::from_secs(1);
/// Keys stay in memory for this long.
pub const DEDUP_WINDOW_MAX: Duration = HOUR.saturating_mul(24);
/// Outlasts a producer's restart.
pub const DEDUP_WINDOW_DEFAULT: Duration = Duration::from_secs(10 * 60);

/// Time to live; what should live for longer brings none.
pub const TTL_MAX: Duration = YEAR;
/// Between now and an item's first or next delivery; also of a nack.
pub const DELAY_MAX: Duration = YEAR;

/// Bytes of a nack's error that are kept: a message, not a stack trace, since each failed item holds up to 16.
pub const ERROR_BYTES_MAX: usize = 1024;
/// Failed attempts kept for an item: the first, which often tells the cause, and the latest.
pub const FAILED_ATTEMPTS_KEPT: usize = 16;

/// Runs of sequences kept for a producer, with and without their ids. Sequences that come in order are one run; 1024 gaps
/// need a producer that skips or reorders a batch a thousand times.
pub const SEQUENCE_RUNS_MAX: usize = 1024;
/// Producers remembered in a queue. An orderly one costs about 300 bytes, a hostile one 40 KiB: 160 MiB at the most.
pub const PRODUCERS_MAX: usize = 4096;
/// Dedup keys remembered in a queue: about 200 MiB at the most.
pub const DEDUP_KEYS_MAX: usize = 1_000_000;

/// Ended sessions that are remembered, so that a settle that comes twice is answered rightly.
pub const ENDED_SESSIONS_MAX: usize = 1024;
/// Ranges of lost leases remembered in a session; 16 KiB of them.
pub const LOST_RANGES_MAX: usize = 1024;
/// Ranges of items that ended other than by an ack: a join tells them apart exactly. About 3 MiB.
pub const ENDED_RANGES_MAX: usize = 65_536;

/// Runs that one tick moves: 1 to 2 ms of work, so that publishers and consumers wait no longer than that.
pub const TICK_RUNS_MAX: usize = 256;

const _: () = assert!(LEASE_DURATION_MIN.as_nanos() <= LEASE_DURATION_DEFAULT.as_nanos());
const _: () = assert!(LEASE_DURATION_DEFAULT.as_nanos() <= LEASE_DURATION_MAX.as_nanos());
const _: () = assert!(0 < MAX_ATTEMPTS_DEFAULT && MAX_ATTEMPTS_DEFAULT <= MAX_ATTEMPTS_MAX);
const _: () = assert!(BACKOFF_INITIAL_DEFAULT.as_nanos() <= BACKOFF_MAX_DEFAULT.as_nanos());
const _: () = assert!(BACKOFF_MAX_DEFAULT.as_nanos() <= BACKOFF_MAX.as_nanos());
const _: () = assert!(BACKOFF_MAX.as_nanos() <= DELAY_MAX.as_nanos());
const _: () = assert!(DEDUP_WINDOW_MIN.as_nanos() <= DEDUP_WINDOW_DEFAULT.as_nanos());
const _: () = assert!(DEDUP_WINDOW_DEFAULT.as_nanos() <= DEDUP_WINDOW_MAX.as_nanos());
// A window of keys must not outgrow an item that is delayed for as long as may be.
const _: () = assert!(DEDUP_WINDOW_MAX.as_nanos() <= DELAY_MAX.as_nanos());
// The first attempt and at least one later one.
const _: () = assert!(FAILED_ATTEMPTS_KEPT >= 2);
// All times from now on fit into 64 bits of nanoseconds: there are 584 years, and it is 56 years after the epoch.
const _: () = assert!(TTL_MAX.as_nanos() < (u64::MAX / 4) as u128);
const _: () = assert!(TICK_RUNS_MAX > 0 && ENDED_RANGES_MAX > 0 && LOST_RANGES_MAX > 0);
