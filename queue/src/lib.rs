//! One queue as a pure state machine: no clock, chance, file, socket, task or log line.
//!
//! ```text
//! publish -+-> ready --- lease ---> leased --- ack ---> done
//!          |   ^ ^ ^                | | |
//!          |   | | +-- unstarted, --+ | +-- rejected, or ---> dead --- discard ---> done
//!          |   | |     no back-off    |     attempts spent     |
//!          | due +--------------------|------ redrive ---------+
//!          v   |                      |
//!          scheduled <--- back-off ---+
//!
//! ready, scheduled --- cancel, purge, time to live ---> done
//! ```
//!
//! **How to drive it.** Inputs (`handle_*`, [`Queue::tick`], sessions and the operators' calls) take `now` and append the
//! [`Event`]s that they caused; these have been applied already. [`Queue::apply`] alone changes state, so replaying events
//! into [`Queue::new`] gives an equal queue. After each input ask [`Queue::next_deadline`] when to tick, and
//! [`Queue::poll_removed`] which bodies to drop. Answers are facts once their events are stored, not before.
//!
//! **How to keep it.** [`encode_events`] and [`Queue::snapshot`] make bytes of facts and of the whole state. After a crash:
//! [`Queue::restore`], then [`Queue::apply`] every event since, then [`Queue::restart`].
//!
//! **What it keeps.** Items are kept by runs of consecutive ids, never one by one on the common path; their bodies are the
//! caller's. Work grows with the runs that an input touches.
//!
//! **Invariants**, asserted in release builds too: an item is in exactly one state; ids, sessions and lease numbers are given
//! out in order and once; a lease ends once. Nothing is asserted of callers' input, and nothing depends on the order of a
//! hash map.

mod admin;
mod apply;
mod codec;
mod column;
mod config;
mod dead;
mod ended;
mod event;
mod explain;
mod gone;
mod history;
mod id;
mod join;
mod keys;
mod lease;
mod leases;
pub mod limits;
mod outcome;
mod plan;
mod producers;
mod publish;
mod queue;
mod range_set;
mod ready;
mod reject;
mod removed;
mod restart;
mod retry;
mod run;
mod run_map;
mod scheduled;
mod sessions;
mod settle;
mod snapshot;
mod stats;
#[cfg(test)]
mod testing;
mod tick;
mod time;

pub use admin::{PurgeState, RedriveWhat};
pub use codec::{DecodeError, FORMAT_VERSION, decode_events, encode_events};
pub use column::{Column, Sizes};
pub use config::{Backoff, Config, ConfigError};
pub use ended::Ending;
pub use event::{
    DedupKey, Dues, Event, Failed, Leased, Next, Origin, ProducerRun, PublishedItems, Repeated,
};
pub use explain::{Demand, Explanation, ItemState, WaitReason};
pub use gone::GoneRun;
pub use history::{FailedAttempt, FailureReason};
pub use id::{ItemId, QueueName, QueueNameError, SessionId};
pub use join::Join;
pub use lease::{LeasedRun, Want};
pub use outcome::{Outcome, OutcomeRun};
pub use publish::{Admit, NewItem, ProducerRef, Publish, Published, PublishedRun};
pub use queue::Queue;
pub use reject::Reject;
pub use settle::{Nack, NackKind};
pub use stats::Stats;
pub use time::Timestamp;
