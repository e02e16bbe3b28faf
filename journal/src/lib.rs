//! A segmented log of opaque records: durable when it says so. The only crate that touches data files.
//!
//! ```text
//! engine --- Batch ---> Writer --- one write, one fdatasync ---> segment 7 (active)
//!                         |  a full segment: the next prepared one
//!                         v
//!                      Catalog (which segment holds what, what is still needed)
//!                         ^                              ^
//!                      Keeper: prepares segments ahead,  Reader: bodies of items that are
//!                      writes indexes, frees segments    not in memory, off the writer
//! ```
//!
//! A journal knows **streams** (one per queue). A stream has **facts**, numbered from 1 without gaps and replayed in order;
//! **checkpoints**, which stand for all facts up to a number; and **bodies**, runs of items by id, which are needed until
//! they are released. What a payload means is the caller's business. docs/FORMAT.md has the bytes.
//!
//! **Invariants.** A commit is written whole or not at all. Facts up to a stream's checkpoint are never replayed, so the
//! fact that an item is done may go before the item's body does. A segment is reused only when nothing in it is needed: no
//! body that was not released, no fact after its stream's checkpoint, no part of that checkpoint. After a failed write or
//! sync nothing more is written: the caller starts again from what is on disk.
//!
//! Nothing here starts a thread, waits or retries: the engine runs [`Writer`], [`Keeper`] and [`Reader`] on threads of their
//! own, a simulation on one.

mod block;
mod cache;
mod catalog;
mod checkpoint;
mod directory;
mod empty;
mod error;
mod extents;
mod forward;
mod frame;
pub mod fs;
mod header;
mod index;
mod keeper;
mod layout;
mod lock;
mod log;
mod prepare;
mod reader;
mod record;
mod recover;
mod replay;
mod report;
mod salvage;
mod settings;
mod source;
mod start;
mod store;
mod survey;
mod walk;
mod writer;

pub use block::{Block, BlockError};
pub use error::Error;
pub use forward::Forward;
pub use keeper::{Keeper, Step};
pub use reader::{ReadError, Reader};
pub use record::{Batch, Record, Released, StreamId};
pub use recover::{Recovered, recover};
pub use replay::Replay;
pub use report::{Counters, Report};
pub use salvage::{Damage, Found, Hit, Place, scan};
pub use settings::Settings;
pub use writer::Writer;
