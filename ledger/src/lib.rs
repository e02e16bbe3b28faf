//! What is known of each item's time: the ledger of one queue.
//!
//! Pure: no clock, no I/O, no lock but the shared budget's counters. The queue actor tells it what happens; it answers what
//! an item's time went into, how long each stage took over a window, and which items are worth a trace.
//!
//! | kept | of | until |
//! |---|---|---|
//! | when it came (`arrivals`) | runs of items that came together | they have ended |
//! | its current attempt (`leases`) | runs that were handed out together | they end |
//! | earlier attempts (`earlier`) | single items that were retried | they end |
//! | all of it (`finished`) | runs that ended together | 10 000 items later; 24 h |
//! | an [`Account`](account::Account) | failed and retried ones (`troubled`); slow ones (`slowest`) | 256 later; 24 h |
//! | histograms (`series`) | stages | 24 h |
//!
//! All of it is within the [`Budget`](budget::Budget), which says what goes first.

pub mod account;
mod arrivals;
pub mod budget;
mod by_item;
mod column;
mod earlier;
mod ending;
mod explain;
mod finished;
mod gone;
mod leases;
mod leasing;
mod ledger;
mod memory;
pub mod party;
mod pending;
mod recent_waits;
pub mod sampling;
mod series;
mod slowest;
pub mod spans;
mod stamps;
pub mod text;
mod told;
mod troubled;
pub mod verdict;
mod wait;
pub mod waits;

pub use explain::{Known, KnownFailure};
pub use ledger::{FINISHED_MAX, Ledger, Shared};
pub use series::{Series, StageLatency};
pub use stamps::HandlerStamps;
pub use told::{Arrived, Failed, Gone, ItemStamps, Leased, Stamps};
