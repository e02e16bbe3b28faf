//! Starts the programs, feeds them, and reads what they say. Every process dies with the value that holds it.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use baton_client::{Client, QueueStats};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

/// Longer than anything here takes on a busy machine; nothing waits for it when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// A program of this workspace, built as this test was.
fn program(name: &str) -> PathBuf {
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

pub(crate) struct Broker {
    process: Child,
    log: BufReader<ChildStderr>,
    port: u16,
}

impl Broker {
    pub(crate) async fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        Self::start_on(port).await
    }

    pub(crate) async fn start_on(port: u16) -> Self {
        let listen = format!("127.0.0.1:{port}");
        let mut process = Command::new(program("baton-broker"))
            .args(["--memory", "--listen", &listen, "--http", "127.0.0.1:0"])
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let log = BufReader::new(process.stderr.take().unwrap());
        let mut broker = Self { process, log, port };
        broker.wait_for_log("broker is ready").await;
        broker
    }

    /// Reads the log until a line says `text`.
    pub(crate) async fn wait_for_log(&mut self, text: &str) {
        let read = async {
            let mut line = String::new();
            while !line.contains(text) {
                line.clear();
                assert!(
                    self.log.read_line(&mut line).await.unwrap() > 0,
                    "the log ended before {text:?}"
                );
            }
        };
        timeout(PATIENCE, read)
            .await
            .expect("the broker never said so");
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn client(&self) -> Client {
        Client::builder(self.url())
            .give_up_after(PATIENCE)
            .build()
            .unwrap()
    }

    pub(crate) async fn stats(&self, queue: &str) -> QueueStats {
        self.client().queue(queue).stats().await.unwrap()
    }

    /// Asks until the queue is as it should be; a queue that is not there yet is not.
    pub(crate) async fn stats_when(
        &self,
        queue: &str,
        holds: impl Fn(&QueueStats) -> bool,
    ) -> QueueStats {
        let queue = self.client().queue(queue);
        let ask = async {
            loop {
                if let Ok(stats) = queue.stats().await
                    && holds(&stats)
                {
                    return stats;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, ask)
            .await
            .expect("the queue never got there")
    }

    pub(crate) fn producer(&self, arguments: &[&str]) -> Process {
        Process::start("baton-producer", &self.url(), arguments)
    }

    pub(crate) fn consumer(&self, arguments: &[&str]) -> Process {
        Process::start("baton-consumer", &self.url(), arguments)
    }

    pub(crate) async fn kill(mut self) {
        self.process.kill().await.unwrap();
    }

    pub(crate) async fn terminate(mut self) -> ExitStatus {
        send(&self.process, Signal::TERM);
        // Keeps the pipe open, and empty, while it says goodbye.
        let mut rest = String::new();
        timeout(PATIENCE, self.log.read_to_string(&mut rest))
            .await
            .unwrap()
            .unwrap();
        self.process.wait().await.unwrap()
    }
}

fn send(process: &Child, signal: Signal) {
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
    fn start(name: &str, broker: &str, arguments: &[&str]) -> Self {
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
        let output = output.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Finished {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// kill -9.
    pub(crate) async fn kill(mut self) -> String {
        self.0.start_kill().unwrap();
        let output = self.0.wait_with_output().await.unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}
