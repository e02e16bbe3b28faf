//! What may happen to a queue, in any order. References to items are taken modulo what there is.

use baton_ledger::account::AttemptOutcome;
use baton_ledger::party::Shift;
use baton_ledger::waits::Stall;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// All times are whole milliseconds, so that the ledger tells waits apart exactly.
pub(crate) const MS: u64 = 1_000_000;

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Arrive {
        /// Milliseconds in which the actor did not get to it.
        waited: u64,
        clock: Option<Shift>,
        items: Vec<NewItem>,
    },
    Lease {
        item: usize,
        max: u32,
        consumer: u8,
    },
    End {
        item: usize,
        count: u32,
        report: Option<Report>,
        how: How,
    },
    Release {
        item: usize,
        count: u32,
    },
    Redrive {
        item: usize,
        count: u32,
    },
    EndWaiting {
        item: usize,
        expired: bool,
    },
    Stall(Option<Stall>),
    EndTurn,
    /// Commits but for the latest `lag` are durable.
    Durable {
        lag: u64,
    },
    Wait {
        ms: u64,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct NewItem {
    /// Milliseconds in its producer; None: not stamped. Negative: absurd.
    pub(crate) age: Option<i64>,
    /// It came with a trace, and whether that is sampled.
    pub(crate) traced: Option<bool>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum How {
    Ack,
    Retry { outcome: AttemptOutcome, delay: u64 },
    Dead { outcome: AttemptOutcome },
}

/// What a consumer says, milliseconds each: of all items alike, or the more the later.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    pub(crate) clock: Option<Shift>,
    pub(crate) legs: (u64, u64, u64),
    pub(crate) each: bool,
    /// Some say nothing.
    pub(crate) silent_every: u64,
}

impl Op {
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        let item = any::<prop::sample::Index>().prop_map(|index| index.index(1 << 20));
        let pick = move || item.clone();
        let stall = prop_oneof![
            Just(Stall::Paused),
            Just(Stall::NoConsumer),
            Just(Stall::NoCredit)
        ];
        prop_oneof![
            3 => arrive(),
            10 => (pick(), prop_oneof![Just(1), 1_u32..60], 0_u8..3)
                .prop_map(|(item, max, consumer)| Self::Lease { item, max, consumer }),
            12 => (pick(), prop_oneof![Just(1), 1_u32..80], option::weighted(0.7, report()), how())
                .prop_map(|(item, count, report, how)| Self::End { item, count, report, how }),
            2 => (pick(), 1_u32..30).prop_map(|(item, count)| Self::Release { item, count }),
            3 => (pick(), 1_u32..30).prop_map(|(item, count)| Self::Redrive { item, count }),
            1 => (pick(), any::<bool>()).prop_map(|(item, expired)| Self::EndWaiting { item, expired }),
            2 => option::of(stall).prop_map(Self::Stall),
            8 => Just(Self::EndTurn),
            8 => prop_oneof![Just(0), 0_u64..6].prop_map(|lag| Self::Durable { lag }),
            6 => prop_oneof![0_u64..5, 0_u64..40, 0_u64..100_000].prop_map(|ms| Self::Wait { ms }),
        ]
    }
}

fn arrive() -> impl Strategy<Value = Op> {
    let age = prop_oneof![
        8 => 0_i64..50,
        1 => Just(-3_i64),
        1 => Just(8 * 24 * 3_600_000_i64),
    ];
    let item = (
        option::weighted(0.8, age),
        option::weighted(0.5, any::<bool>()),
    )
        .prop_map(|(age, traced)| NewItem { age, traced });
    let items = prop_oneof![vec(item.clone(), 1), vec(item, 1..40)];
    (0_u64..3, option::weighted(0.8, clock()), items).prop_map(|(waited, clock, items)| {
        Op::Arrive {
            waited,
            clock,
            items,
        }
    })
}

fn clock() -> impl Strategy<Value = Shift> {
    let ns = prop_oneof![Just(0), Just(1_u64 << 50), Just(u64::MAX - 5 * MS)];
    (ns, 0..MS).prop_map(|(ns, error_ns)| Shift { ns, error_ns })
}

fn report() -> impl Strategy<Value = Report> {
    let legs = prop_oneof![
        (0_u64..5, 0_u64..5, 0_u64..10),
        (0_u64..100, 0_u64..100, 0_u64..100),
    ];
    (
        option::weighted(0.7, clock()),
        legs,
        any::<bool>(),
        2_u64..9,
    )
        .prop_map(|(clock, legs, each, silent_every)| Report {
            clock,
            legs,
            each,
            silent_every,
        })
}

fn how() -> impl Strategy<Value = How> {
    let outcome = prop_oneof![
        Just(AttemptOutcome::Nacked),
        Just(AttemptOutcome::Rejected),
        Just(AttemptOutcome::LeaseExpired),
        Just(AttemptOutcome::ConsumerGone),
    ];
    prop_oneof![
        4 => Just(How::Ack),
        4 => (outcome.clone(), prop_oneof![Just(0_u64), 0_u64..50])
            .prop_map(|(outcome, delay)| How::Retry { outcome, delay }),
        2 => outcome.prop_map(|outcome| How::Dead { outcome }),
    ]
}
