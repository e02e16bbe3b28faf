//! Accounts of single items, put together from what the ledger and the queue know.

use std::collections::BTreeMap;
use std::sync::Arc;

use baton_telemetry::stage::Stage;
use baton_telemetry::trace_context::ItemContext;

use crate::account::{Account, Attempt, AttemptEnd, AttemptOutcome, End, Outcome};
use crate::arrivals::Arrival;
use crate::finished::Ended;
use crate::leases::Run;
use crate::ledger::Ledger;
use crate::party::{Party, Shift};
use crate::stamps;
use crate::told::ItemStamps;
use crate::wait::Wait;
use crate::waits::Waits;

/// What the queue knows of an item that has not ended.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Which.
    pub item: u64,
    /// Taken in.
    pub taken_in: u64,
    /// Attempts so far, one under way too.
    pub attempts: u32,
    /// Attempts before the last redrive.
    pub forgiven: u32,
    /// It can be handed out from then on, or could.
    pub ready: Option<u64>,
    /// It was handed out, and nothing has come of that yet.
    pub leased: Option<(u64, Arc<str>)>,
    /// Attempts that failed, as far as they are kept, oldest first.
    pub failed: Vec<KnownFailure>,
    /// Given up at.
    pub dead: Option<u64>,
    /// Of its producer.
    pub origin: Option<Shift>,
    /// What the item says of itself.
    pub stamps: ItemStamps,
}

/// A failed attempt, as the queue keeps it.
#[derive(Clone, Debug)]
pub struct KnownFailure {
    /// From 1.
    pub number: u32,
    /// Who had it.
    pub consumer: Arc<str>,
    /// Handed out.
    pub leased: u64,
    /// Over.
    pub ended: u64,
    /// What ended it.
    pub outcome: AttemptOutcome,
    /// What the consumer said.
    pub error: Arc<str>,
}

impl Ledger {
    /// An item that has ended, if it is remembered.
    #[must_use]
    pub fn ended(&self, item: u64) -> Option<Arc<Account>> {
        let slow = || self.slowest.find(item);
        let kept = self.troubled.find(item).or_else(slow);
        let found = self.finished.find(item);
        // One that is kept may be of a dead letter that was redriven and has ended again. Of the same end it says more.
        let is_later = |(ended, _): &(&Ended, usize)| {
            kept.and_then(|account| account.end).is_none_or(|end| {
                let other = Some(end.outcome) != ended.how.item;
                end.at < ended.durable || (end.at == ended.durable && other)
            })
        };
        let Some((ended, index)) = found.filter(is_later) else {
            return kept.cloned();
        };
        let mut account = self.account_without_attempts(ended, index);
        account.attempts.push(ended.attempt(index));
        account.begin_at_redrive(ended.run.facts.forgiven);
        Some(Arc::new(account))
    }

    /// The slowest items in a stage that ended since `after`, with what it took them.
    #[must_use]
    pub fn slowest(&self, stage: Stage, after: u64, max: usize) -> Vec<(u64, Arc<Account>)> {
        self.slowest.of(stage, after, max)
    }

    /// An item that has not ended, or is a dead letter.
    #[must_use]
    pub fn account(&self, known: &Known, now: u64) -> Account {
        if let Some(dead) = self.dead_letter(known) {
            return dead.clone();
        }
        let arrival = self.arrivals.find(known.item);
        let mut account = self.begun(
            (known.item, known.forgiven),
            (known.taken_in, known.origin),
            arrival,
            known.stamps,
        );
        let being_stored = arrival.is_some_and(|arrival| arrival.durable == 0);
        if !being_stored {
            account.attempts = self.earlier_attempts(known, &account);
        }
        if !being_stored && known.dead.is_none() {
            let current = self.current_attempt(known, &account, now);
            account.attempts.push(current);
        }
        account.begin_at_redrive(known.forgiven);
        account.end = known.dead.map(|at| End {
            outcome: Outcome::Dead,
            at: at.max(account.attempts_end().unwrap_or(0)),
        });
        account
    }

    /// As it was when it was given up, if that is remembered.
    fn dead_letter(&self, known: &Known) -> Option<&Account> {
        let account = self
            .troubled
            .find(known.item)
            .filter(|_| known.dead.is_some())?;
        let last = account.attempts.last().map_or(0, |last| last.number);
        (last == known.attempts).then_some(account)
    }

    fn begun(
        &self,
        (item, forgiven): (u64, u32),
        (taken_in, origin): (u64, Option<Shift>),
        arrival: Option<&Arrival>,
        stamps: ItemStamps,
    ) -> Account {
        let received = arrival.map_or(taken_in, |arrival| arrival.received);
        let clock = arrival.map_or(origin, |arrival| arrival.clock);
        let context = stamps.context.or_else(|| {
            let made_up = || ItemContext::made_up(self.seed, &self.queue, item);
            self.shared.sampling.map(|_| made_up())
        });
        let redriven = |context: ItemContext| context.redriven(forgiven);
        let before_redrive = context.filter(|_| forgiven > 0);
        Account {
            item,
            queue: Arc::clone(&self.queue),
            context: before_redrive.map(redriven).or(context),
            before_redrive,
            producer: arrival.and_then(|arrival| arrival.producer.clone()),
            created: stamps::created(stamps.created_ns, clock, received),
            received,
            durable: arrival
                .map(|arrival| arrival.durable)
                .filter(|durable| *durable > 0),
            restarted: (received < self.opened).then_some(self.opened),
            attempts: Vec::new(),
            end: None,
        }
    }

    /// Since the last redrive. The stamps of this life where there are some, else what the queue has kept.
    fn earlier_attempts(&self, known: &Known, account: &Account) -> Vec<Attempt> {
        let seen = self.earlier.of(known.item).iter();
        let seen = seen.map(|attempt| (attempt.number, Err(attempt)));
        let failed = known.failed.iter();
        let failed = failed.map(|failure| (failure.number, Ok(failure)));
        let by_number: BTreeMap<_, _> = failed.chain(seen).collect();
        let mut attempts: Vec<Attempt> = Vec::new();
        for (_, attempt) in by_number.range(known.forgiven.saturating_add(1)..) {
            let before = attempts.last().and_then(Attempt::durable_end);
            let begun = before.or_else(|| (known.forgiven == 0).then(|| account.stored()));
            attempts.push(match attempt {
                Ok(failure) => failure.attempt(begun.unwrap_or(failure.leased)),
                Err(seen) => (*seen).clone(),
            });
        }
        attempts
    }

    fn current_attempt(&self, known: &Known, account: &Account, now: u64) -> Attempt {
        let before = account.attempts.last();
        let ready = known.ready.unwrap_or(0);
        let floor = match before.and_then(Attempt::durable_end) {
            Some(durable) => durable,
            None if known.forgiven > 0 => 0,
            None => account.stored(),
        };
        if let Some(run) = self.leases.find(known.item) {
            let consumer = Some(Arc::clone(&run.facts.consumer));
            let wait = run.facts.wait.not_before(floor);
            return wait.attempt(run.facts.number, true, consumer);
        }
        let (since, ready) = match self.resumed.get(known.item) {
            Some(resumed) => *resumed,
            None if floor == 0 => (ready, ready),
            None => (floor, ready),
        };
        let (leased, consumer) = known.leased.clone().unzip();
        let wait = Wait {
            since,
            ready,
            leased: leased.unwrap_or(now),
            waits: Waits::default(),
        };
        let wait = wait.not_before(floor);
        let waits = self.clock.between(wait.ready, leased.unwrap_or(now));
        let number = known.attempts.saturating_add(u32::from(leased.is_none()));
        let next = before.map_or(1, |before| before.number.saturating_add(1));
        let wait = Wait { waits, ..wait };
        wait.attempt(number.max(next), leased.is_some(), consumer.map(named))
    }

    /// The account of an item whose last attempt has ended just now; takes what is known of those before.
    pub(crate) fn account_of(&mut self, ended: &Ended, index: usize) -> Account {
        let mut account = self.account_without_attempts(ended, index);
        account.attempts = self.earlier.take(account.item);
        account.attempts.reserve_exact(1);
        account.attempts.push(ended.attempt(index));
        account.begin_at_redrive(ended.run.facts.forgiven);
        account
    }

    fn account_without_attempts(&self, ended: &Ended, index: usize) -> Account {
        let Run {
            facts,
            created,
            contexts,
            first,
            ..
        } = &ended.run;
        let stamps = ItemStamps {
            created_ns: created.at(index),
            context: contexts.at(index),
        };
        let mut account = self.begun(
            (first + index as u64, facts.forgiven),
            (facts.taken_in, facts.origin),
            ended.arrival.as_ref(),
            stamps,
        );
        account.end = ended.how.item.map(|outcome| End {
            outcome,
            at: ended.durable,
        });
        account
    }
}

impl Ended {
    /// The attempt of one of its items.
    pub(crate) fn attempt(&self, index: usize) -> Attempt {
        let facts = &self.run.facts;
        let Some(outcome) = self.how.attempt else {
            return facts.wait.attempt(facts.number, false, None);
        };
        let report = self.run.report.as_ref();
        let handled = report.and_then(|report| {
            let bounds = (facts.wait.leased, self.at);
            stamps::handled(report.stamps.at(index), report.clock, bounds)
        });
        Attempt {
            handled,
            end: Some(AttemptEnd {
                outcome,
                at: self.at,
                durable: self.durable,
                error: Arc::clone(&self.error),
            }),
            ..facts
                .wait
                .attempt(facts.number, true, Some(Arc::clone(&facts.consumer)))
        }
    }
}

impl Wait {
    /// An attempt that is not over.
    fn attempt(self, number: u32, leased: bool, consumer: Option<Arc<Party>>) -> Attempt {
        Attempt {
            number,
            since: self.since,
            ready: self.ready,
            waits: self.waits,
            leased: leased.then_some(self.leased),
            consumer,
            handled: None,
            end: None,
        }
    }
}

impl Account {
    /// When its first wait began.
    fn stored(&self) -> u64 {
        self.durable.unwrap_or(self.received)
    }

    fn attempts_end(&self) -> Option<u64> {
        self.attempts.last().and_then(Attempt::durable_end)
    }

    /// A redriven item has a trace of its own, so that none lasts for days; what was before is not part of it.
    fn begin_at_redrive(&mut self, forgiven: u32) {
        if forgiven == 0 {
            return;
        }
        let first = self.attempts.first();
        let redriven = first.map_or(self.received, |attempt| attempt.since);
        (self.created, self.received, self.durable) = (None, redriven, None);
        self.restarted = self.restarted.filter(|restarted| redriven < *restarted);
    }
}

impl Attempt {
    fn durable_end(&self) -> Option<u64> {
        self.end.as_ref().map(|end| end.durable)
    }
}

impl KnownFailure {
    /// As one that waited since then.
    fn attempt(&self, since: u64) -> Attempt {
        let wait = Wait {
            since,
            ready: since,
            leased: self.leased.max(since),
            waits: Waits::default(),
        };
        let ended = self.ended.max(wait.leased);
        Attempt {
            end: Some(AttemptEnd {
                outcome: self.outcome,
                at: ended,
                durable: ended,
                error: Arc::clone(&self.error),
            }),
            ..wait.attempt(self.number, true, Some(named(Arc::clone(&self.consumer))))
        }
    }
}

fn named(client_id: Arc<str>) -> Arc<Party> {
    Arc::new(Party::named(client_id))
}
