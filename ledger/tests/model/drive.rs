//! Does to the ledger, and to the model of it, what the operations say.

use std::collections::VecDeque;
use std::sync::Arc;

use baton_ledger::account::{Account, AttemptOutcome, Outcome};
use baton_ledger::budget::Budget;
use baton_ledger::party::{Party, Shift};
use baton_ledger::sampling::{Kept, SamplingSettings, TraceLimit};
use baton_ledger::{
    Arrived, FINISHED_MAX, Failed, Gone, HandlerStamps, ItemStamps, Known, KnownFailure, Leased,
    Ledger, Shared, Stamps,
};
use baton_telemetry::stage::Stage;
use baton_telemetry::trace_context::ItemContext;

use crate::commits::Event;
use crate::model::{Item, Over, Stalls, State, Sums, Try, Wait, amount, index};
use crate::ops::{How, MS, NewItem, Op, Report};

/// Some day.
const BEGIN: u64 = 1_800_000_000_000 * MS;

pub(crate) struct Harness {
    pub(crate) ledger: Ledger,
    pub(crate) now: u64,
    pub(crate) items: Vec<Item>,
    pub(crate) sums: Sums,
    pub(crate) stalls: Stalls,
    pub(crate) kept: Vec<(Arc<Account>, Kept)>,
    pub(crate) position: u64,
    pub(crate) noted: Vec<Event>,
    pub(crate) pending: VecDeque<(u64, Event)>,
}

fn party(number: u8) -> Arc<Party> {
    Arc::new(Party::named(format!("party-{number}")))
}

impl Harness {
    pub(crate) fn new() -> Self {
        let shared = Shared {
            budget: Budget::new(1 << 30),
            limit: TraceLimit::new(1000),
            sampling: Some(SamplingSettings::default()),
            finished_max: FINISHED_MAX,
        };
        Self {
            ledger: Ledger::new("orders".into(), Arc::new(shared), 7, 0),
            now: BEGIN,
            items: Vec::new(),
            sums: Sums::default(),
            stalls: Stalls::default(),
            kept: Vec::new(),
            position: 0,
            noted: Vec::new(),
            pending: VecDeque::new(),
        }
    }

    pub(crate) fn run(&mut self, op: &Op) {
        match op {
            Op::Arrive {
                waited,
                clock,
                items,
            } => self.arrive(*waited, *clock, items),
            Op::Lease {
                item,
                max,
                consumer,
            } => self.lease(*item, *max, *consumer),
            Op::End {
                item,
                count,
                report,
                how,
            } => self.end(*item, *count, *report, *how),
            Op::Release { item, count } => self.release(*item, *count),
            Op::Redrive { item, count } => self.redrive(*item, *count),
            Op::EndWaiting { item, expired } => self.end_waiting(*item, *expired),
            Op::Stall(stall) => {
                self.ledger.stalled(self.now, *stall);
                self.stalls.note(self.now, *stall);
            }
            Op::EndTurn => self.end_turn(),
            Op::Durable { lag } => self.durable(*lag),
            Op::Wait { ms } => self.now += ms * MS,
        }
    }

    /// All that was said is durable.
    pub(crate) fn finish(&mut self) {
        self.end_turn();
        self.durable(0);
    }

    fn arrive(&mut self, waited: u64, clock: Option<Shift>, new: &[NewItem]) {
        let first = self.items.len() as u64 + 1;
        let received = self.now - waited * MS;
        let stamps: Vec<_> = (first..)
            .zip(new)
            .map(|(id, new)| stamps(id, new, clock, received))
            .collect();
        let created: Vec<_> = stamps.iter().map(|stamps| stamps.created_ns).collect();
        let producer = Some(party(9));
        self.ledger.arrived(&Arrived {
            first,
            received,
            created: &created,
            clock,
            producer,
        });
        let ids: Vec<_> = (first..).take(new.len()).collect();
        for (id, stamps) in ids.iter().zip(stamps) {
            let wait = Wait {
                since: self.now,
                ready: self.now,
                queue_ready: self.now,
            };
            let item = Item {
                id: *id,
                received,
                taken_in: self.now,
                stamps,
                clock,
                durable: None,
                forgiven: 0,
                tries: Vec::new(),
                state: State::Waiting(wait),
                seen: Vec::new(),
            };
            if let Some(created) = item.created() {
                self.sums.add(Stage::Publish, received - created);
            }
            self.items.push(item);
        }
        self.noted.push(Event::Arrived(ids));
    }

    /// Items in a row that the queue hands out as one run, and what they have in common.
    fn alike(&self, start: usize, max: u32) -> Vec<u64> {
        let key = |item: &Item| match item.state {
            State::Waiting(wait) if wait.queue_ready <= self.now => Some((
                item.tries.len(),
                item.forgiven,
                self.queue_since(item, wait),
                wait.queue_ready,
                item.taken_in,
                item.clock,
            )),
            _ => None,
        };
        let Some(first) = self.items.get(start).and_then(key) else {
            return Vec::new();
        };
        let same = self.items[start..]
            .iter()
            .take_while(|item| key(item) == Some(first));
        same.take(index(max) + 1).map(|item| item.id).collect()
    }

    fn queue_since(&self, item: &Item, wait: Wait) -> u64 {
        match item.tries.last() {
            Some(_) if amount(&item.tries) == item.forgiven => wait.queue_ready,
            Some(last) => last.over.as_ref().expect("it waits").at,
            None => item.taken_in,
        }
    }

    fn lease(&mut self, pick: usize, max: u32, consumer: u8) {
        let now = self.now;
        let ready =
            |item: &Item| matches!(item.state, State::Waiting(wait) if wait.queue_ready <= now);
        let start = self.pick(pick, ready);
        let ids = self.alike(start, max);
        let Some(first) = ids.first().map(|id| self.item(*id)) else {
            return;
        };
        let State::Waiting(queue_wait) = first.state else {
            return;
        };
        let stamps: Vec<_> = ids.iter().map(|id| self.item(*id).stamps).collect();
        let leased = Leased {
            first: first.id,
            items: &stamps,
            number: amount(&first.tries) + 1,
            forgiven: first.forgiven,
            taken_in: first.taken_in,
            since: self.queue_since(first, queue_wait),
            ready: queue_wait.queue_ready,
            now: self.now,
            consumer: party(consumer),
            origin: first.clock,
        };
        self.ledger.leased(&leased);
        let at = self.now;
        for id in ids {
            let item = &mut self.items[index(id)];
            let State::Waiting(wait) = item.state else {
                unreachable!()
            };
            item.tries.push(Try {
                forgiven: item.forgiven,
                wait,
                leased: at,
                consumer,
                over: None,
            });
            item.state = State::Leased;
            let number = (amount(&item.tries), item.forgiven);
            self.noted.push(Event::Leased {
                item: id,
                number,
                wait,
                at,
            });
        }
    }

    /// One of the items that are as they should be; any if there are none. Now and then the one before it.
    fn pick(&self, pick: usize, fits: impl Fn(&Item) -> bool) -> usize {
        let fitting: Vec<_> = (0..self.items.len())
            .filter(|place| fits(&self.items[*place]))
            .collect();
        let place = fitting.get(pick % fitting.len().max(1)).copied();
        let place = place.unwrap_or_else(|| pick % self.items.len().max(1));
        place.saturating_sub(usize::from(pick.is_multiple_of(8)))
    }

    /// A range of ids from a fitting one on, whatever state its items are in.
    fn range(&self, pick: usize, count: u32, fits: impl Fn(&Item) -> bool) -> Vec<u64> {
        let start = self.pick(pick, fits);
        let range = self.items.iter().skip(start).take(index(count) + 1);
        range.map(|item| item.id).collect()
    }

    fn end(&mut self, start: usize, count: u32, report: Option<Report>, how: How) {
        let ids = self.range(start, count, |item| item.state == State::Leased);
        let (Some(&first), count) = (ids.first(), amount(&ids)) else {
            return;
        };
        let said = report.map(|report| self.said(&ids, report));
        let outcome = self.tell_end((first, count), report.zip(said.as_deref()), how);
        let said = said.map(|said| (said, report.and_then(|report| report.clock)));
        for (place, id) in ids.into_iter().enumerate() {
            let at = self.now;
            let item = &mut self.items[index(id)];
            if item.state != State::Leased {
                continue;
            }
            let report = said.as_ref().map(|(said, clock)| (said[place], *clock));
            let over = Over {
                at,
                outcome,
                report,
                durable: None,
            };
            item.tries.last_mut().expect("it is leased").over = Some(over);
            item.state = after(how, at);
            let number = amount(&item.tries);
            self.noted.push(Event::Ended { item: id, number });
        }
    }

    /// Tells the ledger of an ending.
    fn tell_end(
        &mut self,
        (first, count): (u64, u32),
        said: Option<(Report, &[HandlerStamps])>,
        how: How,
    ) -> AttemptOutcome {
        let now = self.now;
        if let Some((report, said)) = said {
            let stamps = if report.each {
                Stamps::Each(said)
            } else {
                Stamps::Same(said[0])
            };
            self.ledger
                .handled((first, count), &stamps, report.clock, now);
        }
        let (outcome, dead) = match how {
            How::Ack => {
                self.ledger.acked(first, count, now);
                return AttemptOutcome::Acked;
            }
            How::Retry { outcome, .. } => (outcome, false),
            How::Dead { outcome } => (outcome, true),
        };
        self.ledger.failed(&Failed {
            first,
            count,
            now,
            outcome,
            error: "no".into(),
            dead,
        });
        outcome
    }

    fn said(&self, ids: &[u64], report: Report) -> Vec<HandlerStamps> {
        let leased = ids
            .iter()
            .filter(|id| self.item(**id).state == State::Leased)
            .find_map(|id| self.item(*id).tries.last());
        let base = leased.map_or(self.now, |last| last.leased);
        let shift = report.clock.map_or(0, |clock| clock.ns);
        let (deliver, prefetch, process) = report.legs;
        let mut said = Vec::new();
        for place in 0..ids.len() as u64 {
            let more = if report.each { place * 7919 } else { 0 };
            let received_ns = (base + deliver * MS + more).wrapping_sub(shift);
            let silent = place % report.silent_every == 1 && report.each;
            said.push(if silent {
                HandlerStamps::default()
            } else {
                HandlerStamps {
                    received_ns,
                    started_ns: received_ns.saturating_add(prefetch * MS + more),
                    ended_ns: received_ns.saturating_add(prefetch * MS + 2 * more + process * MS),
                }
            });
        }
        said
    }

    fn release(&mut self, start: usize, count: u32) {
        let ids = self.range(start, count, |item| item.state == State::Leased);
        let Some(&first) = ids.first() else { return };
        self.ledger.released(first, amount(&ids));
        for id in ids {
            let now = self.now;
            let item = &mut self.items[index(id)];
            if item.state == State::Leased {
                let wait = item.tries.pop().expect("it was leased").wait;
                // The wait that had ended goes on.
                item.seen.clear();
                item.state = State::Waiting(Wait {
                    queue_ready: now,
                    ..wait
                });
            }
        }
    }

    fn redrive(&mut self, start: usize, count: u32) {
        for id in self.range(start, count, |item| {
            matches!(item.state, State::Dead { .. })
        }) {
            let now = self.now;
            let item = &mut self.items[index(id)];
            if matches!(item.state, State::Dead { .. }) {
                item.forgiven = amount(&item.tries);
                item.seen.clear();
                item.state = State::Waiting(Wait {
                    since: now,
                    ready: now,
                    queue_ready: now,
                });
            }
        }
    }

    fn end_waiting(&mut self, start: usize, expired: bool) {
        let waiting = |item: &Item| matches!(item.state, State::Waiting(_));
        let Some(&id) = self.range(start, 1, waiting).first() else {
            return;
        };
        let (now, item) = (self.now, self.item(id).clone());
        let State::Waiting(wait) = item.state else {
            return;
        };
        if !self.is_settled(id) {
            return;
        }
        let number = amount(&item.tries) + 1;
        let outcome = if expired {
            Outcome::Expired
        } else {
            Outcome::Cancelled
        };
        let gone = Gone {
            first: id,
            count: 1,
            items: &[item.stamps],
            outcome,
            number,
            forgiven: item.forgiven,
            taken_in: item.taken_in,
            since: self.queue_since(&item, wait),
            ready: wait.queue_ready,
            now,
            origin: item.clock,
        };
        self.ledger.gone(&gone);
        self.noted.push(Event::Gone {
            item: id,
            number: (number, item.forgiven),
            wait,
            at: now,
        });
        self.items[index(id)].state = State::Gone {
            wait,
            at: now,
            outcome,
        };
    }

    pub(crate) fn item(&self, id: u64) -> &Item {
        &self.items[index(id)]
    }
}

/// What an item says of itself.
fn stamps(id: u64, new: &NewItem, clock: Option<Shift>, received: u64) -> ItemStamps {
    let shift = clock.map_or(0, |clock| clock.ns);
    let created = new.age.map(|age| {
        let at = received.wrapping_add_signed(-age * 1_000_000 + 17 * i64::from(age > 0));
        at.wrapping_sub(shift)
    });
    let context = new.traced.map(|sampled| ItemContext {
        sampled,
        ..ItemContext::made_up(3, "orders", id)
    });
    ItemStamps {
        created_ns: created.unwrap_or(0),
        context,
    }
}

const fn after(how: How, at: u64) -> State {
    match how {
        How::Ack => State::Done,
        How::Dead { .. } => State::Dead { at },
        How::Retry { delay, .. } => {
            let ready = at + delay * MS;
            State::Waiting(Wait {
                since: at,
                ready,
                queue_ready: ready,
            })
        }
    }
}

/// What the queue knows of an item that has not ended.
pub(crate) fn known(item: &Item) -> Known {
    let over = (1..).zip(&item.tries).filter_map(|(number, attempt)| {
        let over = attempt.over.as_ref()?;
        Some(KnownFailure {
            number,
            consumer: party(attempt.consumer).client_id.clone(),
            leased: attempt.leased,
            ended: over.at,
            outcome: over.outcome,
            error: "no".into(),
        })
    });
    let last = item.tries.last();
    let (ready, leased, dead) = match item.state {
        State::Waiting(wait) => (Some(wait.queue_ready), None, None),
        State::Leased => {
            let last = last.expect("it is leased");
            let consumer = party(last.consumer).client_id.clone();
            (
                Some(last.wait.queue_ready),
                Some((last.leased, consumer)),
                None,
            )
        }
        State::Dead { at } => (None, None, Some(at)),
        State::Done | State::Gone { .. } => unreachable!("it has ended"),
    };
    Known {
        item: item.id,
        taken_in: item.taken_in,
        attempts: amount(&item.tries),
        forgiven: item.forgiven,
        ready,
        leased,
        failed: over.collect(),
        dead,
        origin: item.clock,
        stamps: item.stamps,
    }
}
