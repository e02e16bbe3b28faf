//! The program as its users start it, as far as it goes without a broker.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Nothing listens on port 1.
const NOWHERE: &str = "http://127.0.0.1:1";

fn start(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_baton-consumer"))
        .args(words)
        .env_remove("BATON_LOG")
        .env("BATON_BROKER", NOWHERE)
        .output()
        .expect("the program runs")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn flags_that_cannot_be_understood_exit_2() {
    for words in [
        &["q"][..],
        &["q", "--explain", "first"],
        &["q", "--explain", "1", "print"],
        &["q", "exec"],
        &["q", "print", "--count", "many"],
        &["q", "print", "--until-drained", "--until-closed"],
    ] {
        assert_eq!(start(words).status.code(), Some(2), "{words:?}");
    }
}

#[test]
fn flags_that_make_no_sense_exit_64_and_are_all_named() {
    let output = start(&[
        "q",
        "print",
        "--count",
        "0",
        "--lease",
        "1ms",
        "--concurrency",
        "0",
    ]);
    assert_eq!(output.status.code(), Some(64));
    assert!(stderr(&output).starts_with("baton-consumer: 3 problems with the configuration\n"));
}

#[test]
fn a_collector_that_cannot_be_meant_exits_64() {
    let output = Command::new(env!("CARGO_BIN_EXE_baton-consumer"))
        .args(["q", "print"])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4317")
        .output()
        .expect("the program runs");
    assert_eq!(output.status.code(), Some(64));
    assert!(stderr(&output).contains("http://host:4317"));
}

#[test]
fn a_command_that_does_not_exist_exits_127_before_anything_is_leased() {
    let output = start(&["q", "exec", "--", "no-such-command"]);
    assert_eq!(output.status.code(), Some(127));
    let wanted = "baton-consumer: cannot run no-such-command: \
                  there is no such command, or it may not be executed\n";
    assert_eq!(stderr(&output), wanted);
}

#[test]
fn without_a_broker_it_gives_up_in_time_and_says_where_it_tried() {
    let started = Instant::now();
    let output = start(&["q", "print", "--give-up-after", "1s"]);
    let took = started.elapsed();
    assert_eq!(output.status.code(), Some(1));
    assert!((1..10).contains(&took.as_secs()), "{took:?}");
    let last = stderr(&output).lines().last().unwrap().to_owned();
    assert!(
        last.starts_with("baton-consumer: gave up after 1s"),
        "{last}"
    );
    assert!(last.contains(NOWHERE), "{last}");
}

#[test]
fn a_lost_broker_is_told_in_one_line_however_often_it_is_tried() {
    let output = start(&["q", "print", "--give-up-after", "2s"]);
    let lines = stderr(&output);
    let told = lines
        .lines()
        .filter(|line| line.contains("trying again for up to 2s"));
    assert_eq!((told.count(), lines.lines().count()), (1, 2), "{lines}");
}

#[test]
fn print_ends_when_its_reader_goes_away_even_if_there_is_nothing_to_print() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_baton-consumer"))
        .args(["q", "print", "--give-up-after", "1m", "--log", "off"])
        .env("BATON_BROKER", NOWHERE)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program runs");
    drop(program.stdout.take());
    let started = Instant::now();
    let status = program.wait().expect("the program ends");
    assert_eq!(status.code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(20));
}
