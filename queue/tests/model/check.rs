//! What must hold after every operation.

use baton_queue::{Demand, Explanation, ItemId, ItemState, Join, Stats, Timestamp, WaitReason};

use crate::drive::Harness;
use crate::model::{At, Model};

pub(crate) fn everything(harness: &Harness) {
    assert!(
        harness.replica == harness.queue,
        "events alone give the same queue"
    );
    assert!(
        harness.reader == harness.queue,
        "events that were bytes give it too"
    );
    bodies(harness);
    stats(harness);
    items(harness);
    removed(harness);
    joins(harness);
    lists(harness);
    deadlines(harness);
}

fn bodies(harness: &Harness) {
    let (queue, model) = (&harness.queue, &harness.model);
    let mut found = Vec::new();
    queue.unsettled(&mut |first, count| found.extend((first.get()..).take(count as usize)));
    found.sort_unstable();
    let kept = (1..).zip(&model.items).map(|(id, _)| id);
    let kept = kept.filter(|id| queue.state_of(ItemId(*id)) != Some(ItemState::Done));
    assert_eq!(found, kept.collect::<Vec<_>>());
    let after = model.items.len() as u64 / 3;
    let mut next = after;
    let mut ready = Vec::new();
    for (first, count, bytes) in queue.ready_runs(ItemId(after)) {
        assert!(first.get() > next, "runs are in hand-out order");
        let ids = (first.get()..).take(count as usize);
        let indices: Vec<_> = ids
            .map(|id| usize::try_from(id - 1).expect("small"))
            .collect();
        assert_eq!(bytes, model.bytes(&indices));
        next = first.get() + u64::from(count) - 1;
        ready.extend(indices);
    }
    let expected = model.within(ItemState::Ready).into_iter();
    let expected: Vec<_> = expected.filter(|index| *index as u64 >= after).collect();
    assert_eq!(ready, expected);
}

fn stats(harness: &Harness) {
    let model = &harness.model;
    let count = |end: &At| model.items.iter().filter(|item| item.at == *end).count() as u64;
    let dead = model.within(ItemState::Dead);
    let ready = model.within(ItemState::Ready);
    let scheduled = model.within(ItemState::Scheduled);
    let oldest_age = |of: &[usize]| {
        let sinces = of.iter().filter_map(|index| since(&model.items[*index].at));
        let oldest = sinces.min()?;
        Some(model.now.saturating_since(oldest))
    };
    let expected = Stats {
        scheduled: scheduled.len() as u64,
        ready: ready.len() as u64,
        leased: model.within(ItemState::Leased).len() as u64,
        dead: dead.len() as u64,
        bytes: model.bytes(&model.depth()),
        dead_bytes: model.bytes(&dead),
        oldest_ready_age: oldest_age(&ready),
        published_total: model.items.len() as u64,
        duplicates_total: model.totals.duplicates,
        delivered_total: model.totals.delivered,
        acked_total: count(&At::Acked),
        failed_attempts_total: model.totals.failed,
        dead_total: model.totals.dead,
        expired_total: count(&At::Expired),
        cancelled_total: count(&At::Cancelled),
        redriven_total: model.totals.redriven,
        discarded_total: count(&At::Discarded),
        last_item_id: ItemId(model.items.len() as u64),
    };
    let queue = &harness.queue;
    assert_eq!(queue.stats(model.now), expected);
    let ages = [
        queue.oldest_scheduled_age(model.now),
        queue.oldest_dead_age(model.now),
    ];
    assert_eq!(ages, [oldest_age(&scheduled), oldest_age(&dead)]);
    assert_eq!(harness.queue.is_empty(), model.depth().is_empty());
    assert_eq!(harness.queue.ready_items(), expected.ready);
}

fn items(harness: &Harness) {
    let (queue, model) = (&harness.queue, &harness.model);
    let demand = Demand {
        consumers: 1,
        credit: 1,
    };
    let mut before = 0;
    for index in 0..model.items.len() {
        let id = ItemId(index as u64 + 1);
        let explanation = queue
            .explain(model.now, id, demand)
            .expect("it was published");
        let state = model.state(index);
        assert_eq!(explanation.state, state, "of item {id}");
        assert_eq!(queue.state_of(id), Some(state));
        if state != ItemState::Done {
            item(&explanation, model, index, before);
            let last = model.items[index]
                .failed
                .last()
                .map(|(_, _, error)| error.as_str());
            assert_eq!(queue.last_error(id), last.filter(|error| !error.is_empty()));
        }
        before += u64::from(state == ItemState::Ready);
        if let Some(seen) = harness.attempts.get(index) {
            assert!(
                state == ItemState::Done || *seen <= explanation.attempts,
                "attempts fall"
            );
        }
    }
    let next = ItemId(model.items.len() as u64 + 1);
    assert_eq!(queue.explain(model.now, next, demand), None);
    assert_eq!(queue.explain(model.now, ItemId::NONE, demand), None);
}

fn item(explanation: &Explanation, model: &Model, index: usize, before: u64) {
    let item = &model.items[index];
    assert_eq!(explanation.published_at, Some(item.published_at));
    assert_eq!(explanation.size, item.size);
    assert_eq!(explanation.attempts, item.attempts);
    assert_eq!(explanation.since, since(&item.at));
    let failed: Vec<_> = explanation.failed_attempts.iter().collect();
    let kept: Vec<_> = failed
        .iter()
        .map(|f| (f.attempt, f.reason, f.error.to_string()))
        .collect();
    let latest = item.failed.len().saturating_sub(15).max(1);
    let expected: Vec<_> = item
        .failed
        .iter()
        .take(1)
        .chain(item.failed.iter().skip(latest))
        .collect();
    assert_eq!(kept.iter().collect::<Vec<_>>(), expected);
    let (until, wait) = match item.at {
        At::Scheduled { due, .. } if item.attempts > 0 => (Some(due), Some(WaitReason::BackingOff)),
        At::Scheduled { due, .. } => (Some(due), Some(WaitReason::Delayed)),
        At::Ready { .. } if model.config.paused => (item.expires_at, Some(WaitReason::Paused)),
        At::Ready { .. } if before > 0 => (item.expires_at, Some(WaitReason::BehindOthers)),
        At::Ready { .. } => (item.expires_at, None),
        At::Leased { deadline, .. } => (Some(deadline), None),
        _ => (None, None),
    };
    assert_eq!((explanation.until, explanation.wait_reason), (until, wait));
    let ready = matches!(item.at, At::Ready { .. });
    assert_eq!(explanation.items_before, ready.then_some(before));
    let consumer = match item.at {
        At::Leased { session: 0, .. } => Some("unary"),
        At::Leased { .. } => Some("stream"),
        _ => None,
    };
    assert_eq!(explanation.consumer.as_deref(), consumer);
    let reason = if let At::Dead { reason, .. } = item.at {
        Some(reason)
    } else {
        None
    };
    assert_eq!(explanation.dead_reason, reason);
}

fn removed(harness: &Harness) {
    let done = harness.model.within(ItemState::Done);
    let expected: Vec<u64> = done.into_iter().map(|index| index as u64 + 1).collect();
    assert_eq!(
        harness.removed.iter().copied().collect::<Vec<_>>(),
        expected
    );
}

fn joins(harness: &Harness) {
    let (queue, model) = (&harness.queue, &harness.model);
    let last = model.items.len() as u64;
    for (after, up_to) in [
        (0, 0),
        (0, last),
        (last / 3, last / 2),
        (last / 2, last),
        (5, last + 2),
    ] {
        let expected = join(model, after, up_to);
        assert_eq!(
            queue.join(ItemId(after), ItemId(up_to)),
            expected,
            "of {after} to {up_to}"
        );
    }
    let lowest = model.depth().first().map(|index| ItemId(*index as u64 + 1));
    assert_eq!(queue.lowest_unsettled(), lowest);
}

fn join(model: &Model, after: u64, up_to: u64) -> Join {
    let last = model.items.len() as u64;
    let depth = model.depth();
    let done = up_to <= last && depth.first().is_none_or(|index| *index as u64 + 1 > up_to);
    let mut join = Join {
        done,
        pending: 0,
        acked: 0,
        dead: 0,
        expired: 0,
        cancelled: 0,
    };
    for id in after + 1..=up_to {
        let item = usize::try_from(id - 1)
            .ok()
            .and_then(|index| model.items.get(index));
        match item.map(|item| &item.at) {
            None | Some(At::Scheduled { .. } | At::Ready { .. } | At::Leased { .. }) => {
                join.pending += 1;
            }
            Some(At::Acked) => join.acked += 1,
            Some(At::Dead { .. } | At::Discarded) => join.dead += 1,
            Some(At::Expired) => join.expired += 1,
            Some(At::Cancelled) => join.cancelled += 1,
        }
    }
    join
}

fn lists(harness: &Harness) {
    let (queue, model) = (&harness.queue, &harness.model);
    let after = model.items.len() as u64 / 2;
    for state in [
        ItemState::Scheduled,
        ItemState::Ready,
        ItemState::Leased,
        ItemState::Dead,
    ] {
        let all = model
            .within(state)
            .into_iter()
            .map(|index| ItemId(index as u64 + 1));
        let all: Vec<ItemId> = all.filter(|id| id.get() > after).collect();
        let three: Vec<ItemId> = all.iter().copied().take(3).collect();
        assert_eq!(queue.peek(state, ItemId(after), 3), three);
        if state == ItemState::Dead {
            assert_eq!(queue.dead_letters(ItemId(after), 3), (three, all.len() > 3));
        }
    }
}

fn deadlines(harness: &Harness) {
    let (queue, model) = (&harness.queue, &harness.model);
    let times = model.items.iter().flat_map(|item| match item.at {
        At::Scheduled { due, .. } => [Some(due), item.expires_at],
        At::Ready { .. } => [item.expires_at, None],
        At::Leased { deadline, .. } => [Some(deadline), None],
        _ => [None, None],
    });
    let times: Vec<Timestamp> = times.flatten().collect();
    let next = queue.next_deadline();
    if let Some(first) = times.iter().min() {
        assert!(
            next.is_some_and(|next| next <= *first),
            "no time is slept through"
        );
    }
    if harness.ticked {
        assert!(
            next.is_none_or(|next| next > model.now),
            "a tick does all that is due"
        );
        let late = |item: &crate::model::Item| matches!(item.at, At::Leased { deadline, .. } if deadline <= model.now);
        assert!(
            !model.items.iter().any(late),
            "no lease outlives its deadline"
        );
    }
}

fn since(at: &At) -> Option<Timestamp> {
    match at {
        At::Scheduled { since, .. } | At::Ready { since } => Some(*since),
        At::Leased { since, .. } | At::Dead { since, .. } => Some(*since),
        _ => None,
    }
}
