//! What the programs say, as the engine passes it on: by syslog (RFC 5424 over TCP), a line each, with the name of the container. Nothing
//! is lost with a container, and lines of one container keep their order.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::evidence::Evidence;

/// Listens for as long as the value lives.
#[derive(Debug)]
pub(super) struct Said {
    port: u16,
    evidence: Arc<Mutex<Evidence>>,
    _listener: JoinSet<()>,
}

impl Said {
    pub(super) async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let evidence = Arc::new(Mutex::new(Evidence::default()));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&evidence)));
        Self {
            port,
            evidence,
            _listener: tasks,
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// All there is so far.
    pub(super) fn ask<T>(&self, question: impl FnOnce(&Evidence) -> T) -> T {
        question(&self.evidence.lock().unwrap())
    }
}

async fn accept(listener: TcpListener, evidence: Arc<Mutex<Evidence>>) {
    let mut containers = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        containers.spawn(read(stream, Arc::clone(&evidence)));
        while containers.try_join_next().is_some() {}
    }
}

async fn read(stream: TcpStream, evidence: Arc<Mutex<Evidence>>) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Some((container, text)) = parse(&line) else {
            panic!("the engine's syslog is not as expected: {line:?}");
        };
        evidence.lock().unwrap().add(container, text);
    }
}

/// `<30>1 TIME HOST CONTAINER PID CONTAINER - TEXT`.
fn parse(line: &str) -> Option<(&str, &str)> {
    let mut words = line.splitn(8, ' ');
    let container = words.nth(3)?;
    let text = words.nth(3)?;
    Some((container, text))
}

#[test]
fn a_line_is_taken_apart_into_who_and_what() {
    let line =
        "<30>1 2026-12-01T12:40:43.1Z host baton-consumer-1 77 baton-consumer-1 - {\"a\": 1}";
    assert_eq!(parse(line), Some(("baton-consumer-1", "{\"a\": 1}")));
    assert_eq!(parse("<30>1 nothing"), None);
}
