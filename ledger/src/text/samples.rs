//! Accounts for tests, told as stories: each step lets time pass.

use std::sync::Arc;

use baton_telemetry::trace_context::{ItemContext, SpanId, TraceId};

use crate::account::{Account, Attempt, AttemptEnd, AttemptOutcome, End, Handled, Outcome};
use crate::party::Party;
use crate::waits::Waits;

pub(crate) const US: u64 = 1_000;
pub(crate) const MS: u64 = 1_000_000;
pub(crate) const S: u64 = 1_000_000_000;
/// 2026-11-22 19:04:11.123 UTC.
pub(crate) const BEGIN: u64 = 1_795_374_251_123 * MS;

/// An account in the making.
pub(crate) struct Story {
    pub(crate) account: Account,
    pub(crate) now: u64,
}

pub(crate) fn party(client_id: &str, service: &str) -> Option<Arc<Party>> {
    Some(Arc::new(Party {
        client_id: client_id.into(),
        service: service.into(),
    }))
}

pub(crate) fn context(sampled: bool) -> ItemContext {
    let trace = *b"\x0a\xf7\x65\x19\x16\xcd\x43\xdd\x84\x48\xeb\x21\x1c\x80\x31\x9c";
    ItemContext {
        trace_id: TraceId::new(trace).unwrap(),
        item: SpanId::new([0xaa; 8]).unwrap(),
        parent: None,
        creation: SpanId::new([0xbb; 8]),
        sampled,
    }
}

impl Story {
    /// Created, received after `publish` ± `error`, durable after another `store`.
    pub(crate) fn published(publish: u64, error: u64, store: u64) -> Self {
        let received = BEGIN + publish;
        let account = Account {
            item: 4711,
            queue: "demo".into(),
            context: Some(context(true)),
            before_redrive: None,
            producer: party("p-1", "shop"),
            created: Some((BEGIN, error)),
            received,
            durable: Some(received + store),
            restarted: None,
            attempts: Vec::new(),
            end: None,
        };
        Self {
            account,
            now: received + store,
        }
    }

    pub(crate) fn last(&mut self) -> &mut Attempt {
        self.account.attempts.last_mut().unwrap()
    }

    /// Scheduled for `delay`, from now on.
    pub(crate) fn due_after(mut self, delay: u64) -> Self {
        let number = self.account.attempts.last().map_or(1, |it| it.number + 1);
        self.account.attempts.push(Attempt {
            number,
            since: self.now,
            ready: self.now + delay,
            waits: Waits::default(),
            leased: None,
            consumer: None,
            handled: None,
            end: None,
        });
        self
    }

    /// Waits for `wait` after it was due; `[paused, no_consumer, no_credit]`.
    pub(crate) fn waits(mut self, wait: u64, [paused, no_consumer, no_credit]: [u64; 3]) -> Self {
        let now = self.last().ready + wait;
        self.last().waits = Waits {
            paused,
            no_consumer,
            no_credit,
            ..Waits::default()
        };
        self.now = now;
        self
    }

    pub(crate) fn leased_by(mut self, consumer: &str) -> Self {
        let now = self.now;
        self.last().leased = Some(now);
        self.last().consumer = party(consumer, "worker");
        self
    }

    pub(crate) fn passes(mut self, ns: u64) -> Self {
        self.now += ns;
        self
    }

    /// Deliver ± error, prefetch, process; the settle arrives after `back` and is durable after `store`.
    pub(crate) fn handled(
        mut self,
        [deliver, prefetch, process]: [u64; 3],
        error_ns: u64,
        [back, store]: [u64; 2],
        (outcome, error): (AttemptOutcome, &str),
    ) -> Self {
        let received = self.now + deliver;
        let started = received + prefetch;
        let ended = started + process;
        self.last().handled = Some(Handled {
            received,
            started,
            ended,
            error_ns,
        });
        self.now = ended + back;
        self.ended(store, outcome, error)
    }

    /// The attempt ends now, which is durable after `store`.
    pub(crate) fn ended(mut self, store: u64, outcome: AttemptOutcome, error: &str) -> Self {
        let at = self.now;
        self.now += store;
        self.last().end = Some(AttemptEnd {
            outcome,
            at,
            durable: at + store,
            error: error.into(),
        });
        self
    }

    /// Over, now.
    pub(crate) fn over(mut self, outcome: Outcome) -> Self {
        self.account.end = Some(End {
            outcome,
            at: self.now,
        });
        self
    }
}

/// Waited for credit, then done at once.
pub(crate) fn acked() -> Story {
    Story::published(210 * US, 40 * US, 900 * US)
        .due_after(0)
        .waits(1200 * MS, [0, 0, 1100 * MS])
        .leased_by("c-1")
        .handled(
            [100 * US, 0, 20 * MS],
            40 * US,
            [200 * US, 800 * US],
            (AttemptOutcome::Acked, ""),
        )
        .over(Outcome::Acked)
}

/// Failed twice before it was done.
pub(crate) fn third_time() -> Story {
    Story::published(210 * US, 0, 900 * US)
        .due_after(0)
        .waits(3 * MS, [0, 0, 0])
        .leased_by("c-1")
        .handled(
            [100 * US, 0, 20 * MS],
            0,
            [200 * US, MS],
            (AttemptOutcome::Nacked, "boom\nat line 3"),
        )
        .due_after(S)
        .waits(250 * US, [0, 0, 0])
        .leased_by("c-2")
        .passes(500 * MS)
        .ended(MS, AttemptOutcome::LeaseExpired, "")
        .due_after(2 * S)
        .waits(400 * MS, [300 * MS, 90 * MS, 0])
        .leased_by("c-1")
        .handled(
            [100 * US, 2 * MS, 25 * MS],
            0,
            [200 * US, MS],
            (AttemptOutcome::Acked, ""),
        )
        .over(Outcome::Acked)
}
