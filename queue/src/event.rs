//! Facts: everything that changes a queue.
//!
//! An event says what happened with all that is needed to do it again: no configuration, clock or chance is asked when it
//! is applied. Items are named by `first` and `count`, consecutive ids; all of them are in the state that the event needs.
//! Replaying a queue's events in order gives an equal queue.
//!
//! **Events are kept on disk** (see `codec`), by position, not by name: variants of an enum here are never reordered or
//! removed, new ones go last; what a variant or struct has stays as it is. What does not fit is a new variant or a new version
//! of the format. `tests/fixtures` hold all this.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::column::Sizes;
use crate::config::Config;
use crate::history::FailureReason;
use crate::id::{ItemId, SessionId};
use crate::time::Timestamp;

/// Something that happened to a queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// New items. Scheduled where `due` is set (it is later than `at` then), else ready.
    Published(PublishedItems),
    /// Items that were there already came again. Counted, and their sequences are remembered.
    Repeated(Repeated),
    /// Ready items went to a consumer: one more attempt for each.
    Leased(Leased),
    /// Leases got a new deadline. One whose session has ended counts as looked after again.
    Extended {
        /// When.
        at: Timestamp,
        /// First item.
        first: ItemId,
        /// Items.
        count: u32,
        /// The leases run out then.
        deadline: Timestamp,
    },
    /// Leased items are done for good. May span several leases.
    Acked {
        /// When.
        at: Timestamp,
        /// First item.
        first: ItemId,
        /// Items.
        count: u32,
    },
    /// Attempts of one lease failed: one more entry in the history of each item.
    Failed(Failed),
    /// Leased items were given back untouched: ready since `at`, and the attempt is not counted.
    Released {
        /// When.
        at: Timestamp,
        /// First item.
        first: ItemId,
        /// Items.
        count: u32,
    },
    /// The time of scheduled items has come: ready since `at`.
    Due {
        /// When it was noticed.
        at: Timestamp,
        /// First item.
        first: ItemId,
        /// Items.
        count: u32,
    },
    /// The time to live of waiting items (scheduled or ready) ran out: they are done.
    Expired {
        /// When it was noticed.
        at: Timestamp,
        /// First item.
        first: ItemId,
        /// Items.
        count: u32,
    },
    /// Waiting items (scheduled or ready) were cancelled or purged: they are done.
    Cancelled {
        /// When.
        at: Timestamp,
        /// First item.
        first: ItemId,
        /// Items.
        count: u32,
    },
    /// Dead letters are ready again since `at`. Attempts go on counting, but those so far no longer count against the
    /// allowance. Their time to live no longer counts either: whoever redrives them wants them delivered.
    Redriven {
        /// When.
        at: Timestamp,
        /// First item.
        first: ItemId,
        /// Items.
        count: u32,
    },
    /// Dead letters were removed: they are done.
    Discarded {
        /// When.
        at: Timestamp,
        /// First item.
        first: ItemId,
        /// Items.
        count: u32,
    },
    /// The queue behaves so from now on.
    ConfigChanged {
        /// When.
        at: Timestamp,
        /// The whole of it.
        config: Config,
    },
    /// A consumer's stream began.
    SessionOpened {
        /// When.
        at: Timestamp,
        /// Its id, one more than that of the session before.
        session: SessionId,
        /// Who it is.
        consumer: Arc<str>,
    },
    /// A consumer's stream ended. Its leases run out at `deadline`, if not before.
    SessionClosed {
        /// When.
        at: Timestamp,
        /// Which.
        session: SessionId,
        /// The end of its grace.
        deadline: Timestamp,
    },
    /// A closed session without leases is no longer known: its settles are answered as lost from now on.
    SessionForgotten {
        /// When.
        at: Timestamp,
        /// Which: the one that has been so for the longest.
        session: SessionId,
    },
    /// A producer's sequences are no longer known.
    ProducerForgotten {
        /// When.
        at: Timestamp,
        /// Which.
        producer: Arc<str>,
    },
    /// The oldest dedup keys are no longer known.
    KeysForgotten {
        /// When.
        at: Timestamp,
        /// How many.
        count: u32,
    },
    /// As [`Event::Published`] with its origin, and only on disk: where it is read, it is that.
    PublishedFrom(PublishedItems, Origin),
}

impl Event {
    /// When it happened.
    pub const fn at(&self) -> Timestamp {
        match self {
            Self::Published(PublishedItems { at, .. })
            | Self::PublishedFrom(PublishedItems { at, .. }, _)
            | Self::Repeated(Repeated { at, .. })
            | Self::Leased(Leased { at, .. })
            | Self::Extended { at, .. }
            | Self::Acked { at, .. }
            | Self::Failed(Failed { at, .. })
            | Self::Released { at, .. }
            | Self::Due { at, .. }
            | Self::Expired { at, .. }
            | Self::Cancelled { at, .. }
            | Self::Redriven { at, .. }
            | Self::Discarded { at, .. }
            | Self::ConfigChanged { at, .. }
            | Self::SessionOpened { at, .. }
            | Self::SessionClosed { at, .. }
            | Self::SessionForgotten { at, .. }
            | Self::ProducerForgotten { at, .. }
            | Self::KeysForgotten { at, .. } => *at,
        }
    }

    /// Changes each of its times.
    pub(crate) fn map_times(&mut self, map: impl Fn(&mut Timestamp)) {
        match self {
            Self::Published(event) | Self::PublishedFrom(event, _) => event.map_times(map),
            Self::Failed(event) => event.map_times(map),
            Self::Leased(Leased { at, deadline, .. })
            | Self::Extended { at, deadline, .. }
            | Self::SessionClosed { at, deadline, .. } => [at, deadline].into_iter().for_each(map),
            Self::Repeated(Repeated { at, .. })
            | Self::Acked { at, .. }
            | Self::Released { at, .. }
            | Self::Due { at, .. }
            | Self::Expired { at, .. }
            | Self::Cancelled { at, .. }
            | Self::Redriven { at, .. }
            | Self::Discarded { at, .. }
            | Self::ConfigChanged { at, .. }
            | Self::SessionOpened { at, .. }
            | Self::SessionForgotten { at, .. }
            | Self::ProducerForgotten { at, .. }
            | Self::KeysForgotten { at, .. } => map(at),
        }
    }
}

impl PublishedItems {
    fn map_times(&mut self, map: impl Fn(&mut Timestamp)) {
        map(&mut self.at);
        self.due.iter_mut().for_each(&map);
        self.expires_at.iter_mut().for_each(&map);
        self.keys.iter_mut().for_each(|key| map(&mut key.until));
    }
}

impl Failed {
    fn map_times(&mut self, map: impl Fn(&mut Timestamp)) {
        map(&mut self.at);
        match &mut self.next {
            Next::Scheduled(Dues::All(due)) => map(due),
            Next::Scheduled(Dues::Each(dues)) => Arc::make_mut(dues).iter_mut().for_each(map),
            Next::Ready | Next::Dead => {}
        }
    }
}

/// See [`Event::Published`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PublishedItems {
    /// When.
    pub at: Timestamp,
    /// Their ids begin here: one after the last item so far.
    pub first: ItemId,
    /// Items, at least 1.
    pub count: u32,
    /// Bytes of each.
    pub sizes: Sizes,
    /// Not to be delivered before; None: at once.
    pub due: Option<Timestamp>,
    /// Not to be delivered from then on. May have passed already.
    pub expires_at: Option<Timestamp>,
    /// The sequences of the items.
    pub producer: Option<ProducerRun>,
    /// The dedup keys of those items that have one.
    pub keys: Vec<DedupKey>,
    /// How their producer's clock compares. None: not known.
    // Stored as `PublishedFrom`, since what this struct has stays as it is.
    #[serde(skip)]
    pub origin: Option<Origin>,
}

/// How the clock of the items' producer compares with the broker's, as it was known when they came. The queue only keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Added to a stamp of the producer, modulo 2^64, it gives the time that a [`Timestamp`] is of.
    pub shift_ns: u64,
    /// It is right to this, either way.
    pub error_ns: u64,
}

/// Sequences of a producer, one for each item of an event, ascending by 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerRun {
    /// Which producer.
    pub id: Arc<str>,
    /// Of the first item.
    pub first_sequence: u64,
}

/// A dedup key and the item that it stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DedupKey {
    /// The item, counted from the first of the event.
    pub offset: u32,
    /// The user's key.
    pub key: Bytes,
    /// The end of its window.
    pub until: Timestamp,
}

/// See [`Event::Repeated`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Repeated {
    /// When.
    pub at: Timestamp,
    /// Items that came again.
    pub count: u32,
    /// The item that the first of them repeats, the others follow by 1; None: their ids are forgotten.
    pub first: Option<ItemId>,
    /// The sequences that they came with this time.
    pub producer: Option<ProducerRun>,
}

/// See [`Event::Leased`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Leased {
    /// When.
    pub at: Timestamp,
    /// Who has them.
    pub session: SessionId,
    /// The name of who has them; None: the session's consumer.
    pub consumer: Option<Arc<str>>,
    /// Number of the first lease in its session; ascending by 1.
    pub first_seq: u64,
    /// First item.
    pub first: ItemId,
    /// Items.
    pub count: u32,
    /// The leases run out then.
    pub deadline: Timestamp,
}

/// See [`Event::Failed`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    /// When.
    pub at: Timestamp,
    /// First item.
    pub first: ItemId,
    /// Items.
    pub count: u32,
    /// What ended the attempts.
    pub reason: FailureReason,
    /// What the consumer said; may be empty.
    pub error: Arc<str>,
    /// Where the items go.
    pub next: Next,
}

/// Where failed items go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Next {
    /// Ready at once.
    Ready,
    /// Scheduled: not before these times.
    Scheduled(Dues),
    /// Dead letter.
    Dead,
}

/// When each item of a run is due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dues {
    /// All at the same time.
    All(Timestamp),
    /// One for each item.
    Each(Arc<[Timestamp]>),
}

impl Dues {
    /// When the item at `index` is due.
    ///
    /// # Panics
    /// Where there is no such item.
    pub fn at(&self, index: u32) -> Timestamp {
        match self {
            Self::All(due) => *due,
            Self::Each(dues) => dues[index as usize],
        }
    }
}
