//! The account of one item: all that is known of its time, and its stages.
//!
//! Times are the broker's wall clock, nanoseconds since the Unix epoch; those of clients have been moved onto it and lie
//! between the broker's own on either side. So the stages follow each other without gap or overlap, and add up to the total.
//! Made by the ledger from its runs, when someone asks or when an item is worth keeping; read by `spans` and `text`.

use std::sync::Arc;

use baton_telemetry::stage::Stage;
use baton_telemetry::trace_context::ItemContext;

use crate::party::Party;
use crate::waits::Waits;

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    /// Per queue.
    pub item: u64,
    /// Its queue.
    pub queue: Arc<str>,
    /// Its trace; None: it came without one.
    pub context: Option<ItemContext>,
    /// Its trace before it was redriven.
    pub before_redrive: Option<ItemContext>,
    /// Who published it; None: not known any more.
    pub producer: Option<Arc<Party>>,
    /// When the producer made it, and how far that may be off.
    pub created: Option<(u64, u64)>,
    /// Received by the broker. After a restart: when it was taken in.
    pub received: u64,
    /// Durable; None: not known any more, or not yet, where there is no attempt either.
    pub durable: Option<u64>,
    /// Earlier times are from before a restart of the broker: only the wall clock tells how long ago they were.
    pub restarted: Option<u64>,
    /// In order. The last one may not have been leased yet.
    pub attempts: Vec<Attempt>,
    /// None: not over.
    pub end: Option<End>,
}

/// How and when an item ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// How.
    pub outcome: Outcome,
    /// When it was durable.
    pub at: u64,
}

/// What became of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Acked,
    /// Given up.
    Dead,
    /// Its time to live ran out.
    Expired,
    /// Cancelled or purged.
    Cancelled,
    /// A dead letter that was removed.
    Discarded,
}

impl Outcome {
    /// As it is called everywhere.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Acked => "acked",
            Self::Dead => "dead",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Discarded => "discarded",
        }
    }
}

/// One wait for a consumer and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// The wait began: durable, or the attempt before had failed.
    pub since: u64,
    /// From then on it could be taken; `since` where it was not scheduled. In the future while it is scheduled.
    pub ready: u64,
    /// What it waited for between `ready` and `leased`.
    pub waits: Waits,
    /// Handed out; None: it waits.
    pub leased: Option<u64>,
    /// Who has or had it.
    pub consumer: Option<Arc<Party>>,
    /// What the consumer said of its time.
    pub handled: Option<Handled>,
    /// How it ended; None: it has not.
    pub end: Option<AttemptEnd>,
}

/// A handler's time, on the broker's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handled {
    /// The delivery arrived.
    pub received: u64,
    /// The handler began.
    pub started: u64,
    /// The handler ended.
    pub ended: u64,
    /// All three may be off by this, together.
    pub error_ns: u64,
}

/// How and when an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptEnd {
    /// How.
    pub outcome: AttemptOutcome,
    /// The settle arrived, or the lease was found to be over.
    pub at: u64,
    /// That was durable.
    pub durable: u64,
    /// What the consumer said of it; may be empty.
    pub error: Arc<str>,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// Done.
    Acked,
    /// The consumer said that it failed.
    Nacked,
    /// The consumer said that no further attempt can help.
    Rejected,
    /// The lease ran out.
    LeaseExpired,
    /// The consumer's stream ended and did not come back in time.
    ConsumerGone,
    /// The broker was restarted meanwhile.
    BrokerRestarted,
}

impl AttemptOutcome {
    /// Its consumer never said how it went: nobody knows whether a handler saw the item.
    #[must_use]
    pub const fn is_lost(self) -> bool {
        match self {
            Self::LeaseExpired | Self::ConsumerGone | Self::BrokerRestarted => true,
            Self::Acked | Self::Nacked | Self::Rejected => false,
        }
    }

    /// As it is called everywhere.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Acked => "acked",
            Self::Nacked => "nacked",
            Self::Rejected => "rejected",
            Self::LeaseExpired => "lease_expired",
            Self::ConsumerGone => "consumer_gone",
            Self::BrokerRestarted => "broker_restarted",
        }
    }
}

/// A stage of an item: an interval of its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which.
    pub stage: Stage,
    /// Of which attempt; 0: before the first one.
    pub attempt: u32,
    /// It began.
    pub start: u64,
    /// It ended; now, if it has not.
    pub end: u64,
    /// Its length may be off by this.
    pub error_ns: u64,
    /// It began before a restart of the broker.
    pub approximate: bool,
    /// It has not ended.
    pub running: bool,
}

impl Part {
    /// How long it took.
    #[must_use]
    pub const fn ns(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}

impl Account {
    /// When it began: created, or received where that is not known.
    #[must_use]
    pub fn begin(&self) -> u64 {
        self.created.map_or(self.received, |(at, _)| at)
    }

    /// From its beginning to its end, or so far; and how far that may be off.
    #[must_use]
    pub fn total(&self, now: u64) -> (u64, u64) {
        let end = self.end.map_or(now, |end| end.at);
        let error = self.created.map_or(0, |(_, error)| error);
        (end.saturating_sub(self.begin()), error)
    }

    /// Its stages in order, one after the other; those that took no time are left out.
    #[must_use]
    pub fn parts(&self, now: u64) -> Vec<Part> {
        let mut parts = Parts {
            now,
            restarted: self.restarted,
            found: Vec::new(),
        };
        if let Some((created, error)) = self.created {
            parts.add(Stage::Publish, 0, (created, Some(self.received)), error);
        }
        // An item that is still being stored has no attempts; of others that is not known any more.
        if self.durable.is_some() || self.attempts.is_empty() {
            let end = self.end.map(|end| end.at);
            parts.add(Stage::Store, 0, (self.received, self.durable.or(end)), 0);
        }
        for attempt in &self.attempts {
            attempt.add_parts(&mut parts, self.end);
        }
        parts.found
    }

    /// How long all its parts of one stage took together.
    #[must_use]
    pub fn stage_ns(&self, stage: Stage, now: u64) -> u64 {
        match stage {
            Stage::Total => self.total(now).0,
            Stage::NoWorker => self.waits().no_worker(),
            Stage::NotAllowed => {
                let scheduled = self.stage_ns(Stage::Scheduled, now);
                scheduled.saturating_add(self.waits().paused)
            }
            stage => {
                let parts = self.parts(now);
                let of_stage = parts.iter().filter(|part| part.stage == stage);
                of_stage.map(Part::ns).fold(0, u64::saturating_add)
            }
        }
    }

    /// How long its producer wanted it to wait: that is no reason to look at it.
    #[must_use]
    pub fn asked_delay(&self) -> u64 {
        let first = self.attempts.first().filter(|first| first.number == 1);
        first.map_or(0, |first| {
            let until = first
                .leased
                .map_or(first.ready, |leased| leased.min(first.ready));
            until.saturating_sub(first.since)
        })
    }

    /// Attempts that did not end in an acknowledgement.
    #[must_use]
    pub fn failures(&self) -> usize {
        let failed = |end: &AttemptEnd| end.outcome != AttemptOutcome::Acked;
        self.attempts
            .iter()
            .filter(|attempt| attempt.end.as_ref().is_some_and(failed))
            .count()
    }

    /// Memory, bytes.
    pub(crate) fn bytes(&self) -> usize {
        const COUNTS: usize = 2 * size_of::<usize>();
        let ends = self
            .attempts
            .iter()
            .filter_map(|attempt| attempt.end.as_ref());
        let errors: usize = ends.map(|end| end.error.len()).sum();
        COUNTS + size_of::<Self>() + self.attempts.capacity() * size_of::<Attempt>() + errors
    }

    /// Of all attempts.
    fn waits(&self) -> Waits {
        let attempts = self.attempts.iter();
        attempts.fold(Waits::default(), |sum, attempt| sum.plus(&attempt.waits))
    }
}

struct Parts {
    now: u64,
    restarted: Option<u64>,
    found: Vec<Part>,
}

impl Parts {
    fn add(&mut self, stage: Stage, attempt: u32, (start, end): (u64, Option<u64>), error_ns: u64) {
        let running = end.is_none_or(|end| end > self.now);
        let end = end.map_or(self.now, |end| end.min(self.now)).max(start);
        if end == start && !running {
            return;
        }
        self.found.push(Part {
            stage,
            attempt,
            start,
            end,
            error_ns,
            approximate: self.restarted.is_some_and(|restarted| start < restarted),
            running,
        });
    }
}

impl Attempt {
    /// `end`: of the item, for one that ended while it waited.
    fn add_parts(&self, parts: &mut Parts, end: Option<End>) {
        let over = end.map(|end| end.at);
        let waited = self.leased.or(over);
        let scheduled_until = waited.map_or(self.ready, |waited| waited.min(self.ready));
        if self.ready > self.since {
            parts.add(
                Stage::Scheduled,
                self.number,
                (self.since, Some(scheduled_until)),
                0,
            );
        }
        if self.ready <= parts.now && waited.is_none_or(|waited| waited >= self.ready) {
            parts.add(Stage::Queue, self.number, (self.ready, waited), 0);
        }
        let Some(leased) = self.leased else { return };
        let ended = self.end.as_ref().map(|end| end.durable);
        let Some(handled) = self.handled else {
            // Its consumer said nothing: all of the lease counts as its work, unless it never answered.
            let lost = self.end.as_ref().is_some_and(|end| end.outcome.is_lost());
            let stage = if lost { Stage::Deliver } else { Stage::Process };
            parts.add(stage, self.number, (leased, ended), 0);
            return;
        };
        let error = handled.error_ns;
        parts.add(
            Stage::Deliver,
            self.number,
            (leased, Some(handled.received)),
            error,
        );
        parts.add(
            Stage::Prefetch,
            self.number,
            (handled.received, Some(handled.started)),
            0,
        );
        parts.add(
            Stage::Process,
            self.number,
            (handled.started, Some(handled.ended)),
            0,
        );
        parts.add(Stage::Settle, self.number, (handled.ended, ended), error);
    }
}
