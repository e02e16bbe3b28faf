//! Gives queues turns in which their ledgers keep house: minutes are closed, what is old is forgotten, memory is given back.
//!
//! A queue with traffic does most of that by itself; one that fell silent does nothing by itself. So every pass looks at all
//! queues, which costs a load each, and gives turns to those whose ledgers have something to do: soon after their last
//! item often, up to a day after it rarely, then never, unless the memory of all ledgers is used up. Run by the shell in `lib.rs`.

use std::sync::Arc;
use std::time::Duration;

use baton_ledger::Ledger;
use baton_ledger::account::Account;
use baton_ledger::sampling::Kept;
use baton_queue::Timestamp;
use futures_util::stream::{self, StreamExt as _};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, QueueHandle};

/// How often queues are looked at: the slowest items of a minute get their traces so long after it, at the most.
const PASS_INTERVAL: Duration = Duration::from_secs(10);
/// A queue that was active so shortly ago has a turn in each pass: its minute is about to end, or traces of it leave.
const RECENT: Duration = Duration::from_secs(180);
/// Passes after which its histograms forget, too: each minute.
const FORGET_PASSES: u64 = 6;
/// Passes between two turns of a queue that is silent for longer: 10 minutes.
const SILENT_PASSES: u64 = 60;
/// So long after the last item there is nothing left to forget: the longest window, and two turns.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 3600 + 2 * 600);
/// Turns at a time: enough to pass ten thousand queues in a second, and few beside a thousand busy ones.
const TURNS_AT_ONCE: usize = 16;
/// A queue whose disk is slow has to wait for the next pass.
const TURN_WAIT: Duration = Duration::from_secs(2);

/// Runs until `stop`.
pub(crate) async fn keep_house(engine: Engine, stop: CancellationToken) {
    if engine.ledgers().is_none() {
        return;
    }
    let mut passes = interval(PASS_INTERVAL);
    passes.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0.. {
        let pass = async {
            passes.tick().await;
            Pass::new(&engine, number).run(&engine).await;
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = pass => {}
        }
    }
}

/// One look at all queues.
#[derive(Debug, Clone, Copy)]
struct Pass {
    number: u64,
    now: Timestamp,
    /// The memory of all ledgers is used up.
    over_budget: bool,
}

/// What a queue's ledger does in its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// It closes minutes, and gives memory back if there is too little.
    KeepHouse,
    /// Its histograms forget what is old, too.
    Forget,
}

impl Pass {
    fn new(engine: &Engine, number: u64) -> Self {
        let budget = engine.ledgers().map(|ledgers| &ledgers.budget);
        Self {
            number,
            now: engine.clock().now(),
            over_budget: budget.is_some_and(|budget| budget.used() > budget.limit()),
        }
    }

    async fn run(self, engine: &Engine) {
        let due = engine.queues().into_iter().filter_map(move |queue| {
            let active = queue.last_active().at()?;
            let turn = self.turn(active, queue.epoch().0)?;
            Some(timeout(TURN_WAIT, take_turn(queue, turn, self.now)))
        });
        let mut turns = stream::iter(due).buffer_unordered(TURNS_AT_ONCE);
        while let Some(kept) = turns.next().await {
            engine.give_traces(kept.unwrap_or_default());
        }
    }

    /// What a queue does that was active last at `active`; none: nothing. `share` spreads silent queues over the passes.
    fn turn(self, active: Timestamp, share: u64) -> Option<Turn> {
        let silent = self.now.saturating_since(active);
        if silent < RECENT {
            let forget = self.number.is_multiple_of(FORGET_PASSES);
            return Some(if forget {
                Turn::Forget
            } else {
                Turn::KeepHouse
            });
        }
        let now_and_then = self.number % SILENT_PASSES == share % SILENT_PASSES;
        let due = self.over_budget || (silent < FORGOTTEN_AFTER && now_and_then);
        due.then_some(Turn::Forget)
    }
}

/// What is worth a trace, now that its minute is over. The queue's clock may be further than `now`.
async fn take_turn(queue: QueueHandle, turn: Turn, now: Timestamp) -> Vec<(Arc<Account>, Kept)> {
    let active = Arc::clone(queue.last_active());
    let kept = queue.act(move |view| {
        let mut kept = Vec::new();
        let Some(ledger) = &mut view.ledger else {
            return kept;
        };
        let now = view.now.max(now);
        keep_house_of(ledger, turn, now, &mut kept);
        if ledger.bytes() == 0 {
            active.forget();
        }
        kept
    });
    // A queue that is gone has nothing to keep.
    kept.await.unwrap_or_default()
}

fn keep_house_of(
    ledger: &mut Ledger,
    turn: Turn,
    now: Timestamp,
    kept: &mut Vec<(Arc<Account>, Kept)>,
) {
    ledger.keep_house(now.0, kept);
    if turn == Turn::Forget {
        ledger.expire(now.0);
    }
}

#[cfg(test)]
mod tests;
