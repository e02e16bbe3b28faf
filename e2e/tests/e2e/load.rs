//! Ten producers, ten consumers, a million items, and one consumer killed half-way: all is counted.

use std::collections::HashMap;

use crate::broker::Broker;
use crate::processes::Process;

const PRODUCERS: usize = 10;
const CONSUMERS: usize = 10;
const ITEMS_EACH: usize = 100_000;
const ITEMS: u64 = (PRODUCERS * ITEMS_EACH) as u64;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_items_are_each_processed_and_repeats_have_a_cause() {
    let broker = Broker::start().await;
    let mut consumers: Vec<_> = (0..CONSUMERS).map(|_| consumer(&broker)).collect();
    broker
        .stats_when("q", |stats| stats.consumers as usize == CONSUMERS)
        .await;
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|_| broker.producer(&["q", "send", "--quiet"]))
        .collect();
    let mut feeding = tokio::task::JoinSet::new();
    for (producer, process) in producers.into_iter().enumerate() {
        feeding.spawn(async move {
            let input: String = (0..ITEMS_EACH)
                .map(|n| format!("{producer}-{n}\n"))
                .collect();
            process.finish_with(input.as_bytes()).await
        });
    }
    let victim = consumers.pop().unwrap();
    let mut reading = tokio::task::JoinSet::new();
    for consumer in consumers {
        reading.spawn(consumer.finish());
    }
    broker
        .stats_when("q", |stats| stats.acked_total > ITEMS / 2)
        .await;
    let mut seen = Seen::default();
    seen.read(&victim.kill().await);
    while let Some(fed) = feeding.join_next().await {
        fed.unwrap().ok();
    }
    let joined = broker.client().queue("q").join().await.unwrap();
    assert_eq!(
        (joined.acked, joined.dead, joined.expired, joined.cancelled),
        (ITEMS, 0, 0, 0)
    );
    broker.client().queue("q").close().await.unwrap();
    while let Some(read) = reading.join_next().await {
        seen.read(&read.unwrap().ok().stdout);
    }
    let stats = broker.stats("q").await;
    seen.check(stats.failed_attempts_total);
    assert_eq!(
        stats.delivered_total,
        ITEMS + stats.failed_attempts_total,
        "every repeat has its failed attempt"
    );
}

fn consumer(broker: &Broker) -> Process {
    broker.consumer(&["q", "print", "--output", "json", "--until-closed"])
}

/// Attempts of each item, as the consumers saw them.
#[derive(Default)]
struct Seen {
    attempts: HashMap<u64, Vec<u64>>,
}

impl Seen {
    /// Reads a consumer's report; the last line of a killed one may be cut off.
    fn read(&mut self, report: &str) {
        for line in report.lines() {
            let Ok(event) = serde_json::from_str::<serde_json::Value>(line) else {
                continue;
            };
            // Of the work, and not of its acknowledgement, which names the attempt too.
            let is_work = event["event"] == "item";
            if let (true, Some(item), Some(attempt)) = (
                is_work,
                event["item_id"].as_u64(),
                event["attempt"].as_u64(),
            ) {
                self.attempts.entry(item).or_default().push(attempt);
            }
        }
    }

    /// Each item was seen, and one that was seen twice was another attempt the second time.
    fn check(&mut self, failed_attempts: u64) {
        let missing: Vec<_> = (1..=ITEMS)
            .filter(|item| !self.attempts.contains_key(item))
            .take(5)
            .collect();
        assert!(missing.is_empty(), "never seen: {missing:?}");
        let mut repeats = 0;
        for (item, attempts) in &mut self.attempts {
            attempts.sort_unstable();
            let distinct = attempts.windows(2).all(|pair| pair[0] < pair[1]);
            assert!(
                distinct,
                "item {item} was processed twice in one attempt: {attempts:?}"
            );
            repeats += attempts.len() as u64 - 1;
        }
        assert!(
            repeats <= failed_attempts,
            "{repeats} repeats, {failed_attempts} failed attempts"
        );
    }
}
