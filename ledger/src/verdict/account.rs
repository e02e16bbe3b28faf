//! The sentence about one item.

use baton_telemetry::stage::Stage;

use super::{Cause, NOTHING, Reason, Words, leading, sentence};
use crate::account::{Account, Attempt, AttemptOutcome, Part};
use crate::text::{self, Nanos};
use crate::waits::Waits;

/// Of a consumer's name.
const NAME_CHARS_MAX: usize = 32;
/// Who does most of what is more than this share of it, percent, does it.
const ALONE_PERCENT: u128 = 90;
/// What was the reason for this share of a wait, percent, is taken for its reason now.
const STILL_PERCENT: u128 = 99;

/// Of what an item's time is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// All but waits for a due time.
    Stage(Stage),
    /// Scheduled by its producer.
    Delayed,
    /// Scheduled after failed attempts.
    BackingOff,
}

/// What took longest and why; of an item that is not over, what it does now comes first.
#[must_use]
pub fn of_account(account: &Account, now: u64) -> String {
    let story = Story {
        account,
        now,
        parts: account.parts(now),
    };
    let (leading, whole) = leading(story.causes());
    let named: Vec<_> = leading
        .iter()
        .map(|cause| (cause.ns, story.words(cause.kind)))
        .collect();
    let running = story.parts.last().filter(|part| part.running);
    match (running, leading.as_slice()) {
        (Some(part), [cause]) if cause.kind == kind(part) => story.present(part),
        (Some(part), []) => story.present(part),
        (Some(part), _) => format!(
            "{}; so far {}",
            story.present(part),
            sentence(&named, whole)
        ),
        (None, []) => NOTHING.to_owned(),
        (None, _) if account.end.is_none() => format!("so far {}", sentence(&named, whole)),
        (None, _) => sentence(&named, whole),
    }
}

const fn kind(part: &Part) -> Kind {
    match part.stage {
        Stage::Scheduled if part.attempt <= 1 => Kind::Delayed,
        Stage::Scheduled => Kind::BackingOff,
        stage => Kind::Stage(stage),
    }
}

struct Story<'a> {
    account: &'a Account,
    now: u64,
    parts: Vec<Part>,
}

impl Story<'_> {
    fn causes(&self) -> Vec<Cause<Kind>> {
        let mut causes: Vec<Cause<Kind>> = Vec::new();
        for part in &self.parts {
            let (kind, ns) = (kind(part), u128::from(part.ns()));
            match causes.iter_mut().find(|cause| cause.kind == kind) {
                Some(cause) => cause.ns += ns,
                None => causes.push(Cause { kind, ns }),
            }
        }
        causes
    }

    fn words(&self, kind: Kind) -> Words {
        let (what, why) = match kind {
            Kind::Delayed => ("delayed by its producer".to_owned(), String::new()),
            Kind::BackingOff => (
                format!("backing off after {}", self.failed()),
                String::new(),
            ),
            Kind::Stage(Stage::Queue) => ("queue wait".to_owned(), self.queue_why()),
            Kind::Stage(Stage::Process) => (self.processing(), String::new()),
            Kind::Stage(Stage::Deliver) if self.lost() => (self.held(), String::new()),
            Kind::Stage(stage) => {
                let consumer = self.who(stage).0;
                let why = match stage {
                    Stage::Publish => "on its way to the broker".to_owned(),
                    Stage::Deliver => format!("on its way to {consumer}"),
                    Stage::Prefetch => format!("{consumer} had it and was busy"),
                    _ => "until it was durable".to_owned(),
                };
                (stage.name().to_owned(), why)
            }
        };
        Words { what, why }
    }

    /// How many attempts failed before the last wait.
    fn failed(&self) -> String {
        let waits = |part: &&Part| kind(part) == Kind::BackingOff;
        let last = self.parts.iter().rfind(waits);
        match last.map_or(0, |part| part.attempt.saturating_sub(1)) {
            1 => "1 failed attempt".to_owned(),
            failed => format!("{failed} failed attempts"),
        }
    }

    fn queue_why(&self) -> String {
        let waits = self
            .account
            .attempts
            .iter()
            .fold(Waits::default(), |sum, attempt| sum.plus(&attempt.waits));
        let queued = self
            .parts_of(Stage::Queue)
            .map(|part| u128::from(part.ns()));
        Reason::why(&waits, queued.sum())
    }

    fn parts_of(&self, stage: Stage) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(move |part| part.stage == stage)
    }

    fn attempt(&self, part: &Part) -> Option<&Attempt> {
        let mut attempts = self.account.attempts.iter();
        attempts.find(|attempt| attempt.number == part.attempt)
    }

    /// Whose attempt the most of a stage was, and that attempt where it was nearly all.
    fn who(&self, stage: Stage) -> (String, Option<&Attempt>) {
        let whole: u128 = self.parts_of(stage).map(|part| u128::from(part.ns())).sum();
        let longest = self
            .parts_of(stage)
            .max_by_key(|part| part.ns())
            .filter(|part| u128::from(part.ns()) * 100 >= whole * ALONE_PERCENT)
            .and_then(|part| self.attempt(part));
        match longest {
            Some(attempt) => (name(attempt), Some(attempt)),
            None => ("consumers".to_owned(), None),
        }
    }

    fn processing(&self) -> String {
        let (consumer, attempt) = self.who(Stage::Process);
        let Some(attempt) = attempt else {
            let count = self.parts_of(Stage::Process).count();
            return format!("processing in {count} attempts");
        };
        format!("processing by {consumer}{}", self.numbered(attempt))
    }

    /// Most of what passed before consumers had the item passed with ones that never answered.
    fn lost(&self) -> bool {
        let whole: u128 = self
            .parts_of(Stage::Deliver)
            .map(|part| u128::from(part.ns()))
            .sum();
        let lost = self.lost_parts().map(|part| u128::from(part.ns()));
        lost.sum::<u128>() * 2 > whole
    }

    fn lost_parts(&self) -> impl Iterator<Item = &Part> {
        let lost = |part: &&Part| {
            let end = self.attempt(part).and_then(|attempt| attempt.end.as_ref());
            end.is_some_and(|end| end.outcome.is_lost())
        };
        self.parts_of(Stage::Deliver).filter(lost)
    }

    fn held(&self) -> String {
        let (consumer, attempt) = self.who(Stage::Deliver);
        let Some(attempt) = attempt else {
            let count = self.lost_parts().count();
            return format!("with consumers that never answered, {count} attempts");
        };
        let outcome = attempt.end.as_ref().map(|end| end.outcome);
        let until = match outcome {
            Some(AttemptOutcome::LeaseExpired) => "until the lease ran out",
            Some(AttemptOutcome::ConsumerGone) => "until it went away",
            Some(AttemptOutcome::BrokerRestarted) => "until the broker was restarted",
            _ => "never answered",
        };
        format!("with {consumer}{}, {until}", self.numbered(attempt))
    }

    /// Empty for an only attempt.
    fn numbered(&self, attempt: &Attempt) -> String {
        match (self.account.attempts.len(), attempt.number) {
            (1, 1) => String::new(),
            (_, number) => format!(" (attempt {number})"),
        }
    }

    /// What the item does now.
    fn present(&self, part: &Part) -> String {
        let about = if part.approximate { "≈" } else { "" };
        let since = format!("since {about}{}", Nanos(part.ns()));
        let Some(attempt) = self.attempt(part) else {
            return format!("{} {since}", part.stage);
        };
        let left = Nanos(attempt.ready.saturating_sub(self.now));
        match kind(part) {
            Kind::Delayed => format!("delayed by its producer for another {left}"),
            Kind::BackingOff => format!("backs off for another {left} after {}", self.failed()),
            Kind::Stage(Stage::Queue) => {
                let why = still(attempt, part);
                format!("waits {since}{why}")
            }
            Kind::Stage(Stage::Process) => {
                format!("with {} {since}{}", name(attempt), self.numbered(attempt))
            }
            Kind::Stage(stage) => format!("{stage} {since}"),
        }
    }
}

/// Only the sums are known; so it is said what they prove.
fn still(attempt: &Attempt, part: &Part) -> String {
    let wait = u128::from(part.ns());
    let [(reason, most), ..] = Reason::shares(&attempt.waits, wait);
    if most == 0 {
        return String::new();
    }
    if most * 100 >= wait * STILL_PERCENT {
        return format!(": {}", reason.is());
    }
    let most = Nanos(u64::try_from(most).unwrap_or(u64::MAX));
    format!(": for {most} of it {}", reason.was())
}

fn name(attempt: &Attempt) -> String {
    match &attempt.consumer {
        Some(consumer) => text::line(&consumer.client_id, NAME_CHARS_MAX),
        None => "a consumer".to_owned(),
    }
}
