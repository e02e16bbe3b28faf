//! What becomes durable, in order, and what counts from then on.

use baton_ledger::account::AttemptOutcome;
use baton_telemetry::stage::Stage;

use crate::drive::Harness;
use crate::model::{Item, Wait, index};

/// What counts once it is durable.
#[derive(Debug)]
pub(crate) enum Event {
    Arrived(Vec<u64>),
    Leased {
        item: u64,
        /// And how many before the last redrive.
        number: (u32, u32),
        wait: Wait,
        at: u64,
    },
    Ended {
        item: u64,
        number: u32,
    },
    /// Without an attempt.
    Gone {
        item: u64,
        number: (u32, u32),
        wait: Wait,
        at: u64,
    },
}

impl Harness {
    pub(crate) fn end_turn(&mut self) {
        self.position += 1;
        self.ledger.end_turn(self.position);
        let noted = self.noted.drain(..).map(|event| (self.position, event));
        self.pending.extend(noted);
    }

    pub(crate) fn durable(&mut self, lag: u64) {
        let position = self.position.saturating_sub(lag);
        let live = |item: &&Item| !item.has_ended();
        let oldest = self.items.iter().find(live).map(|item| item.id);
        let oldest = oldest.unwrap_or(self.items.len() as u64 + 1);
        self.ledger
            .durable(position, self.now, oldest, &mut self.kept);
        while let Some((_, event)) = self.pending.pop_front_if(|(at, _)| *at <= position) {
            self.count(&event);
        }
    }

    fn count(&mut self, event: &Event) {
        let now = self.now;
        match event {
            Event::Arrived(ids) => {
                for id in ids {
                    let item = &mut self.items[index(*id)];
                    item.durable = Some(now);
                    self.sums.add(Stage::Store, now - item.received);
                }
            }
            Event::Leased {
                item,
                number,
                wait,
                at,
            } => self.count_wait(*item, *number, *wait, *at),
            Event::Gone {
                item,
                number,
                wait,
                at,
            } => {
                let ready = wait.ready.min(*at);
                self.count_wait(*item, *number, Wait { ready, ..*wait }, *at);
            }
            Event::Ended { item, number } => {
                let over = &mut self.items[index(*item)].tries[index(*number)].over;
                over.as_mut().expect("that attempt is over").durable = Some(now);
                self.count_attempt(*item, *number);
            }
        }
    }

    fn count_wait(&mut self, item: u64, number: (u32, u32), wait: Wait, leased: u64) {
        let wait = self.item(item).counted_as(number, wait, leased);
        let waits = self.stalls.between(wait.ready, wait.leased);
        let scheduled = wait.ready - wait.since;
        self.sums.add_some(Stage::Scheduled, scheduled);
        self.sums.add(Stage::Queue, wait.leased - wait.ready);
        self.sums
            .add_some(Stage::NotAllowed, scheduled + waits.paused);
        self.sums.add_some(Stage::NoWorker, waits.no_worker());
    }

    fn count_attempt(&mut self, id: u64, number: u32) {
        let item = &self.items[index(id)];
        let leased = item.counted(number).leased;
        let acked = item.over(number).outcome == AttemptOutcome::Acked;
        let (handled, durable) = item.worked(number);
        match handled {
            Some([received, started, ended]) => {
                self.sums.add(Stage::Deliver, received - leased);
                self.sums.add(Stage::Prefetch, started - received);
                self.sums.add(Stage::Process, ended - started);
                self.sums.add(Stage::Settle, durable - ended);
            }
            None => self.sums.add(item.held(number), durable - leased),
        }
        if acked {
            self.sums.add(Stage::Total, durable - item.begin());
        }
    }

    /// Whether all that is known of an item is durable.
    pub(crate) fn is_settled(&self, id: u64) -> bool {
        let about = |event: &Event| match event {
            Event::Arrived(ids) => ids.contains(&id),
            Event::Leased { item, .. } | Event::Ended { item, .. } | Event::Gone { item, .. } => {
                *item == id
            }
        };
        let pending = self.pending.iter().map(|(_, event)| event);
        !self.noted.iter().chain(pending).any(about)
    }
}
