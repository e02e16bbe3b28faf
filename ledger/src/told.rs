//! What a ledger is told. Times are nanoseconds since the Unix epoch, on the broker's clock, but for clients' stamps.

use std::sync::Arc;

use baton_telemetry::trace_context::ItemContext;

use crate::account::{AttemptOutcome, Outcome};
use crate::party::{Party, Shift};
use crate::stamps::HandlerStamps;

/// New items.
#[derive(Clone, Debug)]
pub struct Arrived<'a> {
    /// Their ids begin here.
    pub first: u64,
    /// Received from the producer.
    pub received: u64,
    /// The producer's stamps, one an item; 0: not said.
    pub created: &'a [u64],
    /// Of the producer. None: not known.
    pub clock: Option<Shift>,
    /// Who it is. None: it did not say.
    pub producer: Option<Arc<Party>>,
}

/// What an item says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ItemStamps {
    /// The producer's stamp; 0: not said.
    pub created_ns: u64,
    /// Its trace.
    pub context: Option<ItemContext>,
}

/// Items that were handed out together.
#[derive(Clone, Debug)]
pub struct Leased<'a> {
    /// First item.
    pub first: u64,
    /// One an item.
    pub items: &'a [ItemStamps],
    /// Which attempt, from 1.
    pub number: u32,
    /// Attempts before the last redrive.
    pub forgiven: u32,
    /// Taken in by the queue.
    pub taken_in: u64,
    /// The wait for this attempt began.
    pub since: u64,
    /// They could be handed out.
    pub ready: u64,
    /// Now.
    pub now: u64,
    /// To whom.
    pub consumer: Arc<Party>,
    /// Of the producer, as it was kept with the items.
    pub origin: Option<Shift>,
}

/// How attempts went, as their consumer has it.
#[derive(Clone, Debug)]
pub enum Stamps<'a> {
    /// All went alike.
    Same(HandlerStamps),
    /// One an item.
    Each(&'a [HandlerStamps]),
}

/// Failed attempts.
#[derive(Clone, Debug)]
pub struct Failed {
    /// First item.
    pub first: u64,
    /// Items.
    pub count: u32,
    /// Now.
    pub now: u64,
    /// What ended them.
    pub outcome: AttemptOutcome,
    /// What the consumer said; may be empty.
    pub error: Arc<str>,
    /// They were given up.
    pub dead: bool,
}

/// Items in a row that waited for the same and are gone without an attempt.
#[derive(Clone, Debug)]
pub struct Gone<'a> {
    /// First item.
    pub first: u64,
    /// Items.
    pub count: u32,
    /// What the first of them say of themselves: of these there are accounts.
    pub items: &'a [ItemStamps],
    /// How they ended.
    pub outcome: Outcome,
    /// Which attempt they waited for, from 1.
    pub number: u32,
    /// Attempts before the last redrive.
    pub forgiven: u32,
    /// Taken in by the queue.
    pub taken_in: u64,
    /// The wait began.
    pub since: u64,
    /// They could be handed out, or could have been from then on.
    pub ready: u64,
    /// Now.
    pub now: u64,
    /// Of the producer, as it was kept with the items.
    pub origin: Option<Shift>,
}
