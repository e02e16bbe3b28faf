//! What has to hold after every operation.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use baton_ledger::account::{Account, Outcome, Part};
use baton_telemetry::stage::Stage;

use crate::drive::{Harness, known};
use crate::model::{ExpectedPart, Item, State, amount, index};

/// Items that are asked for after an operation.
const ASKED: usize = 12;

pub(crate) fn everything(harness: &mut Harness) {
    histograms(harness);
    kept(harness);
    let step = (harness.items.len() / ASKED).max(1);
    let start = usize::try_from(harness.now / 1_000_000).expect("64 bits") % step;
    for index in (start..harness.items.len()).step_by(step) {
        let id = harness.items[index].id;
        let settled = harness.is_settled(id);
        match harness.items[index].state {
            State::Done | State::Gone { .. } if settled => ended(harness, id),
            State::Done | State::Gone { .. } => {}
            State::Dead { .. } => {
                live(harness, id, settled);
                if settled {
                    ended(harness, id);
                }
            }
            State::Waiting(_) | State::Leased => live(harness, id, settled),
        }
    }
}

fn histograms(harness: &Harness) {
    let found: BTreeMap<_, _> = harness
        .ledger
        .series()
        .totals()
        .map(|(stage, all, _)| (stage, (all.count(), all.sum_ns())))
        .collect();
    assert_eq!(found, harness.sums.0);
    let (day, _) = harness
        .ledger
        .series()
        .over(harness.now, Duration::from_secs(24 * 3600));
    let day: BTreeMap<_, _> = day
        .iter()
        .map(|of| (of.stage, (of.histogram.count(), of.histogram.sum_ns())))
        .collect();
    assert_eq!(day, harness.sums.0, "over the last day");
}

/// An item is not offered twice, and what is offered is whole.
fn kept(harness: &Harness) {
    let mut offered = HashSet::new();
    for (account, _) in &harness.kept {
        let end = account.end.expect("only items that ended get a trace");
        let attempts = account.attempts.last().map(|last| last.number);
        let life = (account.item, attempts, end.at);
        assert!(offered.insert(life), "{account:?}");
        whole(account, harness.now);
    }
}

fn ended(harness: &Harness, id: u64) {
    let (item, now) = (harness.item(id), harness.now);
    let account = harness.ledger.ended(id).expect("so few are all known");
    whole(&account, now);
    assert_eq!(parts(&account, now), item.parts(), "{account:#?} {item:#?}");
    let outcome = account.end.map(|end| end.outcome);
    match item.state {
        State::Done => assert_eq!(outcome, Some(Outcome::Acked)),
        State::Dead { .. } => assert_eq!(outcome, Some(Outcome::Dead)),
        State::Gone { outcome: how, .. } => assert_eq!(outcome, Some(how)),
        State::Waiting(_) | State::Leased => unreachable!("it has ended"),
    }
    same_beginning(item, &account, now);
    attempts(item, &account);
}

fn live(harness: &mut Harness, id: u64, settled: bool) {
    let now = harness.now;
    let account = harness.ledger.account(&known(harness.item(id)), now);
    whole(&account, now);
    let dead = matches!(harness.item(id).state, State::Dead { .. });
    let found = account.parts(now);
    let running = found.iter().filter(|part| part.running).count();
    if dead {
        assert_eq!(running, 0, "{found:?}");
    } else {
        assert!(
            running == 1 && found.last().is_some_and(|part| part.running),
            "{found:?}"
        );
    }
    let waiting = matches!(harness.item(id).state, State::Waiting(_));
    if settled {
        same_beginning(harness.item(id), &account, now);
        if let (true, Some(last)) = (waiting, account.attempts.last()) {
            let waits = harness.stalls.between(last.ready, now);
            assert_eq!(last.waits, waits, "{last:?}");
        }
        let finished = found.iter().filter(|part| !part.running);
        harness.items[index(id)].seen = finished.map(expected).collect();
    }
}

/// Parts without gap or overlap, that make up the total.
fn whole(account: &Account, now: u64) {
    let parts = account.parts(now);
    let end = account.end.map_or(now, |end| end.at);
    let mut at = account.begin();
    for part in &parts {
        assert_eq!(part.start, at, "{parts:#?} {account:#?}");
        assert!(part.start < part.end || part.running, "{part:?}");
        at = part.end;
    }
    assert_eq!(at, end, "{parts:#?} {account:#?}");
    let sum: u64 = parts.iter().map(Part::ns).sum();
    assert_eq!(sum, account.total(now).0);
    for attempt in &account.attempts {
        let waited = attempt.leased.unwrap_or(end).saturating_sub(attempt.ready);
        let waits = attempt.waits.no_worker() + attempt.waits.paused;
        assert!(waits <= waited, "{waits} of {waited}: {account:#?}");
    }
    let numbers: Vec<_> = account
        .attempts
        .iter()
        .map(|attempt| attempt.number)
        .collect();
    assert!(
        numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]),
        "{numbers:?}"
    );
}

/// What was finished when it was asked for last is as it was.
fn same_beginning(item: &Item, account: &Account, now: u64) {
    let parts = parts(account, now);
    assert!(
        parts.starts_with(&item.seen),
        "was {:?}, is {parts:?}",
        item.seen
    );
}

fn attempts(item: &Item, account: &Account) {
    let first = account.attempts.first().map(|attempt| attempt.number);
    let Some(first) = first else { return };
    assert_eq!(first, item.forgiven + 1);
    for attempt in &account.attempts {
        if attempt.number > amount(&item.tries) {
            assert!(matches!(item.state, State::Gone { .. }));
            continue;
        }
        let expected = item.attempt(attempt.number);
        let outcome = attempt.end.as_ref().map(|end| end.outcome);
        assert_eq!(outcome, Some(item.over(attempt.number).outcome));
        let name = format!("party-{}", expected.consumer);
        let consumer = attempt.consumer.as_ref().expect("it was leased");
        assert_eq!(*consumer.client_id, *name);
    }
}

fn parts(account: &Account, now: u64) -> Vec<ExpectedPart> {
    account.parts(now).iter().map(expected).collect()
}

fn expected(part: &Part) -> ExpectedPart {
    assert!(part.stage != Stage::Total && part.stage.is_part());
    (part.stage, part.attempt, part.start, part.end)
}
