//! The program as its users start it, as far as it goes without a broker.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Nothing listens on port 1.
const NOWHERE: &str = "http://127.0.0.1:1";

fn start(words: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_baton-producer"))
        .args(words)
        .env_remove("BATON_LOG")
        .env("BATON_BROKER", NOWHERE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // A program that does not read its input may have ended by now.
    let _ = child.stdin.take().expect("it is piped").write_all(input);
    child.wait_with_output().expect("it ends")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn flags_that_cannot_be_understood_exit_2() {
    for words in [
        &["q"][..],
        &["q", "--explain", "first"],
        &["q", "--explain", "1", "generate"],
        &["q", "generate", "--nonsense"],
        &["q", "generate", "--rate", "1", "--interval", "1s"],
        &["q", "generate", "--dedup-from-line"],
    ] {
        assert_eq!(start(words, b"").status.code(), Some(2), "{words:?}");
    }
}

#[test]
fn flags_that_make_no_sense_exit_64_and_are_all_named() {
    let output = start(
        &["a/b", "generate", "--interval", "soon", "--ttl", "0s"],
        b"",
    );
    assert_eq!(output.status.code(), Some(64));
    assert!(stderr(&output).starts_with("baton-producer: 3 problems with the configuration\n"));
}

#[test]
fn a_bad_address_or_file_or_filter_exits_64() {
    for (words, wanted) in [
        (
            &["q", "generate", "--broker", "h:1"][..],
            "http://host:port",
        ),
        (&["q", "send", "/no/such/file"], "cannot read /no/such/file"),
        (&["q", "send", "/"], "cannot read /"),
        (&["q", "generate", "--log", "a=b"], "log filter"),
    ] {
        let output = start(words, b"");
        assert_eq!(output.status.code(), Some(64), "{words:?}");
        assert!(stderr(&output).contains(wanted), "{}", stderr(&output));
    }
}

#[test]
fn without_a_broker_it_gives_up_in_time_and_says_where_it_tried() {
    let started = Instant::now();
    let output = start(&["q", "generate", "--give-up-after", "1s"], b"");
    let took = started.elapsed();
    assert_eq!(output.status.code(), Some(1));
    assert!((1..10).contains(&took.as_secs()), "{took:?}");
    let last = stderr(&output).lines().last().unwrap().to_owned();
    assert!(
        last.starts_with("baton-producer: gave up after 1s"),
        "{last}"
    );
    assert!(last.contains(NOWHERE), "{last}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("20 unconfirmed"));
}

#[test]
fn an_explanation_without_a_broker_fails() {
    let output = start(&["q", "--explain", "7", "--give-up-after", "0s"], b"");
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(output.stdout.is_empty());
}

fn start_traced(variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_baton-producer"))
        .args(["q", "generate", "--give-up-after", "1s", "--quiet"])
        .env("BATON_BROKER", NOWHERE)
        .envs(variables.iter().copied())
        .output()
        .expect("the program runs")
}

#[test]
fn a_collector_that_cannot_be_meant_exits_64() {
    let output = start_traced(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4317"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
    ]);
    assert_eq!(output.status.code(), Some(64));
    let problems = stderr(&output);
    assert!(
        problems.contains("2 problems") && problems.contains("http://host:4317"),
        "{problems}"
    );
}

#[test]
fn a_collector_that_hangs_does_not_keep_the_program() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let started = Instant::now();
    let output = start_traced(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]);
    assert_eq!(output.status.code(), Some(1), "no broker either");
    assert!(started.elapsed() < Duration::from_secs(20));
    let told = stderr(&output);
    // Which of them hung, or both, is up to the machine; it is said once.
    let hung = told.matches("were not taken in time").count();
    assert_eq!(hung, 1, "{told}");
    assert!(!told.contains("cannot export"), "once is enough: {told}");
}

#[test]
fn broken_input_exits_65_and_names_the_line() {
    let words = [
        "q",
        "send",
        "--max-payload",
        "3B",
        "--quiet",
        "--give-up-after",
        "1s",
    ];
    let output = start(&words, b"long\n");
    assert_eq!(output.status.code(), Some(65), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("line 1 is longer than 3 B"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn nothing_to_send_needs_no_broker() {
    let output = start(&["q", "send"], b"");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(output.stdout.starts_with(b"0 items, "));
}

#[test]
fn a_signal_ends_it_even_while_it_waits_for_input() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_baton-producer"))
        .args(["q", "send", "--broker", NOWHERE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let id = child.id().to_string();
    let deadline = Instant::now() + Duration::from_secs(20);
    // Until its handler stands, the signal kills it as it would any program: then there is no exit code.
    wait_for_handler(&id, deadline);
    assert!(
        Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(Instant::now() < deadline);
}

/// Waits until the process catches SIGTERM, which the system tells as bit 15 of a mask.
fn wait_for_handler(id: &str, deadline: Instant) {
    loop {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let mask = u64::from_str_radix(mask.unwrap_or("0").trim(), 16).expect("a mask");
        if mask & (1 << 14) != 0 {
            return;
        }
        assert!(Instant::now() < deadline, "no handler");
        std::thread::yield_now();
    }
}
