//! HTTP/1.1 by hand, over a real socket: what the broker's HTTP port says to anybody.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{Fixture, PATIENCE};

pub(crate) struct Page {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Page {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"));
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Checks a refusal: its status, its code, and that it says something.
    pub(crate) fn assert_refused(&self, status: u16, code: &str) {
        let refusal = self.json();
        assert_eq!(
            (self.status, refusal["code"].as_str()),
            (status, Some(code)),
            "{refusal}"
        );
        assert!(
            refusal["message"].as_str().unwrap().len() > 10,
            "{refusal} says too little"
        );
    }
}

impl Fixture {
    pub(crate) async fn get(&self, target: &str) -> Page {
        self.ask("GET", target, "").await
    }

    pub(crate) async fn get_as(&self, target: &str, accept: &str) -> Page {
        self.ask("GET", target, &format!("Accept: {accept}\r\n"))
            .await
    }

    pub(crate) async fn ask(&self, method: &str, target: &str, headers: &str) -> Page {
        let asked =
            format!("{method} {target} HTTP/1.1\r\nHost: b\r\nConnection: close\r\n{headers}\r\n");
        say(self.broker.http, asked.as_bytes()).await
    }
}

/// Sends these bytes and reads until the broker closes the connection.
pub(crate) async fn say(to: SocketAddr, bytes: &[u8]) -> Page {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    read.expect("no answer").unwrap();
    let end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap();
    let head = std::str::from_utf8(&answer[..end]).unwrap();
    let (line, headers) = head.split_once("\r\n").unwrap_or((head, ""));
    let headers = headers
        .split("\r\n")
        .filter_map(|line| line.split_once(": "));
    let mut page = Page {
        status: line.split(' ').nth(1).unwrap().parse().unwrap(),
        headers: headers
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        body: answer[end + 4..].to_vec(),
    };
    if page.header("transfer-encoding") == Some("chunked") {
        page.body = unchunked(&page.body);
    }
    page
}

fn unchunked(mut chunks: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while !chunks.is_empty() {
        let end = chunks
            .windows(2)
            .position(|window| window == b"\r\n")
            .unwrap();
        let size = std::str::from_utf8(&chunks[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        body.extend(&chunks[end + 2..end + 2 + size]);
        chunks = &chunks[end + 2 + size + 2..];
        if size == 0 {
            assert!(chunks.is_empty(), "there is more after the last chunk");
            return body;
        }
    }
    // A HEAD has none.
    body
}
