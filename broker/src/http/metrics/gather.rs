//! Asks all queues how they stand, each once, a few at a time and not for ever.

use std::sync::Arc;
use std::time::Duration;

use baton_queue::Stats;
use baton_telemetry::histogram::Histogram;
use futures_util::stream::{self, StreamExt as _};
use tokio::time::{Instant, timeout_at};

use super::never_back::Totals;
use super::places::{OTHERS, Places};
use crate::engine::{Engine, Observed, ObservedStage, QueueHandle};

/// A queue that has not answered by then is left out: its disk is slow, and a scrape has 10 s unless set otherwise.
const ANSWER_WAIT: Duration = Duration::from_secs(2);
/// All of them together, however many there are.
const GATHER_WAIT: Duration = Duration::from_secs(5);
/// Queues that are asked at a time.
const ASKED_AT_ONCE: usize = 64;

/// How all queues stand.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// By name; the merged ones come last.
    pub(super) rows: Vec<Row>,
    /// Queues that there are.
    pub(super) queues: usize,
    /// Of these, merged into one row.
    pub(super) merged: usize,
    /// Of all, those that did not answer in time.
    pub(super) unanswered: usize,
}

/// A queue, or several.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) queue: Arc<str>,
    /// Its histograms are in the totals.
    pub(super) observed: Observed,
    /// How many are paused: 0 or 1 of one.
    pub(super) paused: u64,
    pub(super) totals: Totals,
}

/// How all queues stand now.
pub(super) async fn gather(engine: &Engine, places: &mut Places) -> Snapshot {
    let (named, others) = places.divide(engine.queues());
    let queues = named.len() + others.len();
    let merged = others.len();
    let mut rows = Vec::with_capacity(named.len() + 1);
    let end = Instant::now() + GATHER_WAIT;
    let mut unanswered = 0;
    let asked = stream::iter(named).map(move |queue| ask(queue, end));
    let mut answers = asked.buffered(ASKED_AT_ONCE);
    while let Some(answer) = answers.next().await {
        match answer {
            Answer::Row(queue, observed) => rows.push(row(queue, observed)),
            Answer::Late => unanswered += 1,
            Answer::Gone => {}
        }
    }
    let (sum, late) = merge(others, end).await;
    // Without one of them it would be another sum.
    if merged > 0 && late == 0 {
        let totals = places.never_back.show(Totals::of(&sum.observed));
        rows.push(Row { totals, ..sum });
    }
    Snapshot {
        rows,
        queues,
        merged,
        unanswered: unanswered + late,
    }
}

enum Answer {
    Row(Arc<str>, Box<Observed>),
    Late,
    /// Deleted meanwhile.
    Gone,
}

async fn ask(queue: QueueHandle, end: Instant) -> Answer {
    let by = end.min(Instant::now() + ANSWER_WAIT);
    match timeout_at(by, queue.observe()).await {
        Ok(Ok(observed)) => Answer::Row(queue.name().into(), Box::new(observed)),
        Ok(Err(crate::error::Error::QueueNotFound(_))) => Answer::Gone,
        Ok(Err(_)) | Err(_) => Answer::Late,
    }
}

fn row(queue: Arc<str>, mut observed: Box<Observed>) -> Row {
    let totals = Totals::of(&observed);
    for stage in &mut observed.stages {
        stage.histogram = Histogram::new();
    }
    Row {
        queue,
        paused: observed.paused.into(),
        totals,
        observed: *observed,
    }
}

/// All of them as if they were one, and how many did not answer.
async fn merge(queues: Vec<QueueHandle>, end: Instant) -> (Row, usize) {
    let mut sum = Row {
        queue: OTHERS.into(),
        observed: Observed::default(),
        paused: 0,
        totals: Totals::default(),
    };
    let mut late = 0;
    let asked = stream::iter(queues).map(move |queue| ask(queue, end));
    let mut answers = asked.buffer_unordered(ASKED_AT_ONCE);
    while let Some(answer) = answers.next().await {
        match answer {
            Answer::Row(_, observed) => add(&mut sum, &observed),
            Answer::Late => late += 1,
            Answer::Gone => {}
        }
    }
    (sum, late)
}

fn add(sum: &mut Row, one: &Observed) {
    let all = &mut sum.observed;
    sum.paused += u64::from(one.paused);
    all.consumers = all.consumers.saturating_add(one.consumers);
    all.producers = all.producers.saturating_add(one.producers);
    all.oldest_scheduled_age = all.oldest_scheduled_age.max(one.oldest_scheduled_age);
    all.oldest_leased_age = all.oldest_leased_age.max(one.oldest_leased_age);
    all.oldest_dead_age = all.oldest_dead_age.max(one.oldest_dead_age);
    all.stalls = all.stalls.plus(&one.stalls);
    add_stats(&mut all.stats, &one.stats);
    for one in &one.stages {
        let known = all.stages.iter_mut().find(|known| known.stage == one.stage);
        match known {
            Some(known) => known.histogram.merge(&one.histogram),
            // Which queue an example is of could not be told.
            None => all.stages.push(ObservedStage {
                stage: one.stage,
                histogram: one.histogram.clone(),
                exemplars: Vec::new(),
            }),
        }
    }
}

fn add_stats(all: &mut Stats, one: &Stats) {
    let Stats {
        scheduled,
        ready,
        leased,
        dead,
        bytes,
        dead_bytes,
        oldest_ready_age,
        published_total,
        duplicates_total,
        delivered_total,
        acked_total,
        failed_attempts_total,
        dead_total,
        expired_total,
        cancelled_total,
        redriven_total,
        discarded_total,
        last_item_id: _,
    } = one;
    all.scheduled += scheduled;
    all.ready += ready;
    all.leased += leased;
    all.dead += dead;
    all.bytes += bytes;
    all.dead_bytes += dead_bytes;
    all.oldest_ready_age = all.oldest_ready_age.max(*oldest_ready_age);
    all.published_total += published_total;
    all.duplicates_total += duplicates_total;
    all.delivered_total += delivered_total;
    all.acked_total += acked_total;
    all.failed_attempts_total += failed_attempts_total;
    all.dead_total += dead_total;
    all.expired_total += expired_total;
    all.cancelled_total += cancelled_total;
    all.redriven_total += redriven_total;
    all.discarded_total += discarded_total;
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_telemetry::stage::Stage;

    fn observed(ready: u64, age: Option<Duration>, values: &[u64]) -> Observed {
        let mut histogram = Histogram::new();
        values.iter().for_each(|ns| histogram.record(*ns));
        Observed {
            stats: Stats {
                ready,
                acked_total: ready * 2,
                oldest_ready_age: age,
                ..Stats::default()
            },
            paused: ready > 1,
            consumers: 3,
            stages: vec![ObservedStage {
                stage: Stage::Queue,
                histogram,
                exemplars: Vec::new(),
            }],
            ..Observed::default()
        }
    }

    #[tokio::test]
    async fn merged_queues_are_summed_their_histograms_bucket_by_bucket_and_the_oldest_is_kept() {
        let (mut sum, _) = merge(Vec::new(), Instant::now()).await;
        let age = Some(Duration::from_secs(9));
        add(&mut sum, &observed(1, None, &[5, 1000]));
        add(&mut sum, &observed(2, age, &[1000, 1_000_000]));
        add(&mut sum, &observed(4, Some(Duration::from_secs(1)), &[]));
        let all = &sum.observed;
        assert_eq!(
            (all.stats.ready, all.stats.acked_total, all.consumers),
            (7, 14, 9)
        );
        assert_eq!((all.stats.oldest_ready_age, sum.paused), (age, 2));
        let expected = observed(0, None, &[5, 1000, 1000, 1_000_000]);
        assert_eq!(all.stages[0].histogram, expected.stages[0].histogram);
    }
}
