use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::stdout::HELD_BYTES;
use super::*;

/// A reader that keeps everything.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A reader that went away.
struct Gone;

impl Write for Gone {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn exec_to(stdout: impl Write + Send + 'static, script: &str, kill_after: Duration) -> Exec {
    let arguments = ["-c", script].map(OsString::from);
    Exec::find(
        "orders",
        (&"sh".into(), &arguments),
        kill_after,
        Box::new(stdout),
    )
    .unwrap()
}

async fn run_with(script: &str, task: Task) -> Finished {
    let exec = exec_to(io::sink(), script, Duration::from_secs(10));
    exec.run(&task, &CancellationToken::new()).await
}

async fn run(script: &str) -> Verdict {
    run_with(script, Task::default()).await.verdict
}

fn failed(error: &str) -> Verdict {
    Verdict::Failed {
        error: error.into(),
    }
}

async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting)
        .await
        .unwrap();
}

async fn until_exists(path: &Path) {
    until(|| path.exists()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_statuses_of_real_commands_become_verdicts() {
    assert_eq!(run("exit 0").await, Verdict::Done);
    assert_eq!(
        run("echo oh no >&2; exit 3").await,
        failed("exit status 3: oh no")
    );
    assert_eq!(run("kill -9 $$").await, failed("killed by signal 9"));
    assert!(matches!(run("exit 65").await, Verdict::DeadLetter { .. }));
    assert_eq!(
        run("echo busy >&2; exit 75").await,
        failed("asked for another attempt (exit status 75): busy")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_payload_is_on_stdin_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("payload");
    let payload = Bytes::from(vec![0xfe; 3 << 20]);
    let task = Task {
        payload: payload.clone(),
        ..Task::default()
    };
    let script = format!("cat > {}", path.display());
    assert_eq!(run_with(&script, task).await.verdict, Verdict::Done);
    assert_eq!(fs::read(path).unwrap(), payload);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_need_not_read_its_payload() {
    let task = Task {
        payload: vec![b'x'; 3 << 20].into(),
        ..Task::default()
    };
    assert_eq!(run_with("exit 0", task).await.verdict, Verdict::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_is_not_forced_on_what_a_command_leaves_behind() {
    let task = Task {
        payload: vec![b'x'; 3 << 20].into(),
        ..Task::default()
    };
    let started = Instant::now();
    let finished = run_with("exec 3<&0; sleep 30 <&3 >/dev/null 2>&1 & exit 0", task).await;
    assert_eq!(finished.verdict, Verdict::Done);
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_tells_about_the_item() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("environment");
    let attributes = [("order-id", "47\n11"), ("nul", "a\0b"), ("PATH", "/evil")];
    let task = Task {
        item_id: 7,
        attempt: 2,
        attributes: attributes
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        last_error: "exit status 1".to_owned(),
        traceparent: "00-aa-bb-01".to_owned(),
        ..Task::default()
    };
    let variables = "$BATON_QUEUE|$BATON_ITEM_ID|$BATON_ATTEMPT|$BATON_ATTRIBUTE_ORDER_ID|\
                     $BATON_ATTRIBUTE_NUL|$BATON_ATTRIBUTE_PATH|$BATON_ATTRIBUTES|$BATON_LAST_ERROR|\
                     $TRACEPARENT|${TRACESTATE-unset}";
    let script = format!("printf %s \"{variables}\" > {}", path.display());
    assert_eq!(run_with(&script, task).await.verdict, Verdict::Done);
    let wanted = "orders|7|2|47\n11|a\u{fffd}b|/evil|\
                  {\"PATH\":\"/evil\",\"nul\":\"a\\u0000b\",\"order-id\":\"47\\n11\"}|\
                  exit status 1|00-aa-bb-01|unset";
    assert_eq!(fs::read_to_string(path).unwrap(), wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_end_of_stderr_is_kept() {
    let script = "i=0; while [ $i -lt 2000 ]; do echo line $i >&2; i=$((i+1)); done; exit 1";
    let Verdict::Failed { error } = run(script).await else {
        panic!("it failed")
    };
    assert!(
        error.starts_with("exit status 1: ") && error.ends_with("line 1999"),
        "{error}"
    );
    assert!(error.len() <= 1024, "{}", error.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_asks_the_command_and_believes_its_answer() {
    let directory = tempfile::tempdir().unwrap();
    for (at_term, finishes) in [("exit 0", true), ("exit 9", false)] {
        let ready = directory.path().join(at_term);
        let script = format!(
            "trap '{at_term}' TERM; : > '{}'; while :; do sleep 0.05; done",
            ready.display()
        );
        let exec = exec_to(io::sink(), &script, Duration::from_secs(20));
        let (task, stop) = (Task::default(), CancellationToken::new());
        let (finished, ()) = tokio::join!(exec.run(&task, &stop), async {
            until_exists(&ready).await;
            stop.cancel();
        });
        match finished.verdict {
            Verdict::Done => assert!(finishes),
            Verdict::Interrupted { error } => {
                assert!(
                    !finishes && error.starts_with("the consumer was stopped"),
                    "{error}"
                );
            }
            verdict => panic!("{verdict:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_does_not_listen_is_killed_with_its_children() {
    let directory = tempfile::tempdir().unwrap();
    let (ready, survived) = (
        directory.path().join("ready"),
        directory.path().join("survived"),
    );
    let script = format!(
        "trap '' TERM; (sleep 2; : > '{}') & : > '{}'; wait; sleep 60",
        survived.display(),
        ready.display()
    );
    let exec = exec_to(io::sink(), &script, Duration::from_millis(200));
    let (task, stop) = (Task::default(), CancellationToken::new());
    let (finished, ()) = tokio::join!(exec.run(&task, &stop), async {
        until_exists(&ready).await;
        stop.cancel();
    });
    assert!(
        matches!(finished.verdict, Verdict::Interrupted { .. }),
        "{finished:?}"
    );
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert!(!survived.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_leaves_behind_is_not_waited_for() {
    let started = Instant::now();
    assert_eq!(run("sleep 30 & exit 0").await, Verdict::Done);
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_leaves_behind_is_not_listened_to_for_ever() {
    let started = Instant::now();
    assert_eq!(
        run("while :; do echo noise; done & exit 0").await,
        Verdict::Done
    );
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_run_kills_the_command() {
    let directory = tempfile::tempdir().unwrap();
    let (ready, survived) = (
        directory.path().join("ready"),
        directory.path().join("survived"),
    );
    let script = format!(
        ": > '{}'; sleep 1; : > '{}'",
        ready.display(),
        survived.display()
    );
    let exec = exec_to(io::sink(), &script, Duration::from_secs(10));
    let (task, stop) = (Task::default(), CancellationToken::new());
    tokio::select! {
        finished = exec.run(&task, &stop) => panic!("{finished:?}"),
        () = until_exists(&ready) => {}
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(!survived.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn output_of_two_items_does_not_mix() {
    let kept = Kept::default();
    let script = "for i in 1 2 3 4 5; do printf $BATON_ITEM_ID; sleep 0.02; done; echo";
    let exec = exec_to(kept.clone(), script, Duration::from_secs(10));
    let tasks = [3, 4].map(|item_id| Task {
        item_id,
        ..Task::default()
    });
    let stop = CancellationToken::new();
    tokio::join!(exec.run(&tasks[0], &stop), exec.run(&tasks[1], &stop));
    let written = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
    let mut lines: Vec<&str> = written.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["33333", "44444"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn huge_output_comes_out_whole_and_before_its_end() {
    let kept = Kept::default();
    let directory = tempfile::tempdir().unwrap();
    let go_on = directory.path().join("go-on");
    let script = format!(
        "head -c {} /dev/zero; while [ ! -e '{}' ]; do sleep 0.01; done; echo end",
        HELD_BYTES + 1,
        go_on.display()
    );
    let exec = exec_to(kept.clone(), &script, Duration::from_secs(10));
    let (task, stop) = (Task::default(), CancellationToken::new());
    let (finished, ()) = tokio::join!(exec.run(&task, &stop), async {
        until(|| kept.0.lock().unwrap().len() > HELD_BYTES).await;
        fs::write(&go_on, "").unwrap();
    });
    assert_eq!(finished.verdict, Verdict::Done);
    let written = kept.0.lock().unwrap();
    assert!(written.len() == HELD_BYTES + 5 && written.ends_with(b"end\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_item_is_done_even_if_nobody_reads_the_output() {
    let exec = exec_to(Gone, "echo result", Duration::from_secs(10));
    let finished = exec.run(&Task::default(), &CancellationToken::new()).await;
    assert_eq!(finished.verdict, Verdict::Done);
    assert!(
        matches!(finished.broken, Some(Broken::Stdout(_))),
        "{finished:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_output_ends_with_its_reader() {
    let exec = exec_to(
        Gone,
        "while :; do echo more and more; done",
        Duration::from_secs(10),
    );
    let (task, stop) = (Task::default(), CancellationToken::new());
    let run = tokio::time::timeout(Duration::from_secs(30), exec.run(&task, &stop));
    let run = run.await.unwrap();
    assert!(matches!(run.verdict, Verdict::Failed { .. }), "{run:?}");
    assert!(matches!(run.broken, Some(Broken::Stdout(_))), "{run:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_every_output_ends_its_line() {
    for (on_terminal, script, wanted) in [
        (false, "printf one", "one"),
        (true, "printf one", "one\n"),
        (true, "echo one", "one\n"),
        (true, "true", ""),
    ] {
        let kept = Kept::default();
        let exec = exec_to(kept.clone(), script, Duration::ZERO).on_terminal(on_terminal);
        exec.run(&Task::default(), &CancellationToken::new()).await;
        assert_eq!(*kept.0.lock().unwrap(), wanted.as_bytes(), "{script}");
    }
}

#[tokio::test]
async fn a_command_that_does_not_exist_is_noticed_before_anything_runs() {
    let find = |command: &str| {
        Exec::find(
            "orders",
            (&command.into(), &[]),
            Duration::ZERO,
            Box::new(io::sink()),
        )
    };
    assert!(find("no-such-command-as-this").is_err());
    assert!(find("/etc/passwd").is_err());
    assert!(find("sh").is_ok());
}

#[tokio::test]
async fn a_command_that_vanishes_leaves_its_item_untouched() {
    let mut exec = exec_to(io::sink(), "exit 0", Duration::ZERO);
    exec.program = "/no/such/command".into();
    let finished = exec.run(&Task::default(), &CancellationToken::new()).await;
    assert_eq!(finished.verdict, Verdict::Untouched);
    assert!(
        matches!(finished.broken, Some(Broken::Start(_))),
        "{finished:?}"
    );
}
