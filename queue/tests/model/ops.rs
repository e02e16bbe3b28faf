//! What may happen to a queue, in any order. References to items, sessions and leases are taken modulo what there is.

use std::time::Duration;

use baton_queue::{Admit, Backoff, Config, NackKind, PurgeState};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::strategy::Union;

#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) config: Config,
}

#[derive(Clone, Debug)]
pub(crate) struct OpItem {
    /// Sequences left out before it.
    pub(crate) gap: u32,
    pub(crate) size: u32,
    pub(crate) delay: Option<Duration>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) key: Option<u8>,
}

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Publish {
        producer: Option<(u8, u64)>,
        items: Vec<OpItem>,
        admit: Admit,
    },
    Advance {
        by: Duration,
        tick: bool,
    },
    OpenSession,
    CloseSession {
        session: usize,
        grace: Duration,
    },
    Lease {
        session: usize,
        items: u32,
        bytes: Option<u64>,
        up_to: Option<u64>,
        duration: Option<Duration>,
    },
    Ack {
        session: usize,
        seqs: (u64, u64),
    },
    Nack {
        session: usize,
        seqs: (u64, u64),
        kind: NackKind,
        random: u64,
    },
    Extend {
        session: usize,
        seqs: (u64, u64),
        duration: Option<Duration>,
    },
    Cancel {
        items: Vec<u64>,
    },
    Purge {
        state: PurgeState,
    },
    RedriveIds {
        items: Vec<u64>,
    },
    RedriveOldest {
        max: Option<u32>,
    },
    Discard {
        items: Vec<u64>,
    },
    Pause {
        paused: bool,
    },
    Close {
        closed: bool,
    },
    Limit {
        items: Option<u64>,
        bytes: Option<u64>,
    },
    /// Goes on with a queue that was restored from a snapshot of this one.
    Restore,
    /// The same, and the consumers are gone.
    Restart,
}

impl Setup {
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        let ttl = option::weighted(0.2, (1_u64..20).prop_map(Duration::from_secs));
        let backoff = prop_oneof![Just((0, 0)), Just((1, 8)), Just((2, 2))];
        (
            1_u32..4,
            backoff,
            ttl,
            option::weighted(0.3, 0_u64..40),
            option::weighted(0.3, 0_u64..400),
        )
            .prop_map(
                |(max_attempts, (initial, max), default_ttl, max_items, max_bytes)| {
                    let initial = Duration::from_secs(initial);
                    let backoff = Backoff {
                        initial,
                        max: Duration::from_secs(max),
                    };
                    let lease_duration = Duration::from_secs(5);
                    let dedup_window = Duration::from_secs(12);
                    let config = Config {
                        lease_duration,
                        max_attempts,
                        backoff,
                        dedup_window,
                        default_ttl,
                        max_items,
                        max_bytes,
                        ..Config::default()
                    };
                    Self { config }
                },
            )
    }
}

impl Op {
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        Union::new_weighted(vec![
            (20, publish().boxed()),
            (14, advance().boxed()),
            (3, Just(Self::OpenSession).boxed()),
            (
                2,
                (0..5_usize, seconds(8))
                    .prop_map(|(session, grace)| Self::CloseSession { session, grace })
                    .boxed(),
            ),
            (22, lease().boxed()),
            (30, settle().boxed()),
            (10, admin().boxed()),
            (4, Just(Self::Restore).boxed()),
            (1, Just(Self::Restart).boxed()),
        ])
    }
}

fn seconds(max: u64) -> impl Strategy<Value = Duration> {
    (0..=max * 4).prop_map(|quarters| Duration::from_millis(quarters * 250))
}

fn publish() -> impl Strategy<Value = Op> {
    let item = (
        prop_oneof![9 => Just(0_u32), 1 => 1_u32..3],
        prop_oneof![Just(10_u32), 0_u32..30],
        option::weighted(0.15, seconds(6)),
        option::weighted(0.15, seconds(6)),
        option::weighted(0.3, 0_u8..6),
    );
    let item = item.prop_map(|(gap, size, delay, ttl, key)| OpItem {
        gap,
        size,
        delay,
        ttl,
        key,
    });
    let producer = option::weighted(0.5, (0_u8..3, 1_u64..40));
    let admit = prop_oneof![Just(Admit::All), Just(Admit::Prefix)];
    (producer, vec(item, 0..12), admit).prop_map(|(producer, items, admit)| Op::Publish {
        producer,
        items,
        admit,
    })
}

fn advance() -> impl Strategy<Value = Op> {
    (seconds(4), prop::bool::weighted(0.7)).prop_map(|(by, tick)| Op::Advance { by, tick })
}

fn lease() -> impl Strategy<Value = Op> {
    let bytes = option::weighted(0.3, 0_u64..60);
    let duration = option::weighted(0.3, (1_u64..9).prop_map(Duration::from_secs));
    let up_to = option::weighted(0.2, 0_u64..60);
    (0..5_usize, 0_u32..16, bytes, up_to, duration).prop_map(
        |(session, items, bytes, up_to, duration)| Op::Lease {
            session,
            items,
            bytes,
            up_to,
            duration,
        },
    )
}

fn settle() -> impl Strategy<Value = Op> {
    let wide = (0_u64..4, Just(u64::MAX));
    let narrow = (0_u64..60, 0_u64..12).prop_map(|(first, width)| (first, first + width));
    let seqs = prop_oneof![1 => wide, 12 => narrow];
    let duration = option::weighted(0.5, (1_u64..9).prop_map(Duration::from_secs));
    (0..5_usize, seqs, 0..10_u8, kind(), any::<u64>(), duration).prop_map(
        |(session, seqs, what, kind, random, duration)| match what {
            0..4 => Op::Ack { session, seqs },
            4..8 => Op::Nack {
                session,
                seqs,
                kind,
                random,
            },
            _ => Op::Extend {
                session,
                seqs,
                duration,
            },
        },
    )
}

fn kind() -> impl Strategy<Value = NackKind> {
    prop_oneof![
        4 => option::weighted(0.4, seconds(4)).prop_map(|delay| NackKind::Retry { delay }),
        1 => Just(NackKind::DeadLetter),
        2 => Just(NackKind::Unstarted),
    ]
}

fn admin() -> impl Strategy<Value = Op> {
    const STATES: [PurgeState; 4] = [
        PurgeState::Scheduled,
        PurgeState::Ready,
        PurgeState::Waiting,
        PurgeState::Dead,
    ];
    let items = || vec(0_u64..80, 0..8);
    prop_oneof![
        4 => items().prop_map(|items| Op::Cancel { items }),
        1 => prop::sample::select(&STATES[..]).prop_map(|state| Op::Purge { state }),
        3 => items().prop_map(|items| Op::RedriveIds { items }),
        2 => option::of(0_u32..5).prop_map(|max| Op::RedriveOldest { max }),
        3 => items().prop_map(|items| Op::Discard { items }),
        1 => prop::bool::weighted(0.3).prop_map(|paused| Op::Pause { paused }),
        1 => prop::bool::weighted(0.3).prop_map(|closed| Op::Close { closed }),
        1 => (option::of(0_u64..60), option::of(0_u64..600))
            .prop_map(|(items, bytes)| Op::Limit { items, bytes }),
    ]
}
