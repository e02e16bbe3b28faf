//! `baton-broker health`: asks a broker on this machine whether it takes work, for those who watch a container that has no other
//! program in it. It asks what `/readyz` answers and says it on.

use std::fmt::Display;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Below what container engines allow a probe; a broker that is well answers within a millisecond.
const PATIENCE: Duration = Duration::from_secs(2);
/// The answer is a line; whoever else listens there may say more.
const ANSWER_BYTES_MAX: usize = 4096;

/// What a broker said, or why it could not be asked.
#[derive(Debug, PartialEq, Eq)]
pub struct Health {
    /// It takes work.
    pub ready: bool,
    /// A line for people.
    pub text: String,
}

/// Asks the broker whose HTTP port this is.
pub async fn ask(http: SocketAddr) -> Health {
    let address = reachable(http);
    match timeout(PATIENCE, readyz(address)).await {
        Ok(Ok((status, text))) => Health {
            ready: status == StatusCode::OK,
            text,
        },
        Ok(Err(error)) => no_answer(address, error),
        Err(_) => no_answer(address, format_args!("nothing within {PATIENCE:?}")),
    }
}

fn no_answer(address: SocketAddr, why: impl Display) -> Health {
    let text = format!("no answer from {address}: {why}\n");
    Health { ready: false, text }
}

/// A broker that listens everywhere listens on the loopback address too.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

async fn readyz(address: SocketAddr) -> io::Result<(StatusCode, String)> {
    let socket = TokioIo::new(TcpStream::connect(address).await?);
    let (mut sender, connection) = http1::handshake(socket).await.map_err(io::Error::other)?;
    let request = Request::get("/readyz").header(header::HOST, address.to_string());
    let request = request.body(Empty::<Bytes>::new());
    let request = request.map_err(io::Error::other)?;
    let exchange = async {
        let response = sender.send_request(request).await;
        let response = response.map_err(io::Error::other)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        // Who hangs up may have answered first; what went wrong, the exchange knows too.
        _ = connection => exchange.await,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// What is made of an answer; none: it hangs up.
    async fn asked(answer: Option<&str>) -> Health {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serve = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = [0; 512];
            let length = socket.read(&mut request).await.unwrap();
            assert!(request[..length].starts_with(b"GET /readyz HTTP/1.1\r\n"));
            if let Some(answer) = answer {
                socket.write_all(answer.as_bytes()).await.unwrap();
            }
        };
        let everywhere = SocketAddr::from(([0, 0, 0, 0], port));
        tokio::join!(ask(everywhere), serve).0
    }

    #[tokio::test]
    async fn ready_is_what_answers_ok_and_nothing_else() {
        let health = asked(Some("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nready\n")).await;
        assert_eq!((health.ready, health.text.as_str()), (true, "ready\n"));
        let full = asked(Some(
            "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 5\r\n\r\nfull\n",
        ))
        .await;
        assert_eq!((full.ready, full.text.as_str()), (false, "full\n"));
    }

    #[tokio::test]
    async fn who_does_not_answer_as_a_broker_is_not_ready() {
        let endless = format!(
            "HTTP/1.1 200 OK\r\n\r\n{}",
            "x".repeat(ANSWER_BYTES_MAX + 1)
        );
        for answer in [None, Some("SSH-2.0-OpenSSH\r\n"), Some(&*endless)] {
            let health = asked(answer).await;
            assert!(!health.ready, "{health:?}");
            assert!(
                health.text.starts_with("no answer from 127.0.0.1:"),
                "{health:?}"
            );
        }
    }

    #[tokio::test]
    async fn where_nobody_listens_the_text_says_where() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let health = ask(address).await;
        assert!(
            !health.ready && health.text.contains(&address.to_string()),
            "{health:?}"
        );
    }
}
