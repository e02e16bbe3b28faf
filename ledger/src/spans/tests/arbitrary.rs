//! Random accounts that are consistent: times follow each other, and nothing is missing in between.

use std::sync::Arc;

use baton_telemetry::trace_context::{ItemContext, SpanId, TraceId};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::account::{Account, AttemptOutcome, Outcome};
use crate::party::Party;
use crate::text::samples::{BEGIN, Story};

/// Nothing, nanoseconds, about a microsecond, typical, hours.
fn durations() -> impl Strategy<Value = u64> {
    prop_oneof![
        3 => Just(0),
        2 => 1_u64..1_000,
        2 => 900_u64..2_100,
        3 => 2_000_u64..100_000_000,
        1 => 1_u64..10_000_000_000_000,
    ]
}

fn parties() -> impl Strategy<Value = Option<Arc<Party>>> {
    let party = ("[a-z]{0,5}", prop_oneof!["shop", "worker", ""]);
    option::of(party.prop_map(|(client_id, service)| {
        Arc::new(Party {
            client_id: client_id.into(),
            service: service.into(),
        })
    }))
}

#[derive(Clone, Debug)]
struct Try {
    delay: u64,
    wait: u64,
    shares: [u64; 3],
    consumer: Option<Arc<Party>>,
    handled: Option<[u64; 3]>,
    back: u64,
    store: u64,
    outcome: AttemptOutcome,
}

fn tries() -> impl Strategy<Value = Try> {
    let times = (durations(), durations(), durations(), durations());
    let handled = option::of([durations(), durations(), durations()]);
    let outcomes = prop_oneof![
        Just(AttemptOutcome::Nacked),
        Just(AttemptOutcome::Rejected),
        Just(AttemptOutcome::LeaseExpired),
        Just(AttemptOutcome::ConsumerGone),
        Just(AttemptOutcome::BrokerRestarted),
    ];
    let shares = [0_u64..4, 0_u64..4, 0_u64..4];
    (times, handled, outcomes, shares, parties()).prop_map(
        |((delay, wait, back, store), handled, outcome, shares, consumer)| Try {
            delay: if delay % 2 == 0 { delay } else { 0 },
            wait,
            shares: shares.map(|share| wait / 12 * share),
            consumer,
            handled,
            back,
            store,
            outcome,
        },
    )
}

impl Try {
    fn waits(&self, story: Story) -> Story {
        story.due_after(self.delay).waits(self.wait, self.shares)
    }

    fn is_tried(&self, story: Story, outcome: AttemptOutcome) -> Story {
        use AttemptOutcome::{Acked, Nacked, Rejected};
        let mut story = self.waits(story).leased_by("");
        story.last().consumer.clone_from(&self.consumer);
        match self.handled {
            Some(times) if matches!(outcome, Acked | Nacked | Rejected) => {
                let error_ns = self.back / 2;
                story.handled(times, error_ns, [self.back, self.store], (outcome, "boom"))
            }
            _ => story.passes(self.back).ended(self.store, outcome, ""),
        }
    }
}

fn contexts() -> impl Strategy<Value = ItemContext> {
    let id = || any::<[u8; 8]>().prop_filter_map("no id", SpanId::new);
    let trace = any::<[u8; 16]>().prop_filter_map("no id", TraceId::new);
    (
        trace,
        id(),
        option::of(id()),
        option::of(id()),
        any::<bool>(),
    )
        .prop_map(|(trace_id, item, parent, creation, sampled)| ItemContext {
            trace_id,
            item,
            parent,
            creation,
            sampled,
        })
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        3 => Just(Outcome::Acked),
        1 => Just(Outcome::Dead),
        1 => Just(Outcome::Expired),
        1 => Just(Outcome::Cancelled),
        1 => Just(Outcome::Discarded),
    ]
}

/// Ended ones, with 1 to 5 attempts.
pub(super) fn accounts() -> impl Strategy<Value = Account> {
    let published = (durations(), durations(), 0_u64..1000);
    let forgotten = (any::<bool>(), any::<bool>(), any::<bool>());
    let about = (contexts(), parties(), option::of(durations()), forgotten);
    (published, vec(tries(), 1..=5), outcomes(), about).prop_map(
        |((publish, store, odd), tries, outcome, about)| {
            let mut story = Story::published(publish, publish / 2, store);
            let (last, before) = tries.split_last().unwrap();
            for one in before {
                story = one.is_tried(story, one.outcome);
            }
            story = match outcome {
                Outcome::Acked => last.is_tried(story, AttemptOutcome::Acked),
                Outcome::Dead | Outcome::Discarded => last.is_tried(story, last.outcome),
                Outcome::Expired | Outcome::Cancelled => last.waits(story),
            };
            let mut account = moved(story.over(outcome).account, odd);
            let (context, producer, restarted, (no_create, no_store, redriven)) = about;
            account.context = Some(context);
            account.producer = producer;
            account.restarted = restarted.map(|after| BEGIN + after);
            if no_create {
                account.created = None;
            }
            if no_store {
                account.received = account.durable.take().unwrap();
            }
            if redriven {
                account.before_redrive = account.context.map(|context| context.redriven(1));
            }
            account
        },
    )
}

/// All of it later: microseconds do not begin where items do.
fn moved(mut account: Account, by: u64) -> Account {
    account.created = account.created.map(|(at, error)| (at + by, error));
    account.received += by;
    account.durable = account.durable.map(|at| at + by);
    for attempt in &mut account.attempts {
        attempt.since += by;
        attempt.ready += by;
        attempt.leased = attempt.leased.map(|at| at + by);
        if let Some(handled) = &mut attempt.handled {
            handled.received += by;
            handled.started += by;
            handled.ended += by;
        }
        if let Some(end) = &mut attempt.end {
            end.at += by;
            end.durable += by;
        }
    }
    if let Some(end) = &mut account.end {
        end.at += by;
    }
    account
}
