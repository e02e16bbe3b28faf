//! Whatever clients say, and whatever the engine gets wrong: no panic, and bounded work and memory.

use std::sync::Arc;
use std::time::Duration;

use baton_ledger::account::{AttemptOutcome, Outcome};
use baton_ledger::party::{Party, Shift};
use baton_ledger::sampling::Kept;
use baton_ledger::waits::Stall;
use baton_ledger::{
    Arrived, Failed, Gone, HandlerStamps, ItemStamps, Known, KnownFailure, Leased, Stamps,
};
use baton_telemetry::stage::Stage;
use baton_telemetry::trace_context::ItemContext;
use proptest::prelude::*;

use crate::story::{BEGIN, MS, SECOND, Story};

/// Numbers as nobody means them, and some that meet.
fn odd() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0_u64..20,
        2 => BEGIN..BEGIN + 20 * MS,
        1 => prop::sample::select(vec![u64::MAX, u64::MAX - 1, u64::MAX - 10, 1 << 63, u64::from(u32::MAX)]),
        1 => any::<u64>(),
    ]
}

fn odd_clock() -> impl Strategy<Value = Option<Shift>> {
    prop::option::of((odd(), odd()).prop_map(|(ns, error_ns)| Shift { ns, error_ns }))
}

fn odd_stamps() -> impl Strategy<Value = HandlerStamps> {
    (odd(), odd(), odd()).prop_map(|(received_ns, started_ns, ended_ns)| HandlerStamps {
        received_ns,
        started_ns,
        ended_ns,
    })
}

#[derive(Clone, Debug)]
struct Said {
    what: u8,
    first: u64,
    few: u64,
    many: u32,
    times: [u64; 4],
    clock: Option<Shift>,
    stamps: Vec<HandlerStamps>,
}

fn said() -> impl Strategy<Value = Said> {
    let many = prop_oneof![3 => 0_u32..30, 1 => Just(u32::MAX)];
    let stamps = prop::collection::vec(odd_stamps(), 1..6);
    (
        0_u8..13,
        odd(),
        0_u64..20,
        many,
        [odd(), odd(), odd(), odd()],
        odd_clock(),
        stamps,
    )
        .prop_map(|(what, first, few, many, times, clock, stamps)| Said {
            what,
            first,
            few,
            many,
            times,
            clock,
            stamps,
        })
}

impl Said {
    fn number(&self) -> u32 {
        u32::try_from(self.times[1] % 4).expect("small")
    }

    fn created(&self) -> Vec<ItemStamps> {
        let context = (!self.few.is_multiple_of(3)).then(|| ItemContext {
            sampled: self.few % 3 == 1,
            ..ItemContext::made_up(1, "orders", self.first)
        });
        let stamp = |number: u64| ItemStamps {
            created_ns: self.times[3].wrapping_add(number),
            context,
        };
        (0..self.few).map(stamp).collect()
    }

    fn say(&self, story: &mut Story) {
        let Self {
            first, many, times, ..
        } = *self;
        let ledger = &mut story.ledger;
        match self.what {
            0 => {
                let created: Vec<_> = self.created().iter().map(|item| item.created_ns).collect();
                ledger.arrived(&Arrived {
                    first,
                    received: times[0],
                    created: &created,
                    clock: self.clock,
                    producer: None,
                });
            }
            1 | 2 => self.lease(story),
            3 => ledger.handled(
                (first, many),
                &Stamps::Each(&self.stamps),
                self.clock,
                times[0],
            ),
            4 => ledger.handled(
                (first, many),
                &Stamps::Same(self.stamps[0]),
                self.clock,
                times[0],
            ),
            5 => ledger.acked(first, many, times[0]),
            6 => ledger.failed(&Failed {
                first,
                count: many,
                now: times[0],
                outcome: AttemptOutcome::Rejected,
                error: "".into(),
                dead: self.few.is_multiple_of(2),
            }),
            7 => ledger.released(first, many),
            8 => ledger.end_turn(times[0]),
            9 => ledger.durable(times[0], times[1], times[2], &mut story.kept),
            10 => {
                let reasons = Stall::ALL.into_iter().cycle();
                let stall = reasons.take(many.min(3) as usize).last();
                ledger.stalled(times[0], stall);
            }
            11 => {
                ledger.forget(first, many);
                ledger.expire(times[0]);
                ledger.keep_house(times[1], &mut story.kept);
            }
            _ => self.ask(story),
        }
    }

    fn lease(&self, story: &mut Story) {
        let times = self.times;
        story.ledger.leased(&Leased {
            first: self.first,
            items: &self.created(),
            number: self.number(),
            forgiven: self.number() / 2,
            taken_in: times[0],
            since: times[1],
            ready: times[2],
            now: times[3],
            consumer: Arc::new(Party::named("")),
            origin: self.clock,
        });
    }

    fn ask(&self, story: &mut Story) {
        let times = self.times;
        let failure = KnownFailure {
            number: self.number(),
            consumer: "".into(),
            leased: times[0],
            ended: times[1],
            outcome: AttemptOutcome::BrokerRestarted,
            error: "".into(),
        };
        let known = Known {
            item: self.first,
            taken_in: times[0],
            attempts: self.many,
            forgiven: self.number(),
            ready: (self.few > 5).then_some(times[2]),
            leased: (self.few > 10).then(|| (times[3], "".into())),
            failed: vec![failure; 2],
            dead: (self.few > 15).then_some(times[1]),
            origin: self.clock,
            stamps: self.created().first().copied().unwrap_or_default(),
        };
        let ledger = &mut story.ledger;
        let account = ledger.account(&known, times[1]);
        let parts = account.parts(times[2]);
        assert!(parts.iter().all(|part| part.start <= part.end));
        let items = self.created();
        let gone = Gone {
            first: self.first,
            // As many as a queue would have.
            count: self.many.min(100_000),
            items: &items,
            outcome: Outcome::Expired,
            number: self.number(),
            forgiven: self.number() / 2,
            taken_in: times[0],
            since: times[1],
            ready: times[2],
            now: times[3],
            origin: self.clock,
        };
        ledger.gone(&gone);
        let accounts = (0..30)
            .chain([self.first])
            .filter_map(|id| ledger.ended(id));
        for account in accounts {
            let _ = Stage::ALL.map(|stage| account.stage_ns(stage, times[3]));
            let _ = account.parts(times[3]);
        }
        let _ = ledger.slowest(Stage::Total, times[0], 5);
        let _ = ledger.oldest_lease();
        let _ = ledger.stalls(times[0]);
        let _ = ledger.waits_over(times[1], Duration::from_nanos(times[2]));
        let _ = ledger
            .series()
            .over(times[0], Duration::from_nanos(times[1]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn nothing_that_is_said_breaks_it(all in prop::collection::vec(said(), 1..100)) {
        let mut story = Story::new();
        for said in &all {
            said.say(&mut story);
        }
        let (kept, bytes) = (&mut story.kept, story.ledger.bytes());
        prop_assert!(bytes < 2 << 20, "{bytes} bytes");
        story.ledger.durable(u64::MAX, u64::MAX, u64::MAX, kept);
        story.ledger.durable(0, 0, 0, kept);
    }
}

#[test]
fn items_that_nobody_leased_end_without_a_trace() {
    let mut story = Story::new();
    story.arrive(1, 10);
    story.lease(3, 2);
    story.commit();
    story.handled((1, 10), story.now, 0);
    story.ack(1, 3);
    story.fail(100, u32::MAX, true);
    story.ledger.released(5, u32::MAX);
    story.commit();
    story.ack(1, 10);
    story.ack(1, 10);
    story.commit();
    let known: Vec<_> = (0..200)
        .filter(|id| story.ledger.ended(*id).is_some())
        .collect();
    assert_eq!(known, [3, 4]);
    let process = story
        .ledger
        .series()
        .totals()
        .find(|(stage, ..)| *stage == Stage::Process);
    assert_eq!(process.map(|(_, all, _)| all.count()), Some(2));
}

#[test]
fn a_position_that_goes_back_makes_nothing_durable_twice() {
    let mut story = Story::new();
    story.arrive(1, 1);
    story.lease(1, 1);
    story.ledger.end_turn(5);
    story.ledger.durable(4, story.now, 1, &mut story.kept);
    let stored = |story: &Story| {
        story
            .ledger
            .series()
            .totals()
            .any(|(stage, ..)| stage == Stage::Store)
    };
    assert!(!stored(&story));
    for position in [5, 3, 5, 0] {
        story
            .ledger
            .durable(position, story.now, 1, &mut story.kept);
        let counts = story
            .ledger
            .series()
            .totals()
            .map(|(_, all, _)| all.count());
        assert!(counts.max() == Some(1), "at {position}");
    }
}

#[test]
fn stamps_that_are_fewer_than_their_items_say_nothing() {
    let mut story = Story::new();
    story.arrive(1, 4);
    story.lease(1, 4);
    story.commit();
    story.wait(SECOND);
    let stamps = [HandlerStamps {
        received_ns: 5,
        started_ns: 6,
        ended_ns: 7,
    }; 3];
    story
        .ledger
        .handled((1, 4), &Stamps::Each(&stamps), None, story.now);
    story.ack(1, 4);
    story.commit();
    let account = story.ledger.ended(2).unwrap();
    assert_eq!(account.attempts[0].handled, None);
    assert_eq!(account.stage_ns(Stage::Process, story.now), SECOND);
}

#[test]
fn an_item_that_is_leased_twice_is_held_once() {
    let mut story = Story::new();
    story.arrive(1, 10);
    story.lease(1, 10);
    story.commit();
    let before = story.ledger.bytes();
    for _ in 0..100 {
        story.lease(1, 10);
        story.lease(4, 3);
        story.commit();
    }
    // Some bytes for the three runs that it is now.
    assert!(story.ledger.bytes() < before + 2000);
    story.ack(1, 10);
    story.commit();
    let process = story
        .ledger
        .series()
        .totals()
        .find(|(stage, ..)| *stage == Stage::Process);
    assert_eq!(process.map(|(_, all, _)| all.count()), Some(10));
}

#[test]
fn a_flag_on_everything_is_kept_to_the_limit() {
    let mut story = Story::new();
    let begin = story.now;
    let mut first = 1;
    while first < 50_000 {
        let items: Vec<_> = (first..first + 1000).map(sampled).collect();
        story.arrive(first, items.len());
        story.lease_as(first, &items, 1, (story.now, story.now));
        story.ack(first, 1000);
        story.commit();
        story.wait(10 * MS);
        first += 1000;
    }
    let seconds = (story.now - begin).div_ceil(SECOND);
    let kept = story.kept.len() as u64;
    assert!(kept <= 100 * (seconds + 1), "{kept} in {seconds} s");
    assert_eq!(story.shared.limit.refused(Kept::Head) + kept, 50_000);
}

fn sampled(item: u64) -> ItemStamps {
    let context = ItemContext {
        sampled: true,
        ..ItemContext::made_up(1, "orders", item)
    };
    ItemStamps {
        created_ns: 0,
        context: Some(context),
    }
}
