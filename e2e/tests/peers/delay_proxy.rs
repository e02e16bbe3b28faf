//! A slow link in front of a broker: what goes through it arrives later, each direction by its own delay, and in order.
//! Loses nothing and limits no rate, so that a test knows what a clock offset that is measured through it should be.
//!
//! Delays are never shorter than asked for; they are longer by up to 1 ms, which is how exact tokio's timers are.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use baton_e2e::dice::Dice;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Of one direction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delay {
    pub(crate) fixed: Duration,
    /// Up to this much more, by chance; what came later waits for what came earlier.
    pub(crate) jitter: Duration,
}

impl Delay {
    pub(crate) fn fixed(milliseconds: u64) -> Self {
        Self {
            fixed: Duration::from_millis(milliseconds),
            jitter: Duration::ZERO,
        }
    }

    /// The same with jitter.
    pub(crate) fn and_up_to(self, milliseconds: u64) -> Self {
        let jitter = Duration::from_millis(milliseconds);
        Self { jitter, ..self }
    }

    fn draw(self, dice: &Mutex<Dice>) -> Duration {
        let jitter = u64::try_from(self.jitter.as_nanos()).expect("jitter is short");
        let drawn = dice.lock().expect("nobody panics there").below(jitter + 1);
        self.fixed + Duration::from_nanos(drawn)
    }
}

/// A listener and its connections, which end with the value.
#[derive(Debug)]
pub(crate) struct DelayProxy {
    address: String,
    _tasks: JoinSet<()>,
}

/// Pieces under way: a link of 1 s takes 64 MiB/s. Then the sender waits.
const PIECES: usize = 4096;
const PIECE_BYTES: usize = 16 * 1024;

impl DelayProxy {
    /// In front of an address such as `127.0.0.1:7400`: `up` is the way there.
    pub(crate) async fn start(to: String, up: Delay, down: Delay) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let dice = Arc::new(Mutex::new(Dice::new(7)));
        let accept = async move {
            let mut connections = JoinSet::new();
            loop {
                let (near, _) = listener.accept().await.unwrap();
                connections.spawn(connect(near, to.clone(), [up, down], Arc::clone(&dice)));
            }
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(accept);
        Self {
            address,
            _tasks: tasks,
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The same for clients of a broker.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// A broker that is away hangs up at once, as it would without the proxy.
async fn connect(near: TcpStream, to: String, [up, down]: [Delay; 2], dice: Arc<Mutex<Dice>>) {
    let Ok(far) = TcpStream::connect(to).await else {
        return;
    };
    for side in [&near, &far] {
        side.set_nodelay(true).unwrap();
    }
    let (from_near, to_near) = near.into_split();
    let (from_far, to_far) = far.into_split();
    tokio::join!(
        carry(from_near, to_far, up, &dice),
        carry(from_far, to_near, down, &dice)
    );
}

/// Until one side ends; the other side hears of it after the delay too.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Delay, dice: &Mutex<Dice>) {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES);
    let read = async move {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            // An end by error is an end.
            let bytes = from.read(&mut piece).await.unwrap_or_default();
            let due = Instant::now() + delay.draw(dice);
            let sent = sender.send((due, piece[..bytes].to_vec())).await;
            if sent.is_err() || bytes == 0 {
                return;
            }
        }
    };
    let write = async move {
        while let Some((due, piece)) = receiver.recv().await {
            sleep_until(due).await;
            if piece.is_empty() || to.write_all(&piece).await.is_err() {
                // Which drops the connection's half, and so says that it ends.
                return;
            }
        }
    };
    tokio::join!(read, write);
}

#[cfg(test)]
mod tests;
