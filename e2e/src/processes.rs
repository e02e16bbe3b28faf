//! Starts producers and consumers, feeds them, and reads what they say. Every process dies with the value that holds it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Longer than anything here takes on a busy machine; nothing waits for it when all is well.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// Variables of a process's environment.
pub type Environment = Vec<(String, String)>;

/// Where cargo puts what it builds as it built this test: `target/debug` or `target/release`.
pub(crate) fn build_folder() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let folder = own.parent().and_then(Path::parent);
    folder.unwrap().to_owned()
}

/// A program of this workspace, built as this test was.
pub fn program(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = build_folder();
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

/// A process that dies with the value that holds it, and exports to no collector that this test's own environment names.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (variable, _) in std::env::vars_os() {
        if variable.as_encoded_bytes().starts_with(b"OTEL_") {
            command.env_remove(variable);
        }
    }
    command.kill_on_drop(true);
    command
}

/// Sends it a signal; it has to run still.
pub fn send(process: &Child, signal: Signal) {
    let id = process.id().expect("it still runs");
    kill_process(Pid::from_raw(id.cast_signed()).unwrap(), signal).unwrap();
}

/// A producer or a consumer at work.
#[derive(Debug)]
pub struct Process(Child);

/// How a process ended and what it said.
#[derive(Debug)]
pub struct Finished {
    /// None: a signal ended it.
    pub code: Option<i32>,
    /// All of it.
    pub stdout: String,
    /// All of it.
    pub stderr: String,
}

impl Finished {
    /// Reads what a process has left.
    pub fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Those of its stdout.
    pub fn lines(&self) -> Vec<&str> {
        self.stdout.lines().collect()
    }

    /// Checks that all went well.
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }
}

impl Process {
    /// Starts the program of this name for the broker at this URL.
    pub fn start(name: &str, broker: &str, arguments: &[&str]) -> Self {
        Self::start_in(&Environment::new(), name, broker, arguments)
    }

    /// The same, with these variables set.
    pub fn start_in(
        environment: &Environment,
        name: &str,
        broker: &str,
        arguments: &[&str],
    ) -> Self {
        let child = command(program(name))
            .args(arguments)
            .env("BATON_BROKER", broker)
            .envs(environment.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        send(&self.0, signal);
    }

    /// Reads one line of its stdout.
    pub async fn line(&mut self) -> String {
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
    pub fn stop_reading(&mut self) {
        self.0.stdout = None;
    }

    /// Gives it no input and waits for its end.
    pub async fn finish(self) -> Finished {
        self.finish_with(b"").await
    }

    /// Gives it all of its input and waits for its end.
    pub async fn finish_with(mut self, input: &[u8]) -> Finished {
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

    /// kill -9; what it had said.
    pub async fn kill(mut self) -> String {
        self.0.start_kill().unwrap();
        let output = self.0.wait_with_output().await.unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}
