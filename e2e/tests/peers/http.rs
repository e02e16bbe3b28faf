//! One HTTP request on a connection of its own.

use std::fmt::Write as _;
use std::io;

use baton_e2e::processes::PATIENCE;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// GET from an address such as `127.0.0.1:80`.
pub(crate) async fn get(address: &str, path: &str) -> io::Result<Answer> {
    let asked = timeout(PATIENCE, ask(address, path)).await;
    asked.expect("it answers in time")
}

/// GET of what has to be there.
pub(crate) async fn fetch(address: &str, path: &str) -> String {
    let answer = get(address, path).await.unwrap();
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.body
}

async fn ask(address: &str, path: &str) -> io::Result<Answer> {
    let socket = TokioIo::new(TcpStream::connect(address).await?);
    let (mut sender, connection) = http1::handshake(socket).await.map_err(io::Error::other)?;
    let request = Request::get(path).header("host", address);
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    };
    tokio::select! {
        biased;
        answer = exchange => {
            let (status, body) = answer.map_err(|error: hyper::Error| io::Error::other(error))?;
            let body = String::from_utf8(body.to_vec()).map_err(io::Error::other)?;
            Ok(Answer { status, body })
        }
        ended = connection => Err(io::Error::other(format!("it hung up: {ended:?}"))),
    }
}

/// Text as part of a URL's query.
pub(crate) fn encoded(text: &str) -> String {
    let mut url = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            url.push(char::from(byte));
        } else {
            write!(url, "%{byte:02X}").unwrap();
        }
    }
    url
}
