//! Listening sockets: a bounded number of connections, and none that never says a word.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::{Connected, TcpConnectInfo};
use tracing::{debug, warn};

use crate::limits::{HELLO_TIMEOUT, PREFACE_BYTES};

/// Pause after a failed accept: out of file descriptors, most likely, which time heals.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// A listening socket with a limited number of places. While all are taken, further connections wait in the backlog.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    places: Arc<Semaphore>,
    lifetime: Option<Duration>,
}

impl Listener {
    /// Connections live as long as `lifetime`, if there is one; else as long as their clients talk.
    pub(crate) fn new(
        socket: TcpListener,
        connections_max: usize,
        lifetime: Option<Duration>,
    ) -> Self {
        Self {
            socket,
            lifetime,
            places: Arc::new(Semaphore::new(connections_max)),
        }
    }

    /// Accepts connections until `stop`.
    pub(crate) fn incoming(
        self,
        stop: CancellationToken,
    ) -> impl Stream<Item = Result<Connection, io::Error>> {
        futures_util::stream::unfold((self, stop), |(mut listener, stop)| async move {
            tokio::select! {
                (connection, _) = listener.next() => Some((Ok(connection), (listener, stop))),
                () = stop.cancelled() => None,
            }
        })
    }

    async fn next(&mut self) -> (Connection, SocketAddr) {
        loop {
            let place = self.places.clone().acquire_owned().await;
            let place = place.expect("the semaphore is never closed");
            let accepted = self.socket.accept().await.and_then(|(stream, peer)| {
                // Without it a lone small message waits 40 ms for the peer's delayed ACK.
                stream.set_nodelay(true)?;
                Ok((stream, peer))
            });
            match accepted {
                Ok((stream, peer)) => {
                    debug!(%peer, "connection accepted");
                    return (Connection::new(stream, place, self.lifetime), peer);
                }
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }
}

impl axum::serve::Listener for Listener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        self.next().await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// A connection that counts, and that is closed if its client says too little or it lives too long.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    /// When it is closed.
    end: Option<Pin<Box<Sleep>>>,
    /// Bytes that its client has to say before there is no end any more; none: there always is.
    preface_left: Option<usize>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    fn new(stream: TcpStream, place: OwnedSemaphorePermit, lifetime: Option<Duration>) -> Self {
        Self {
            stream,
            end: Some(Box::pin(sleep(lifetime.unwrap_or(HELLO_TIMEOUT)))),
            preface_left: lifetime.is_none().then_some(PREFACE_BYTES),
            _place: place,
        }
    }

    fn heard(&mut self, bytes: usize) {
        if let Some(left) = &mut self.preface_left {
            *left = left.saturating_sub(bytes);
            if *left == 0 {
                self.end = None;
            }
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        if read.is_ready() {
            this.heard(buffer.filled().len() - before);
        } else if let Some(end) = &mut this.end
            && end.as_mut().poll(cx).is_ready()
        {
            let error = io::Error::new(io::ErrorKind::TimedOut, "the client took too long");
            return Poll::Ready(Err(error));
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
