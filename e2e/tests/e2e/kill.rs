//! kill -9 under load, again and again: what was confirmed is kept.
//!
//! `BATON_KILLS` says how often (50), `BATON_KILL_SEED` repeats the choices of a run; a failure names its seed. Which call
//! meets which kill is up to the machine all the same, so a seed is a hint and no recording: the history says what was.

mod clients;
mod history;

use std::sync::Arc;
use std::time::Duration;

use baton_client::{FailureReason, Queue, QueueBackoff, QueueConfig, QueueStats};
use tokio::time::sleep;

use self::clients::{Clients, QUEUE};
use self::history::{ATTEMPTS_MAX, Dead, History};
use crate::broker::{Broker, Launch};
use crate::dice::{Dice, any_seed, number};

const KILLS: u64 = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_confirmed_survives_kill_9_at_any_moment() {
    let seed = number("BATON_KILL_SEED").unwrap_or_else(any_seed);
    let kills = number("BATON_KILLS").unwrap_or(KILLS);
    let _seed = SaysSeed(seed);
    let mut dice = Dice::new(seed);
    let history = Arc::new(History::default());
    let mut broker = Launch::durable().start().await;
    let queue = broker.client().queue(QUEUE);
    queue.create(config()).await.unwrap();
    let mut clients = Clients::start(&broker.client(), &history, &mut dice);
    for _ in 0..kills {
        sleep(dice.milliseconds(200, 1500)).await;
        broker = kill(broker, &history).await;
    }
    clients.stop_publishing().await;
    broker.stats_when(QUEUE, is_drained).await;
    clients.stop_consuming().await;
    history.ends_with(&dead_letters(&queue).await);
    check(&history);
    nothing_comes_back(broker, &queue).await;
    did_enough(&history, kills);
}

/// Short leases and hardly any back-off: an item has to be seen often.
fn config() -> QueueConfig {
    let milliseconds = |n| Duration::from_millis(n).try_into().ok();
    QueueConfig {
        lease_duration: milliseconds(1000),
        max_attempts: ATTEMPTS_MAX,
        backoff: Some(QueueBackoff {
            initial: milliseconds(1),
            max: milliseconds(50),
        }),
        ..QueueConfig::default()
    }
}

async fn kill(broker: Broker, history: &History) -> Broker {
    let launch = broker.kill().await;
    history.broker_died();
    check(history);
    launch.start().await
}

fn check(history: &History) {
    let violations = history.violations();
    assert!(violations.is_empty(), "{violations:#?}");
}

fn is_drained(stats: &QueueStats) -> bool {
    stats.scheduled + stats.ready + stats.leased == 0
}

async fn dead_letters(queue: &Queue) -> Vec<Dead> {
    let mut dead = Vec::new();
    loop {
        let after = dead.last().map_or(0, |last: &Dead| last.item);
        let page = queue.dead_letters(100, after).await.unwrap();
        dead.extend(page.items.iter().map(|letter| {
            let why = letter.explanation.as_ref().unwrap();
            let reason = why.dead_reason();
            assert_ne!(reason, FailureReason::Unspecified, "{why:?}");
            Dead {
                item: why.item_id,
                attempts: why.attempts,
                rejected: reason == FailureReason::Rejected,
            }
        }));
        if !page.more {
            return dead;
        }
    }
}

/// The end is as durable as everything before it.
async fn nothing_comes_back(broker: Broker, queue: &Queue) {
    let before = queue.stats().await.unwrap();
    let broker = broker.kill().await.start().await;
    let after = broker.stats(QUEUE).await;
    assert!(is_drained(&after), "{after:?}");
    let told = |stats: &QueueStats| (stats.dead, stats.last_item_id, stats.acked_total);
    assert_eq!(told(&after), told(&before));
    let (status, launch) = broker.terminate().await;
    assert!(status.success());
    let after = launch.start().await.stats(QUEUE).await;
    assert_eq!(told(&after), told(&before));
}

/// A test of nothing would pass too.
fn did_enough(history: &History, kills: u64) {
    let counts = history.counts();
    println!("{kills} kills: {counts:?}");
    assert!(counts.confirmed > 20 * kills, "{counts:?}");
    assert!(counts.redelivered > kills, "{counts:?}");
    assert!(counts.stale > kills / 2, "{counts:?}");
    assert!(counts.dead > 0, "{counts:?}");
}

struct SaysSeed(u64);

impl Drop for SaysSeed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the seed was {0}: BATON_KILL_SEED={0}", self.0);
        }
    }
}
