//! A broker as a process: started, asked, stopped, killed, and started again on the same data and port.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use baton_client::{Client, QueueStats};
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

use crate::ports::free_port;
use crate::processes::{Environment, Finished, PATIENCE, Process, command, program, send};
use crate::scratch::Scratch;

/// How a broker is started: again and again the same.
#[derive(Debug, Clone)]
pub struct Launch {
    port: u16,
    arguments: Vec<String>,
    environment: Environment,
    /// A write past its limit is an error and not the end of the process.
    writes_can_fail: bool,
    /// Lives as long as somebody may start it again.
    _scratch: Option<Arc<Scratch>>,
}

impl Launch {
    /// On a journal of its own, which goes with the last copy of this.
    pub fn durable() -> Self {
        let scratch = Scratch::new();
        let launch = Self::on(&scratch.data());
        Self {
            _scratch: Some(Arc::new(scratch)),
            ..launch
        }
    }

    /// On a journal in a directory. Segments are small, so that tests are light on the disk.
    pub fn on(data: &Path) -> Self {
        let data = data.to_str().unwrap();
        Self::with(&["--data", data, "--segment-size", "8MiB"])
    }

    /// Without a journal.
    pub fn in_memory() -> Self {
        Self::with(&["--memory"])
    }

    fn with(arguments: &[&str]) -> Self {
        Self {
            port: free_port(),
            arguments: arguments.iter().map(|&one| one.to_owned()).collect(),
            environment: Environment::new(),
            writes_can_fail: false,
            _scratch: None,
        }
    }

    /// With these arguments too.
    pub fn and(mut self, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&one| one.to_owned());
        self.arguments.extend(arguments);
        self
    }

    /// With these variables set too.
    pub fn in_environment(mut self, environment: &Environment) -> Self {
        self.environment.extend(environment.iter().cloned());
        self
    }

    /// For [`Broker::break_disk`].
    pub fn whose_writes_can_fail(self) -> Self {
        Self {
            writes_can_fail: true,
            ..self
        }
    }

    /// The same, on another port.
    pub fn elsewhere(self) -> Self {
        let port = free_port();
        Self { port, ..self }
    }

    /// Starts it and waits until it is ready.
    pub async fn start(self) -> Broker {
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
    pub async fn refused(&self) -> Finished {
        let output = self.command().output();
        let output = timeout(PATIENCE, output).await.expect("it runs").unwrap();
        Finished::of(output)
    }

    fn command(&self) -> Command {
        let listen = format!("127.0.0.1:{}", self.port);
        let program = program("baton-broker");
        let mut process = if self.writes_can_fail {
            let mut shell = command("sh");
            shell
                .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
                .arg(program);
            shell
        } else {
            command(program)
        };
        process
            .args(&self.arguments)
            .args(["--listen", &listen, "--http", "127.0.0.1:0"])
            .envs(self.environment.iter().cloned())
            .stderr(Stdio::piped());
        process
    }

    /// One that looks for the broker again at once.
    pub fn client(&self) -> Client {
        let url = format!("http://127.0.0.1:{}", self.port);
        let quick = baton_client::Backoff {
            initial: Duration::from_millis(10),
            max: Duration::from_millis(100),
        };
        let builder = Client::builder(url).give_up_after(PATIENCE);
        builder.reconnect(quick).build().unwrap()
    }
}

/// A broker that runs. Dies with the value.
#[derive(Debug)]
pub struct Broker {
    process: Child,
    log: BufReader<ChildStderr>,
    http: String,
    launch: Launch,
}

impl Broker {
    /// The default engine, on a journal of its own.
    pub async fn start() -> Self {
        Launch::durable().start().await
    }

    /// Reads the log until a line says `text`, and returns that line.
    pub async fn wait_for_log(&mut self, text: &str) -> String {
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

    /// Where it serves gRPC, on the loopback address.
    pub fn port(&self) -> u16 {
        self.launch.port
    }

    /// Where it serves gRPC.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port())
    }

    /// Where it serves HTTP, such as `127.0.0.1:7401`.
    pub fn http(&self) -> &str {
        &self.http
    }

    /// See [`Launch::client`].
    pub fn client(&self) -> Client {
        self.launch.client()
    }

    /// Memory that it has from the system.
    pub fn resident_bytes(&self) -> u64 {
        let id = self.process.id().expect("it still runs");
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let mut lines = status.lines();
        let kibibytes = lines.find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"));
        kibibytes.unwrap().trim().parse::<u64>().unwrap() << 10
    }

    /// From now on its writes to files fail; what it says goes through a pipe.
    pub fn break_disk(&self) {
        let id = self.process.id().expect("it still runs");
        let pid = Pid::from_raw(id.cast_signed()).unwrap();
        let nothing = Rlimit {
            current: Some(0),
            maximum: Some(0),
        };
        prlimit(Some(pid), Resource::Fsize, nothing).unwrap();
    }

    /// Waits until it has ended by itself.
    pub async fn ended(mut self) -> (ExitStatus, Launch) {
        let status = timeout(PATIENCE, self.process.wait()).await;
        (status.expect("it never ended").unwrap(), self.launch)
    }

    /// What it says about a queue, which has to be there.
    pub async fn stats(&self, queue: &str) -> QueueStats {
        self.client().queue(queue).stats().await.unwrap()
    }

    /// Asks until the queue is as it should be; a queue that is not there yet is not.
    pub async fn stats_when(&self, queue: &str, holds: impl Fn(&QueueStats) -> bool) -> QueueStats {
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
    pub async fn readyz(&self) -> String {
        self.answer("/readyz").await
    }

    /// What a page says that has to be there.
    pub async fn get(&self, path: &str) -> String {
        let answer = self.answer(path).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
        body.to_owned()
    }

    async fn answer(&self, path: &str) -> String {
        let mut connection = TcpStream::connect(&self.http).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: broker\r\nConnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// Starts a producer for it.
    pub fn producer(&self, arguments: &[&str]) -> Process {
        Process::start("baton-producer", &self.url(), arguments)
    }

    /// Starts a consumer for it.
    pub fn consumer(&self, arguments: &[&str]) -> Process {
        Process::start("baton-consumer", &self.url(), arguments)
    }

    /// kill -9. It has no business to have panicked, or to have failed, before.
    pub async fn kill(mut self) -> Launch {
        self.process.kill().await.unwrap();
        let log = self.rest_of_log().await;
        let sound = !log.contains("panicked at") && !log.contains("ERROR");
        assert!(sound, "the broker failed before it was killed: {log}");
        self.launch
    }

    /// SIGTERM.
    pub async fn terminate(mut self) -> (ExitStatus, Launch) {
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
