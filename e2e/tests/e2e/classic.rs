//! The classic demo and real input, through the programs.

use std::path::Path;

use crate::broker::Broker;

#[tokio::test]
async fn items_go_from_a_producer_to_a_consumer_in_order() {
    let broker = Broker::start().await;
    let producer = broker
        .producer(&[
            "demo",
            "generate",
            "--count",
            "20",
            "--interval",
            "1ms..5ms",
        ])
        .finish()
        .await
        .ok();
    assert!(
        producer.stdout.contains(" -- generated item 19"),
        "{producer:?}"
    );
    let consumer = broker
        .consumer(&["demo", "print", "--count", "20"])
        .finish()
        .await
        .ok();
    let values: Vec<_> = consumer
        .lines()
        .iter()
        .filter_map(|line| line.strip_prefix(" +++ processed value "))
        .map(|rest| rest.split(' ').next().unwrap().parse::<u64>().unwrap())
        .collect();
    assert_eq!(values, (0..20).map(|n| n * n).collect::<Vec<_>>());
    assert!(consumer.stdout.contains("20 items, "), "{consumer:?}");
    assert!(consumer.stdout.contains("p99"), "{consumer:?}");
}

#[tokio::test]
async fn raw_output_is_the_input_and_nothing_else() {
    let broker = Broker::start().await;
    let input: String = (0..500).map(|n| format!("line {n}\n")).collect();
    broker
        .producer(&["raw", "send"])
        .finish_with(input.as_bytes())
        .await
        .ok();
    let consumer = broker
        .consumer(&["raw", "print", "--raw", "--until-drained"])
        .finish()
        .await
        .ok();
    assert_eq!(consumer.stdout, input);
}

#[tokio::test]
async fn a_closed_queue_ends_its_consumers_when_it_has_drained() {
    let broker = Broker::start().await;
    let consumer = broker.consumer(&["q", "print", "--raw", "--until-closed"]);
    broker.stats_when("q", |stats| stats.consumers == 1).await;
    broker
        .producer(&["q", "send", "--close"])
        .finish_with(b"a\nb\n")
        .await
        .ok();
    assert_eq!(consumer.finish().await.ok().stdout, "a\nb\n");
    let refused = broker.producer(&["q", "send"]).finish_with(b"c\n").await;
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stdout.contains("the queue is closed"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn the_lines_of_the_projects_own_source_are_counted_right() {
    let broker = Broker::start().await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    for folder in [
        "proto",
        "queue",
        "broker",
        "client",
        "producer",
        "consumer",
        "telemetry",
        "e2e",
        "bench",
    ] {
        rust_files(&root.join(folder), &mut files);
    }
    assert!(files.len() > 50);
    let expected: usize = files
        .iter()
        .map(|file| std::fs::read_to_string(file).unwrap().lines().count())
        .sum();
    let list = files.join("\n");
    broker
        .producer(&["files", "send"])
        .finish_with(list.as_bytes())
        .await
        .ok();
    let command = [
        "files",
        "exec",
        "--concurrency",
        "2",
        "--until-drained",
        "--",
        "sh",
        "-c",
        "wc -l < \"$(cat)\"",
    ];
    let consumer = broker.consumer(&command).finish().await.ok();
    let counts: Vec<usize> = consumer
        .lines()
        .iter()
        .filter_map(|line| line.trim().parse().ok())
        .collect();
    assert_eq!(counts.len(), files.len(), "{consumer:?}");
    assert_eq!(counts.iter().sum::<usize>(), expected);
}

fn rust_files(folder: &Path, files: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path.to_str().unwrap().to_owned());
        }
    }
}

#[tokio::test]
async fn join_waits_for_the_consumers_and_counts() {
    let broker = Broker::start().await;
    let producer = broker.producer(&["q", "send", "--join", "--output", "json"]);
    let consumer = broker.consumer(&[
        "q",
        "exec",
        "--count",
        "3",
        "--",
        "sh",
        "-c",
        "read x; [ $x != bad ] || exit 65",
    ]);
    let producer = producer.finish_with(b"a\nbad\nc\n").await.ok();
    consumer.finish().await;
    let summary = producer.lines().last().copied().unwrap().to_owned();
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    let found = summary.to_string();
    assert!(
        found.contains("\"acked\":2") && found.contains("\"dead\":1"),
        "{found}"
    );
}
