//! Starts producers and consumers, feeds them, and reads what they say. Every process dies with the value that holds it.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Longer than anything here takes on a busy machine; nothing waits for it when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// A program of this workspace, built as this test was.
pub(crate) fn program(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let own = std::env::current_exe().unwrap();
        let folder = own
            .parent()
            .and_then(|deps| deps.parent())
            .unwrap()
            .to_owned();
        let mut build = std::process::Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--locked", "--workspace", "--bins"]);
        if folder.ends_with("release") {
            build.arg("--release");
        }
        assert!(
            build.status().unwrap().success(),
            "the programs do not build"
        );
        folder
    });
    folder.join(name)
}

pub(crate) fn send(process: &Child, signal: Signal) {
    let id = process.id().expect("it still runs");
    kill_process(Pid::from_raw(id.cast_signed()).unwrap(), signal).unwrap();
}

pub(crate) struct Process(Child);

/// How a process ended and what it said.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    pub(crate) fn lines(&self) -> Vec<&str> {
        self.stdout.lines().collect()
    }

    /// Checks that all went well.
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }
}

impl Process {
    pub(crate) fn start(name: &str, broker: &str, arguments: &[&str]) -> Self {
        let child = Command::new(program(name))
            .args(arguments)
            .env("BATON_BROKER", broker)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self(child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send(&self.0, signal);
    }

    /// Reads one line of its stdout.
    pub(crate) async fn line(&mut self) -> String {
        let mut line = Vec::new();
        let stdout = self.0.stdout.as_mut().unwrap();
        while line.last() != Some(&b'\n') {
            line.push(
                timeout(PATIENCE, stdout.read_u8())
                    .await
                    .expect("it says nothing")
                    .unwrap(),
            );
        }
        String::from_utf8(line).unwrap().trim_end().to_owned()
    }

    /// Closes its stdout, as a pipe's reader that has seen enough.
    pub(crate) fn stop_reading(&mut self) {
        self.0.stdout = None;
    }

    pub(crate) async fn finish(self) -> Finished {
        self.finish_with(b"").await
    }

    /// Gives it all of its input and waits for its end.
    pub(crate) async fn finish_with(mut self, input: &[u8]) -> Finished {
        let mut stdin = self.0.stdin.take().unwrap();
        let feed = async move {
            stdin.write_all(input).await.ok();
        };
        let wait = self.0.wait_with_output();
        let (output, ()) = timeout(PATIENCE, async { tokio::join!(wait, feed) })
            .await
            .expect("it never ended");
        Finished::of(output.unwrap())
    }

    /// kill -9.
    pub(crate) async fn kill(mut self) -> String {
        self.0.start_kill().unwrap();
        let output = self.0.wait_with_output().await.unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}
