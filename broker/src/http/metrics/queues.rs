//! The metrics of queues.

use std::sync::Arc;
use std::time::Duration;

use baton_ledger::waits::Stall;
use baton_telemetry::stage::Stage;

use super::family::{Family, Labels, Text, Value, seconds};
use super::gather::{Row, Snapshot};
use super::never_back::OUTCOMES;

/// All of them, each with a series for each queue.
pub(super) fn families(snapshot: Snapshot) -> Vec<Family> {
    let count = |number: usize| Value::Whole(number as u64);
    let about = [
        Family::gauge("baton_queues", "Queues that there are").of(count(snapshot.queues)),
        Family::gauge(
            "baton_queues_merged",
            "Queues that are not shown one by one but merged into the queue _other",
        )
        .of(count(snapshot.merged)),
        Family::gauge(
            "baton_queues_unanswered",
            "Queues that did not answer this scrape in time and are left out",
        )
        .of(count(snapshot.unanswered)),
    ];
    let mut families = OfQueues::new();
    for row in snapshot.rows {
        families.add(row);
    }
    about.into_iter().chain(families.into_all()).collect()
}

struct OfQueues {
    items: Family,
    bytes: Family,
    dead_bytes: Family,
    oldest_age: Family,
    events: Family,
    stall: Family,
    clients: Family,
    paused: Family,
    stage: Family,
}

impl OfQueues {
    const fn new() -> Self {
        Self {
            items: Family::gauge("baton_queue_items", "Items by state"),
            bytes: Family::gauge(
                "baton_queue_bytes",
                "Bytes of items that are scheduled, ready or leased",
            ),
            dead_bytes: Family::gauge("baton_queue_dead_bytes", "Bytes of dead letters"),
            oldest_age: Family::gauge(
                "baton_queue_oldest_age_seconds",
                "How long the item has been in its state that has been in it the longest; 0 if there is none",
            ),
            events: Family::counter(
                "baton_queue_events_total",
                "What became of items and publishes since the queue was made",
            ),
            stall: Family::counter(
                "baton_queue_stall_seconds_total",
                "Time in which ready items could not be handed out, by what was missing",
            ),
            clients: Family::gauge("baton_queue_clients", "Streams that are open"),
            paused: Family::gauge("baton_queue_paused", "1 while the queue hands nothing out"),
            stage: Family::histogram(
                "baton_item_stage_seconds",
                "How long items spent in each stage of their life",
            ),
        }
    }

    fn into_all(self) -> [Family; 9] {
        [
            self.items,
            self.bytes,
            self.dead_bytes,
            self.oldest_age,
            self.events,
            self.stall,
            self.clients,
            self.paused,
            self.stage,
        ]
    }

    fn add(&mut self, row: Row) {
        let queue = &row.queue;
        let (stats, observed) = (&row.observed.stats, &row.observed);
        let states = [
            ("scheduled", stats.scheduled),
            ("ready", stats.ready),
            ("leased", stats.leased),
            ("dead", stats.dead),
        ];
        for (state, items) in states {
            self.items
                .push(by(queue, "state", state), Value::Whole(items));
        }
        self.bytes.push(of(queue), Value::Whole(stats.bytes));
        self.dead_bytes
            .push(of(queue), Value::Whole(stats.dead_bytes));
        let ages = [
            ("scheduled", observed.oldest_scheduled_age),
            ("ready", stats.oldest_ready_age),
            ("leased", observed.oldest_leased_age),
            ("dead", observed.oldest_dead_age),
        ];
        for (state, age) in ages {
            let age = Value::Real(age.unwrap_or(Duration::ZERO).as_secs_f64());
            self.oldest_age.push(by(queue, "state", state), age);
        }
        let roles = [
            ("producer", observed.producers),
            ("consumer", observed.consumers),
        ];
        for (role, streams) in roles {
            let streams = Value::Whole(streams.into());
            self.clients.push(by(queue, "role", role), streams);
        }
        self.paused.push(of(queue), Value::Whole(row.paused));
        self.add_totals(row);
    }

    fn add_totals(&mut self, row: Row) {
        let queue = &row.queue;
        for (outcome, count) in OUTCOMES.into_iter().zip(row.totals.events) {
            let labels = by(queue, "outcome", outcome);
            self.events.push(labels, Value::Whole(count));
        }
        for (stall, ns) in Stall::ALL.into_iter().zip(row.totals.stalls_ns) {
            let labels = by(queue, "reason", stall.name());
            self.stall.push(labels, seconds(ns));
        }
        let mut exemplars: [Vec<_>; Stage::ALL.len()] = Default::default();
        for observed in row.observed.stages {
            exemplars[observed.stage.index()] = observed.exemplars;
        }
        let stages = Stage::ALL.into_iter().zip(row.totals.stages).zip(exemplars);
        for ((stage, distribution), mut exemplars) in stages {
            // A stage that nothing has been through would be 36 lines of 0.
            if distribution.count() > 0 {
                // An item may be the example of a stage that it skipped.
                exemplars.retain(|example| distribution.has_like(example.value_ns));
                let labels = by(queue, "stage", stage.name());
                let times = Value::Times(distribution, exemplars);
                self.stage.push(labels, times);
            }
        }
    }
}

fn of(queue: &Arc<str>) -> Labels {
    [Some(("queue", Text::Shared(Arc::clone(queue)))), None]
}

fn by(queue: &Arc<str>, label: &'static str, value: &'static str) -> Labels {
    let [queue, _] = of(queue);
    [queue, Some((label, Text::Fixed(value)))]
}
