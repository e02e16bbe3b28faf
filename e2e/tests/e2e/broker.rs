//! A broker as a process: started, asked, stopped, killed, and started again on the same data and port.

use std::net::TcpListener;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use baton_client::{Client, QueueStats};
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

use crate::processes::{Finished, PATIENCE, Process, program, send};
use crate::scratch::Scratch;

/// How a broker is started: again and again the same.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    port: u16,
    arguments: Vec<String>,
    /// A write past its limit is an error and not the end of the process.
    writes_can_fail: bool,
    /// Lives as long as somebody may start it again.
    _scratch: Option<Arc<Scratch>>,
}

impl Launch {
    /// On a journal of its own, which goes with the last copy of this.
    pub(crate) fn durable() -> Self {
        let scratch = Scratch::new();
        let launch = Self::on(&scratch.data());
        Self {
            _scratch: Some(Arc::new(scratch)),
            ..launch
        }
    }

    /// On a journal in a directory. Segments are small, so that tests are light on the disk.
    pub(crate) fn on(data: &Path) -> Self {
        let data = data.to_str().unwrap();
        Self::with(&["--data", data, "--segment-size", "8MiB"])
    }

    pub(crate) fn in_memory() -> Self {
        Self::with(&["--memory"])
    }

    fn with(arguments: &[&str]) -> Self {
        Self {
            port: free_port(),
            arguments: arguments.iter().map(|&one| one.to_owned()).collect(),
            writes_can_fail: false,
            _scratch: None,
        }
    }

    /// With these arguments too.
    pub(crate) fn and(mut self, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&one| one.to_owned());
        self.arguments.extend(arguments);
        self
    }

    /// For [`Broker::break_disk`].
    pub(crate) fn whose_writes_can_fail(self) -> Self {
        Self {
            writes_can_fail: true,
            ..self
        }
    }

    /// The same, on another port.
    pub(crate) fn elsewhere(self) -> Self {
        let port = free_port();
        Self { port, ..self }
    }

    pub(crate) async fn start(self) -> Broker {
        let mut process = self.command().spawn().unwrap();
        let log = BufReader::new(process.stderr.take().unwrap());
        let mut broker = Broker {
            process,
            log,
            http: String::new(),
            launch: self,
        };
        let ready = broker.wait_for_log("broker is ready").await;
        let http = ready.split("http=").nth(1).unwrap();
        broker.http = http.split_whitespace().next().unwrap().to_owned();
        broker
    }

    /// Expects that it does not start, and returns how it ended.
    pub(crate) async fn refused(&self) -> Finished {
        let output = self.command().output();
        let output = timeout(PATIENCE, output).await.expect("it runs").unwrap();
        Finished::of(output)
    }

    fn command(&self) -> Command {
        let listen = format!("127.0.0.1:{}", self.port);
        let program = program("baton-broker");
        let mut command = if self.writes_can_fail {
            let mut shell = Command::new("sh");
            shell
                .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
                .arg(program);
            shell
        } else {
            Command::new(program)
        };
        command
            .args(&self.arguments)
            .args(["--listen", &listen, "--http", "127.0.0.1:0"])
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    pub(crate) fn client(&self) -> Client {
        let url = format!("http://127.0.0.1:{}", self.port);
        let quick = baton_client::Backoff {
            initial: Duration::from_millis(10),
            max: Duration::from_millis(100),
        };
        let builder = Client::builder(url).give_up_after(PATIENCE);
        builder.reconnect(quick).build().unwrap()
    }
}

/// Below the ports that the system gives to connections: while a broker is away, nobody else gets its port, and no client
/// that looks for it there meets itself.
fn free_port() -> u16 {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(std::process::id() % u32::from(COUNT)).unwrap();
    let candidates = (0..COUNT).map(|_| {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        FIRST + own.wrapping_add(next) % COUNT
    });
    let mut free = candidates.filter(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok());
    free.next().expect("a port is free")
}

/// Dies with the value.
#[derive(Debug)]
pub(crate) struct Broker {
    process: Child,
    log: BufReader<ChildStderr>,
    http: String,
    launch: Launch,
}

impl Broker {
    /// The default engine, on a journal of its own.
    pub(crate) async fn start() -> Self {
        Launch::durable().start().await
    }

    /// Reads the log until a line says `text`, and returns that line.
    pub(crate) async fn wait_for_log(&mut self, text: &str) -> String {
        let mut said = String::new();
        let read = async {
            loop {
                let mut line = String::new();
                let more = self.log.read_line(&mut line).await.unwrap() > 0;
                assert!(more, "the log ended before {text:?}: {said}");
                if line.contains(text) {
                    return line;
                }
                said += &line;
            }
        };
        timeout(PATIENCE, read)
            .await
            .expect("the broker never said so")
    }

    pub(crate) fn port(&self) -> u16 {
        self.launch.port
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port())
    }

    pub(crate) fn client(&self) -> Client {
        self.launch.client()
    }

    /// From now on its writes to files fail; what it says goes through a pipe.
    pub(crate) fn break_disk(&self) {
        let id = self.process.id().expect("it still runs");
        let pid = Pid::from_raw(id.cast_signed()).unwrap();
        let nothing = Rlimit {
            current: Some(0),
            maximum: Some(0),
        };
        prlimit(Some(pid), Resource::Fsize, nothing).unwrap();
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(mut self) -> (ExitStatus, Launch) {
        let status = timeout(PATIENCE, self.process.wait()).await;
        (status.expect("it never ended").unwrap(), self.launch)
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
        let mut last = None;
        let ask = async {
            loop {
                last = queue.stats().await.ok();
                if let Some(stats) = last.take_if(|stats| holds(stats)) {
                    return stats;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let asked = timeout(PATIENCE, ask).await;
        asked.unwrap_or_else(|_| panic!("the queue never got there: {last:?}"))
    }

    /// The answer to GET /readyz, head and all.
    pub(crate) async fn readyz(&self) -> String {
        let mut connection = TcpStream::connect(&self.http).await.unwrap();
        let request = "GET /readyz HTTP/1.1\r\nHost: broker\r\nConnection: close\r\n\r\n";
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        answer
    }

    pub(crate) fn producer(&self, arguments: &[&str]) -> Process {
        Process::start("baton-producer", &self.url(), arguments)
    }

    pub(crate) fn consumer(&self, arguments: &[&str]) -> Process {
        Process::start("baton-consumer", &self.url(), arguments)
    }

    /// kill -9. It has no business to have panicked, or to have failed, before.
    pub(crate) async fn kill(mut self) -> Launch {
        self.process.kill().await.unwrap();
        let log = self.rest_of_log().await;
        let sound = !log.contains("panicked at") && !log.contains("ERROR");
        assert!(sound, "the broker failed before it was killed: {log}");
        self.launch
    }

    /// SIGTERM.
    pub(crate) async fn terminate(mut self) -> (ExitStatus, Launch) {
        send(&self.process, Signal::TERM);
        // Keeps the pipe open, and empty, while it says goodbye.
        self.rest_of_log().await;
        (self.process.wait().await.unwrap(), self.launch)
    }

    async fn rest_of_log(&mut self) -> String {
        let mut rest = String::new();
        let read = self.log.read_to_string(&mut rest);
        timeout(PATIENCE, read).await.unwrap().unwrap();
        rest
    }
}
